import DrillCore
import Foundation

/// The base backups in a directory, newest first by when they ended.
struct BaseBackupCatalog: BackupCatalog {
    let directory: String
    let walDirectory: String?
    let bin: String?
    let target: RecoveryTarget
    let environment: DrillEnvironment

    /// A backup without a manifest whose newest file is younger is still being written.
    private static let settleSeconds: TimeInterval = 600

    var place: String { directory }

    func candidates() async throws -> [BackupSet] {
        let now = environment.clock.now()
        if case .instant(let instant) = target, instant.timeIntervalSince(now) > 0 {
            throw DrillError(
                .couldNotLook, "the recovery target \(rfc3339(instant)) is in the future (now is \(rfc3339(now)))",
                at: place, hints: ["Nothing can be restored to an instant that has not come."])
        }
        let archive = try await archive()
        var sets: [BackupSet] = []
        for backup in try BaseBackup.all(in: directory) {
            sets.append(try await set(backup, archive, now: now))
        }
        return SetRules(now: now, settle: .seconds(0), target: .latest).ordered(sets)
    }

    private func archive() async throws -> WALArchive? {
        guard let walDirectory else { return nil }
        return try await WALArchive.read(LocalFolder(directory: walDirectory), environment)
    }

    private func facts(_ backup: BaseBackup, _ archive: WALArchive?) async throws -> BaseBackupFacts {
        var facts = try await backup.facts(environment)
        if let archive { facts.add(archive) } else { facts.stop = facts.manifest?.end }
        return facts
    }

    private func set(_ backup: BaseBackup, _ archive: WALArchive?, now: Date) async throws -> BackupSet {
        var facts: BaseBackupFacts
        do {
            facts = try await self.facts(backup, archive)
        } catch let error as DrillError where error.code == .backupUnusable {
            return BackupSet(
                id: backup.name, time: nil, place: backup.directory, state: .unusable(error.what))
        }
        let size = try backup.size()
        // What says nothing of its time is listed by its newest file, so that it is not taken for the oldest.
        let time = facts.stoppedAt ?? facts.startedAt
        var set = BackupSet(
            id: backup.name, time: time ?? size.newest, place: backup.directory, sizeBytes: size.bytes)
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
        set.state = state(backup, facts, newest: size.newest, now: now)
        return set
    }

    private func state(
        _ backup: BaseBackup, _ facts: BaseBackupFacts, newest: Date?, now: Date
    ) -> BackupSet.State {
        if !backup.hasManifest, let newest, now.timeIntervalSince(newest) < Self.settleSeconds,
            facts.stoppedAt == nil
        {
            return .beingWritten("It has no manifest yet, and its newest file is of \(rfc3339(newest)).")
        }
        guard let label = facts.label else {
            return .unusable(
                "backup_label is missing: without it a server would recover from the wrong checkpoint and come up corrupt"
            )
        }
        if let time = facts.stoppedAt ?? facts.startedAt {
            if time.timeIntervalSince(now) > 300 {
                return .passedOver("It is dated \(rfc3339(time)), in the future: refused.")
            }
            // A history file has whole seconds; consistency may be reached only at the end of that second.
            if case .instant(let instant) = target, instant.timeIntervalSince(time) < 1 {
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
        guard set.state == .usable, let backup = try BaseBackup.all(in: directory).first(where: { $0.name == set.id })
        else { return set }
        var set = set
        let archive = try await archive()
        let facts = try await facts(backup, archive)
        if let major = facts.major {
            _ = try await RecoveredCluster.tools(major: major, bin: bin, at: backup.directory, environment)
        }
        if !backup.hasManifest {
            set.notes.append("It has no backup_manifest, so pg_verifybackup cannot look at its files.")
        }
        if let archive, let reason = refusal(backup, facts, archive) { set.state = .unusable(reason) }
        return set
    }

    /// Why this archive does not go with this backup.
    private func refusal(_ backup: BaseBackup, _ facts: BaseBackupFacts, _ archive: WALArchive) -> String? {
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
            if !FileManager.default.fileExists(atPath: "\(backup.directory)/pg_wal/\(name)") {
                return
                    "the WAL segment \(name) (timeline \(label.timeline)), which it needs to be consistent, is missing"
            }
        }
        return nil
    }

    /// Each candidate, also where the reason it cannot be looked at lies with this machine.
    func sets() async throws -> [BackupSet] {
        var sets: [BackupSet] = []
        for candidate in try await candidates() {
            do {
                sets.append(try await examined(candidate))
            } catch let error as DrillError where error.code == .couldNotLook {
                var set = candidate
                set.state = .unusable(error.what)
                set.notes += error.hints
                sets.append(set)
            }
        }
        return sets
    }
}
