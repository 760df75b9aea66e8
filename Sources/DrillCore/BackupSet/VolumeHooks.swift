import Foundation

/// A user's own commands that make the volume of a backup set appear and disappear: `backup.hooks`.
package struct VolumeHooks: Sendable {
    package static let shape = SettingsShape(
        "hooks",
        [
            SettingsField(
                "mount", .list(.text), required: true,
                "Run before a set is looked into: a program and its arguments, no shell. In them `{set}` is the set's name and "
                    + "`{run}` the run's id, which MUSTER_BACKUP_SET and MUSTER_RUN_ID hold too."),
            SettingsField(
                "unmount", .list(.text), required: true,
                "Run when the set is done with, whatever happened; its failure is one to remove scratch."),
            SettingsField(
                "list", .list(.text),
                "Prints the name of one set a line. Default: the folders in `sets`, which then must be there unmounted."
            ),
            SettingsField("timeout", .duration, "Each command is ended past this. Default: 10m."),
        ])

    /// One command, as the drill file has it: variables are put in only when it runs, so that what is journaled holds no value.
    struct Hook: Sendable, Codable {
        var words: [String]
        /// Where it runs, and relative paths start.
        var directory: String
        var timeoutSeconds: Double
    }

    let mount: Hook
    let unmount: Hook
    let list: Hook?

    /// - Parameter isFile: Whether a file is there, on this machine.
    init(_ reader: SettingsReader, isFile: (String) -> Bool) throws {
        let timeout = try reader.duration("timeout") ?? .seconds(600)
        guard timeout > .zero else { throw reader.error("timeout", "must be longer than nothing") }
        func hook(_ key: String) throws -> Hook? {
            guard let words = try reader.strings(key), let node = reader.node(key) else { return nil }
            guard let program = words.first, !program.isEmpty else { throw reader.error(key, "names no program") }
            if program.contains("/"), !program.contains("{"), !isFile(reader.source.absolute(program)) {
                throw reader.error(
                    key, "there is no file `\(program)`", hints: ["A path is relative to the drill file."])
            }
            let raw = node.list?.compactMap(\.scalar) ?? [node.scalar].compactMap { $0 }
            return Hook(words: raw, directory: reader.source.directory, timeoutSeconds: timeout.seconds)
        }
        mount = try reader.required("mount", hook("mount"))
        unmount = try reader.required("unmount", hook("unmount"))
        list = try hook("list")
    }

    // MARK: - Running

    /// Names of sets that the `list` command prints.
    func names(_ environment: DrillEnvironment) async throws -> [String] {
        guard let list else { return [] }
        let result = try await list.run([:], environment)
        guard result.succeeded else { throw list.failed("list", result) }
        guard !result.outputWasCut else {
            throw DrillError(.couldNotLook, "the list of sets is too long", at: list.words.first)
        }
        return result.outputText.split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }

    /// What a journal keeps of a volume that is about to be mounted.
    func item(_ set: BackupSet) throws -> ScratchItem {
        let volume = MountedVolume(
            set: set.id, unmount: unmount, process: ProcessInfo.processInfo.processIdentifier)
        return ScratchItem(kind: VolumeRemover.itemKind, locator: try volume.text)
    }

    /// For `muster plan`. Whole sentences.
    package func plan(_ set: BackupSet) -> [String] {
        let names = [set.id, "<run id>"]
        return [
            "A run would mount the volume of the set: \(mount.shown(names)); and unmount it: \(unmount.shown(names)).",
            "What is in the set is looked at once it is mounted.",
        ]
    }
}

extension VolumeHooks.Hook {
    private static let placeholders = ["{set}", "{run}"]

    /// For a person: as the drill file has it, variables not put in.
    fileprivate func shown(_ values: [String]) -> String {
        words.map { word in
            let text = Self.filled(word, values)
            return text.contains(" ") ? "'\(text)'" : text
        }.joined(separator: " ")
    }

