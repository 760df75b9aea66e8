import DrillCore

/// A collation whose version on this machine is another one than indexes were built with (P23).
struct CollationChange: Sendable {
    var name: String
    var built: String
    var actual: String
    /// Indexes in its order, by number.
    var indexes: [UInt32]
    /// Tables whose partitions are cut by its order.
    var ranges: [UInt32]

    /// Collations in whose order there are indexes or partitions, and that have changed.
    static func all(_ scope: IntegrityScope) async throws -> [Self] {
        let session = IntegritySession(scope.access, usesIndexes: true)
        let version = scope.access.serverVersion
        // Before 15 the version of a database's own collation is recorded nowhere.
        let ofDatabase = version >= 150_000 ? "datcollversion" : "NULL::pg_catalog.text"
        let actualOfDatabase = version >= 150_000 ? "pg_catalog.pg_database_collation_actual_version(d.oid)" : "NULL"
        let found = try await session.query(
            """
            WITH used AS (
                SELECT i.indexrelid AS oid, c.oid AS coll, false AS is_range
                FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indcollation::pg_catalog.oid[]) AS c (oid)
                UNION
                SELECT p.partrelid, c.oid, true
                FROM pg_catalog.pg_partitioned_table p, pg_catalog.unnest(p.partcollation::pg_catalog.oid[]) AS c (oid)
                WHERE p.partstrat = 'r'
            ), versions AS (
                SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.collname) AS name, c.collversion AS built,
                    pg_catalog.pg_collation_actual_version(c.oid) AS actual
                FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                WHERE c.collversion IS NOT NULL AND c.oid IN (SELECT coll FROM used)
                UNION ALL
                SELECT 100, 'the default one of the database', \(ofDatabase), \(actualOfDatabase)
                FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
            )
            SELECT v.name, v.built, v.actual, used.oid, used.is_range
            FROM versions v LEFT JOIN used ON used.coll = v.oid WHERE v.built IS NOT NULL AND v.built IS DISTINCT FROM v.actual ORDER BY 1, 4
            """)
        await session.close()
        var changes: [Self] = []
        for row in found.rows {
            guard let name = row[0], let built = row[1] else { continue }
            // Where this machine's library tells no version of it.
            let actual = row[2] ?? "none"
            if changes.last?.name != name {
                changes.append(Self(name: name, built: built, actual: actual, indexes: [], ranges: []))
            }
            guard let oid = row[3].flatMap({ UInt32($0) }) else { continue }
            if row[4] == "t" {
                changes[changes.count - 1].ranges.append(oid)
            } else {
                changes[changes.count - 1].indexes.append(oid)
            }
        }
        if !changes.isEmpty || version >= 150_000 { await scope.tally.did("collation versions") }
        return changes
    }

    /// - Parameter verified: B-trees whose order amcheck proved on this machine: in those the change has moved nothing.
    func record(_ scope: IntegrityScope, verified: VerifiedTrees) async throws {
        // A hash index knows no order.
        let stored = indexes.filter { oid in
            scope.inventory.relations[oid].map { $0.kind == .index && $0.accessMethod != "hash" } ?? false
        }
        let open = stored.filter { !verified.indexes.contains($0) }
        let suspects = (open + ranges).compactMap { scope.inventory.relations[$0]?.name }
        let evidence: String
        if suspects.isEmpty {
            evidence =
                stored.isEmpty
                ? "No index is in its order."
                : "amcheck found all \(stored.count) B-trees in its order sound on this machine."
        } else {
            let shown = suspects.prefix(5).joined(separator: ", ") + (suspects.count > 5 ? ", …" : "")
            evidence =
                "In its order, and not verified on this machine: \(grouped(Int64(suspects.count))), such as \(shown)."
        }
        try await scope.tally.record(
            IntegrityDefect(
                kind: .collation, database: scope.inventory.database, relation: nil, otherNames: [name],
                expected: "collation version \(built), with which indexes were built",
                observed: "the collation (\(name)) of \(scope.inventory.database) has version \(actual) here",
                evidence: evidence,
                repair:
                    "Restore on a machine with the same C library or ICU, or REINDEX and ALTER … REFRESH COLLATION VERSION after "
                    + "a restore; plan the time for it.",
                counts: !suspects.isEmpty))
    }
}
