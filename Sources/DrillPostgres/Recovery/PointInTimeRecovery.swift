import DrillCore
import Foundation

/// Recovers a copied base backup to its target, and proves from the server's log that it stopped there (P14-P17).
struct PointInTimeRecovery: Sendable {
    var cluster: RecoveredCluster
    /// Where archived WAL comes from; ``NoArchive`` where only the base backup's own WAL is to be replayed.
    var source: any WALSource
    /// What is known of its files; nil where nothing is.
    var archive: WALArchive?
    var choice: TimelineChoice
    var label: BackupLabel
    var target: RecoveryTarget
    var isInclusive: Bool
    var archivedUntil: Date?
    var control: ControlData

    struct Outcome: Sendable {
        var notes: [String]
        var logs: [String: String]
    }

    /// Hands on the server once recovery is over and it has been promoted.
    func run<Result: Sendable>(_ body: (RestoreHost, Outcome) async throws -> Result) async throws -> Result {
        let signal = cluster.dataDirectory + "/recovery.signal"
        try writeOwnFile(signal, "")
        try cluster.account.give(signal)
        let plan = WALCourier.Plan(
            source: source, serverFolder: cluster.folder, ownFolder: cluster.scratch.directory,
            account: cluster.account, segmentBytes: control.segmentBytes,
            systemIdentifier: control.systemIdentifier, chain: choice.chain)
        return try await WALCourier.with(plan) { courier in
            do {
                return try await start(courier, to: target, notes: [], body)
            } catch let idle as TargetAfterLastCommit {
                try cluster.prepareRestart()
                return try await start(courier, to: .latest, notes: [idle.note], body)
            }
        }
    }

    /// Recovery ended before its target, and the target is proved to lie after the last commit: the database was idle.
    private struct TargetAfterLastCommit: Error {
        var note: String
    }

    private func start<Result: Sendable>(
        _ courier: WALCourier, to target: RecoveryTarget, notes: [String],
        _ body: (RestoreHost, Outcome) async throws -> Result
    ) async throws -> Result {
        let settings = control.floors + targetSettings(target) + [("restore_command", courier.setting)]
        let isUp = UpFlag()
        do {
            return try await cluster.withServer(settings) { server in
                let log = RecoveryLog(contentsOf: server.logPath)
                if let failure = await courier.failure { throw failure }
                let deliveries = await courier.deliveries
                try await requireStop(log, deliveries, target)
                await isUp.set()
                let host = try await RestoreHost(server.parameters, server: server, environment: cluster.environment)
                return try await body(host, outcome(log, deliveries, notes: notes))
            }
        } catch {
            if await isUp.isSet || error is CancellationError { throw error }
            if let failure = await courier.failure { throw failure }
            throw try await judged(
                error, RecoveryLog(contentsOf: cluster.logPath), await courier.deliveries, target)
        }
    }

    private func outcome(_ log: RecoveryLog, _ deliveries: WALDeliveries, notes: [String]) -> Outcome {
        var notes = notes
        notes += deliveries.unfinished.map(\.name).sorted().map {
            "The WAL segment \($0) was not finished when it was archived; it was replayed as far as it goes."
        }
        if let stop = log.stop { notes.append("The server's log says: \(stop).") }
        if target == .latest, let end = log.redoEnd {
            notes.append("All WAL was replayed, up to the record at \(end).")
        }
        var evidence = ["target: \(target.text)", "timeline: \(choice.timeline)"]
        let found = deliveries.newestFound(control.segmentBytes)
        if let first = found.last, let last = found.first {
            evidence.append(
                "WAL from \(source.place): \(deliveries.found.count) segments, \(first.name) to \(last.name)")
        }
        if let wanted = deliveries.wanted(control.segmentBytes) { evidence.append("not there: \(wanted.name)") }
        evidence +=
            [""] + log.evidence
            + ["", "control file before recovery:", control.text]
        return Outcome(notes: notes, logs: ["recovery.log": evidence.joined(separator: "\n"), "server.log": log.text])
    }

    // MARK: - Settings

    private func targetSettings(_ target: RecoveryTarget) -> [(name: String, value: String)] {
        // The newest timeline would be another branch's where one appears meanwhile; the backup's own needs no history file.
        let timeline = choice.timeline == label.timeline ? "current" : String(choice.timeline)
        let common = [("recovery_target_timeline", timeline), ("recovery_target_action", "promote")]
        let inclusive = ("recovery_target_inclusive", isInclusive ? "on" : "off")
        switch target {
        case .latest: return common
        case .instant(let instant): return common + [("recovery_target_time", Self.text(instant)), inclusive]
        case .lsn(let lsn): return common + [("recovery_target_lsn", lsn), inclusive]
        case .name(let name): return common + [("recovery_target_name", name)]
        }
    }

    /// Microseconds kept, the offset said: the server's own zone has no say (P17).
    static func text(_ instant: Date) -> String {
        let micros = instant.microseconds
        let whole = Date(microseconds: micros - ((micros % 1_000_000) + 1_000_000) % 1_000_000)
        let fraction = String(((micros % 1_000_000) + 1_000_000) % 1_000_000)
        let seconds = rfc3339(whole).prefix(19).replacing("T", with: " ")
        return "\(seconds).\(String(repeating: "0", count: 6 - fraction.utf8.count))\(fraction)+00"
    }

    // MARK: - Judging

