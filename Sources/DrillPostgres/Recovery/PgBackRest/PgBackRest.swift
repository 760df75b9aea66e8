import DrillCore
import Foundation

/// A pgBackRest repository, asked by `pgbackrest info`, `restore` and `archive-get`.
struct PgBackRest: BackupTool {
    static let kind = "pgbackrest"
    static let title = "pgbackrest: a pgBackRest repository, restored by pgBackRest itself"
    static let fields = [
        SettingsField("stanza", .text, required: true, "The stanza."),
        SettingsField(
            "config", .text,
            "pgBackRest's configuration file. Default: /etc/pgbackrest/pgbackrest.conf or /etc/pgbackrest.conf."),
        SettingsField(
            "repo", .integer(1...256), "Which repository, where several are configured. Default: all of them."),
        SettingsField(
            "cipher_pass_file", .text,
            "A file with the repository's passphrase alone on its first line. Else pgBackRest's configuration file, or "
                + "PGBACKREST_REPO1_CIPHER_PASS."),
        SettingsField(
            "processes", .integer(1...999), "How many processes restore. Default: as many as there are processors."),
    ]

    /// Those that say where the repository is and how it is reached. What changes a restore (`DELTA`, `DB_INCLUDE`) is not among
    /// them, nor is `PGBACKREST_REPO`, which would choose one silently.
    private static let prefixes = [
        "PGBACKREST_REPO", "PGBACKREST_CONFIG", "PGBACKREST_CMD", "PGBACKREST_IO_", "PGBACKREST_PROTOCOL_",
        "PGBACKREST_SCK_",
        "PGBACKREST_TCP_", "PGBACKREST_BUFFER_",
    ]

