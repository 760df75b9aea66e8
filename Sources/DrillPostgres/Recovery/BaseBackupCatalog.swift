import DrillCore
import Foundation

/// The base backups in a directory, newest first by when they ended.
struct BaseBackupCatalog: BackupCatalog {
    let folder: any BackupFolder
    /// Lists the archive once for all that look at it; nil where there is none.
    let wal: ArchiveListing?
    let bin: String?
    let target: RecoveryTarget
    /// A backup without a manifest whose newest file is younger is still being written.
    let settle: Duration
    let environment: DrillEnvironment

    var place: String { folder.place }

    func candidates() async throws -> [BackupSet] {
        let now = environment.clock.now()
        try requirePast(target, now: now)
        let archive = try await archive()
        let backups = try await BaseBackup.all(in: folder)
        var sets: [BackupSet] = []
        for backup in backups { sets.append(try await set(backup, archive, now: now, leewaySeconds: 1)) }
        // Where there is no older one, that which ended in the very second of the target is tried: the server knows.
        if !sets.isEmpty, sets.allSatisfy({ if case .passedOver = $0.state { true } else { false } }) {
            sets = []
            for backup in backups { sets.append(try await set(backup, archive, now: now, leewaySeconds: 0)) }
        }
        return rules(now).ordered(sets)
    }

    private func rules(_ now: Date) -> SetRules { SetRules(now: now, settle: settle, target: .latest) }

    private func archive() async throws -> WALArchive? { try await wal?.archive() }

    private func facts(_ backup: BaseBackup, _ archive: WALArchive?) async throws -> BaseBackupFacts {
        var facts = try await backup.facts(environment)
        if let archive { facts.add(archive) } else { facts.stop = facts.manifest?.end }
        return facts
    }

    private func set(
        _ backup: BaseBackup, _ archive: WALArchive?, now: Date, leewaySeconds: TimeInterval
    ) async throws -> BackupSet {
        var facts: BaseBackupFacts
        do {
            facts = try await self.facts(backup, archive)
        } catch let error as DrillError where error.code == .backupUnusable {
            return BackupSet(
                id: backup.name, time: nil, place: backup.place, state: .unusable(error.what))
        }
        let size = try await backup.size()
        // What says nothing of its time is listed by its newest file, so that it is not taken for the oldest.
        let time = facts.stoppedAt ?? facts.startedAt
        var set = BackupSet(
            id: backup.name, time: time ?? size.newest, place: backup.place, sizeBytes: size.bytes)
        if let label = facts.label {
            set.facts = [("label", label.label), ("timeline", String(label.timeline)), ("start LSN", "\(label.start)")]
            if let stop = facts.stop { set.facts.append(("stop LSN", "\(stop)")) }
            if let started = facts.startedAt { set.facts.append(("started", rfc3339(started))) }
            if facts.startedAt == nil {
                set.notes.append("Its start `\(label.startTimeText)` is in a zone that is not known.")
            }
        }
        if let major = facts.major { set.facts.append(("PostgreSQL", String(major))) }
        if let system = facts.systemIdentifier { set.facts.append(("system identifier", String(system))) }
        set.state = state(backup, facts, newest: size.newest, now: now, leewaySeconds)
        return set
    }

    private func state(
        _ backup: BaseBackup, _ facts: BaseBackupFacts, newest: Date?, now: Date, _ leewaySeconds: TimeInterval
    ) -> BackupSet.State {
        if !backup.hasManifest, let newest, rules(now).isSettling(newest), facts.stoppedAt == nil {
            return .beingWritten("It has no manifest yet, and its newest file is of \(rfc3339(newest)).")
        }
        guard let label = facts.label else {
            if facts.isLabelBehind { return .usable }
            return .unusable(
                "backup_label is missing: without it a server would recover from the wrong checkpoint and come up corrupt"
            )
        }
        if label.isIncremental {
            return .passedOver("It is an incremental backup: alone it is nothing; combine it by pg_combinebackup.")
        }
        if let time = facts.stoppedAt ?? facts.startedAt {
            if time.timeIntervalSince(now) > 300 {
                return .passedOver("It is dated \(rfc3339(time)), in the future: refused.")
            }
            // A history file has whole seconds; consistency may be reached only at the end of that second.
            if case .instant(let instant) = target, instant.timeIntervalSince(time) < leewaySeconds {
                return .passedOver(
                    "It ended at \(rfc3339(time)), not before the recovery target \(rfc3339(instant)).")
            }
        }
        if case .lsn(let text) = target, let lsn = LSN(text), lsn < facts.stop ?? label.start {
            return .passedOver("It ended at \(facts.stop ?? label.start), behind the recovery target \(lsn).")
        }
        return .usable
    }

    func examined(_ set: BackupSet) async throws -> BackupSet {
        guard set.state == .usable,
            let backup = try await BaseBackup.all(in: folder).first(where: { $0.name == set.id })
        else { return set }
        var set = set
        let archive = try await archive()
        let facts = try await facts(backup, archive)
        if let major = facts.major {
            _ = try await RecoveredCluster.tools(major: major, bin: bin, at: backup.place, environment)
        }
        if facts.isLabelBehind {
            set.notes.append(
                "Its backup_label does not stand in front of \(backup.base ?? "it"); it is looked for when it is unpacked."
            )
        }
        if !backup.hasManifest {
            set.notes.append("It has no backup_manifest, so pg_verifybackup cannot look at its files.")
        }
        if let archive, let reason = try await refusal(backup, facts, archive) { set.state = .unusable(reason) }
        return set
    }

    /// Why this archive does not go with this backup.
    private func refusal(_ backup: BaseBackup, _ facts: BaseBackupFacts, _ archive: WALArchive) async throws -> String?
    {
        if let own = facts.systemIdentifier, let other = archive.systemIdentifier, own != other {
            return
                "it is of the cluster with system identifier \(own), and the WAL in \(archive.place) is of \(other)"
        }
        guard let label = facts.label, backup.base == nil else { return nil }
        let bytes = archive.segmentBytes
        let first = label.startSegment.number(segmentBytes: bytes)
        // A stop at a segment's very start needs nothing of it.
        let last = max(first, facts.stop.map { LSN($0.value - 1).segmentNumber(bytes) } ?? first)
        for number in first...last where archive.segments[label.timeline]?.contains(number) != true {
            let name = WALSegment(timeline: label.timeline, number: number, segmentBytes: bytes).name
            if try await backup.folder.entry("pg_wal/\(name)") == nil {
                return
                    "the WAL segment \(name) (timeline \(label.timeline)), which it needs to be consistent, is missing"
            }
        }
        return nil
    }

    func sets() async throws -> [BackupSet] { try await setsWithHints() }
}

/// The archive as it was when it was first looked at in a run: what comes later would not fit to what was judged.
actor ArchiveListing {
    nonisolated let folder: any BackupFolder
    private let environment: DrillEnvironment
    private var listed: WALArchive?

    init(_ folder: any BackupFolder, _ environment: DrillEnvironment) {
        self.folder = folder
        self.environment = environment
    }

    func archive() async throws -> WALArchive {
        if let listed { return listed }
        let archive = try await WALArchive.read(folder, environment)
        listed = archive
        return archive
    }
}
