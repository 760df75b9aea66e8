import DrillCore
import DrillHost
import DrillTestKit
import Foundation

@testable import DrillPostgres

/// A running server with archiving that a test takes backups of. It syncs nothing but what a copy of its files needs.
struct SourceCluster: Sendable {
    let fixture: RestoreFixture
    let account: ServerAccount
    let tools: PostgresTools
    let folder: String
    let process: any RunningProcess

    var dataDirectory: String { folder + "/pgdata" }
    var wal: String { fixture.folder + "/wal" }
    var bases: String { fixture.folder + "/bases" }
    var parameters: PostgresParameters {
        PostgresParameters(["host": folder, "port": "5432", "user": "postgres", "dbname": "postgres"])
    }

    /// Makes a cluster with segments of 1 MiB below the fixture's folder; it is stopped when `body` ends.
    static func with<Value>(
        settings: [String] = [], checksums: Bool = true, _ body: (SourceCluster) async throws -> Value
    ) async throws -> Value {
        try await RestoreFixture.with { fixture in
            let search = PostgresToolSearch(environment: fixture.environment, setting: nil)
            guard let tools = try await search.installations(having: ["postgres", "initdb", "pg_basebackup"]).last
            else {
                throw ServiceAbsent(service: .postgres)
            }
            let account = try ServerAccount.current()
            let folder = fixture.folder + "/source"
            for path in [folder, fixture.folder + "/wal", fixture.folder + "/bases", folder + "/pgdata"] {
                try account.makeFolder(path)
            }
            try await run(
                tools.path("initdb"),
                [
                    "-D", folder + "/pgdata", "-U", "postgres", "-A", "trust", "--wal-segsize=1", "--locale=C",
                    "-E", "UTF8",
                ] + (checksums ? ["-k"] : []),
                fixture, account)
            let all =
                [
                    "listen_addresses=", "unix_socket_directories=\(folder)", "fsync=off", "wal_level=replica",
                    "archive_mode=on", "archive_command=cp %p \(fixture.folder)/wal/%f", "max_wal_senders=4",
                    "track_commit_timestamp=on", "autovacuum=off", "shared_buffers=16MB",
                    "dynamic_shared_memory_type=mmap",
                ] + settings
            var command = Command(tools.path("postgres"), ["-D", folder + "/pgdata"] + all.flatMap { ["-c", $0] })
            command.user = account.user
            command.workingDirectory = folder
            command.errors = .file(path: folder + "/log")
            let process = try await fixture.environment.processes.start(command)
            let cluster = SourceCluster(
                fixture: fixture, account: account, tools: tools, folder: folder, process: process)
            let outcome: Result<Value, any Error>
            do {
                try await cluster.waitUntilReady()
                outcome = .success(try await body(cluster))
            } catch {
                outcome = .failure(error)
            }
            process.send(signal: SIGQUIT)
            _ = await process.ended()
            return try outcome.get()
        }
    }

    private func waitUntilReady() async throws {
        for _ in 0..<400 {
            do {
                await (try await PostgresConnection.connect(parameters)).close()
                return
            } catch { try await Task.sleep(for: .milliseconds(50)) }
        }
        throw DrillError(.couldNotLook, "the source cluster does not start", at: folder + "/log")
    }

    @discardableResult
    static func run(
        _ tool: String, _ arguments: [String], _ fixture: RestoreFixture, _ account: ServerAccount
    ) async throws -> String {
        var command = Command(tool, arguments)
        command.user = account.user
        command.workingDirectory = fixture.folder
        let result = try await fixture.environment.processes.run(command)
        guard result.succeeded else {
            throw DrillError(.couldNotLook, "\(tool) \(result.endingText): \(result.errorText)")
        }
        return result.outputText
    }

    @discardableResult
    func tool(_ name: String, _ arguments: [String]) async throws -> String {
        try await Self.run(
            name.hasPrefix("/") || !name.hasPrefix("pg") ? name : tools.path(name), arguments, fixture, account)
    }

    @discardableResult
    func sql(_ statements: String...) async throws -> String? {
        let connection = try await PostgresConnection.connect(parameters)
        var last: String?
        for statement in statements { last = try await connection.execute(statement).scalar }
        await connection.close()
        return last
    }

    /// Commits one more row in `public.log` and tells when, to the microsecond.
    func commitRow(_ id: Int) async throws -> Date {
        try await sql("INSERT INTO public.log VALUES (\(id))")
        let micros = try await sql(
            "SELECT (date_part('epoch', pg_xact_commit_timestamp(xmin)) * 1000000)::int8 FROM public.log WHERE id = \(id)"
        )
        guard let micros, let number = Int64(micros) else { throw DrillError(.couldNotLook, "no commit timestamp") }
        return Date(microseconds: number)
    }

