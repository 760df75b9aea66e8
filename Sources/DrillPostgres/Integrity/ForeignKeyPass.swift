import DrillCore

/// Looks for rows whose foreign key names no row. A validated constraint says nothing of rows that came in while triggers were off, as
/// in a data-only restore or by `session_replication_role = replica` (P10).
struct ForeignKeyPass: Sendable {
    let scope: IntegrityScope
    /// Rows of one key that are recorded.
    private static let most = 100

    private struct Key: Sendable {
        var table: RelationEntry
        var name: String
        var target: String
        /// FROM and WHERE: the rows without a row of the other table.
        var orphans: String
        /// Its primary key, else its place.
        var rowID: String
        var weight: Int64
    }

    func run() async throws {
        let session = IntegritySession(scope.access, usesIndexes: true)
        let keys = try await keys(session)
        await session.close()
        guard !keys.isEmpty else { return }
        scope.step("hold foreign keys against rows", pages: keys.reduce(0) { $0 + $1.weight })
        let survey = Survey<Key>(scope: scope) {
            $0.weight
        } ask: { session, batch in
            let sql = batch.map { "(SELECT count(*) \($0.orphans))" }.joined(separator: " UNION ALL ")
            let rows = try await session.query(sql).rows
            guard rows.count == batch.count else { throw PostgresError(.malformed, "a foreign key without an answer") }
            for (key, row) in zip(batch, rows) {
                guard let count = row[0].flatMap(strictInteger), count > 0 else { continue }
                let found = try await session.rows(
                    of: "SELECT \(key.rowID) \(key.orphans) ORDER BY 1 LIMIT \(Self.most)", limit: Self.most)
                for orphan in found.rows { try await record(key, row: orphan[0], of: count) }
            }
        } failed: { key, error in
            try await scope.judge(
                error, of: key.table, while: "while its foreign key \(key.name) was held against rows")
        }
        try await survey.run(keys, size: 50)
        await scope.tally.did("foreign keys", count: Int64(keys.count))
    }

    private func record(_ key: Key, row: String?, of count: Int64) async throws {
        let more = count > Int64(Self.most) ? "; \(Self.most) of them are recorded" : ""
        try await scope.record(
            .foreignKey, of: key.table, otherNames: ["\(key.table.name).\(key.name)"], rowID: row,
            expected: "a row of \(key.target), as the foreign key \(printable(key.name.utf8)) promises",
            observed: "no such row",
            evidence: "\(grouped(count)) rows of the table are without theirs\(more).",
            repair:
                "See whether the live rows have theirs. Rows that came in with triggers off are never held against the key."
        )
    }

    /// Validated foreign keys, without what partitions inherit of them. (As RI_Initial_Check in PostgreSQL's ri_triggers.c joins.)
    private func keys(_ session: IntegritySession) async throws -> [Key] {
        // From 18 on a key may be over periods, whose equality is another.
        var isSimple = scope.access.serverVersion >= 180_000 ? "AND NOT con.conperiod AND con.conenforced" : ""
        if scope.access.serverVersion >= 110_000 { isSimple += " AND con.conparentid = 0" }
        let found = try await session.query(
            """
            SELECT con.conrelid, con.conname, con.confrelid, con.confmatchtype, parts.conditions, parts.first, parts.present,
                (SELECT CASE count(*) WHEN 0 THEN NULL WHEN 1 THEN min(pg_catalog.format('own.%I::pg_catalog.text', a.attname))
                    ELSE pg_catalog.format('pg_catalog.json_build_array(%s)::pg_catalog.text',
                        pg_catalog.string_agg(pg_catalog.format('own.%I', a.attname), ', ' ORDER BY k.position)) END
                FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, position)
                    JOIN pg_catalog.pg_attribute a ON a.attnum = k.number
                WHERE i.indrelid = con.conrelid AND i.indisprimary AND a.attrelid = con.conrelid)
            FROM pg_catalog.pg_constraint con, LATERAL (
                SELECT pg_catalog.string_agg(pg_catalog.format('other.%I%s%s OPERATOR(%I.%s) own.%I%s', ta.attname,
                            CASE WHEN lt.typtype = 'p' THEN '' ELSE '::' || pg_catalog.format_type(lt.oid, NULL) END,
                            CASE WHEN ta.attcollation <> fa.attcollation AND ta.attcollation <> 0
                                THEN (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname)
                                    FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                                    WHERE c.oid = ta.attcollation) ELSE '' END,
                            opn.nspname, op.oprname, fa.attname,
                            CASE WHEN rt.typtype = 'p' THEN '' ELSE '::' || pg_catalog.format_type(rt.oid, NULL) END),
                        ' AND ' ORDER BY k.position),
                    (pg_catalog.array_agg(pg_catalog.format('other.%I', ta.attname) ORDER BY k.position))[1],
                    pg_catalog.string_agg(pg_catalog.format('own.%I IS NOT NULL', fa.attname),
                        CASE con.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END ORDER BY k.position)
                FROM ROWS FROM (pg_catalog.unnest(con.conkey), pg_catalog.unnest(con.confkey),
                        pg_catalog.unnest(con.conpfeqop)) WITH ORDINALITY AS k (own, other, operator, position)
                    JOIN pg_catalog.pg_attribute fa ON fa.attrelid = con.conrelid AND fa.attnum = k.own
                    JOIN pg_catalog.pg_attribute ta ON ta.attrelid = con.confrelid AND ta.attnum = k.other
                    JOIN pg_catalog.pg_operator op ON op.oid = k.operator
                    JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace
                    JOIN pg_catalog.pg_type lt ON lt.oid = op.oprleft JOIN pg_catalog.pg_type rt ON rt.oid = op.oprright
            ) AS parts (conditions, first, present)
            WHERE con.contype = 'f' AND con.convalidated \(isSimple) ORDER BY 1, 2
            """)
        return try found.rows.compactMap { row in
            guard let table = row[0].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }),
                let target = row[2].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }),
                let name = row[1],
                let conditions = row[4], let first = row[5], let present = row[6]
            else { throw PostgresError(.malformed, "a foreign key without its parts") }
            func rows(_ entry: RelationEntry) -> String {
                entry.kind == .partitionedTable ? entry.name : "ONLY \(entry.name)"
            }
            return Key(
                table: table, name: name, target: target.name,
                orphans: """
                    FROM \(rows(table)) AS own LEFT JOIN \(rows(target)) AS other ON (\(conditions))
                    WHERE \(first) IS NULL AND (\(present))
                    """,
                rowID: row[7] ?? "'ctid ' || own.ctid::pg_catalog.text", weight: 1 + table.pages + target.pages)
        }
    }
}
