import DrillCore

/// Holds the rows of each table against what the table promises of each: NOT NULL, CHECK constraints, and the bounds of a partition.
///
/// CHECK constraints that call functions of the backup's own, which may look elsewhere and mean another thing under the fixed
/// `search_path`, and those that depend on the time, the time zone or the session, are left out.
struct RowRulePass: Sendable {
    let scope: IntegrityScope
    private static let most = 100

    private struct Rule: Sendable {
        /// For a person.
        var name: String
        /// True for a row that breaks it.
        var isBroken: String
        var constraint: String?
    }

    private struct Table: Sendable {
        var entry: RelationEntry
        var rules: [Rule]
        var rowID: String

        var counts: String {
            let columns = rules.map { "count(*) FILTER (WHERE \($0.isBroken))" }
            return "SELECT ARRAY[\(columns.joined(separator: ", "))]::pg_catalog.text FROM ONLY \(entry.name)"
        }
    }

    func run() async throws {
        let session = IntegritySession(scope.access, usesIndexes: true)
        let (tables, skipped) = try await tables(session)
        await session.close()
        if skipped > 0 {
            await scope.tally.aside(
                "\(grouped(skipped)) CHECK constraints call functions of the backup's own and were not held against rows"
            )
        }
        guard !tables.isEmpty else { return }
        scope.step("hold rows against constraints", pages: tables.reduce(0) { $0 + $1.entry.pages })
        let survey = Survey<Table>(scope: scope) {
            $0.entry.pages
        } ask: { session, batch in
            let rows = try await session.query(batch.map { "(\($0.counts))" }.joined(separator: " UNION ALL ")).rows
            guard rows.count == batch.count else { throw PostgresError(.malformed, "a table without an answer") }
            for (table, row) in zip(batch, rows) {
                let counts = (row[0] ?? "").dropFirst().dropLast().split(separator: ",").map {
                    strictInteger(String($0))
                }
                guard counts.count == table.rules.count else {
                    throw PostgresError(.malformed, "a rule without an answer")
                }
                for (rule, count) in zip(table.rules, counts) where count != 0 {
                    try await record(table, rule, count: count ?? 0, session)
                }
            }
        } failed: { table, error in
            try await scope.judge(error, of: table.entry, while: "while its rows were held against its constraints")
        }
        try await survey.run(tables, size: 50)
        await scope.tally.did("NOT NULL, CHECK and partition bounds of tables", count: Int64(tables.count))
    }

    private func record(_ table: Table, _ rule: Rule, count: Int64, _ session: IntegritySession) async throws {
        let found = try await session.rows(
            of: """
                SELECT \(table.rowID) FROM ONLY \(table.entry.name) AS own WHERE \(rule.isBroken)
                ORDER BY 1 LIMIT \(Self.most)
                """, limit: Self.most)
        for row in found.rows {
            try await scope.record(
                .rowRule, of: table.entry, otherNames: rule.constraint.map { ["\(table.entry.name).\($0)"] } ?? [],
                rowID: row[0], expected: "a row that keeps \(rule.name)", observed: "it does not",
                evidence: "\(grouped(count)) rows of the table do not.",
                repair: "See whether the live row is the same; if not, the backup is damaged.")
        }
    }