    /// Ends the segment under way and waits until it is in the archive.
    /// - Returns: Its name.
    @discardableResult
    func archive() async throws -> String {
        let name = try await sql("SELECT pg_walfile_name(pg_switch_wal())") ?? ""
        for _ in 0..<400 {
            if FileManager.default.fileExists(atPath: wal + "/" + name),
                try await sql("SELECT last_archived_wal >= '\(name)' FROM pg_stat_archiver") == "t"
            {
                return name
            }
            try await Task.sleep(for: .milliseconds(25))
        }
        throw DrillError(.couldNotLook, "\(name) is not archived", at: folder + "/log")
    }

    func baseBackup(_ name: String, _ options: [String] = ["-X", "fetch"]) async throws {
        try await tool(
            "pg_basebackup",
            ["-h", folder, "-U", "postgres", "-D", "\(bases)/\(name)", "-c", "fast", "--no-sync"] + options)
    }

    /// Names of the archive's segments, in order.
    func segments() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: wal).filter { WALSegment($0) != nil }.sorted()
    }

    // MARK: - Restoring

    enum Value { case text(String), map([String: String]) }

    func reader(_ values: [String: Value], _ shape: SettingsShape) throws -> SettingsReader {
        func scalar(_ text: String) -> SettingsNode { SettingsNode(.scalar(text, isPlain: false), line: 1) }
        let pairs = values.sorted { $0.key < $1.key }.map { name, value in
            switch value {
            case .text(let text): (name: name, nameLine: 1, value: scalar(text))
            case .map(let map):
                (
                    name: name, nameLine: 1,
                    value: SettingsNode(
                        .mapping(map.sorted { $0.key < $1.key }.map { ($0.key, 1, scalar($0.value)) }), line: 1)
                )
            }
        }
        let source = DrillFileSource(path: "drill.yaml", directory: fixture.folder, variables: [:])
        return try SettingsReader(
            SettingsNode(.mapping(pairs), line: 1), shape: shape, path: "database", source: source)
    }

    func context(_ target: RecoveryTarget) -> PartContext {
        PartContext(
            environment: fixture.environment, drillFileDirectory: fixture.folder, hasSets: false,
            scratch: ScratchSettings(directory: fixture.folder, keep: .never), target: target)
    }

    func restorer(_ target: RecoveryTarget = .latest, _ settings: [String: Value] = [:]) throws -> BaseBackupRestorer {
        let all = ["base": Value.text(bases), "wal": .text(wal)].merging(settings) { $1 }
        return try BaseBackupRestorer(reader(all, BaseBackupRestorer.shape), context(target))
    }

    /// A scratch of its own for one restore, removed afterwards.
    func withScratch<Value>(_ body: (Scratch) async throws -> Value) async throws -> Value {
        let runID = "20261114T023000Z-" + hexadecimal((0..<3).map { _ in UInt8.random(in: 0...255) })
        let path = fixture.folder + "/muster-" + runID
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        chmod(path, 0o700)
        let outcome: Result<Value, any Error>
        do {
            outcome = .success(try await body(Scratch(runID: runID, directory: path, journal: fixture.journal)))
        } catch { outcome = .failure(error) }
        try FileManager.default.removeItem(atPath: path)
        return try outcome.get()
    }

    /// The newest usable set of the restorer's catalog, restored.
    func restored<Value: Sendable>(
        _ restorer: any Restorer, _ target: RecoveryTarget, set id: String? = nil,
        _ body: @Sendable (Restored) async throws -> Value
    ) async throws -> Value {
        let set = try await usableSet(restorer, id)
        return try await withScratch { scratch in
            try await restorer.withRestored(set, to: target, in: scratch, progress: NoProgress(), body)
        }
    }

    func usableSet(_ restorer: any Restorer, _ id: String? = nil) async throws -> BackupSet {
        guard let catalog = try restorer.catalog() else {
            return BackupSet(id: "one", time: nil, place: fixture.folder)
        }
        let candidates = try await catalog.candidates()
        for candidate in candidates where id == nil || candidate.id == id {
            let set = try await catalog.examined(candidate)
            switch set.state {
            case .usable: return set
            case .unusable(let reason): throw DrillError(.backupUnusable, reason, at: set.place)
            case .passedOver, .beingWritten: continue
            }
        }
        throw DrillError(.backupUnusable, "no usable set: \(candidates.map(\.state))")
    }

    /// Rows of `public.log`, and the restored set, at that target.
    func rows(
        _ target: RecoveryTarget, _ settings: [String: Value] = [:], set id: String? = nil
    ) async throws -> (ids: [String], point: Date?, notes: [String], log: String) {
        try await restored(restorer(target, settings), target, set: id) { restored in
            let found = try await restored.database.rows(
                "SELECT id FROM public.log ORDER BY id", searchPath: [], limit: 1000)
            return (
                found.rows.map { $0[0] ?? "" }, restored.recoveryPoint, restored.notes,
                restored.logs["recovery.log"] ?? ""
            )
        }
    }

    /// The error that restoring ends with; nil where there is none.
    func failure(
        _ target: RecoveryTarget, _ settings: [String: Value] = [:], set id: String? = nil
    ) async -> DrillError? {
        do {
            _ = try await rows(target, settings, set: id)
            return nil
        } catch {
            return DrillError(wrapping: error)
        }
    }
}
