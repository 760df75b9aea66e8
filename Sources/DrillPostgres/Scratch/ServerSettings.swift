import DrillCore
import Foundation

/// The settings of a scratch server, given on its command line, which beats every file in the data directory (P22, P27).
struct ServerSettings: Sendable {
    var major: Int
    var socketDirectory: String
    var memoryBytes: Int64
    var processors = ProcessInfo.processInfo.activeProcessorCount
    /// `scratch.database.settings` of the drill file.
    var extra: [(name: String, value: String)] = []

    /// What a throw-away server may have, and a report must say: it flatters the RTO.
    static let note =
        "The scratch server runs without fsync, full-page writes and WAL for replicas, which makes the restore faster than "
        + "a real one: the RTO is flattered."

    /// Settings that decide where the server listens, sends and runs programs. The drill file cannot change them.
    var sealing: [(name: String, value: String)] {
        var settings = [
            ("listen_addresses", ""), ("unix_socket_directories", socketDirectory), ("unix_socket_permissions", "0700"),
            ("port", "5432"), ("archive_mode", "off"), ("archive_command", ""),
            ("max_logical_replication_workers", "0"),
            ("synchronous_standby_names", ""), ("ssl", "off"), ("logging_collector", "off"),
            ("log_destination", "stderr"),
            ("session_preload_libraries", ""), ("local_preload_libraries", ""), ("external_pid_file", ""),
            ("dynamic_library_path", "$libdir"), ("krb_server_keyfile", ""), ("bonjour", "off"),
        ]
        if major >= 12 {
            settings += [("primary_conninfo", ""), ("recovery_end_command", ""), ("archive_cleanup_command", "")]
        }
        if major >= 15 { settings.append(("archive_library", "")) }
        if major >= 17 { settings.append(("event_triggers", "off")) }
        return settings
    }

    /// Settings by which a server hides damage; a backup may bring them along, and the drill file cannot set them either.
    var candour: [(name: String, value: String)] {
        [("zero_damaged_pages", "off"), ("ignore_checksum_failure", "off")]
            + (major >= 13 ? [("ignore_invalid_pages", "off")] : [])
    }

    private var speed: [(name: String, value: String)] {
        // Shares of the machine that leave room for what else runs there.
        let sharedMegabytes = min(max(memoryBytes >> 23, 64), 2048)
        let maintenanceMegabytes = min(max(memoryBytes >> 25, 64), 1024)
        var settings = [
            ("fsync", "off"), ("synchronous_commit", "off"), ("full_page_writes", "off"), ("wal_level", "minimal"),
            ("max_wal_senders", "0"), ("autovacuum", "off"), ("shared_buffers", "\(sharedMegabytes)MB"),
            ("maintenance_work_mem", "\(maintenanceMegabytes)MB"), ("max_wal_size", "2GB"),
            ("checkpoint_timeout", "1h"),
            ("max_connections", "100"), ("max_locks_per_transaction", "1024"), ("shared_preload_libraries", ""),
            ("lc_messages", "C"), ("dynamic_shared_memory_type", "mmap"), ("timezone", "UTC"), ("log_timezone", "UTC"),
            ("log_min_messages", "warning"),
        ]
        if major >= 11 {
            // With tables restored side by side, the workers of one index build only get in the way of another on a small machine.
            let workers = min(2, max(0, processors / 2 - 1))
            settings += [("jit", "off"), ("max_parallel_maintenance_workers", "\(workers)")]
        }
        return settings
    }

    /// In the order of the command line, where a later one wins.
    var all: [(name: String, value: String)] { speed + extra + sealing + candour }

    /// Libraries whose background workers run jobs or talk to other servers (P27).
    private static let actingAlone: Set<String> = ["pg_cron", "pg_net", "pg_partman_bgw", "pglogical", "bdr", "spock"]

    /// The drill file's map, refused where it names a setting that seals the server off.
    static func extra(_ reader: SettingsReader?) throws -> [(name: String, value: String)] {
        guard let reader, let map = try reader.map("settings") else { return [] }
        let ours = ServerSettings(major: 99, socketDirectory: "", memoryBytes: 0)
        let fixed = Set((ours.sealing + ours.candour).map(\.name))
            .union([
                "data_directory", "config_file", "hba_file", "ident_file", "recovery_target_action", "restore_command",
            ])
        return try map.map { name, node in
            guard let value = try reader.source.text(node) else {
                throw reader.error("settings", "`\(name)` is no text")
            }
            guard !name.isEmpty, name.utf8.allSatisfy({ isIdentifierPart($0) || $0 == UInt8(ascii: ".") }) else {
                throw reader.error("settings", "`\(printable(name.utf8))` is no name of a setting")
            }
            guard !fixed.contains(name.lowercased()) else {
                throw reader.error(
                    "settings",
                    "`\(name)` cannot be changed: it keeps the scratch server sealed off, or would hide damage")
            }
            let libraries = value.split { $0 == "," || $0 == " " }.map { $0.lowercased() }
            if name.lowercased() == "shared_preload_libraries", let live = libraries.first(where: actingAlone.contains)
            {
                throw reader.error(
                    "settings", "`\(live)` acts on its own once it is loaded, and a restored copy must not",
                    hints: ["Its tables can be probed without it."])
            }
            return (name, value)
        }
    }
}
