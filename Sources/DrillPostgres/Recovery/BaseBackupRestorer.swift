import DrillCore
import Foundation

/// A base backup and archived WAL, recovered to an instant on a server of our own.
struct BaseBackupRestorer: Restorer {
    static let kind = "base_backup"
    static let shape = SettingsShape(
        "base_backup: output of pg_basebackup, plain or tar, and an archive of WAL",
        [
            SettingsField(
                "base", .text, required: true,
                "A directory or s3://bucket/prefix that is a base backup, or holds one folder a backup."),
            SettingsField(
                "wal", .text,
                "The directory or s3://bucket/prefix of archived WAL: segments plain or as .gz, .zst, .lz4. Default: only the WAL in the backup."
            ),
        ] + ReplaySettings.fields + ClusterSettings.fields + BackupFolderAccess.fields)

    let strategy = "point_in_time"
    let base: any BackupFolder
    let wal: ArchiveListing?
    let replay: ReplaySettings
    let cluster: ClusterSettings
    let context: PartContext

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        self.context = context
        guard let base = try Self.folder("base", settings, context) else {
            throw settings.error("base", "is missing")
        }
        self.base = base
        wal = try Self.folder("wal", settings, context).map { ArchiveListing($0, context.environment) }
        for field in BackupFolderAccess.fields where settings.has(field.name) {
            guard base is LocalFolder, wal.map({ $0.folder is LocalFolder }) ?? true else { continue }
            throw settings.error(field.name, "means nothing here: neither `base` nor `wal` is in a bucket")
        }
        replay = try ReplaySettings(settings)
        cluster = try ClusterSettings(settings, context)
    }

    private static func folder(
        _ key: String, _ settings: SettingsReader, _ context: PartContext
    ) throws -> (any BackupFolder)? {
        if let remote = try context.remoteFolder(key, in: settings) { return remote }
        return try settings.string(key).map { LocalFolder(directory: settings.source.absolute($0)) }
    }

    private var baseCatalog: BaseBackupCatalog {
        BaseBackupCatalog(
            folder: base, wal: wal, bin: cluster.bin, target: context.target, settle: context.settle,
            environment: context.environment)
    }

    func catalog() throws -> (any BackupCatalog)? { baseCatalog }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let set = try await baseCatalog.examined(set)
        switch set.state {
        case .usable:
            return ComponentState(.usable, notes: set.notes, sizeBytes: set.sizeBytes, takenAt: set.time)
        case .unusable(let reason): return ComponentState(.unusable(reason), notes: set.notes)
        case .beingWritten(let reason), .passedOver(let reason):
            return ComponentState(.incomplete(reason), notes: set.notes)
        }
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        [
            "The base backup \(set.place)\(set.sizeBytes.map { " of \(grouped($0)) bytes" } ?? "") would be copied below "
                + "\(context.scratch.directory).",
            wal.map {
                "WAL from \($0.folder.place) would be replayed to \(context.target.text) on a server with a Unix socket alone."
            }
                ?? "Only the WAL in the backup would be replayed.",
        ]
    }

    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        guard let scratch else { throw DrillError(.couldNotLook, "a base backup can only be restored into scratch") }
        guard let backup = try await BaseBackup.all(in: base).first(where: { $0.name == set.id }) else {
            throw DrillError(.backupUnusable, "the base backup is gone", at: base.place)
        }
        let environment = context.environment
        let archive = try await wal?.archive()
        var facts = try await backup.facts(environment)
        if let archive { facts.add(archive) }
        // Refused before anything is copied.
        if let label = facts.label { _ = try TimelineChoice(archive, base: label.timeline, wanted: replay.timeline) }
        let account = try RecoveredCluster.makeFolders(in: scratch)
        let unpacking = BaseBackupCopy(
            backup: backup, environment: environment, account: account, settings: cluster, scratch: scratch)
        progress.step("copy the base backup", total: set.sizeBytes, unit: .bytes)
        let copied = try await unpacking.copy(major: facts.major, progress: progress)
        let label = copied.label
        let choice = try TimelineChoice(archive, base: label.timeline, wanted: replay.timeline)
        let recovered = RecoveredCluster(
            environment: environment, tools: copied.tools, settings: cluster, scratch: scratch, account: account)
        if let other = archive?.systemIdentifier, other != copied.control.systemIdentifier {
            throw DrillError(
                .backupUnusable,
                "the base backup is of the cluster with system identifier \(copied.control.systemIdentifier ?? 0), and the WAL "
                    + "is of \(other)", at: backup.place)
        }
        var source: any WALSource = NoArchive()
        if let archive, let wal {
            source = ArchiveSource(folder: wal.folder, archive: archive, scratch: scratch, environment: environment)
        }
        let recovery = PointInTimeRecovery(
            cluster: recovered, source: source, archive: archive, choice: choice, label: label, target: target,
            isInclusive: replay.isInclusive, archivedUntil: replay.archivedUntil, control: copied.control)
        progress.step("replay WAL", total: nil, unit: .items)
        let fallback = facts.stoppedAt ?? facts.startedAt
        return try await recovery.run { host, outcome in
            let found = try await recovered.look(host)
            var notes = copied.notes + choice.notes + outcome.notes
            if let archive,
                archive.segments(
                    along: choice.chain,
                    from: label.startSegment.number(
                        segmentBytes: archive.segmentBytes)
                ).isEmpty
            {
                notes.append("The archive has nothing that was written since this base backup began.")
            }
            if found.recoveryPoint == nil {
                notes.append("No transaction was replayed: the recovery point is when the base backup was taken.")
            }
            return try await recovered.withDatabase(
                host, found, notes: notes, recoveryPoint: found.recoveryPoint ?? fallback, logs: outcome.logs, use)
        }
    }
}
