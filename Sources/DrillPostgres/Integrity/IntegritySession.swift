import DrillCore

/// A database that the integrity probe looks at, and with which rights.
struct IntegrityAccess: Sendable {
    /// The database's name.
    var name: String
    /// Whether other probes read another one.
    var isOther: Bool
    var database: PostgresDatabase

    /// Whether the probe reads as the role that restored: on a server of our own it is sealed in with what the backup contains.
    var isScratch: Bool { database.rights != nil }
    var serverVersion: Int { database.serverVersion }

    /// A session that only reads: as the owner of scratch, so that system catalogs and amcheck are open to it; else in the
    /// snapshot that other probes see.
    /// - Parameter usesIndexes: False where no answer is to depend on an index, which may be what is wrong.
    func open(usesIndexes: Bool) async throws(PostgresError) -> PostgresConnection {
        var settings = [("constraint_exclusion", "off"), ("max_parallel_workers_per_gather", "0")]
        if !usesIndexes {
            settings += ["indexscan", "indexonlyscan", "bitmapscan"].map { ("enable_\($0)", "off") }
        }
        guard let rights = database.rights else {
            return try await database.session(timeout: ProbeSession.streamTimeout, settings: settings)
        }
        // Given to a database or role by the backup, these would hide what is looked for. Only a superuser may set them.
        if rights.server != nil { settings += Self.hiding.map { ($0, "off") } }
        var parameters = rights.owner
        parameters["dbname"] = name
        parameters["options"] =
            ProbeSession.options + " -c statement_timeout=\(ProbeSession.streamTimeout)"
            + settings.map { " -c \($0.0)=\($0.1)" }.joined()
        return try await PostgresConnection.connect(parameters)
    }

    static let hiding = ["zero_damaged_pages", "ignore_checksum_failure"]

    /// A session that may write in scratch, in which event triggers of the backup stay silent as far as they can be made to (P27).
    func openForWriting(_ rights: ScratchRights) async throws(PostgresError) -> PostgresConnection {
        var parameters = rights.owner
        parameters["dbname"] = name
        parameters["options"] = "-c search_path=pg_catalog -c client_min_messages=error -c lock_timeout=60s"
        let connection = try await PostgresConnection.connect(parameters)
        do throws(PostgresError) {
            try await connection.execute("SET session_replication_role = replica")
        } catch {
            // Only a superuser may; elsewhere they run, as they did when the dump was restored.
            guard error.sqlState == PostgresError.insufficientPrivilege else { throw error }
        }
        return connection
    }
}

/// A session that is opened when it is needed, and anew when it broke.
actor IntegritySession {
    private let access: IntegrityAccess
    private let usesIndexes: Bool
    private var connection: PostgresConnection?

    init(_ access: IntegrityAccess, usesIndexes: Bool = false) {
        self.access = access
        self.usesIndexes = usesIndexes
    }

    func query(_ sql: String, _ parameters: [String?] = []) async throws(PostgresError) -> TextResult {
        try await with { connection throws(PostgresError) in try await connection.query(sql, parameters) }
    }

    /// The first rows; all are counted.
    func rows(of sql: String, limit: Int) async throws(PostgresError) -> SQLRows {
        try await with { connection throws(PostgresError) in try await connection.rows(of: sql, limit: limit) }
    }

    /// Has the server read and send every row, and lets them go.
    func readThrough(_ select: String) async throws(PostgresError) {
        do throws(PostgresError) {
            try await with { connection throws(PostgresError) in
                try await connection.discard("COPY (\(select)) TO STDOUT (FORMAT binary)")
            }
        } catch {
            // Some types are only known as text.
            guard error.sqlState == PostgresError.undefinedFunction else { throw error }
            try await with { connection throws(PostgresError) in
                try await connection.discard("COPY (\(select)) TO STDOUT")
            }
        }
    }

    func close() async {
        await connection?.close()
        connection = nil
    }

    private func current() async throws(PostgresError) -> PostgresConnection {
        if let connection { return connection }
        let opened = try await access.open(usesIndexes: usesIndexes)
        connection = opened
        return opened
    }

    /// In scratch each statement is a transaction. In the snapshot of a server that others run, one transaction goes on, and each
    /// statement gives its locks back: there are not as many as a large database has relations.
    private func with<Value: Sendable>(
        _ body: (PostgresConnection) async throws(PostgresError) -> Value
    ) async throws(PostgresError) -> Value {
        let connection = try await current()
        do throws(PostgresError) {
            if !access.isScratch { try await connection.execute("SAVEPOINT look") }
            let value = try await body(connection)
            if !access.isScratch { try await connection.execute(Self.giveBack) }
            return value
        } catch {
            if error.kind != .server {
                await close()
            } else if !access.isScratch {
                try await connection.execute(Self.giveBack)
            }
            throw error
        }
    }

    private static let giveBack = "ROLLBACK TO SAVEPOINT look; RELEASE SAVEPOINT look"
}

extension PostgresConnection {
    /// Runs a `COPY … TO STDOUT` to its end.
    fileprivate func discard(_ copy: String) async throws(PostgresError) {
        _ = try await interruptible { connection throws(PostgresError) in try connection.copyOut(copy) { _ in } }
    }
}

extension PostgresError {
    static let undefinedFunction = "42883"
}
