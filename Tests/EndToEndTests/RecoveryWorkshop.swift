import Foundation
import Testing

/// A source server with archiving for one end-to-end test, made and run by PostgreSQL's own programs below the workshop.
///
/// Segments have 1 MiB. Nothing is synced: only the test reads it.
final class RecoveryWorkshop {
    let shop: Workshop
    private var server = Process()
    private let bin = ProcessInfo.processInfo.environment["MUSTER_TEST_PG_BIN"] ?? ""

    var bases: String { shop.root + "/bases" }
    var wal: String { shop.root + "/wal" }
    private var source: String { shop.root + "/source" }

    init() throws {
        shop = try Workshop()
        for folder in ["source", "bases", "wal"] {
            try shop.folder(folder)
            try own(shop.root + "/" + folder)
        }
        try pg(
            "initdb",
            [
                "-D", source + "/pgdata", "-U", "postgres", "-A", "trust", "-k", "--wal-segsize=1", "--locale=C", "-E",
                "UTF8",
            ])
        try start([])
    }

    /// - Parameter settings: More of the server's.
    private func start(_ settings: [String]) throws {
        let all =
            [
                "listen_addresses=", "unix_socket_directories=\(source)", "fsync=off", "archive_mode=on",
                "archive_command=cp %p \(wal)/%f", "track_commit_timestamp=on", "autovacuum=off",
                "shared_buffers=16MB", "dynamic_shared_memory_type=mmap", "log_timezone=UTC",
            ] + settings
        let words = asServer + ["\(bin)/postgres", "-D", source + "/pgdata"] + all.flatMap { ["-c", $0] }
        // Not by pg_ctl: a Process does not end as long as a grandchild holds what it inherited.
        server = Process()
        server.executableURL = URL(fileURLWithPath: words[0])
        server.arguments = Array(words.dropFirst())
        server.standardInput = FileHandle.nullDevice
        server.standardOutput = FileHandle.nullDevice
        try shop.write("", to: "server.log")
        server.standardError = FileHandle(forWritingAtPath: shop.root + "/server.log")
        try server.run()
        try shop.wait { (try? self.sql("SELECT 1")) == "1" }
    }

    func restart(_ settings: [String]) throws {
        kill(server.processIdentifier, SIGINT)
        server.waitUntilExit()
        try start(settings)
    }

    deinit {
        guard server.isRunning else { return }
        kill(server.processIdentifier, SIGQUIT)
        server.waitUntilExit()
    }

    /// As root, the server and what it reads belong to its OS user.
    private var asServer: [String] {
        geteuid() == 0
            ? ["/usr/bin/env", "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] : []
    }

    func own(_ path: String) throws {
        if geteuid() == 0 { try expect(shop.run(["/usr/bin/env", "chown", "-R", "postgres:postgres", path])) }
    }

    private func expect(_ ran: Workshop.Ran) throws {
        guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors + ran.output) }
    }

    private func pg(_ tool: String, _ arguments: [String]) throws {
        try expect(shop.run(asServer + ["\(bin)/\(tool)"] + arguments))
    }

    /// Runs a program on files of the test, as whoever runs the test.
    func run(_ words: String...) throws { try expect(shop.run(["/usr/bin/env"] + words)) }

    @discardableResult
    func sql(_ statements: String...) throws -> String {
        let ran = try shop.run(
            [
                "\(bin)/psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", source, "-U", "postgres", "-d",
                "postgres",
            ]
                + statements.flatMap { ["-c", $0] })
        guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors) }
        return ran.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The server's clock, to the microsecond, as `--at` takes it.
    func now() throws -> String {
        try sql("SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }

    /// Ends the segment under way and waits until the archive has it.
    /// - Returns: Its name.
    @discardableResult
    func archive() throws -> String {
        let name = try sql("SELECT pg_walfile_name(pg_switch_wal())")
        try shop.wait { try self.sql("SELECT last_archived_wal >= '\(name)' FROM pg_stat_archiver") == "t" }
        return name
    }

    func baseBackup(_ name: String, _ options: [String] = ["-X", "none"]) throws {
        try pg(
            "pg_basebackup",
            ["-h", source, "-U", "postgres", "-D", "\(bases)/\(name)", "-c", "fast", "--no-sync"] + options)
    }

    /// Segments in the archive, in order.
    func segments() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: wal).filter { $0.utf8.count == 24 }.sorted()
    }

    /// A backup, and then these rows in `public.log`, each in a segment of its own.
    /// - Returns: The server's clock right after each commit.
    func history(rows: Int, _ backup: [String] = ["-X", "none"]) throws -> [String] {
        try sql("CREATE TABLE public.log (id int PRIMARY KEY)")
        try baseBackup("first", backup)
        return try (1...rows).map { id in
            try sql("INSERT INTO public.log VALUES (\(id))")
            let after = try now()
            try archive()
            return after
        }
    }

    /// Writes the drill file: how many rows there must be, and what `database` holds besides.
    func drill(
        rows: Int, _ database: String = "", base: String = "bases", wal: String = "wal", backup: String = ""
    ) throws {
        try shop.write(
            """
            drill: pitr
            backup:
              \(backup)
              database: { kind: base_backup, base: \(base), wal: \(wal)\(database.isEmpty ? "" : ", " + database) }
            scratch: { directory: scratch }
            probes:
              - { name: rows, kind: sql, query: "select count(*) from public.log", expect: { min: \(rows), max: \(rows) } }

            """, to: "drill.yaml")
    }

    /// What the run came to: its exit status, and the `restore` findings.
    func drilled(_ arguments: [String] = []) throws -> (status: Int32, findings: String, errors: String) {
        let ran = try shop.muster(["run", "drill.yaml"] + arguments)
        let findings = try shop.ledger(
            "SELECT coalesce(group_concat(observed, ' / '), '') FROM finding WHERE run_id = (SELECT run_id FROM run ORDER BY started_at DESC LIMIT 1) AND kind = 'restore'"
        )
        #expect(try shop.leftInScratch.isEmpty)
        return (ran.status, findings.joined(), ran.errors)
    }
}
