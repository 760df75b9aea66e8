import DrillCore

/// One look of the integrity probe, database by database, pass by pass.
struct IntegrityRun: Sendable {
    let probe: IntegrityProbe
    let database: PostgresDatabase
    let tally: IntegrityTally
    let progress: any ProgressSink
    let clock: any DrillClock

    /// Throws where the run was ended; everything else that stands in the way is told to the tally, so that what was found before
    /// keeps its weight.
    func everything() async throws {
        var accesses: [IntegrityAccess] = []
        try await attempt("the list of databases") { accesses = try await self.accesses() }
        for (index, access) in accesses.enumerated() {
            try await attempt("the database \(access.name)") {
                try await examine(access, includesShared: index == 0)
            }
        }
    }

    private func examine(_ access: IntegrityAccess, includesShared: Bool) async throws {
        progress.step("read the catalogs of \(access.name)", total: nil, unit: .items)
        let session = IntegritySession(access)
        let inventory = try await DatabaseInventory.read(
            session, database: access.name, isNamed: access.isOther, includesShared: includesShared)
        await session.close()
        await tally.add(inventory)
        let scope = IntegrityScope(access, inventory, tally, progress, clock)
        try await attempt("catalogs") { try await CatalogPass(scope: scope).run() }
        try await attempt("sequences") { try await SequencePass(scope: scope).run() }
        var changed: [CollationChange] = []
        try await attempt("collation versions") { changed = try await CollationChange.all(scope) }
        var trees = VerifiedTrees()
        if probe.level >= .read {
            let modules = try await ServerModules.ready(
                probe.level == .deep ? ServerModules.Module.allCases : [.prewarm], access)
            try await withCleanUp {
                try await attempt("pages") { try await PagePass(scope: scope, modules: modules).run() }
                try await attempt("rows") { try await RowPass(scope: scope).run() }
                try await attempt("foreign keys") { try await ForeignKeyPass(scope: scope).run() }
                try await attempt("constraints of rows") { try await RowRulePass(scope: scope).run() }
                if probe.level == .deep {
                    try await attempt("lost pages") { try await LostPagePass(scope: scope, modules: modules).run() }
                    try await attempt("unique indexes") { try await UniquePass(scope: scope).run() }
                    try await attempt("heaps") { try await HeapPass(scope: scope, modules: modules).run() }
                    try await attempt("B-trees") { trees = try await TreePass(scope: scope, modules: modules).run() }
                }
            } cleanUp: {
                try await modules.remove()
            }
        }
        for change in changed { try await change.record(scope, verified: trees) }
        try await tally.flush()
    }

    /// What a pass throws is no end of the others.
    private func attempt(_ what: String, _ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            try Task.checkCancellation()
            if error is CancellationError { throw error }
            guard let failure = error as? PostgresError else {
                await tally.couldNotLook("\(what): \(DrillError(wrapping: error).description)")
                return
            }
            if failure.kind == .interrupted { throw CancellationError() }
            guard ServerComplaint.isCorruption(failure) else {
                await tally.couldNotLook("\(what): \(failure)")
                return
            }
            try await tally.record(
                IntegrityDefect(
                    kind: .corruption, database: database.parameters["dbname"] ?? "", relation: nil,
                    expected: "catalogs that the server can read", observed: failure.description,
                    evidence: "The server said so when asked about \(what).",
                    repair: "See whether the live server has the same fault. Restore an older set and look again.",
                    mark: failure.message))
            await tally.couldNotLook("\(what), because of that error")
        }
    }

    // MARK: - Which databases

    private func accesses() async throws -> [IntegrityAccess] {
        let own = database.parameters["dbname"] ?? "postgres"
        guard let rights = database.rights, rights.coversServer else {
            if let wanted = probe.databases, wanted != [own] {
                throw DrillError(
                    .couldNotLook, "only \(own) was restored, and `databases` names \(wanted.joined(separator: ", "))")
            }
            return [IntegrityAccess(name: own, isOther: false, database: database)]
        }
        let connection = try await PostgresConnection.connect(rights.owner)
        let rows = try await connection.query(
            "SELECT datname::pg_catalog.text, datallowconn FROM pg_catalog.pg_database ORDER BY datname <> $1, datname",
            [own]
        ).rows
        await connection.close()
        let open = rows.filter { $0[1] == "t" }.compactMap { $0[0] }
        if let wanted = probe.databases {
            for name in wanted where !open.contains(name) {
                await tally.couldNotLook(
                    "the database \(name), which is not among those that allow connections: \(open.joined(separator: ", "))"
                )
            }
            return open.filter(wanted.contains).map {
                IntegrityAccess(name: $0, isOther: $0 != own, database: database)
            }
        }
        let closed = rows.filter { $0[1] != "t" }.compactMap { $0[0] }
        if !closed.isEmpty {
            await tally.aside("\(closed.joined(separator: ", ")) allows no connections and was skipped")
        }
        return open.map { IntegrityAccess(name: $0, isOther: $0 != own, database: database) }
    }
}
