import DrillCore
import Synchronization

/// The B-trees whose order amcheck proved with the collations of this machine, and which indexes it cannot judge.
struct VerifiedTrees: Sendable {
    var indexes: Set<UInt32> = []
}

/// Has amcheck verify every B-tree: the order of its entries, the links of its pages, and that each row of the table has its entry.
/// That evaluates expressions of indexes, which are code of the backup; the server runs them with the rights of the table's owner.
struct TreePass: Sendable {
    let scope: IntegrityScope
    let modules: ServerModules

    func run() async throws -> VerifiedTrees {
        let indexes = scope.inventory.ordered.filter { $0.kind == .index }
        let trees = indexes.filter { $0.accessMethod == "btree" && $0.indexFaults.isEmpty }
        let others = Dictionary(grouping: indexes.filter { $0.accessMethod != "btree" }) { $0.accessMethod ?? "?" }
        if !others.isEmpty {
            let words = others.sorted { $0.key < $1.key }.map { "\(grouped(Int64($0.value.count))) \($0.key)" }
            await scope.tally.aside(
                "indexes of other kinds (\(words.joined(separator: ", "))) were read, and nothing can verify their structure"
            )
        }
        guard call(alone: false) != nil else {
            await scope.tally.couldNotLook("B-trees: \(modules.missing[.amcheck] ?? "amcheck is missing")")
            return VerifiedTrees()
        }
        // Reading a damaged table once more tells nothing new of its indexes, and may take the server down.
        var whole: [RelationEntry] = []
        var alone: [RelationEntry] = []
        for entry in trees {
            if let owner = scope.inventory.owner(entry),
                await scope.tally.hasFailed(owner.oid, of: scope.inventory.database)
            {
                alone.append(entry)
                await scope.couldNotLook(at: entry, "held against no rows: its table is damaged")
            } else {
                whole.append(entry)
            }
        }
        scope.step("verify B-trees", pages: trees.reduce(0) { $0 + weight($1) })
        let verified = Mutex<Set<UInt32>>([])
        for (entries, isAlone) in [(whole, false), (alone, true)] {
            guard let call = call(alone: isAlone) else { continue }
            let survey = Survey<RelationEntry>(scope: scope) {
                weight($0)
            } ask: { session, batch in
                let oids = "{" + batch.map { "\($0.oid)" }.joined(separator: ",") + "}"
                _ = try await session.query(
                    "SELECT \(call("one::pg_catalog.regclass")) FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS one",
                    [oids])
                verified.withLock { $0.formUnion(batch.map(\.oid)) }
            } failed: { entry, error in
                guard let error = try await again(entry, call, error) else {
                    verified.withLock { _ = $0.insert(entry.oid) }
                    return
                }
                try await judge(error, of: entry)
            }
            try await survey.run(entries)
        }
        await scope.tally.did("B-trees by amcheck")
        return VerifiedTrees(indexes: verified.withLock { $0 })
    }

    /// Functions in expressions of indexes may count on the schema `public` in the search path. In a server of our own they get it,
    /// behind `pg_catalog`, whose names they cannot take over (P7).
    /// - Returns: What the server says now; nil where it is satisfied.
    private func again(
        _ entry: RelationEntry, _ call: (String) -> String, _ error: PostgresError
    ) async throws -> PostgresError? {
        // Undefined function, table or object.
        guard scope.access.isScratch, ["42883", "42P01", "42704"].contains(error.sqlState ?? "") else { return error }
        let session = IntegritySession(scope.access)
        do throws(PostgresError) {
            _ = try await session.query("SELECT pg_catalog.set_config('search_path', 'pg_catalog, public', false)")
            _ = try await session.query("SELECT \(call("\(entry.oid)::pg_catalog.oid::pg_catalog.regclass"))")
            await session.close()
            return nil
        } catch {
            return error
        }
    }

    /// Verifying an index reads its table as well.
    private func weight(_ entry: RelationEntry) -> Int64 {
        entry.pages + (scope.inventory.owner(entry)?.pages ?? 0)
    }

    /// The deepest form that the module has. In scratch nobody minds the lock that keeps writers out.
    /// - Parameter alone: Whether the index is not held against its table.
    private func call(alone: Bool) -> (@Sendable (String) -> String)? {
        guard let function = modules.functions[scope.access.isScratch ? "bt_index_parent_check" : "bt_index_check"]
        else {
            return nil
        }
        // heapallindexed, rootdescend (of the parent's form), checkunique (which reads the table, too).
        let flags = alone ? ["false"] : Array(repeating: "true", count: max(function.parameterCount - 1, 0))
        return { "\(function.name)(\(([$0] + flags).joined(separator: ", ")))" }
    }

    private func judge(_ error: PostgresError, of entry: RelationEntry) async throws {
        guard ["XX001", "XX002"].contains(error.sqlState ?? ""), ServerComplaint.path(error.message) == nil else {
            try await scope.judge(error, of: entry, while: "while amcheck verified its order and its entries")
            return
        }
        var evidence = "amcheck says so."
        // It names positions in pages, and no values.
        if let detail = error.detail { evidence += " \(detail)" }
        try await scope.record(
            .corruption, of: entry, expected: "a B-tree in order, with an entry for each row",
            observed: error.description,
            evidence: evidence, repair: IntegrityScope.repair(entry),
            mark: ServerComplaint.block(error.message).map { IntegrityScope.mark(entry, $0) })
    }
}
