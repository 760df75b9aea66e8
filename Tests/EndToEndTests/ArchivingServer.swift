import Foundation
import Testing

/// A server of a test's own that archives its WAL below the workshop, for base backups and recovery to an instant.
final class ArchivingServer {
    let shop: Workshop
    let socket: String
    let bases: String
    let wal: String
    private let data: String
    private let tools: String
    private let asUser: [String]
    private let server = Process()

    init(_ shop: Workshop) throws {
        self.shop = shop
        tools = try #require(ProcessInfo.processInfo.environment["MUSTER_TEST_PG_BIN"])
        let folder = shop.root + "/server"
        (socket, data) = (folder + "/s", folder + "/data")
        (bases, wal) = (folder + "/bases", folder + "/wal")
        for path in ["server/s", "server/data", "server/bases", "server/wal"] { try shop.folder(path) }
        // PostgreSQL refuses to run as root.
        asUser =
            geteuid() == 0 ? ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"] : []
        if geteuid() == 0 { try ran(["/usr/bin/env", "chown", "-R", "postgres:postgres", folder]) }
        try tool(
            "initdb",
            ["-D", data, "-U", "postgres", "-A", "trust", "--wal-segsize=1", "--locale=C", "-E", "UTF8", "--no-sync"])
        let settings = [
            "listen_addresses=", "unix_socket_directories=\(socket)", "fsync=off", "archive_mode=on",
            "archive_command=cp %p \(wal)/%f", "shared_buffers=16MB", "dynamic_shared_memory_type=mmap",
        ]
        // Not by pg_ctl: a Process does not end as long as a grandchild holds what it inherited.
        server.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        server.arguments = asUser + ["\(tools)/postgres", "-D", data] + settings.flatMap { ["-c", $0] }
        server.standardInput = FileHandle.nullDevice
        server.standardOutput = FileHandle.nullDevice
        try shop.write("", to: "server.log")
        server.standardError = FileHandle(forWritingAtPath: shop.root + "/server.log")
        try server.run()
        try shop.wait { (try? sql("SELECT 1")) == "1" }
    }

    deinit {
        kill(server.processIdentifier, SIGQUIT)
        server.waitUntilExit()
    }

    @discardableResult
    private func ran(_ words: [String]) throws -> String {
        let ran = try shop.run(words)
        guard ran.status == 0 else { throw Workshop.Failure(text: "\(words): \(ran.errors)") }
        return ran.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    @discardableResult
    private func tool(_ name: String, _ arguments: [String]) throws -> String {
        try ran(["/usr/bin/env"] + asUser + ["\(tools)/\(name)"] + arguments)
    }

    @discardableResult
    func sql(_ statement: String) throws -> String {
        try tool(
            "psql",
            [
                "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", socket, "-U", "postgres", "-d", "postgres", "-c",
                statement,
            ])
    }

    func baseBackup(_ name: String) throws {
        try tool(
            "pg_basebackup",
            ["-h", socket, "-U", "postgres", "-D", "\(bases)/\(name)", "-c", "fast", "-X", "none", "--no-sync"])
    }

    /// Ends the segment under way and waits until it is in the archive.
    func archive() throws {
        let name = try sql("SELECT pg_walfile_name(pg_switch_wal())")
        try shop.wait { try sql("SELECT last_archived_wal >= '\(name)' FROM pg_stat_archiver") == "t" }
    }
}
