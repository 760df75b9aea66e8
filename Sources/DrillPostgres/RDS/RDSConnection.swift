import DrillCore
import Foundation

/// How the new instance is reached: TLS with its certificate verified in full, against the name that RDS gave it. A tunnel changes
/// where packets go, never whose certificate is believed, so one that leads elsewhere (to production, for one) is refused (V7).
struct RDSConnection: Sendable {
    let login: RDSSettings.Login
    let address: String
    let port: Int
    let user: String
    let database: String

    func parameters(_ api: any CloudAPI) async throws -> PostgresParameters {
        var values = [
            "host": address, "port": String(login.connectPort ?? port), "user": user, "dbname": database,
            "sslmode": "verify-full", "sslrootcert": login.caFile, "connect_timeout": "30",
        ]
        if let host = login.connectHost { values["hostaddr"] = try await Self.numericAddress(of: host) }
        values["passfile"] = login.passFile
        var password = login.password
        if let file = login.passwordFile { password = try PostgresParameters.readPassword(file) }
        var parameters = PostgresParameters(values, password: password)
        if login.usesIAM {
            let (address, port, user) = (address, port, user)
            // Each session gets a new one: a token is good for 15 minutes, and a drill takes longer.
            parameters.passwordSource = { try await api.databaseToken(host: address, port: port, user: user) }
        }
        return parameters
    }

    /// libpq takes an address beside the name it verifies, and no second name.
    private static func numericAddress(of host: String) async throws -> String {
        let found: String? = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                var hints = addrinfo()
                hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
                var list: UnsafeMutablePointer<addrinfo>?
                guard getaddrinfo(host, nil, &hints, &list) == 0, let first = list else {
                    continuation.resume(returning: nil)
                    return
                }
                defer { freeaddrinfo(first) }
                var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
                let status = getnameinfo(
                    first.pointee.ai_addr, first.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0,
                    NI_NUMERICHOST)
                continuation.resume(
                    returning: status == 0
                        ? String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : nil)
            }
        }
        guard let found else {
            throw DrillError(.couldNotLook, "the name of `connect.host` cannot be resolved", at: host)
        }
        return found
    }
}

/// What may be done in the new instance beside reading it.
///
/// It is scratch of ours, but a server that cannot be sealed: nothing that the backup contains is set off there. So amcheck, which
/// evaluates expressions of indexes, is not put in, and nothing is where event triggers would run.
enum RDSRights {
    /// - Returns: nil where the role may not make modules, as members of `rds_superuser` may. (Amazon RDS User Guide,
    ///   "Understanding the rds_superuser role".)
    static func read(_ parameters: PostgresParameters) async throws(DrillError) -> ScratchRights? {
        var reader = parameters
        reader["options"] = ProbeSession.options
        do throws(PostgresError) {
            let connection = try await PostgresConnection.connect(reader)
            let found = try await connection.query(
                """
                SELECT r.rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles g
                        WHERE g.rolname = 'rds_superuser' AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')),
                    EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D')
                FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
                """)
            await connection.close()
            return found.rows.first == ["t", "f"] ? ScratchRights(owner: parameters, modules: [.prewarm]) : nil
        } catch {
            throw error.drillError(at: parameters.place)
        }
    }
}

/// What instant the restored data themselves show.
struct RDSRecoveryPoint: Sendable {
    var instant: Date
    var note: String

    /// - Parameters:
    ///   - stated: The instant that RDS was told to restore to.
    static func read(_ database: PostgresDatabase, stated: Date) async throws -> RDSRecoveryPoint {
        let isTracked =
            try await scalar("SELECT pg_catalog.current_setting('track_commit_timestamp')", database) == "on"
        guard isTracked else {
            return RDSRecoveryPoint(
                instant: stated,
                note:
                    "The recovery point is the instant that RDS was told: the database does not track commit timestamps "
                    + "(track_commit_timestamp), so its last commit cannot be read.")
        }
        let sql = """
            SELECT (pg_catalog.date_part('epoch', "timestamp") * 1000000)::pg_catalog.int8
            FROM pg_catalog.pg_last_committed_xact()
            """
        guard let last = try await scalar(sql, database).flatMap(strictInteger).map({ Date(microseconds: $0) }) else {
            return RDSRecoveryPoint(
                instant: stated,
                note:
                    "The recovery point is the instant that RDS was told: the server does not remember its last commit."
            )
        }
        guard last <= stated else {
            return RDSRecoveryPoint(
                instant: stated,
                note:
                    "The recovery point is the instant that RDS was told: the last commit, of \(rfc3339(last)), was made "
                    + "after the restore (RDS commits its own heartbeat).")
        }
        return RDSRecoveryPoint(
            instant: last,
            note:
                "The recovery point is the last commit that the restored database holds; RDS was told \(rfc3339(stated))."
        )
    }

    private static func scalar(_ sql: String, _ database: PostgresDatabase) async throws -> String? {
        try await database.rows(sql, searchPath: [], limit: 1).rows.first?.first ?? nil
    }
}