    var program: ToolProgram
    let stanza: String
    let config: String?
    let repository: Int?
    let processes: Int

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        stanza = try settings.requiredString("stanza")
        guard !stanza.isEmpty, !stanza.contains("/"), !stanza.hasPrefix("-") else {
            throw settings.error("stanza", "`\(printable(stanza.utf8))` is no name of a stanza")
        }
        config = try settings.string("config").map { settings.source.absolute($0) }
        repository = try settings.integer("repo", in: 1...256).flatMap { Int(exactly: $0) }
        let processors = Int64(ProcessInfo.processInfo.activeProcessorCount)
        processes = Int(try settings.integer("processes", in: 1...999) ?? processors)
        program = try ToolProgram(
            "pgbackrest",
            installation: [
                "Install it: `apt-get install pgbackrest` (Debian, Ubuntu), `dnf install pgbackrest` (Fedora, RHEL with "
                    + "PostgreSQL's repository).", "Where it is installed elsewhere, name it with `program:`.",
            ], settings, context, environmentPrefixes: Self.prefixes)
        program.variables["PGBACKREST_REPO"] = nil
        program.user = try ToolProgram.user(settings) { try ServerAccount.current().user }
        if let file = try settings.string("cipher_pass_file") {
            program.variables["PGBACKREST_REPO\(repository ?? 1)_CIPHER_PASS"] = try Self.passphrase(
                settings.source.absolute(file))
        }
        if let refusal = sources.refusal(scratch: context.scratch.directory) {
            throw settings.error("stanza", refusal, hints: ["Set `scratch.directory` to a place apart."])
        }
    }

    private static func passphrase(_ file: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw DrillError(.couldNotLook, "the passphrase file cannot be read", at: file)
        }
        let line = String(decoding: bytes, as: UTF8.self).prefix { !$0.isNewline }
        guard !line.isEmpty else {
            throw DrillError(.couldNotLook, "the passphrase file has no passphrase on its first line", at: file)
        }
        return String(line)
    }

    var place: String { "pgbackrest(\(config.map { "config=\($0) " } ?? "")stanza=\(stanza))" }

    /// What must only be read, as far as this process may read the configuration.
    private var sources: SourceGuard {
        let files = config.map { [$0] } ?? ["/etc/pgbackrest/pgbackrest.conf", "/etc/pgbackrest.conf"]
        guard let configuration = files.lazy.compactMap({ ToolConfiguration(contentsOf: $0) }).first else {
            return SourceGuard(sources: [])
        }
        let sections = configuration.sections.keys.filter {
            $0 == "global" || $0.hasPrefix("global:") || $0 == stanza || $0.hasPrefix(stanza + ":")
        }.sorted()
        let paths = configuration.values(in: sections) { $0.wholeMatch(of: /(pg|repo)[0-9]*-path/) != nil }
        return SourceGuard(sources: paths.map { .init(what: "pgBackRest's \($0.key)", directory: $0.value) })
    }

    // MARK: - Commands

    /// Options of every command: nothing is written but below `folder`.
    func options(_ folder: ToolFolder?, repository: Int?) -> [String] {
        var options = config.map { ["--config=\($0)"] } ?? []
        if let repository { options.append("--repo=\(repository)") }
        options += ["--log-level-file=off", "--log-level-console=off", "--log-level-stderr=warn"]
        if let folder {
            options += ["--lock-path=\(folder.locks)", "--log-path=\(folder.logs)"]
        }
        return options
    }

    func run(_ arguments: [String], limitBytes: Int = 64 << 20) async throws -> ToolResult {
        var command = try program.command(arguments, at: place)
        command.output = .collected(limitBytes: limitBytes)
        return try await program.run(command)
    }

    private func info(stanza: String?) async throws -> [PgBackRestStanza] {
        let result = try await run(
            options(nil, repository: repository) + (stanza.map { ["--stanza=\($0)"] } ?? [])
                + ["--output=json", "info"])
        guard result.succeeded else { throw refused(result) }
        return try result.decoded([PgBackRestStanza].self, at: place)
    }

    /// Why a command could not even begin.
    func refused(_ result: ToolResult) -> DrillError {
        // OptionRequiredError.
        if result.status == 37, result.errors.contains("cipher-pass") {
            return result.failure(
                .couldNotLook, "the repository is encrypted, and no passphrase is given", at: place,
                hints: [
                    "Name a `cipher_pass_file`, or set it in pgBackRest's configuration file or in "
                        + "PGBACKREST_REPO1_CIPHER_PASS."
                ])
        }
        return result.failure(.couldNotLook, result.firstWords, at: place)
    }

    // MARK: - Catalog

    func backups() async throws -> [ToolBackup] {
        guard let found = try await info(stanza: stanza).first(where: { $0.name == stanza }) else {
            throw try await unknownStanza()
        }
        for repository in found.repo ?? [] { try await require(repository, of: found) }
        let states = (found.repo ?? []).map(\.status.code)
        if found.status.code == PgBackRestStanza.missingStanza
            || (!states.isEmpty && states.allSatisfy { $0 == PgBackRestStanza.missingStanza })
        {
            throw try await unknownStanza()
        }
        return found.backups(in: repository)
    }

    /// Throws where that repository keeps the catalog from being seen whole: a newer backup may be in it.
    private func require(_ repository: PgBackRestStanza.Repository, of stanza: PgBackRestStanza) async throws {
        let place = "\(place) repo\(repository.key)"
        let message = printable(repository.status.message.utf8)
        switch repository.status.code {
        case PgBackRestStanza.missingData:
            throw DrillError(
                .backupUnusable, "pgBackRest says `\(message)`: backup.info is lost, and with it the catalog", at: place
            )
        case PgBackRestStanza.other where repository.status.message.contains("Salted__"):
            throw DrillError(
                .couldNotLook, "the repository is encrypted, and pgBackRest's configuration does not say so", at: place,
                hints: ["Set `repo\(repository.key)-cipher-type` there, and give the passphrase."])
        case PgBackRestStanza.other where repository.status.message.contains("is or was the repo encrypted"):
            throw DrillError(
                .couldNotLook, "the configuration says that the repository is encrypted, and it is not", at: place,
                hints: [message])
        case PgBackRestStanza.other where repository.cipher ?? "none" != "none":
            throw DrillError(
                .couldNotLook,
                "the encrypted repository cannot be read: the passphrase is wrong, or its catalog is damaged",
                at: place, hints: [String(message.prefix(600))])
        case PgBackRestStanza.other where PgBackRestFault.isOfBackup(message: repository.status.message):
            throw DrillError(.backupUnusable, "its catalog is damaged: \(message)", at: place)
        case PgBackRestStanza.other:
            throw DrillError(
                .couldNotLook, "the repository cannot be read: \(message)", at: place,
                hints: ["Is it mounted, does its server answer, and may \(user) read it?"])
        default: break
        }
    }

    private var user: String { program.user?.name ?? "this user" }

    /// pgBackRest says the same of a stanza that was never made and of a repository that is not there.
    private func unknownStanza() async throws -> DrillError {
        let names = try await info(stanza: nil).map(\.name).filter { $0 != stanza }.sorted()
        guard !names.isEmpty else {
            return DrillError(
                .couldNotLook, "the repository is empty or not there", at: place,
                hints: ["Is it mounted, and does \(config ?? "pgBackRest's configuration") name the right place?"])
        }
        var hints = ["The repository has: \(names.joined(separator: ", "))."]
        if let nearest = nearestWord(to: stanza, among: names) { hints.insert("Did you mean `\(nearest)`?", at: 0) }
        return DrillError(.couldNotLook, "the repository has no stanza `\(stanza)`", at: place, hints: hints)
    }

    func examined(_ backup: ToolBackup) async throws -> ToolBackup {
        guard case .done = backup.state else { return backup }
        return try await PgBackRestWAL(tool: self, backup: backup).withGapJudged(backup)
    }

    func plan(_ backup: ToolBackup) -> [String] {
        ["pgbackrest restore --set=\(backup.label) would bring it back, with \(processes) processes."]
    }

    // MARK: - Restore

    func restore(_ backup: ToolBackup, into folder: ToolFolder) async throws -> ToolRestore {
        let repository = backup.repository ?? self.repository
        var options = options(folder, repository: repository).filter { !$0.hasPrefix("--log-level-stderr") }
        options += [
            "--log-level-stderr=info", "--stanza=\(stanza)", "--set=\(backup.label)", "--pg1-path=\(folder.data)",
            "--tablespace-map-all=\(folder.tablespaces)", "--spool-path=\(folder.spool)", "--process-max=\(processes)",
            "--type=none", "--archive-mode=off",
        ]
        // Whatever the configuration says, everything comes back, into scratch, and only there.
        options += [
            "--no-delta", "--no-link-all", "--reset-link-map", "--reset-tablespace-map", "--reset-recovery-option",
            "--reset-db-include", "--reset-db-exclude", "--reset-pg1-host",
        ]
        let result = try await run(options + ["restore"])
        guard result.succeeded else {
            guard PgBackRestFault.isOfBackup(status: result.status) else { throw refused(result) }
            throw result.failure(
                .backupUnusable, "pgbackrest restore: \(result.firstWords)", at: "\(place) \(backup.label)")
        }
        return ToolRestore(
            log: result.errors, notes: ["pgBackRest found every file that it restored as its manifest has it."])
    }

    func archive(
        of backup: ToolBackup, in folder: ToolFolder, control dataDirectory: String
    ) async throws -> any ToolArchive {
        // archive-get reads the control file, as the tool's own user, who may not look into the server's directory.
        let copy = folder.directory + "/control"
        for path in [copy, copy + "/global"] { try folder.account.makeFolder(path) }
        do {
            try FileManager.default.copyItem(
                atPath: dataDirectory + "/global/pg_control", toPath: copy + "/global/pg_control")
        } catch {
            throw DrillError(.couldNotLook, "cannot be copied", at: dataDirectory + "/global/pg_control", cause: error)
        }
        try folder.account.give(copy + "/global/pg_control")
        return PgBackRestWAL(tool: self, backup: backup, working: (folder, copy))
    }
}
