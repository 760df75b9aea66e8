import DrillCore

/// Where references come from, as the restored database knows it.
struct ReferenceSource: Sendable {
    /// What stands behind FROM.
    var sql: String
    /// `schema.table`, quoted where needed; nil for a query.
    var relation: String?
    var columns: [ResultColumn]
    /// The primary key's columns in its order; empty where there is none.
    var primaryKey: [String]
    /// A table or a materialized view: one whose pages can be sampled.
    var hasPages: Bool

    /// The column of exactly that name, quoted, else the words as an SQL expression. A comment at its end ends with the line.
    func expression(_ words: String) -> String {
        columns.contains { $0.name == words } ? quotedIdentifier(words) : "(\n\(words)\n)"
    }
}

extension PostgresDatabase {
    /// Looks the source up. Throws `DrillError` with the nearest names where it is not there.
    func source(of query: ReferenceQuery, _ connection: PostgresConnection) async throws -> ReferenceSource {
        do throws(PostgresError) {
            switch query.source {
            case .table(let name):
                if let source = try await table(name, connection) { return source }
            case .query(let text):
                let sql = withoutSemicolon(text)
                let columns = try await connection.columns(of: sql)
                guard !columns.isEmpty else {
                    throw PostgresError(.server, "the query yields no rows; a SELECT is needed")
                }
                return ReferenceSource(
                    sql: "(\n\(sql)\n) AS source", relation: nil, columns: columns, primaryKey: [], hasPages: false)
            }
        } catch {
            throw await explained(error)
        }
        guard case .table(let name) = query.source else {
            throw DrillError(.couldNotLook, "no source of references", at: place)
        }
        throw DrillError(
            .couldNotLook, "the restored database has no table \(printable(name.utf8))", at: place,
            hints: await relationHints([name]))
    }

    /// nil where there is no such table or view.
    private func table(
        _ name: String, _ connection: PostgresConnection
    ) async throws(PostgresError) -> ReferenceSource? {
        let found = try await connection.query(
            """
            SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = pg_catalog.to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            """, [name])
        guard let row = found.rows.first, let oid = row[0], let relation = row[1], let kind = row[2] else { return nil }
        if kind == "f" {
            throw PostgresError(.server, "\(relation) is a foreign table: its rows are not in the backup")
        }
        let columns = try await connection.query(
            """
            SELECT attname, atttypid FROM pg_catalog.pg_attribute
            WHERE attrelid = $1::pg_catalog.oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
            """, [oid])
        let primaryKey = try await connection.query(
            """
            SELECT a.attname FROM pg_catalog.pg_index i
            CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indrelid = $1::pg_catalog.oid AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place
            """, [oid])
        return ReferenceSource(
            sql: relation, relation: relation,
            columns: columns.rows.map { ResultColumn(name: $0[0] ?? "", type: $0[1].flatMap { UInt32($0) } ?? 0) },
            primaryKey: primaryKey.rows.compactMap { $0[0] }, hasPages: "rpm".contains(kind))
    }

    /// The type of that expression over the source. `setting` names it for a person.
    func type(
        of words: String, setting: String, in source: ReferenceSource, _ connection: PostgresConnection
    ) async throws -> UInt32 {
        do throws(PostgresError) {
            let columns = try await connection.columns(of: "SELECT \(source.expression(words)) FROM \(source.sql)")
            guard columns.count == 1, let column = columns.first else {
                throw PostgresError(.server, "\(columns.count) values where one is meant")
            }
            return column.type
        } catch {
            let hints =
                error.sqlState == PostgresError.undefinedColumn
                ? columnHints(words, error, columns: source.columns.map(\.name)) : []
            throw error.drillError(
                at: source.relation.map { "\(place) \($0)" } ?? place, what: "\(setting): \(printable(words.utf8))",
                hints: hints)
        }
    }
}
