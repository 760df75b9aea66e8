import DrillCore
import Foundation

/// Child processes of this machine: no shell, no inherited descriptor or variable, a process group and a thread each.
package struct HostProcesses: ProcessLauncher {
    private static let standardPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    /// How much a long-lived child's ``RunningProcess/recentOutput()`` keeps.
    private static let recentBytes = 64 << 10

    private let variables: [String: String]
    private let seal = SealTrial()

    /// - Parameter variables: The environment of this process: where `PATH` and `HOME` of a child come from when its
    ///   command names none.
    package init(variables: [String: String]) { self.variables = variables }

    package func run(_ command: Command) async throws -> CommandResult {
        try Task.checkCancellation()
        let child = try await ChildThread.start(launch(command), command, recentBytes: 0)
        let report = await withTaskCancellationHandler {
            await child.report()
        } onCancel: {
            child.cancel()
        }
        try Task.checkCancellation()
        if let failure = report.failure { throw failure }
        return CommandResult(
            executable: command.executable, ending: report.ending, output: report.output, errors: report.errors,
            outputWasCut: report.outputWasCut)
    }

    package func start(_ command: Command) async throws -> any RunningProcess {
        try Task.checkCancellation()
        return try await ChildThread.start(launch(command), command, recentBytes: Self.recentBytes)
    }

    package func find(_ executable: String) -> String? {
        locate(executable, path: variables["PATH"] ?? Self.standardPath, directory: nil)
    }

    package func canSeal() async -> SealState { await seal.outcome().state }

    private func launch(_ command: Command) async throws -> Launch {
        var environment = command.environment
        let searchPath = environment["PATH"] ?? variables["PATH"] ?? Self.standardPath
        environment["PATH"] = searchPath
        if environment["LANG"] == nil { environment["LANG"] = "C.UTF-8" }
        if environment["TZ"] == nil { environment["TZ"] = "UTC" }
        if environment["HOME"] == nil {
            environment["HOME"] = try command.user.map { try $0.homeDirectory() ?? "/" } ?? variables["HOME"] ?? "/"
        }
        for name in environment.keys where name.isEmpty || name.contains("=") {
            throw DrillError(.couldNotLook, "the environment of \(command.executable) has a variable named \"\(name)\"")
        }
        guard let path = locate(command.executable, path: searchPath, directory: command.workingDirectory) else {
            throw DrillError(
                .couldNotLook, "no program \(command.executable) is there to run",
                hints: ["Install it, or add its directory to PATH."])
        }
        // What this machine can do is done, also where it is not all.
        let seal = command.network == .sealed ? await self.seal.outcome() : SealTrial.Outcome()
        return Launch(
            path: path, arguments: [command.executable] + command.arguments,
            environment: environment.map { "\($0)=\($1)" }.sorted(), directory: command.workingDirectory,
            user: command.user, groups: try command.user?.groups() ?? [],
            network: seal.isolatesNetwork ? .sealing : .shared,
            sealsConnections: command.refusesConnections && seal.refusesConnections)
    }

    /// - Parameter directory: Where a relative path with a slash starts; nil is this process's working directory.
    private func locate(_ executable: String, path: String, directory: String?) -> String? {
        if executable.contains("/") {
            let full = executable.hasPrefix("/") || directory == nil ? executable : "\(directory ?? "")/\(executable)"
            return isProgram(full) ? full : nil
        }
        guard !executable.isEmpty else { return nil }
        return path.split(separator: ":").lazy.map { "\($0)/\(executable)" }.first(where: isProgram)
    }

    private func isProgram(_ path: String) -> Bool {
        var information = stat()
        return stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
    }
}