    private func tables(_ session: IntegritySession) async throws -> (tables: [Table], skipped: Int64) {
        var rules: [UInt32: [Rule]] = [:]
        let columns = try await session.query(
            """
            SELECT attrelid, pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum)
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
            WHERE attnotnull AND attnum > 0 AND NOT attisdropped AND c.relkind = 'r' GROUP BY attrelid
            """)
        for row in columns.rows {
            guard let oid = row[0].flatMap({ UInt32($0) }), let names = row[1] else { continue }
            // A plain IS NULL of such a column would be taken for false without a look.
            rules[oid, default: []].append(
                Rule(name: "NOT NULL of its columns", isBroken: "pg_catalog.num_nulls(\(names)) > 0"))
        }
        let isEnforced = scope.access.serverVersion >= 180_000 ? "AND con.conenforced" : ""
        let constraints = try await session.query(
            """
            SELECT con.conrelid, con.conname, pg_catalog.pg_get_expr(con.conbin, con.conrelid),
                con.conbin::pg_catalog.text ~ '\\{(SQLVALUEFUNCTION|COERCEVIAIO|SUBLINK|ROWCOMPARE)' OR EXISTS (
                    SELECT FROM pg_catalog.pg_proc p WHERE (p.provolatile <> 'i' OR p.oid >= 16384) AND p.oid IN (
                        SELECT m[1]::pg_catalog.oid
                        FROM pg_catalog.regexp_matches(con.conbin::pg_catalog.text, ':funcid (\\d+)', 'g') AS m
                        UNION ALL
                        SELECT o.oprcode FROM pg_catalog.regexp_matches(con.conbin::pg_catalog.text, ':opno (\\d+)', 'g') AS m
                            JOIN pg_catalog.pg_operator o ON o.oid = m[1]::pg_catalog.oid))
            FROM pg_catalog.pg_constraint con JOIN pg_catalog.pg_class c ON c.oid = con.conrelid
            WHERE con.contype = 'c' AND con.convalidated AND c.relkind = 'r' \(isEnforced) ORDER BY 1, 2
            """)
        var skipped: Int64 = 0
        for row in constraints.rows {
            guard let oid = row[0].flatMap({ UInt32($0) }), let name = row[1], let expression = row[2] else { continue }
            guard row[3] == "f" else {
                skipped += 1
                continue
            }
            rules[oid, default: []].append(
                Rule(
                    name: "the CHECK constraint \(printable(name.utf8))", isBroken: "NOT (\(expression))",
                    constraint: name))
        }
        // Partitions cut by functions of the backup's own are left out like such constraints.
        let isPlain =
            scope.access.serverVersion < 120_000
            ? ""
            : """
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) AS a (oid)
                JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.oid,
                pg_catalog.regexp_matches(p.partexprs::pg_catalog.text, ':funcid (\\d+)', 'g') AS m WHERE m[1]::pg_catalog.oid >= 16384)
            """
        let bounds = try await session.query(
            """
            SELECT c.oid, pg_catalog.pg_get_partition_constraintdef(c.oid) FROM pg_catalog.pg_class c
            WHERE c.relispartition AND c.relkind = 'r' \(isPlain)
            """)
        for row in bounds.rows {
            guard let oid = row[0].flatMap({ UInt32($0) }), let expression = row[1] else { continue }
            rules[oid, default: []].append(Rule(name: "the bounds of its partition", isBroken: "NOT (\(expression))"))
        }
        let ids = try await rowIDs(session)
        let tables = scope.inventory.ordered.compactMap { entry -> Table? in
            guard let own = rules[entry.oid], entry.pages > 0 else { return nil }
            return Table(entry: entry, rules: own, rowID: ids[entry.oid] ?? "'ctid ' || own.ctid::pg_catalog.text")
        }
        return (tables, skipped)
    }

    private func rowIDs(_ session: IntegritySession) async throws -> [UInt32: String] {
        let found = try await session.query(
            """
            SELECT i.indrelid, CASE WHEN count(*) = 1 THEN min(pg_catalog.format('own.%I::pg_catalog.text', a.attname))
                ELSE pg_catalog.format('pg_catalog.json_build_array(%s)::pg_catalog.text',
                    pg_catalog.string_agg(pg_catalog.format('own.%I', a.attname), ', ' ORDER BY k.position)) END
            FROM pg_catalog.pg_index i, pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, position)
                JOIN pg_catalog.pg_attribute a ON a.attnum = k.number
            WHERE i.indisprimary AND a.attrelid = i.indrelid GROUP BY i.indrelid
            """)
        return Dictionary(
            found.rows.compactMap { row in row[0].flatMap { UInt32($0) }.flatMap { oid in row[1].map { (oid, $0) } } },
            uniquingKeysWith: { first, _ in first })
    }
}