    /// A server that came up must say that it stopped at its target, or have replayed all that the archive has.
    private func requireStop(_ log: RecoveryLog, _ deliveries: WALDeliveries, _ target: RecoveryTarget) async throws {
        if case .latest = target {
            if let error = try await end(log, deliveries).error(log, at: source.place) { throw error }
            return
        }
        // Up to version 12 a server that ran out of WAL came up all the same.
        guard log.stop != nil else { throw try await endedBeforeTarget(log, deliveries, target) }
        if case .instant(let instant) = target, let last = log.lastCommit,
            isInclusive ? last > instant : last >= instant
        {
            throw DrillError(
                .couldNotLook, "the server replayed a commit of \(rfc3339(last)), after the target \(target.text)",
                at: source.place)
        }
    }

    private func end(_ log: RecoveryLog, _ deliveries: WALDeliveries) async throws -> ReplayEnd {
        try await ReplayEnd(log, start: label.start, deliveries, segmentBytes: control.segmentBytes) { number in
            if let archive, archive.isListed { return archive.segments(along: choice.chain, from: number).first }
            return try await laterSegment(from: number)
        }
    }

    /// Of a source that cannot be listed, the next segments are asked for.
    private func laterSegment(from number: UInt64) async throws -> WALSegment? {
        for number in number..<number + 8 {
            let segment = WALSegment(
                timeline: choice.timeline, number: number, segmentBytes: control.segmentBytes)
            if try await source.has(segment, in: cluster.scratch) { return segment }
        }
        return nil
    }

    private func unusable(_ log: RecoveryLog, _ what: String, _ hints: [String] = []) -> DrillError {
        DrillError(.backupUnusable, what, at: source.place, hints: hints + log.evidence.suffix(8))
    }

    /// What the end of a server that did not come up means.
    private func judged(
        _ thrown: any Error, _ log: RecoveryLog, _ deliveries: WALDeliveries, _ target: RecoveryTarget
    ) async throws -> any Error {
        let error = DrillError(wrapping: thrown)
        guard !(thrown is TargetAfterLastCommit), error.code == .couldNotLook, let fatal = log.fatal else {
            return thrown
        }
        if log.stoppedBeforeConsistent {
            return unusable(log, "the target \(target.text) lies before the end of this base backup")
        }
        if log.endedBeforeTarget { return try await endedBeforeTarget(log, deliveries, target) }
        if fatal.contains("directory \"") || fatal.contains("could not set permissions on directory") {
            return DrillError(
                .couldNotLook,
                "a tablespace was made after this base backup, and would be made again outside scratch: \(fatal)",
                at: source.place, hints: ["Take a newer base backup."] + log.evidence.suffix(8))
        }
        let marks = [
            "could not locate required checkpoint record", "could not locate a valid checkpoint record",
            "could not find redo location", "WAL ends before", "consistent recovery point",
            "not in this server's history", "requested timeline", "invalid page", "references to invalid pages",
            "wrong size", "checksum", "unexpected", "invalid data in file",
        ]
        guard marks.contains(where: fatal.contains) else { return error }
        let end = try await end(log, deliveries)
        if let fault = end.fault(log), end.isOfBackup { return unusable(log, fault) }
        if log.redoEnd == nil {
            return unusable(
                log,
                "replay cannot begin: the WAL segment \(label.startSegment.name) (timeline \(label.timeline)) is missing or damaged"
            )
        }
        return unusable(log, fatal)
    }

    /// A withheld segment, an idle database, and an archive that does not reach the target are told apart (P15).
    private func endedBeforeTarget(
        _ log: RecoveryLog, _ deliveries: WALDeliveries, _ target: RecoveryTarget
    ) async throws -> any Error {
        if let error = try await end(log, deliveries).error(log, at: source.place) { return error }
        let reached = log.redoEnd.map { "the record at \($0)" } ?? "the base backup itself"
        let last = log.lastCommit.map { ", the last commit is of \(rfc3339($0))" } ?? ""
        guard case .instant(let instant) = target else {
            return unusable(log, "the archive ends at \(reached), and \(target.text) is not in it")
        }
        if let proof = try await proofOfCompleteness(until: instant, log, deliveries) {
            return TargetAfterLastCommit(
                note: "The target \(rfc3339(instant)) lies after the last commit: the database was idle. \(proof)")
        }
        return unusable(
            log, "the archive ends at \(reached)\(last), before the target \(rfc3339(instant))",
            [
                "WAL after that was not archived, or the database was idle. Where the archive is known to be complete, say "
                    + "until when: `archived_until`."
            ])
    }

    /// Why everything committed up to that instant is known to have been replayed.
    private func proofOfCompleteness(
        until instant: Date, _ log: RecoveryLog, _ deliveries: WALDeliveries
    ) async throws -> String? {
        if let archivedUntil, archivedUntil >= instant {
            return "The drill file declares the archive complete until \(rfc3339(archivedUntil))."
        }
        guard let reached = log.redoEnd else { return nil }
        let later = archive?.backups.first { backup in
            guard let started = BackupLabel.certainInstant(backup.startTimeText) else { return false }
            return started >= instant && backup.start <= reached
        }
        if let later {
            return
                "A later base backup shows it: it began at \(later.startTimeText) and \(later.start), which was replayed."
        }
        let checkpoints = CheckpointTime(
            environment: cluster.environment, tools: cluster.tools, segmentBytes: control.segmentBytes)
        // One may be far back where much was written since, but then much was committed, too.
        let newest = try await checkpoints.newest(
            in: cluster.dataDirectory + "/pg_wal", Array(deliveries.newestFound(control.segmentBytes).prefix(4)))
        guard let newest, newest.instant >= instant, newest.place <= reached else { return nil }
        return
            "A checkpoint shows it: it began at \(rfc3339(newest.instant)), and its record at \(newest.place) was replayed."
    }
}

/// Whether the server came up: what is thrown after that is no fault of recovery.
actor UpFlag {
    private(set) var isSet = false
    func set() { isSet = true }
}
