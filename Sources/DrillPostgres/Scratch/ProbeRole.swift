import DrillCore

/// The role that probes connect as: it reads everything, settings included, is stopped by no row-level security, and may do
/// nothing else (P7, P8).
struct ProbeRole: Sendable {
    var host: RestoreHost
    var database: String

    /// - Returns: Its name; nil, with a note, where it is a server that others run: there probes use the drill file's role.
    func make(avoiding roles: Set<String>) async throws -> (name: String?, notes: [String]) {
        guard host.server != nil else {
            return (nil, ["Probes read as `\(host.administration["user"] ?? "")`, in read-only sessions."])
        }
        let notes = try await StoredSettings(host: host).clear()
        var name = "muster_probe"
        while roles.contains(name) { name += "_" }
        let role = quotedIdentifier(name)
        try await host.withSession(database: database) { connection in
            try await connection.execute("CREATE ROLE \(role) LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS")
            try await connection.execute("GRANT pg_monitor TO \(role)")
            if host.major >= 14 {
                try await connection.execute("GRANT pg_read_all_data TO \(role)")
            } else {
                try await grantEach(to: role, connection)
            }
        }
        return (name, notes)
    }

    /// Servers before 14 have no pg_read_all_data.
    private func grantEach(to role: String, _ connection: PostgresConnection) async throws {
        let schemas = try await connection.query(
            "SELECT pg_catalog.quote_ident(nspname) FROM pg_catalog.pg_namespace WHERE nspname NOT LIKE 'pg\\_%'")
        for schema in schemas.rows.compactMap({ $0[0] }) {
            try await connection.execute("GRANT USAGE ON SCHEMA \(schema) TO \(role)")
            try await connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA \(schema) TO \(role)")
            try await connection.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA \(schema) TO \(role)")
        }
    }
}
