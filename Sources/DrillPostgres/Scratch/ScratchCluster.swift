import DrillCore
import Foundation

/// A throw-away server of our own: `initdb` below scratch, a Unix socket and nothing else.
struct ScratchCluster: Sendable {
    static let shape = SettingsShape(
        "a throw-away server below scratch.directory, reached by a Unix socket alone",
        [
            SettingsField(
                "bin", .text, "The directory that holds initdb and postgres. Default: the installed one that fits."),
            SettingsField("settings", .map(.text), "More settings of the server, such as shared_preload_libraries."),
        ])

    var environment: DrillEnvironment
    var tools: PostgresTools
    var extraSettings: [(name: String, value: String)] = []

    /// Makes a server, hands it to `body`, and ends it whatever happens.
    func withServer<Result: Sendable>(
        in scratch: Scratch, _ body: (ServerProcess) async throws -> Result
    ) async throws -> Result {
        let account = try ServerAccount.current()
        try account.letThrough(scratch.directory)
        let folder = scratch.directory + "/server"
        try account.makeFolder(folder)
        let dataDirectory = folder + "/pgdata"
        try account.makeFolder(dataDirectory)
        try await initialise(dataDirectory, account)
        return try await withSocketDirectory(folder, scratch, account) { socketDirectory in
            let settings = ServerSettings(
                major: tools.major, socketDirectory: socketDirectory,
                memoryBytes: Int64(clamping: ProcessInfo.processInfo.physicalMemory), extra: extraSettings)
            let plan = ServerProcess.Plan(
                dataDirectory: dataDirectory, folder: folder, tools: tools, account: account, settings: settings)
            return try await withStarted(plan, scratch, body)
        }
    }

    private func withStarted<Result: Sendable>(
        _ plan: ServerProcess.Plan, _ scratch: Scratch, _ body: (ServerProcess) async throws -> Result
    ) async throws -> Result {
        let item = ScratchItem(kind: ServerRemover.itemKind, locator: plan.dataDirectory)
        try await scratch.journal.willCreate(item)
        let server = try await ServerProcess.start(plan, environment: environment)
        return try await withCleanUp {
            try await body(server)
        } cleanUp: {
            await server.stop(isKept: scratch.keeping.isKept)
            try await scratch.journal.didRemove(item)
        }
    }

    private func initialise(_ dataDirectory: String, _ account: ServerAccount) async throws {
        // The server's own locale matters little: the dump's database gets its own.
        var command = Command(
            tools.path("initdb"),
            [
                "--pgdata", dataDirectory, "--username", "postgres", "--auth", "trust", "--encoding", "UTF8",
                "--locale", "C",
                "--no-sync",
            ])
        command.user = account.user
        command.workingDirectory = dataDirectory
        let result = try await environment.processes.run(command)
        guard !result.succeeded else { return }
        let words = result.errorText.split(whereSeparator: \.isNewline).map(String.init)
        let isFull = words.contains { $0.contains("No space left on device") }
        throw DrillError(
            .couldNotLook, isFull ? "the disk of the scratch server is full" : "initdb \(result.endingText)",
            at: dataDirectory, hints: Array(words.suffix(6)))
    }

    /// The longest path that a Unix socket can have. (unix(7).)
    private static let longestSocketPath = 107

    /// A folder for the socket: beside the data directory, or where that path is too long a short one in /tmp.
    func withSocketDirectory<Result: Sendable>(
        _ folder: String, _ scratch: Scratch, _ account: ServerAccount, _ body: (String) async throws -> Result
    ) async throws -> Result {
        if (folder + "/.s.PGSQL.5432").utf8.count <= Self.longestSocketPath { return try await body(folder) }
        let short = SocketDirectoryRemover.path(ofRun: scratch.runID)
        let item = ScratchItem(kind: SocketDirectoryRemover.itemKind, locator: short)
        try await scratch.journal.willCreate(item)
        try account.makeFolder(short)
        let remover = SocketDirectoryRemover(environment: environment)
        return try await withCleanUp {
            try await body(short)
        } cleanUp: {
            try await remover.remove(item, ofRun: scratch.runID)
            try await scratch.journal.didRemove(item)
        }
    }
}