    private static func filled(_ word: String, _ values: [String]) -> String {
        zip(placeholders, values).reduce(word) { $0.replacing($1.0, with: $1.1) }
    }

    /// Runs it with this process's environment and these variables besides. Its status is for the caller to judge.
    func run(_ variables: [String: String], _ environment: DrillEnvironment) async throws -> CommandResult {
        let source = DrillFileSource(path: "hooks", directory: directory, variables: environment.variables)
        let values = [variables["MUSTER_BACKUP_SET"] ?? "", variables["MUSTER_RUN_ID"] ?? ""]
        var words: [String] = []
        for word in self.words {
            let text = try source.text(SettingsNode(.scalar(word, isPlain: false), line: 0)) ?? ""
            words.append(Self.filled(text, values))
        }
        guard let program = words.first else { throw DrillError(.couldNotLook, "a hook names no program") }
        var command = Command(
            program.contains("/") ? source.absolute(program) : program, Array(words.dropFirst()),
            environment: environment.variables.merging(variables) { $1 })
        command.workingDirectory = directory
        command.timeout = .milliseconds(Int64(timeoutSeconds * 1000))
        return try await environment.processes.run(command)
    }

    func failed(_ name: String, _ result: CommandResult, code: DrillError.Code = .couldNotLook) -> DrillError {
        let words = result.errorText.split(whereSeparator: \.isNewline).suffix(4)
        return DrillError(
            code, "the \(name) command \(result.endingText)", at: self.words.first,
            hints: words.map { "It said: \(printable($0.utf8))" })
    }
}

/// What is needed to unmount a volume again, also by another process.
private struct MountedVolume: Codable {
    var set: String
    var unmount: VolumeHooks.Hook
    /// The run's.
    var process: Int32

    var text: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }

    init(set: String, unmount: VolumeHooks.Hook, process: Int32) {
        self.set = set
        self.unmount = unmount
        self.process = process
    }

    init(_ item: ScratchItem) throws {
        do { self = try JSONDecoder().decode(Self.self, from: Data(item.locator.utf8)) } catch {
            throw DrillError(.cleanupFailed, "the journal's note of a mounted volume cannot be read", cause: error)
        }
    }
}

/// Unmounts the volume of a run that was killed, by the command that its drill file had.
package struct VolumeRemover: ScratchRemover {
    package static let itemKind = "volume"
    private let environment: DrillEnvironment

    package init(environment: DrillEnvironment) { self.environment = environment }

    /// Whether the process that had it mounted is gone. A number that another process has got since counts as not gone.
    package static func ownerIsGone(_ item: ScratchItem) -> Bool {
        guard item.kind == itemKind, let volume = try? MountedVolume(item) else { return false }
        return kill(volume.process, 0) != 0 && errno == ESRCH
    }

    /// For a person; nil for any other kind.
    package static func name(of item: ScratchItem) -> String? {
        guard item.kind == itemKind, let volume = try? MountedVolume(item) else { return nil }
        return "the mounted volume of set \(printable(volume.set.utf8))"
    }

    package func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        let volume = try MountedVolume(item)
        let variables = ["MUSTER_BACKUP_SET": volume.set, "MUSTER_RUN_ID": runID]
        let result = try await volume.unmount.run(variables, environment)
        guard result.succeeded else { throw volume.unmount.failed("unmount", result, code: .cleanupFailed) }
    }
}

/// Sets that can only be looked into while their volume is mounted. What lists them goes by their names.
struct UnmountedCatalog: BackupCatalog {
    let catalog: any BackupCatalog

    var place: String { catalog.place }
    func candidates() async throws -> [BackupSet] { try await catalog.candidates() }
    func examined(_ set: BackupSet) async throws -> BackupSet { try await catalog.examined(set) }

    func sets() async throws -> [BackupSet] {
        try await candidates().map { set in
            guard set.state == .usable else { return set }
            var set = set
            set.notes.append("Its volume is not mounted; a run looks into it.")
            return set
        }
    }
}
