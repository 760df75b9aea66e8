import DrillCore
import Foundation

/// A Barman server's catalog, asked by `barman list-backup`, `show-backup`, `recover` and `get-wal`.
///
/// `check-backup` is not among them: it may write a new state into the catalog.
struct Barman: BackupTool {
    static let kind = "barman"
    static let title = "barman: a catalog of Barman's on this machine, recovered by Barman itself"
    static let fields = [
        SettingsField("server", .text, required: true, "The server's name in Barman's configuration."),
        SettingsField(
            "config", .text,
            "Barman's configuration file. Default: ~/.barman.conf of its user, /etc/barman.conf or /etc/barman/barman.conf."
        ),
        SettingsField(
            "processes", .integer(1...999), "How many processes copy. Default: as many as there are processors."),
    ]

    var program: ToolProgram
    let server: String
    let config: String?
    let processes: Int
    private let scratchDirectory: String
    private let clock: any DrillClock
    private let settle: Duration

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        server = try settings.requiredString("server")
        guard !server.isEmpty, !server.contains("/"), !server.hasPrefix("-"), server != "all" else {
            throw settings.error("server", "`\(printable(server.utf8))` is no name of a server")
        }
        let path = try settings.string("config").map { settings.source.absolute($0) }
        config = path
        processes = Int(
            try settings.integer("processes", in: 1...999) ?? Int64(ProcessInfo.processInfo.activeProcessorCount))
        scratchDirectory = context.scratch.directory
        clock = context.environment.clock
        settle = context.settle
        program = try ToolProgram(
            "barman",
            installation: [
                "Install it: `apt-get install barman` (Debian, Ubuntu), `dnf install barman` (Fedora, RHEL with PostgreSQL's "
                    + "repository).", "Where it is installed elsewhere, name it with `program:`.",
            ], settings, context, environmentPrefixes: [])
        // Instants without a zone in Barman's catalog are in this machine's.
        program.variables["TZ"] = ":/etc/localtime"
        // Where it cannot be read yet, the catalog says so when it is looked at.
        let configuration = Result { try BarmanConfiguration(path, user: "barman") }
        if case .success(let configuration) = configuration {
            try Self.require(server, of: configuration, scratch: scratchDirectory, settings)
            program.user = try ToolProgram.user(settings) {
                guard let user = try ToolProgram.named(configuration.user) else {
                    throw settings.error(
                        "server", "Barman's user `\(configuration.user)` is no OS user of this machine")
                }
                return user
            }
        }
    }

    /// What the configuration already tells to be wrong.
    private static func require(
        _ server: String, of configuration: BarmanConfiguration, scratch: String, _ settings: SettingsReader
    ) throws {
        let names = configuration.servers
        guard names.contains(server) else {
            var hints = ["\(configuration.path) has: \(names.isEmpty ? "none" : names.joined(separator: ", "))."]
            if let nearest = nearestWord(to: server, among: names) { hints.insert("Did you mean `\(nearest)`?", at: 0) }
            throw settings.error("server", "Barman knows no server `\(server)`", hints: hints)
        }
        let sources = SourceGuard(sources: [
            .init(what: "Barman's directory", directory: configuration.directory(server)),
            .init(what: "Barman's directory", directory: configuration.bases(server)),
            .init(what: "Barman's directory", directory: configuration.wals(server)),
        ])
        if let refusal = sources.refusal(scratch: scratch) {
            throw settings.error("server", refusal, hints: ["Set `scratch.directory` to a place apart."])
        }
    }

    var place: String { "barman(\(config.map { "config=\($0) " } ?? "")server=\(server))" }

    // MARK: - Commands

    func configuration() throws -> BarmanConfiguration { try BarmanConfiguration(config, user: "barman") }

    /// Runs Barman with its configuration as it is, but that locks and the log go to that folder.
    /// - Parameter wals: Another directory of WAL than the configuration's.
    func run(
        _ arguments: [String], in folder: ToolFolder, isListing: Bool = false, wals: String? = nil
    ) async throws -> ToolResult {
        let name = wals == nil ? "barman.conf" : "barman-wal.conf"
        let path = folder.directory + "/" + name
        if !FileManager.default.fileExists(atPath: path) {
            let text = try configuration().derived(folder, server: server, wals: wals)
            // Several may come here at the same time.
            let own = try folder.write("\(name).\(hexadecimal((0..<4).map { _ in UInt8.random(in: 0...255) }))", text)
            guard rename(own, path) == 0 else {
                throw DrillError(.couldNotLook, "cannot be made: \(String(cString: strerror(errno)))", at: path)
            }
        }
        var command = try program.command(
            ["--config", path] + (isListing ? ["--format", "json"] : []) + arguments, at: place)
        command.output = .collected(limitBytes: 64 << 20)
        return try await program.run(command)
    }

    private func listed<Value>(
        _ arguments: [String], _ body: (ToolResult) throws -> Value
    ) async throws -> Value {
        _ = try program.located(at: place)
        return try await ToolFolder.withTemporary(in: scratchDirectory, user: program.user) { folder in
            try body(try await run(arguments, in: folder, isListing: true))
        }
    }

    // MARK: - Catalog

    private static let lostWords = "Barman does not list it: its backup.info is missing"

    func backups() async throws -> [ToolBackup] {
        _ = try program.located(at: place)
        let configuration = try configuration()
        let bases = configuration.bases(server)
        // Barman lists nothing where its directory is not there or may not be read, as if there were no backup.
        let folders = try await folders(configuration)
        let rules = SetRules(now: clock.now(), settle: settle, target: .latest)
        let listed = try await listed(["list-backup", server]) {
            try BarmanListed.backups($0, server: server, at: place)
        }
        var backups = listed.map { $0.backup(writtenAt: folders[$0.id], rules) }
        // Nor does it list a folder whose backup.info is lost.
        let known = Set(listed.map(\.id))
        for (name, changed) in folders.sorted(by: { $0.key < $1.key })
        where !known.contains(name) && !name.hasPrefix(".") {
            var lost = ToolBackup(label: name)
            lost.startedAt = changed
            lost.state = .refused("\(Self.lostWords) in \(bases)/\(name)")
            if case .running(let reason) = BarmanListed.state("EMPTY", since: changed, rules) {
                lost.state = .running(reason)
            }
            backups.append(lost)
        }
        return backups
    }

    /// Folders of base backups by name, with when each was last changed.
    private func folders(_ configuration: BarmanConfiguration) async throws -> [String: Date] {
        let bases = configuration.bases(server)
        let result = try await find([bases, "-mindepth", "1", "-maxdepth", "1", "-type", "d", "-printf", "%Ts %f\\n"])
        guard result.succeeded else {
            // Before the first backup there is only the server's own directory.
            let isMissing = result.errorText.contains("No such file or directory")
            if isMissing, try await find([configuration.directory(server), "-maxdepth", "0"]).succeeded { return [:] }
            throw DrillError(
                .couldNotLook, "Barman's catalog is not there or cannot be read", at: bases,
                hints: [
                    "Is it mounted? \(printable(result.errorText.utf8.prefix { $0 != UInt8(ascii: "\n") }))"
                ])
        }
        let pairs = result.outputText.split(whereSeparator: \.isNewline).compactMap { line -> (String, Date)? in
            let words = line.split(separator: " ", maxSplits: 1)
            guard words.count == 2, let seconds = strictInteger(String(words[0])) else { return nil }
            return (String(words[1]), Date(timeIntervalSince1970: Double(seconds)))
        }
        return Dictionary(pairs) { $1 }
    }

    func find(_ arguments: [String]) async throws -> CommandResult {
        var command = Command("find", arguments, environment: ["LC_ALL": "C"])
        command.user = program.user
        command.workingDirectory = "/"
        command.output = .collected(limitBytes: 256 << 20)
        return try await program.environment.processes.run(command)
    }

    func examined(_ backup: ToolBackup) async throws -> ToolBackup {
        if case .refused(let reason) = backup.state, reason.hasPrefix(Self.lostWords) { return backup }
        var found = try await listed(["show-backup", server, backup.label]) { result in
            try BarmanAnswer<BarmanShown>(result, server: server, at: place).value.complete(backup)
        }
        guard case .done = found.state else { return found }
        found.systemIdentifier = try await systemIdentifier(backup.label)
        return try await BarmanWAL(self).withGapJudged(found)
    }

    /// Only the form for people says it. nil where Barman does not know.
    private func systemIdentifier(_ label: String) async throws -> UInt64? {
        try await ToolFolder.withTemporary(in: scratchDirectory, user: program.user) { folder in
            let result = try await run(["show-backup", server, label], in: folder)
            return result.text.firstMatch(of: /System Id\s*: ([0-9]+)/).flatMap { UInt64($0.1) }
        }
    }

    func plan(_ backup: ToolBackup) -> [String] {
        ["barman recover \(server) \(backup.label) would bring it back, on this machine, with \(processes) processes."]
    }

    // MARK: - Restore

    func restore(_ backup: ToolBackup, into folder: ToolFolder) async throws -> ToolRestore {
        let tablespaces = backup.tablespaces.flatMap {
            ["--tablespace", "\($0):\(folder.tablespaces)/\($0)"]
        }
        let result = try await run(
            ["recover", "--get-wal", "--jobs", String(processes), "--recovery-staging-path", folder.spool] + tablespaces
                + [server, backup.label, folder.data], in: folder)
        let text = program.redacted(result.text)
        let log = text + "\n" + result.errors
        guard result.succeeded else {
            let words = result.firstWords
            let isDamage = words.contains("status is not DONE")
            throw result.failure(
                isDamage ? .backupUnusable : Self.isMissingFile(log) ? .backupUnusable : .couldNotLook,
                "barman recover: \(words)", at: "\(place) \(backup.label)")
        }
        // Barman puts the backup's name behind the manifest's, and says that it changed these.
        let manifest = "\(folder.data)/backup_manifest.\(backup.label)"
        var restore = ToolRestore(log: log)
        guard FileManager.default.fileExists(atPath: manifest) else {
            restore.notes.append(
                "Barman keeps no manifest of this backup: a file that is missing or changed shows only to probes that read it."
            )
            return restore
        }
        let own = folder.directory + "/backup_manifest"
        guard rename(manifest, own) == 0 else {
            throw DrillError(.couldNotLook, "cannot be moved: \(String(cString: strerror(errno)))", at: manifest)
        }
        restore.manifest = (
            own,
            [
                ".barman-recover.info", "postgresql.conf", "postgresql.auto.conf", "postgresql.conf.origin",
                "postgresql.auto.conf.origin", "recovery.signal", "tablespace_map", "pg_hba.conf.origin",
                "pg_ident.conf.origin",
            ]
        )
        return restore
    }

    private static func isMissingFile(_ log: String) -> Bool {
        log.contains("link_stat") && log.contains("No such file or directory")
    }

    func archive(
        of backup: ToolBackup, in folder: ToolFolder, control dataDirectory: String
    ) async throws -> any ToolArchive { try await BarmanWAL(self).fetching(into: folder) }
}
