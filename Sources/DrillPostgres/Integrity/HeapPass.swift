import DrillCore

/// Has amcheck verify the tuples of every heap: headers, what transactions made them, and the chunks of long values.
struct HeapPass: Sendable {
    let scope: IntegrityScope
    let modules: ServerModules
    private static let most = 1000
    private static let what = "while amcheck verified its tuples"

    func run() async throws {
        guard scope.access.serverVersion >= 140_000 else {
            await scope.tally.aside("tuples of heaps were not verified: amcheck of PostgreSQL before 14 cannot")
            return
        }
        guard let verify = modules.functions["verify_heapam"] else {
            await scope.tally.couldNotLook("tuples of heaps: \(modules.missing[.amcheck] ?? "amcheck is missing")")
            return
        }
        let entries = scope.inventory.ordered.filter { entry in
            [.table, .materializedView, .toast].contains(entry.kind) && entry.pages > 0
        }
        let heaps = entries.filter { $0.accessMethod == "heap" }
        if heaps.count < entries.count {
            let others = Set(entries.compactMap(\.accessMethod)).subtracting(["heap"]).sorted().joined(separator: ", ")
            await scope.tally.aside("amcheck cannot verify tables of the access method \(others); their rows were read")
        }
        scope.step("verify heaps", pages: heaps.reduce(0) { $0 + $1.pages })
        let survey = Survey<RelationEntry>(scope: scope) {
            $0.pages
        } ask: { session, batch in
            try await ask(session, batch, verify.name)
        } failed: { entry, error in
            try await scope.judge(error, of: entry, while: Self.what)
        }
        try await survey.run(heaps)
        await scope.tally.did("heaps by amcheck")
    }

    private func ask(_ session: IntegritySession, _ batch: [RelationEntry], _ verify: String) async throws {
        guard batch.count == 1, let entry = batch.first else {
            let oids = "{" + batch.map { "\($0.oid)" }.joined(separator: ",") + "}"
            let found = try await session.rows(
                of: """
                    SELECT one, v.blkno, v.offnum, v.attnum, v.msg
                    FROM pg_catalog.unnest('\(oids)'::pg_catalog.oid[]) AS one,
                        \(verify)(one::pg_catalog.regclass, false, true, 'none') AS v
                    """, limit: Self.most)
            try await record(found)
            return
        }
        // What lies before and behind a block that cannot be read is verified all the same.
        var first: Int64 = 0
        var last = entry.pages - 1
        for _ in 0..<Self.most where first <= last {
            let found: SQLRows
            do throws(PostgresError) {
                found = try await session.rows(
                    of: """
                        SELECT \(entry.oid), v.blkno, v.offnum, v.attnum, v.msg FROM
                        \(verify)(\(entry.oid)::pg_catalog.oid::pg_catalog.regclass, false, true, 'none', \(first), \(last)) AS v
                        """, limit: Self.most)
            } catch {
                guard ServerComplaint.isCorruption(error), let block = ServerComplaint.block(error.message),
                    isOwn(error, entry), (first...last).contains(block)
                else { throw error }
                try await scope.recordCorruption(error, of: entry, while: Self.what)
                if block > first { last = block - 1 } else { first = block + 1 }
                continue
            }
            try await record(found)
            // The block behind this stretch is the bad one, or the end.
            first = last + 2
            last = entry.pages - 1
        }
    }

    private func isOwn(_ error: PostgresError, _ entry: RelationEntry) -> Bool {
        ServerComplaint.path(error.message).flatMap { scope.inventory.relation(atPath: $0) }?.oid == entry.oid
    }

    private func record(_ found: SQLRows) async throws {
        for row in found.rows {
            guard let oid = row[0].flatMap({ UInt32($0) }), let entry = scope.inventory.relations[oid] else { continue }
            let block = row[1].flatMap(strictInteger)
            var place = block.map { "block \($0)" } ?? "the heap"
            if let offset = row[2] { place += ", offset \(offset)" }
            if let column = row[3] { place += ", column \(column)" }
            try await scope.record(
                .corruption, of: entry, expected: "tuples as PostgreSQL writes them",
                observed: "\(place): \(row[4] ?? "")", evidence: "amcheck (verify_heapam) says so.",
                repair: IntegrityScope.repair(entry), mark: "\(oid) \(place) \(row[4] ?? "")")
        }
    }
}
