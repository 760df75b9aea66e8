import DrillCore

/// What a session of a probe may see and do: one read-only snapshot, no more.
enum ProbeSession {
    /// Command-line options for the server, in force before anything else; what a role or database was given by
    /// `ALTER … SET` in the backup does not count against them (P7, P8).
    static let options = [
        "search_path=pg_catalog", "default_transaction_read_only=on", "row_security=off", "lock_timeout=60s",
        "idle_in_transaction_session_timeout=0", "TimeZone=UTC", "DateStyle=ISO", "IntervalStyle=postgres",
        "bytea_output=hex", "extra_float_digits=1", "standard_conforming_strings=on", "transform_null_equals=off",
        "client_min_messages=error", "jit=off",
    ].map { "-c \($0)" }.joined(separator: " ")

    /// For one query of a probe. A run's own deadline is usually nearer.
    static let queryTimeout = "1h"
    /// For a stream of references: its rows wait for listings of objects, which may take hours.
    static let streamTimeout = "24h"

    /// Connects, in an open read-only transaction that sees `snapshot`.
    /// - Parameters:
    ///   - snapshot: What another session exported; nil takes a new one.
    ///   - settings: Further ones of the server, by name.
    static func open(
        _ parameters: PostgresParameters, snapshot: String?, settings: [(name: String, value: String)]
    ) async throws(PostgresError) -> PostgresConnection {
        var parameters = parameters
        parameters["options"] = options
        let connection = try await PostgresConnection.connect(parameters)
        // Bytes of an unknown encoding are handed on as they are; the server would refuse those that are no UTF-8 (P11).
        if try await connection.reported("server_encoding") == "SQL_ASCII" {
            try await connection.setClientEncoding("SQL_ASCII")
        }
        try await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if let snapshot { try await connection.execute("SET TRANSACTION SNAPSHOT \(quotedLiteral(snapshot))") }
        for (name, value) in settings {
            _ = try await connection.query("SELECT pg_catalog.set_config($1, $2, false)", [name, value])
        }
        return connection
    }
}

/// As an SQL identifier, whatever characters it has (X6).
func quotedIdentifier(_ name: String) -> String { "\"" + name.replacing("\"", with: "\"\"") + "\"" }

/// As an SQL string constant under `standard_conforming_strings=on`.
func quotedLiteral(_ text: String) -> String { "'" + text.replacing("'", with: "''") + "'" }

/// A statement without the semicolon and the blanks at its end, so that it can stand in parentheses.
func withoutSemicolon(_ sql: String) -> String {
    var rest = sql[...]
    while let last = rest.last, last == ";" || last.isWhitespace { rest.removeLast() }
    return String(rest)
}
