import DrillCore

/// Looks for values that stand more than once in a unique index, such as those that came in while a collation had changed (P23). amcheck
/// does so from PostgreSQL 17 on. Indexes over expressions or over a part of the rows are left out.
struct UniquePass: Sendable {
    let scope: IntegrityScope

    private struct Promise: Sendable {
        var table: RelationEntry
        var index: RelationEntry
        /// Values that stand more than once, with the places of their first rows.
        var duplicates: String
    }

    func run() async throws {
        guard scope.access.serverVersion < 170_000 else { return }
        let session = IntegritySession(scope.access, usesIndexes: true)
        let promises = try await promises(session)
        await session.close()
        guard !promises.isEmpty else { return }
        scope.step("look for duplicates", pages: promises.reduce(0) { $0 + $1.table.pages })
        let survey = Survey<Promise>(scope: scope) {
            $0.table.pages
        } ask: { session, batch in
            let sql = batch.map { "(SELECT count(*), min(places) FROM (\($0.duplicates)) AS twice)" }
            let rows = try await session.query(sql.joined(separator: " UNION ALL ")).rows
            guard rows.count == batch.count else { throw PostgresError(.malformed, "a unique index without an answer") }
            for (promise, row) in zip(batch, rows) {
                guard let count = row[0].flatMap(strictInteger), count > 0 else { continue }
                try await scope.record(
                    .corruption, of: promise.index, expected: "each value once",
                    observed: "\(grouped(count)) values stand more than once",
                    evidence: "The first rows with the same value are at \(row[1] ?? "unknown places").",
                    repair: "See whether the live table has them too. Mend the rows, then REINDEX.",
                    mark: "\(promise.index.oid) twice")
            }
        } failed: { promise, error in
            try await scope.judge(error, of: promise.table, while: "while duplicates were looked for")
        }
        try await survey.run(promises, size: 50)
        await scope.tally.did("unique indexes", count: Int64(promises.count))
    }

    private func promises(_ session: IntegritySession) async throws -> [Promise] {
        let nullsDiffer = scope.access.serverVersion >= 150_000 ? "NOT i.indnullsnotdistinct" : "true"
        let found = try await session.query(
            """
            SELECT i.indrelid, i.indexrelid, pg_catalog.string_agg(pg_catalog.format('%I%s', a.attname, coalesce(
                    (SELECT pg_catalog.format(' COLLATE %I.%I', n.nspname, c.collname)
                    FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
                    WHERE c.oid = i.indcollation[k.position - 1] AND c.oid <> a.attcollation), '')), ', ' ORDER BY k.position),
                CASE WHEN \(nullsDiffer)
                    THEN pg_catalog.string_agg(pg_catalog.format('%I IS NOT NULL', a.attname), ' AND ') ELSE 'true' END
            FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid AND t.relkind IN ('r', 'm'),
                pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (number, position)
                JOIN pg_catalog.pg_attribute a ON a.attnum = k.number
            WHERE a.attrelid = i.indrelid AND i.indisunique AND i.indisvalid AND i.indexprs IS NULL AND i.indpred IS NULL
                AND k.position <= i.indnkeyatts
            GROUP BY i.indrelid, i.indexrelid
            """)
        var promises: [Promise] = []
        for row in found.rows {
            guard let table = row[0].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }),
                table.pages > 0,
                let index = row[1].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }),
                let columns = row[2],
                let present = row[3], await !scope.tally.hasFailed(table.oid, of: scope.inventory.database)
            else { continue }
            promises.append(
                Promise(
                    table: table, index: index,
                    duplicates: """
                        SELECT pg_catalog.concat_ws(' and ', min(ctid::pg_catalog.text), max(ctid::pg_catalog.text)) AS places FROM ONLY \(table.name)
                        WHERE \(present) GROUP BY \(columns) HAVING count(*) > 1
                        """))
        }
        return promises
    }
}
