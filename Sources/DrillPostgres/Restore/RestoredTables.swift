import DrillCore

/// What a restore left: that each table of the dump is there, how many rows each got, and statistics for the planner.
struct RestoredTables: Sendable {
    var host: RestoreHost
    var database: String
    /// How many tables are analysed at once on a server of our own; one that others use gets one session, as its roles may have no more.
    var jobs: Int

    /// Well below what our server takes.
    private static let mostSessions = 16

    struct Outcome: Sendable {
        var rowCounts: [(table: String, rows: Int64)] = []
        var notes: [String] = []
    }

    func finish(_ toc: ArchiveTOC?, progress: any ProgressSink) async throws -> Outcome {
        progress.step("count and analyse tables", total: nil, unit: .tables)
        var outcome = Outcome()
        try await waitForOthers()
        let counts = try await self.counts()
        if let toc { try requireTables(of: toc, among: Set(counts.map(\.table))) }
        if counts.contains(where: { $0.isUncounted }) {
            outcome.notes.append("Rows were not counted: the server does not say (track_counts).")
        } else {
            outcome.rowCounts = counts.map { ($0.table, $0.rows) }
        }
        if let note = try await analyse() { outcome.notes.append(note) }
        return outcome
    }

    private struct Count: Sendable {
        var table: String
        var rows: Int64
        /// Has pages on disk, and yet no rows were ever counted.
        var isUncounted: Bool
    }

    /// A session hands in its counts when it ends; the tool's sessions may take a moment after the tool itself.
    private func waitForOthers() async throws {
        try await poll {
            try await host.withSession(database: database) { connection in
                try await connection.query(
                    """
                    SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()
                        AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend'
                    """
                ).scalar == "0"
            }
        }
    }

    private func counts() async throws -> [Count] {
        var counts: [Count] = []
        try await poll {
            counts = try await host.withSession(database: database) { try await self.counts($0) }
            return !counts.contains { $0.isUncounted }
        }
        return counts
    }

    private func counts(_ connection: PostgresConnection) async throws -> [Count] {
        let found = try await connection.query(
            """
            SELECT n.nspname || '.' || c.relname, coalesce(s.n_tup_ins - s.n_tup_del, 0),
                c.relkind <> 'p' AND coalesce(s.n_tup_ins, 0) = 0 AND pg_catalog.pg_relation_size(c.oid) > 0
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
            WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
            ORDER BY 1
            """)
        return found.rows.compactMap { row in
            guard let table = row[0], let rows = row[1].flatMap(strictInteger) else { return nil }
            return Count(table: table, rows: rows, isUncounted: row[2] == "t")
        }
    }

    private func requireTables(of toc: ArchiveTOC, among tables: Set<String>) throws {
        let wanted = toc.entries.filter { $0.kind == "TABLE DATA" }.map(\.qualifiedTag)
        guard let absent = wanted.first(where: { !tables.contains($0) && !$0.hasPrefix("pg_") }) else { return }
        throw DrillError(
            .backupUnusable, "the dump holds data of \(absent), and after the restore there is no such table",
            at: host.administration.place)
    }

    /// A dump carries no statistics; without them a probe's plan may be hopeless (P10). The largest tables come first, several at
    /// once; a partitioned one brings its partitions along.
    private func analyse() async throws -> String? {
        let found = try await host.withSession(database: database) { connection in
            try await connection.query(
                """
                SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
                FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
                ORDER BY c.relkind = 'p' DESC, pg_catalog.pg_relation_size(c.oid) DESC
                """)
        }
        let tables = TablesToAnalyse(found.rows.compactMap { $0[0] })
        let sessions = host.server == nil ? 1 : max(1, min(jobs, found.rows.count, Self.mostSessions))
        return try await withThrowingTaskGroup(of: String?.self) { group in
            for _ in 0..<sessions { group.addTask { try await analyse(tables) } }
            return try await group.reduce(nil) { $0 ?? $1 }
        }
    }

    private func analyse(_ tables: TablesToAnalyse) async throws -> String? {
        try await host.withSession(database: database) { connection in
            var note: String?
            while let table = await tables.next() {
                do throws(PostgresError) {
                    try await connection.execute("ANALYZE \(table)")
                } catch {
                    guard error.kind == .server else { throw error }
                    note = note ?? "Statistics of \(table) could not be gathered after the restore: \(error)."
                }
            }
            return note
        }
    }

    /// Asks again until it holds, for 5 s at most.
    private func poll(_ holds: () async throws -> Bool) async throws {
        let clock = host.environment.clock
        let deadline = clock.monotonicSeconds() + 5
        while try await !holds(), clock.monotonicSeconds() < deadline { try await clock.sleep(for: .milliseconds(50)) }
    }
}

private actor TablesToAnalyse {
    private var rest: ArraySlice<String>
    init(_ tables: [String]) { rest = tables[...] }
    func next() -> String? { rest.popFirst() }
}
