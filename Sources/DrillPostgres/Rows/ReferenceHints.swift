import DrillCore
import Foundation

extension PostgresDatabase {
    /// So many pages of a table are read for hints at most: 2 MiB, or some 20,000 rows.
    private static let sampledPages: Double = 256

    /// From fewer rows in the sample nothing is concluded.
    private static let fewestSampledRows: Double = 100

    /// Rows of a query or a view that are counted one by one; of more, the planner's guess is good enough.
    private static let countedRows = 100_000

    /// Read from a sample of the table's pages, the same at each call; of a query or a view without keys.
    func referenceHints(
        _ query: ReferenceQuery, splits: Int
    ) async throws -> (expectedCount: Int64?, splitKeys: [ObjectKey]) {
        let connection = try await referenceSession(query)
        let source = try await source(of: query, connection)
        let statement = try await statement(for: query, source: source, connection)
        do throws(PostgresError) {
            let hints =
                source.hasPages
                ? try await sampled(query, source: source, statement, splits: splits, connection)
                : (try await counted(query, source: source, statement, connection), [])
            await connection.close()
            return hints
        } catch {
            throw await explained(error)
        }
    }

    /// Exact where there are few; else no less than what was counted.
    private func counted(
        _ query: ReferenceQuery, source: ReferenceSource, _ statement: ReferenceStatement,
        _ connection: PostgresConnection
    ) async throws(PostgresError) -> Int64? {
        let key = source.expression(query.key)
        let condition = query.includesExcludedRows ? nil : query.condition
        let few = try await connection.query(
            """
            SELECT pg_catalog.count(*) FROM (
                SELECT 1 FROM \(source.sql)
                WHERE \(key) IS NOT NULL\(condition.map { " AND (\n\($0)\n)" } ?? "") LIMIT \(Self.countedRows + 1)
            ) AS few
            """)
        guard let count = few.scalar.flatMap({ Int64($0) }) else {
            throw PostgresError(.malformed, "a count is no number")
        }
        guard count > Self.countedRows else { return count }
        return max(count, try await planned(statement, connection) ?? 0)
    }

    private func planned(
        _ statement: ReferenceStatement, _ connection: PostgresConnection
    ) async throws(PostgresError) -> Int64? {
        let plan = try await connection.query("EXPLAIN (FORMAT JSON) \(statement.sql)").scalar ?? ""
        struct Explained: Decodable {
            struct Node: Decodable {
                var rows: Double
                enum CodingKeys: String, CodingKey { case rows = "Plan Rows" }
            }
            var plan: Node
            enum CodingKeys: String, CodingKey { case plan = "Plan" }
        }
        do {
            return try JSONDecoder().decode([Explained].self, from: Data(plan.utf8)).first.flatMap {
                Int64(exactly: $0.plan.rows)
            }
        } catch {
            throw PostgresError(.malformed, "the server's plan cannot be read: \(error)")
        }
    }

    private func sampled(
        _ query: ReferenceQuery, source: ReferenceSource, _ statement: ReferenceStatement, splits: Int,
        _ connection: PostgresConnection
    ) async throws(PostgresError) -> (expectedCount: Int64?, splitKeys: [ObjectKey]) {
        let size = try await connection.query(
            """
            SELECT pg_catalog.sum(pg_catalog.pg_relation_size(relid))::pg_catalog.int8 / pg_catalog.current_setting('block_size')::pg_catalog.int8
            FROM (SELECT relid FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass)
                UNION SELECT $1::pg_catalog.regclass) AS parts
            """, [source.relation])
        let keyType = statement.keyType
        let pages = size.scalar.flatMap { Double($0) } ?? 0
        let percent = pages > Self.sampledPages ? Self.sampledPages / pages * 100 : 100
        let key = source.expression(query.key)
        let condition = query.includesExcludedRows ? nil : query.condition
        let fractions = splits > 0 ? (1...splits).map { "\(Double($0) / Double(splits))" } : []
        let isBytes = ReferenceStatement.isOrderedAsBytes(type: keyType, encoding: encoding)
        // What `textsend` yields is what the stream sends.
        let found = try await connection.query(
            """
            SELECT b.total, pg_catalog.encode(\(isBytes ? "k" : "pg_catalog.textsend(k)"), 'hex')
            FROM (
                SELECT pg_catalog.count(*) AS total,
                    pg_catalog.percentile_disc(ARRAY[\(fractions.joined(separator: ", "))]::pg_catalog.float8[])
                        WITHIN GROUP (ORDER BY s.key) AS keys
                FROM (
                    SELECT \(ReferenceStatement.ordered(key, type: keyType, encoding: encoding)) AS key
                    FROM \(source.sql) TABLESAMPLE SYSTEM (\(percent)) REPEATABLE (1)
                    WHERE \(key) IS NOT NULL\(condition.map { " AND (\n\($0)\n)" } ?? "")
                ) AS s
            ) AS b LEFT JOIN LATERAL pg_catalog.unnest(b.keys) AS k ON true
            """)
        guard let total = found.rows.first?[0].flatMap({ Double($0) }) else {
            throw PostgresError(.malformed, "the sample has no count")
        }
        var keys: [ObjectKey] = []
        for key in found.rows.compactMap({ $0[1].flatMap(bytes(hexadecimal:)) }).map(ObjectKey.init)
        where key != keys.last {
            keys.append(key)
        }
        // So few in a sample tell little of the whole.
        if percent < 100, total < Self.fewestSampledRows {
            return (try await counted(query, source: source, statement, connection), keys)
        }
        return (Int64((total / percent * 100).rounded()), keys)
    }
}

/// The bytes that pairs of hexadecimal digits stand for; nil for anything else.
private func bytes(hexadecimal text: String) -> [UInt8]? {
    let digits = text.utf8.map { Character(Unicode.Scalar($0)).hexDigitValue }
    guard digits.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
        guard let high = digits[index], let low = digits[index + 1] else { return nil }
        bytes.append(UInt8(high << 4 | low))
    }
    return bytes
}
