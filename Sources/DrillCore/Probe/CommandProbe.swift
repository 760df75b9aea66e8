import Foundation

/// Runs a command of the user's own against the restored set. These probes run last, since they may write, in scratch.
package struct CommandProbe: Probe {
    package static let kind = "command"
    package static let shape = SettingsShape(
        "command: a program of your own; exit 0 passes, 1 to 125 fails, 126 and up or a time-out is inconclusive",
        [
            SettingsField(
                "run", .list(.text), required: true,
                "The program and its arguments; no shell. A path is relative to the drill file."),
            SettingsField("timeout", .duration, "Past this it is ended and inconclusive. Default: 5m."),
            SettingsField("environment", .map(.text), "Environment variables beside those that Muster sets."),
        ])

    package let name: String
    private let program: String
    private let arguments: [String]
    private let timeout: Duration
    private let environment: [String: String]

    package init(name: String, _ reader: SettingsReader, _ context: ProbeContext) throws {
        self.name = name
        let words = try reader.required("run", reader.strings("run"))
        guard let first = words.first, !first.isEmpty else { throw reader.error("run", "names no program") }
        // A bare name is looked up on PATH when it is run; a path is the user's own file and must be there.
        program = first.contains("/") ? reader.source.absolute(first) : first
        arguments = Array(words.dropFirst())
        timeout = try reader.positiveDuration("timeout") ?? .seconds(300)
        var variables: [String: String] = [:]
        for (key, value) in try reader.map("environment") ?? [] {
            variables[key] = try reader.required("environment", reader.source.text(value))
        }
        environment = variables
        if first.contains("/"), !context.fileExists(program) {
            throw reader.error("run", "there is no file `\(first)`", hints: ["A path is relative to the drill file."])
        }
        if first.contains("/"), !context.fileIsExecutable(program) {
            throw reader.error("run", "`\(first)` may not be run", hints: ["`chmod +x` makes it a program."])
        }
    }

    package var mayWrite: Bool { true }
    package var plan: [String] { ["Runs \(program) in scratch."] }

    package func run(against set: RestoredSet) async throws -> ProbeOutcome {
        var variables = environment
        variables.merge(try await set.database.commandEnvironment) { _, ours in ours }
        variables.merge(set.objectsVariables) { own, _ in own }
        variables["MUSTER_RUN_ID"] = set.runID
        variables["MUSTER_BACKUP_SET"] = set.backupSet
        variables["MUSTER_SCRATCH"] = set.scratchDirectory
        variables["MUSTER_OBJECTS"] = set.objectsDirectory
        for inherited in ["PATH", "HOME"] where variables[inherited] == nil {
            variables[inherited] = set.environment.variables[inherited]
        }
        var command = Command(program, arguments, environment: variables)
        command.workingDirectory = set.scratchDirectory
        command.output = .file(path: "\(set.evidenceDirectory)/\(name).out.log")
        command.errors = .file(path: "\(set.evidenceDirectory)/\(name).err.log")
        command.timeout = timeout
        let result = try await set.environment.processes.run(command)
        switch result.ending {
        case .exited(0):
            return ProbeOutcome(
                examined: 1, passed: 1, failed: 0, unknown: 0,
                summary: "the command exited with status 0; its output is in \(name).out.log")
        case .exited(let status) where (1...125).contains(status):
            let lastWords =
                String(decoding: result.errors.suffix(2000), as: UTF8.self)
                .split(separator: "\n").last.map { ": \(printable(Array($0.utf8)))" } ?? ""
            try await set.findings.record([
                Finding(
                    probe: name, kind: .command, expected: "exit status 0",
                    observed: "exit status \(status)\(lastWords)",
                    evidence: "Output: \(name).out.log and \(name).err.log in the run's folder.",
                    repair: "Read its output; it ran against the restored set.")
            ])
            return ProbeOutcome(
                examined: 1, passed: 0, failed: 1, unknown: 0,
                summary: "the command exited with status \(status)\(lastWords)")
        default:
            throw DrillError(
                .couldNotLook, "the command \(result.endingText)", at: program,
                hints: ["Read \(name).err.log in the run's folder."])
        }
    }
}
