import DrillCore
import Foundation

/// A backup tool's own program: where it is, as whom it runs, and which of this process's variables it gets.
struct ToolProgram: Sendable {
    /// As on `PATH`.
    var name: String
    /// What to install where it is not there, as whole sentences.
    var installation: [String]
    /// `program:` of the drill file.
    var path: String?
    /// nil: this process's own user.
    var user: OSUser?
    /// Beside `PATH`, `HOME` and `LC_ALL`: what the tool is configured by. Nobody else gets them.
    var variables: [String: String]
    var environment: DrillEnvironment

    static let fields = [
        SettingsField("program", .text, "The tool's program, where it is not on `PATH`."),
        SettingsField(
            "user", .text,
            "The OS user that the tool runs as where Muster is root. Default: the one who runs the scratch server, or whom the "
                + "tool demands."),
    ]

    /// - Parameter environmentPrefixes: Of the variables that the tool reads.
    init(
        _ name: String, installation: [String], _ settings: SettingsReader, _ context: PartContext,
        environmentPrefixes: [String]
    ) throws {
        self.name = name
        self.installation = installation
        environment = context.environment
        path = try settings.string("program").map { $0.contains("/") ? settings.source.absolute($0) : $0 }
        variables = environment.variables.filter { variable in
            environmentPrefixes.contains { variable.key.hasPrefix($0) }
        }
    }

    /// The user that the drill file names, else that one; nil where this process is not root.
    static func user(_ settings: SettingsReader, else standard: () throws -> OSUser?) throws -> OSUser? {
        guard geteuid() == 0 else { return nil }
        guard let name = try settings.string("user") else { return try standard() }
        guard let user = try named(name) else {
            throw settings.error("user", "there is no OS user `\(printable(name.utf8))` on this machine")
        }
        return user
    }

    static func named(_ name: String) throws -> OSUser? {
        guard let entry = getpwnam(name)?.pointee else { return nil }
        return OSUser(name: name, userID: entry.pw_uid, groupID: entry.pw_gid)
    }

    /// Where it is. Throws `couldNotLook` naming the package where it is not there.
    func located(at place: String) throws -> String {
        if let found = environment.processes.find(path ?? name) { return found }
        throw DrillError(
            .couldNotLook, "there is no program `\(path ?? name)` on this machine", at: place, hints: installation)
    }

    /// A command of the tool, not yet run.
    func command(_ arguments: [String], variables more: [String: String] = [:], at place: String) throws -> Command {
        var command = Command(
            try located(at: place), arguments,
            environment: variables.merging(["LC_ALL": "C.UTF-8"]) { $1 }.merging(more) { $1 })
        command.user = user
        command.workingDirectory = "/"
        return command
    }

    /// Runs it to its end, however it ends. What it said comes without secrets.
    func run(_ command: Command) async throws -> ToolResult {
        let result = try await environment.processes.run(command)
        return ToolResult(
            program: name, ending: result.ending, output: result.output, wasCut: result.outputWasCut,
            errors: redacted(result.errorText))
    }

    /// Text of the tool without the values of secret variables (X2).
    func redacted(_ text: String) -> String {
        var text = text
        for (name, value) in variables where value.utf8.count >= 4 && Self.isSecret(name) {
            text = text.replacing(value, with: "<redacted>")
        }
        // Passwords in addresses and connection strings.
        text = text.replacing(/:\/\/([^:\/@\s]*):[^@\/\s]*@/) { "://\($0.1):<redacted>@" }
        return text.replacing(/(?i)\b(password|passphrase|secret|token)=\S+/) { "\($0.1)=<redacted>" }
    }

    private static func isSecret(_ name: String) -> Bool {
        ["PASS", "SECRET", "KEY", "TOKEN", "SAS", "CREDENTIAL"].contains { name.uppercased().contains($0) }
    }
}

/// How a tool's program ended and what it said.
struct ToolResult: Sendable {
    var program: String
    var ending: CommandResult.Ending
    var output: [UInt8]
    var wasCut: Bool
    /// Redacted.
    var errors: String

    var succeeded: Bool { ending == .exited(0) }
    var status: Int32? { if case .exited(let status) = ending { status } else { nil } }
    /// Invalid bytes, as an encrypted file's in a message, are repaired.
    var text: String { String(decoding: output, as: UTF8.self) }

    var endingText: String {
        CommandResult(executable: program, ending: ending, output: [], errors: []).endingText
    }

    /// The last lines of what it said, for a finding or an error.
    var lastWords: [String] {
        errors.split(whereSeparator: \.isNewline).suffix(12).map { "\(program): \(printable($0.utf8))" }
    }

    /// The line that says why it failed, with the next one where it ends in a colon; else how it ended.
    var firstWords: String {
        let lines = errors.split(whereSeparator: \.isNewline)
        let marks = ["ERROR", "FATAL", "EXCEPTION"]
        let found =
            lines.firstIndex { line in marks.contains { line.contains($0) } }
            ?? lines.firstIndex { !$0.hasPrefix("WARN") && !$0.hasPrefix("INFO") }
        guard let found else { return "\(program) \(endingText)" }
        let count = lines[found].hasSuffix(":") ? 2 : 1
        return lines[found...].prefix(count).map { printable($0.trimmingCharacters(in: .whitespaces).utf8) }
            .joined(separator: " ")
    }

    func failure(_ code: DrillError.Code, _ what: String, at place: String, hints: [String] = []) -> DrillError {
        DrillError(code, what, at: place, hints: hints + lastWords)
    }

    /// Decodes what it wrote as JSON. Throws `couldNotLook` where it is none.
    func decoded<Value: Decodable>(_ type: Value.Type, at place: String) throws -> Value {
        do {
            // Bytes of an encrypted file in a message may be control characters, which JSON cannot hold.
            return try JSONDecoder().decode(type, from: Data(text.utf8.map { $0 < 0x20 ? 0x20 : $0 }))
        } catch {
            throw failure(
                .couldNotLook, "what \(program) listed cannot be understood", at: place,
                hints: [wasCut ? "Its list is too long." : "\(error)"])
        }
    }
}
