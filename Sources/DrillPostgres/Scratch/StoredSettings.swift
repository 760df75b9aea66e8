import DrillCore

/// Settings that `ALTER ROLE … SET` and `ALTER DATABASE … SET` keep in the backup itself: in every session they beat the server's
/// command line. Those that load foreign code or hide damage are taken out of the scratch copy (P24, P27); others stay, since an
/// application may need them.
struct StoredSettings: Sendable {
    var host: RestoreHost

    private static let refused = [
        "session_preload_libraries", "local_preload_libraries", "dynamic_library_path", "event_triggers",
        "zero_damaged_pages", "ignore_checksum_failure", "ignore_system_indexes",
    ]

    /// Against what the first session of a superuser would load, before anything can be taken out.
    static let sessionOptions = "-c session_preload_libraries= -c local_preload_libraries="

    /// - Returns: A sentence that names what was taken out.
    func clear() async throws -> [String] {
        let names = try await host.withSession { connection in
            let found = try await connection.query(
                """
                SELECT DISTINCT pg_catalog.lower(pg_catalog.split_part(setting, '=', 1))
                FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS setting
                WHERE pg_catalog.lower(pg_catalog.split_part(setting, '=', 1)) = ANY ($1) ORDER BY 1
                """, [Self.list]
            ).rows.compactMap { $0[0] }
            guard !found.isEmpty else { return found }
            _ = try await connection.query(
                """
                UPDATE pg_catalog.pg_db_role_setting SET setconfig = ARRAY(
                    SELECT setting FROM pg_catalog.unnest(setconfig) AS setting
                    WHERE pg_catalog.lower(pg_catalog.split_part(setting, '=', 1)) <> ALL ($1))
                """, [Self.list])
            try await connection.execute("DELETE FROM pg_catalog.pg_db_role_setting WHERE setconfig = '{}'")
            return found
        }
        guard !names.isEmpty else { return [] }
        return [
            "Settings that the backup keeps for roles or databases were taken out of the scratch copy: "
                + "\(names.joined(separator: ", "))."
        ]
    }

    private static let list = "{" + refused.joined(separator: ",") + "}"
}
