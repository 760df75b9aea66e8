import DrillCore

/// What the catalogs alone say: indexes that are not used, constraints that were never validated, relations that came back without
/// their rows, partitions half taken off.
struct CatalogPass: Sendable {
    let scope: IntegrityScope

    func run() async throws {
        for entry in scope.inventory.ordered {
            if !entry.indexFaults.isEmpty { try await recordIndex(entry) }
            if entry.kind == .materializedView, !entry.isPopulated { try await recordView(entry) }
            if entry.kind == .table, entry.isUnlogged, entry.pages == 0 { try await recordUnlogged(entry) }
        }
        let session = IntegritySession(scope.access, usesIndexes: true)
        try await unvalidated(session)
        if scope.access.serverVersion >= 140_000 { try await detached(session) }
        await session.close()
        await scope.tally.did("catalogs")
    }

    private func recordIndex(_ entry: RelationEntry) async throws {
        let isLeft = entry.name.contains(#/_cc(?:new|old)\d*"?$/#)
        try await scope.record(
            .invalidIndex, of: entry, expected: "an index that queries use",
            observed: "the index is \(entry.indexFaults.joined(separator: " and "))",
            evidence: isLeft ? "Its name is one that an interrupted REINDEX CONCURRENTLY leaves." : nil,
            repair: entry.kind == .partitionedIndex
                ? "Attach an index of each partition (ALTER INDEX … ATTACH PARTITION), or drop it, in the live database."
                : "Drop it, or REINDEX it, in the live database; then back up again. `ignore` waives it where it is known."
        )
    }

    private func recordView(_ entry: RelationEntry) async throws {
        try await scope.record(
            .unpopulatedView, of: entry, expected: "a materialized view with its rows",
            observed: "it is not populated: every query of it is an error",
            repair: "REFRESH MATERIALIZED VIEW after a restore, and see why the backup holds it without rows.")
    }

    /// A physical backup holds no rows of unlogged tables, and a dump may have been told to leave them out.
    private func recordUnlogged(_ entry: RelationEntry) async throws {
        let isPhysical = scope.access.database.rights?.coversServer ?? false
        // From 14 on 0 is what VACUUM or ANALYZE found, and -1 stands for never.
        let wasSeenEmpty = entry.estimatedRows == 0 && scope.access.serverVersion >= 140_000
        let hadRows = entry.estimatedRows > 0
        let evidence: String? =
            hadRows
            ? "The last VACUUM or ANALYZE that the catalogs tell of found about \(grouped(Int64(entry.estimatedRows))) rows."
            : wasSeenEmpty ? "The last VACUUM or ANALYZE that the catalogs tell of found no row." : nil
        try await scope.record(
            .unloggedTable, of: entry, expected: "the rows of the table",
            observed: "the table is unlogged, and came back empty", evidence: evidence,
            repair: isPhysical
                ? "A physical backup never holds them: make the table logged, or waive it by `ignore` where its rows may be lost."
                : "See whether pg_dump was told to leave them out (--no-unlogged-table-data).",
            counts: hadRows || (isPhysical && !wasSeenEmpty))
    }

    private func unvalidated(_ session: IntegritySession) async throws {
        // Partitions inherit the keys of their table.
        let isOwn = scope.access.serverVersion >= 110_000 ? "AND con.conparentid = 0" : ""
        let found = try await session.query(
            """
            SELECT con.conrelid, con.conname, con.contype, t.typname, pg_catalog.format('%I.%I', n.nspname, con.conname)
            FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_namespace n ON n.oid = con.connamespace
                LEFT JOIN pg_catalog.pg_type t ON t.oid = con.contypid
            WHERE NOT con.convalidated \(isOwn) AND (con.conislocal OR con.contypid <> 0)
            ORDER BY 5
            """)
        for row in found.rows {
            let name = row[1] ?? ""
            let noun = row[2] == "f" ? "foreign key" : row[2] == "n" ? "NOT NULL constraint" : "CHECK constraint"
            let observed =
                "the \(noun) \(printable(name.utf8)) is not validated: rows from before it were never held against it"
            let repair = "ALTER TABLE … VALIDATE CONSTRAINT in the live database, where that is meant."
            guard let entry = row[0].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }) else {
                try await scope.tally.record(
                    IntegrityDefect(
                        kind: .unvalidatedConstraint, database: scope.inventory.database, relation: nil,
                        otherNames: [row[4] ?? name], expected: "a validated constraint",
                        observed: "\(observed) (domain \(printable((row[3] ?? "").utf8)))", repair: repair))
                continue
            }
            try await scope.record(
                .unvalidatedConstraint, of: entry, otherNames: ["\(entry.name).\(name)"],
                expected: "a validated constraint", observed: observed, repair: repair)
        }
    }

    private func detached(_ session: IntegritySession) async throws {
        let found = try await session.query(
            "SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhdetachpending ORDER BY 1")
        for row in found.rows {
            guard let entry = row[0].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }) else {
                continue
            }
            try await scope.record(
                .detachedPartition, of: entry, expected: "a partition that is on or off",
                observed:
                    "DETACH PARTITION CONCURRENTLY was begun and not ended: its rows no longer show in the parent",
                repair: "ALTER TABLE … DETACH PARTITION … FINALIZE in the live database, then back up again.")
        }
    }
}
