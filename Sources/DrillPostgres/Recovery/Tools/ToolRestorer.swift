import DrillCore
import Foundation

/// A backup in a tool's repository, restored by the tool and recovered to its target on a server of ours.
///
/// The tool brings back the data directory and hands out WAL; where recovery stops, and the proof that it did, are ours.
struct ToolRestorer<Tool: BackupTool>: Restorer {
    static var kind: String { Tool.kind }
    static var shape: SettingsShape {
        SettingsShape(
            Tool.title,
            Tool.fields + ToolProgram.fields + ReplaySettings.fields
                // A tool knows where its tablespaces are.
                + ClusterSettings.fields.filter { $0.name != "tablespaces" })
    }

    let strategy = "point_in_time"
    let tool: Tool
    let replay: ReplaySettings
    let cluster: ClusterSettings
    let context: PartContext
    private let listing = ToolListing()

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        self.context = context
        cluster = try ClusterSettings(settings, context)
        replay = try ReplaySettings(settings)
        if case .lsn(let text) = context.target, LSN(text) == nil {
            throw DrillError(
                .usage, "the target `\(text)` is no LSN", at: settings.place(), hints: ["Write it as 0/1A2B3C4D."])
        }
        tool = try Tool(settings, context)
    }

    private var toolCatalog: ToolCatalog<Tool> {
        ToolCatalog(tool: tool, bin: cluster.bin, context: context, listing: listing)
    }

    func catalog() throws -> (any BackupCatalog)? { toolCatalog }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let set = try await toolCatalog.examined(set)
        switch set.state {
        case .usable: return ComponentState(.usable, notes: set.notes, sizeBytes: set.sizeBytes, takenAt: set.time)
        case .unusable(let reason): return ComponentState(.unusable(reason), notes: set.notes)
        case .beingWritten(let reason), .passedOver(let reason):
            return ComponentState(.incomplete(reason), notes: set.notes)
        }
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        let size = set.sizeBytes.map { " of \(grouped($0)) bytes" } ?? ""
        return ["The backup \(set.id)\(size) would be restored below \(context.scratch.directory)."]
            + (listing[set.id].map(tool.plan) ?? [])
            + ["WAL would be replayed to \(context.target.text) on a server with a Unix socket alone."]
    }

    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        guard let scratch else { throw DrillError(.couldNotLook, "a backup can only be restored into scratch") }
        guard let backup = listing[set.id] else {
            throw DrillError(.backupUnusable, "the backup is gone from the catalog", at: set.place)
        }
        if let bytes = backup.sizeBytes { try DataDirectoryCopy.requireSpace(bytes, in: scratch.directory) }
        let account = try RecoveredCluster.makeFolders(in: scratch)
        let folder = try ToolFolder.make(in: scratch, user: tool.program.user)
        progress.step("restore by \(tool.program.name)", total: set.sizeBytes, unit: .bytes)
        let restored = try await tool.restore(backup, into: folder)
        let prepared = try await prepare(backup, restored, folder, account, scratch)
        progress.step("replay WAL", total: nil, unit: .items)
        return try await prepared.recover(to: target, replay) { host, outcome in
            try await prepared.requireOwn(host)
            let found = try await prepared.cluster.look(host)
            var notes = prepared.notes + outcome.notes
            if found.recoveryPoint == nil {
                notes.append("No transaction was replayed: the recovery point is when the backup ended.")
            }
            var logs = outcome.logs
            logs["\(tool.program.name).log"] = restored.log
            return try await prepared.cluster.withDatabase(
                host, found, notes: notes, recoveryPoint: found.recoveryPoint ?? backup.stoppedAt ?? backup.startedAt,
                logs: logs, use)
        }
    }

    /// Makes a data directory of ours of what the tool restored, and checks that it is what the catalog said.
    private func prepare(
        _ backup: ToolBackup, _ restored: ToolRestore, _ folder: ToolFolder, _ account: ServerAccount,
        _ scratch: Scratch
    ) async throws -> PreparedRecovery {
        let environment = context.environment
        let place = "\(tool.place) \(backup.label)"
        let directory = RestoredDirectory(
            folder: folder, account: account, scratch: scratch, environment: environment)
        try await directory.takeOver(at: place)
        let dataDirectory = scratch.directory + "/server/pgdata"
        guard let version = FileManager.default.contents(atPath: dataDirectory + "/PG_VERSION"),
            let major = majorVersion(String(decoding: version, as: UTF8.self))
        else { throw DrillError(.backupUnusable, "PG_VERSION is missing", at: place) }
        let tools = try await RecoveredCluster.tools(major: major, bin: cluster.bin, at: place, environment)
        var notes = restored.notes
        if let manifest = restored.manifest {
            notes.append(try await directory.verify(manifest, tools, at: place))
        }
        guard let bytes = FileManager.default.contents(atPath: dataDirectory + "/backup_label"),
            let label = BackupLabel([UInt8](bytes))
        else { throw DrillError(.backupUnusable, "backup_label cannot be read", at: place) }
        try DataDirectoryCopy(environment: environment, account: account).removeForeignState(dataDirectory)
        let control = try await ControlData.read(dataDirectory, tools, environment)
        if let told = backup.systemIdentifier, told != control.systemIdentifier {
            throw DrillError(
                .backupUnusable,
                "the catalog says that it is of the cluster with system identifier \(told), and what was restored is of "
                    + "\(control.systemIdentifier ?? 0)", at: place)
        }
        if let told = backup.systemIdentifier {
            notes.append("What was restored is of the cluster with system identifier \(told), as the repository says.")
        }
        return PreparedRecovery(
            cluster: RecoveredCluster(
                environment: environment, tools: tools, settings: cluster, scratch: scratch, account: account),
            control: control, label: label,
            archive: try await tool.archive(of: backup, in: folder, control: dataDirectory),
            place: place, notes: notes)
    }
}
