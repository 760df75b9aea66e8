import DrillCore
import Foundation

/// Inserts one marker row into the production database, for `muster mark`.
struct ProductionMarkerRows: MarkerRows {
    private let parameters: PostgresParameters
    private let table: MarkerTable

    init(_ settings: SettingsReader, table: MarkerTable, _ environment: DrillEnvironment) throws {
        self.table = table
        let password = try PostgresPassword(settings, environment)
        let server = try settings.requiredString("server")
        let parsed = Result { () throws(DrillError) in
            try PostgresParameters.parse(server, variables: environment.variables, passwordFile: password.file)
        }
        let found = try parsed.mapError { error in
            error.code == .usage ? settings.error("server", error.what, hints: error.hints) : error
        }.get()
        guard found["host"] != nil || found["hostaddr"] != nil, found["dbname"] != nil else {
            throw settings.error("server", "must name host and dbname")
        }
        parameters = password.secret.map { PostgresParameters(found.values, password: $0) } ?? found
    }

    var place: String { parameters.place }

    func open() async throws -> any MarkerRowSession {
        var parameters = parameters
        parameters["options"] = [
            "search_path=pg_catalog", "statement_timeout=30s", "lock_timeout=10s", "TimeZone=UTC", "DateStyle=ISO",
        ].map { "-c \($0)" }.joined(separator: " ")
        do {
            let connection = try await PostgresConnection.connect(parameters)
            do {
                try await requireTable(connection)
            } catch {
                await connection.close()
                throw error
            }
            return Session(connection: connection, table: table)
        } catch let error as PostgresError {
            throw error.drillError(at: parameters.place)
        }
    }

    private func requireTable(_ connection: PostgresConnection) async throws {
        let found = try await connection.query(
            """
            SELECT pg_is_in_recovery()::text, to_regclass($1) IS NOT NULL,
                CASE WHEN to_regclass($1) IS NOT NULL THEN has_table_privilege(to_regclass($1), 'INSERT, SELECT') END
            """, [table.sql])
        let row = found.rows.first ?? []
        guard row.count == 3, row[0] == "false" else {
            throw DrillError(
                .couldNotLook, "the server is a standby, which takes no rows", at: place,
                hints: ["Name the primary in `production.server`."])
        }
        guard row[1] == "t" else {
            let lines = table.definition.split(separator: "\n").map(String.init)
            throw DrillError(
                .couldNotLook, "there is no table \(table.text)", at: place,
                hints: ["Make it in production once (`muster mark --ddl` prints this):"] + lines)
        }
        guard row[2] == "t" else {
            throw DrillError(
                .couldNotLook, "this role may not insert into \(table.text)", at: place,
                hints: ["GRANT SELECT, INSERT ON \(table.sql) TO \(quotedIdentifier(parameters["user"] ?? "…"));"])
        }
    }

    private struct Session: MarkerRowSession {
        let connection: PostgresConnection
        let table: MarkerTable

        private static func microseconds(_ expression: String) -> String {
            "(date_part('epoch', \(expression)) * 1000000)::int8"
        }

        private func failed(_ error: PostgresError) -> DrillError { error.drillError(at: connection.place) }

        func now() async throws -> Date {
            do {
                let found = try await connection.query("SELECT \(Self.microseconds("clock_timestamp()"))")
                guard let value = found.scalar.flatMap(strictInteger) else {
                    throw PostgresError(.malformed, "the server does not tell the time")
                }
                return Date(microseconds: value)
            } catch let error as PostgresError {
                throw failed(error)
            }
        }

        func insert(key: ObjectKey, begunAt: Date, objectAt: Date?) async throws -> (number: Int64, insertedAt: Date) {
            do {
                // The statement is a transaction of its own: the row is committed when this returns.
                let found = try await connection.query(
                    """
                    INSERT INTO \(table.sql) (key, begun_at, object_at)
                    VALUES ($1, to_timestamp(0) + $2::int8 * interval '1 microsecond',
                        to_timestamp(0) + $3::int8 * interval '1 microsecond')
                    RETURNING number, \(Self.microseconds("inserted_at"))
                    """,
                    [
                        String(decoding: key.bytes, as: UTF8.self), String(begunAt.microseconds),
                        objectAt.map { String($0.microseconds) },
                    ])
                guard let row = found.rows.first, row.count == 2, let number = row[0].flatMap(strictInteger),
                    let inserted = row[1].flatMap(strictInteger)
                else { throw PostgresError(.malformed, "the server does not tell which row it inserted") }
                return (number, Date(microseconds: inserted))
            } catch let error as PostgresError {
                throw failed(error)
            }
        }

        func close() async { await connection.close() }
    }
}
