import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Logging
import Synchronization

@testable import DrillPostgres

/// Scratch, dumps and a restorer for one test, below a folder of its own that is gone afterwards.
struct RestoreFixture: Sendable {
    let folder: String
    let scratch: Scratch
    let journal: RecordingJournal
    var environment: DrillEnvironment

    /// - Parameter parent: Where the folder is made; a user who runs a server must be able to pass through it.
    static func with<Value>(
        in parent: String = "/var/tmp", variables: [String: String] = ProcessInfo.processInfo.environment,
        _ body: (RestoreFixture) async throws -> Value
    ) async throws -> Value {
        let runID = "20261114T023000Z-" + hexadecimal((0..<3).map { _ in UInt8.random(in: 0...255) })
        // Short: a Unix socket's path has at most 107 bytes.
        let folder = parent + "/mt-" + UUID().uuidString.prefix(8)
        let scratchFolder = folder + "/muster-" + runID
        try FileManager.default.createDirectory(atPath: scratchFolder, withIntermediateDirectories: true)
        chmod(folder, 0o755)
        chmod(scratchFolder, 0o700)
        let journal = RecordingJournal()
        let fixture = RestoreFixture(
            folder: folder, scratch: Scratch(runID: runID, directory: scratchFolder, journal: journal),
            journal: journal,
            environment: DrillEnvironment(
                clock: SystemClock(), processes: HostProcesses(variables: variables), http: NoHTTP(),
                sorters: MemorySorters(), variables: variables,
                log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, hostName: "test"))
        let outcome: Result<Value, any Error>
        do { outcome = .success(try await body(fixture)) } catch { outcome = .failure(error) }
        try FileManager.default.removeItem(atPath: folder)
        return try outcome.get()
    }

    /// Dumps that database by pg_dump into the fixture's folder.
    @discardableResult
    func dump(_ source: PostgresParameters, _ options: [String], to name: String = "db.dump") async throws -> String {
        let path = folder + "/" + name
        try await run("pg_dump", ["--dbname", source.conninfo, "--file", path] + options)
        return path
    }

    @discardableResult
    func run(_ tool: String, _ arguments: [String]) async throws -> String {
        let bin = environment.variables["MUSTER_TEST_PG_BIN"]
        let own = bin.map { $0 + "/" + tool } ?? ""
        let path = FileManager.default.isExecutableFile(atPath: own) ? own : tool
        let result = try await environment.processes.run(Command(path, arguments))
        guard result.succeeded else {
            throw DrillError(.couldNotLook, "\(tool) \(result.endingText): \(result.errorText)")
        }
        return result.outputText
    }

    func write(_ bytes: some Sequence<UInt8>, to name: String = "db.dump") throws {
        try Data(bytes).write(to: URL(fileURLWithPath: folder + "/" + name))
    }

    func bytes(of name: String = "db.dump") throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)))
    }

    func restorer(
        _ settings: [String: String] = [:], scratchKind: String = "cluster", scratchSettings: [String: String]? = nil
    ) throws -> PgDumpRestorer {
        let scratchShape = scratchKind == "cluster" ? ScratchCluster.shape : ScratchDatabase.shape
        let scratch = ScratchSettings(
            directory: folder, keep: .never, databaseKind: scratchKind,
            database: try scratchSettings.map { try reader($0, scratchShape) })
        let context = PartContext(
            environment: environment, drillFileDirectory: folder, hasSets: false, scratch: scratch)
        return try PgDumpRestorer(
            reader(["path": "db.dump"].merging(settings) { $1 }, PgDumpRestorer.shape), context)
    }

    private func reader(_ values: [String: String], _ shape: SettingsShape) throws -> SettingsReader {
        let pairs = values.sorted { $0.key < $1.key }.map { name, value in
            (name: name, nameLine: 1, value: SettingsNode(.scalar(value, isPlain: false), line: 1))
        }
        let source = DrillFileSource(path: "drill.yaml", directory: folder, variables: [:])
        return try SettingsReader(
            SettingsNode(.mapping(pairs), line: 1), shape: shape, path: "database", source: source)
    }

    func set(time: Date? = nil) -> BackupSet { BackupSet(id: "one", time: time, place: folder) }

    /// Restores `db.dump` and hands on what came of it.
    func restored<Value: Sendable>(
        _ restorer: PgDumpRestorer, progress: any ProgressSink = NoProgress(),
        _ body: @Sendable (Restored) async throws -> Value
    ) async throws -> Value {
        try await restorer.withRestored(set(), to: .latest, in: scratch, progress: progress, body)
    }

    /// The error that restoring ends with; nil where there is none.
    func failure(_ restorer: PgDumpRestorer) async -> DrillError? {
        do {
            try await restored(restorer) { _ in }
            return nil
        } catch {
            return DrillError(wrapping: error)
        }
    }

    /// Numbers of the server processes whose data directory is below this fixture's folder.
    func serverProcesses() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { name in
            guard Int32(name) != nil, let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline") else {
                return false
            }
            return String(decoding: line, as: UTF8.self).contains(folder)
        }
    }
}

/// What a run said it would make and what it said is gone.
final class RecordingJournal: ScratchJournal {
    private let open = Mutex<[ScratchItem]>([])
    private let everMade = Mutex<[ScratchItem]>([])

    func willCreate(_ item: ScratchItem) async throws {
        open.withLock { $0.append(item) }
        everMade.withLock { $0.append(item) }
    }

    func didRemove(_ item: ScratchItem) async throws { open.withLock { $0.removeAll { $0 == item } } }

    /// Items not yet removed.
    var left: [ScratchItem] { open.withLock { $0 } }
    var made: [ScratchItem] { everMade.withLock { $0 } }
}

private struct NoHTTP: HTTPTransport {
    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        throw HTTPFailure(.other, "no test here asks over HTTP", isTransient: false)
    }
    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse { throw HTTPFailure(.other, "no test here asks over HTTP", isTransient: false) }
}
