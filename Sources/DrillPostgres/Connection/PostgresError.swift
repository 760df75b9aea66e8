import DrillCore

/// What libpq or the server said. It never holds a password.
struct PostgresError: Error, Sendable, CustomStringConvertible {
    enum Kind: Sendable {
        /// No session: nobody answers, the role or password is refused, the database is not there.
        case cannotConnect
        /// The session ended while it was in use.
        case connectionLost
        /// The server refused or failed a statement.
        case server
        /// Ended from our side, by ``PostgresConnection/interrupt()`` or because the task was cancelled.
        case interrupted
        /// What came over the wire is not what the protocol says, or disagrees with itself (P12).
        case malformed
    }

    var kind: Kind
    /// Five characters of the PostgreSQL manual's Appendix A; nil where the server said nothing.
    var sqlState: String?
    /// The primary message, one line.
    var message: String
    /// May quote values of a row: not for reports.
    var detail: String?
    var hint: String?
    /// Where in the statement, in characters from 1.
    var position: Int?

    init(
        _ kind: Kind, _ message: String, sqlState: String? = nil, detail: String? = nil, hint: String? = nil,
        position: Int? = nil
    ) {
        self.kind = kind
        self.message = message
        self.sqlState = sqlState
        self.detail = detail
        self.hint = hint
        self.position = position
    }

    var description: String { sqlState.map { "\(message) (SQLSTATE \($0))" } ?? message }

    /// As what crosses the module's border: we could not look, or the run was ended.
    func drillError(at place: String, what: String? = nil, hints: [String] = []) -> DrillError {
        let text = what.map { "\($0): \(self)" } ?? description
        if kind == .interrupted { return DrillError(.cancelled, text, at: place, cause: self) }
        return DrillError(.couldNotLook, text, at: place, hints: hints + (hint.map { [$0] } ?? []), cause: self)
    }
}

extension PostgresError {
    static let undefinedColumn = "42703"
    static let undefinedTable = "42P01"
    static let insufficientPrivilege = "42501"
    static let readOnlyTransaction = "25006"
}
