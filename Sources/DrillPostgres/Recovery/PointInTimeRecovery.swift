import DrillCore
import Foundation

/// Recovers a copied base backup to its target, and proves from the server's log that it stopped there (P14-P17).
struct PointInTimeRecovery: Sendable {
    var cluster: RecoveredCluster
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
        let script = try await writeScript()
        try writeOwnFile(cluster.dataDirectory + "/recovery.signal", "")
        try cluster.account.give(cluster.dataDirectory + "/recovery.signal")
        do {
            return try await start(script, to: target, notes: [], body)
        } catch let idle as TargetAfterLastCommit {
            try cluster.prepareRestart()
            return try await start(script, to: .latest, notes: [idle.note], body)
        }
    }

    /// Recovery ended before its target, and the target is proved to lie after the last commit: the database was idle.
    private struct TargetAfterLastCommit: Error {
        var note: String
    }

    private func start<Result: Sendable>(
        _ script: String, to target: RecoveryTarget, notes: [String],
        _ body: (RestoreHost, Outcome) async throws -> Result
    ) async throws -> Result {
        let settings = control.floors + targetSettings(target) + [("restore_command", FetchScript.setting(script))]
        let isUp = UpFlag()
        do {
            return try await cluster.withServer(settings) { server in
                let log = RecoveryLog(contentsOf: server.logPath)
                try requireStop(log, target)
                await isUp.set()
                let host = try await RestoreHost(server.parameters, server: server, environment: cluster.environment)
                return try await body(host, outcome(log, notes: notes))
            }
        } catch {
            if await isUp.isSet || error is CancellationError { throw error }
            throw judged(DrillError(wrapping: error), RecoveryLog(contentsOf: cluster.logPath), target)
        }
    }

    private func outcome(_ log: RecoveryLog, notes: [String]) -> Outcome {
        var notes = notes
        if let stop = log.stop { notes.append("The server's log says: \(stop).") }
        if target == .latest, let end = log.redoEnd {
            notes.append("All WAL was replayed, up to the record at \(end).")
        }
        let evidence =
            ["target: \(target.text)", "timeline: \(choice.timeline)", ""] + log.evidence
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

    /// Writes the script; where the server's account may not read the archive, of copies of what it needs.
    private func writeScript() async throws -> String {
        var fetch = FetchScript(folders: [], tools: [:])
        for packing in [Packing.gzip, .zstd, .lz4] {
            fetch.tools[packing] = cluster.environment.processes.find(packing.rawValue)
        }
        if let archive {
            let needed = neededFiles(archive)
            for packing in Set(needed.map { Packing.of($0).packing }) where packing != .none {
                _ = try packing.tool(cluster.environment, for: archive.directory)
            }
            fetch.folders = [
                try await isReadable(archive.directory) ? archive.directory : try await staged(needed, archive)
            ]
        }
        let path = cluster.folder + "/fetch-wal"
        try fetch.write(to: path)
        try cluster.account.give(path)
        return path
    }

    private func neededFiles(_ archive: WALArchive) -> [String] {
        let first = label.startSegment.number(segmentBytes: archive.segmentBytes)
        return archive.files.filter { $0.number.map { $0 >= first } ?? true }.map(\.path)
    }

    private func isReadable(_ directory: String) async throws -> Bool {
        guard let user = cluster.account.user else { return true }
        var command = Command("find", ["-L", directory, "-type", "f", "!", "-readable", "-print", "-quit"])
        command.user = user
        let result = try await cluster.environment.processes.run(command)
        return result.succeeded && result.output.isEmpty
    }

    private func staged(_ files: [String], _ archive: WALArchive) async throws -> String {
        let folder = cluster.folder + "/wal"
        try cluster.account.makeFolder(folder)
        var bytes: Int64 = 0
        for file in files {
            bytes += try await LocalFolder(directory: archive.directory).entry(file)?.sizeBytes ?? 0
        }
        try DataDirectoryCopy.requireSpace(bytes, in: cluster.scratch.directory)
        for file in files {
            try Task.checkCancellation()
            let name = file.split(separator: "/").last.map(String.init) ?? file
            do {
                try FileManager.default.copyItem(atPath: "\(archive.directory)/\(file)", toPath: "\(folder)/\(name)")
            } catch {
                throw DrillError(.couldNotLook, "cannot be copied", at: "\(archive.directory)/\(file)", cause: error)
            }
        }
        try await DataDirectoryCopy(environment: cluster.environment, account: cluster.account).give(folder)
        return folder
    }

    // MARK: - Judging

    /// A server that came up must say that it stopped at its target, or have replayed all that the archive has.
    private func requireStop(_ log: RecoveryLog, _ target: RecoveryTarget) throws {
        if case .latest = target {
            guard let archive else { return }
            let end = ReplayEnd(log, start: label.start, archive, choice.chain)
            if let fault = end.fault(log) { throw DrillError(.backupUnusable, fault, at: archive.directory) }
            return
        }
        guard log.stop != nil else {
            throw DrillError(
                .backupUnusable, "the server came up without having reached the target \(target.text)",
                at: archive?.directory, hints: log.evidence)
        }
        if case .instant(let instant) = target, let last = log.lastCommit,
            isInclusive ? last > instant : last >= instant
        {
            throw DrillError(
                .couldNotLook, "the server replayed a commit of \(rfc3339(last)), after the target \(target.text)",
                at: archive?.directory)
        }
    }

    /// What the end of a server that did not come up means.
    private func judged(_ error: DrillError, _ log: RecoveryLog, _ target: RecoveryTarget) -> any Error {
        guard error.code == .couldNotLook, let fatal = log.fatal else { return error }
        func unusable(_ what: String, _ hints: [String] = []) -> DrillError {
            DrillError(.backupUnusable, what, at: archive?.directory, hints: hints + log.evidence.suffix(8))
        }
        if let file = log.damagedFiles.first {
            return unusable("the WAL file \(file)\(Self.timeline(of: file)) cannot be read or unpacked")
        }
        if log.stoppedBeforeConsistent {
            return unusable("the target \(target.text) lies before the end of this base backup")
        }
        let end = archive.map { ReplayEnd(log, start: label.start, $0, choice.chain) }
        if log.endedBeforeTarget { return endedBeforeTarget(log, end, target, unusable) }
        if fatal.contains("directory \"") || fatal.contains("could not set permissions on directory") {
            return DrillError(
                .couldNotLook,
                "a tablespace was made after this base backup, and would be made again outside scratch: \(fatal)",
                at: archive?.directory, hints: ["Take a newer base backup."] + log.evidence.suffix(8))
        }
        let marks = [
            "could not locate required checkpoint record", "could not locate a valid checkpoint record",
            "could not find redo location", "WAL ends before", "consistent recovery point",
            "not in this server's history", "requested timeline", "invalid page", "references to invalid pages",
            "wrong size", "checksum", "unexpected", "invalid data in file",
        ]
        guard marks.contains(where: fatal.contains) else { return error }
        if let fault = end?.fault(log) { return unusable(fault) }
        if log.redoEnd == nil {
            return unusable(
                "replay cannot begin: the WAL segment \(label.startSegment.name) (timeline \(label.timeline)) is missing or damaged"
            )
        }
        return unusable(fatal)
    }

    private static func timeline(of file: String) -> String {
        WALSegment(file).map { " (timeline \($0.timeline))" } ?? ""
    }

    /// A withheld segment, an idle database, and an archive that does not reach the target are told apart (P15).
    private func endedBeforeTarget(
        _ log: RecoveryLog, _ end: ReplayEnd?, _ target: RecoveryTarget, _ unusable: (String, [String]) -> DrillError
    ) -> any Error {
        if let fault = end?.fault(log) { return unusable(fault, []) }
        let reached = log.redoEnd.map { "the record at \($0)" } ?? "the base backup itself"
        let last = log.lastCommit.map { ", the last commit is of \(rfc3339($0))" } ?? ""
        guard case .instant(let instant) = target else {
            return unusable("the archive ends at \(reached), and \(target.text) is not in it", [])
        }
        if let proof = proofOfCompleteness(until: instant, log) {
            return TargetAfterLastCommit(
                note: "The target \(rfc3339(instant)) lies after the last commit: the database was idle. \(proof)")
        }
        return unusable(
            "the archive ends at \(reached)\(last), before the target \(rfc3339(instant))",
            [
                "WAL after that was not archived, or the database was idle. Where the archive is known to be complete, say "
                    + "until when: `archived_until`."
            ])
    }

    /// Why everything committed up to that instant is known to have been replayed.
    private func proofOfCompleteness(until instant: Date, _ log: RecoveryLog) -> String? {
        if let archivedUntil, archivedUntil >= instant {
            return "The drill file declares the archive complete until \(rfc3339(archivedUntil))."
        }
        guard let archive, let reached = log.redoEnd else { return nil }
        let later = archive.backups.first { backup in
            guard let started = BackupLabel.instant(backup.startTimeText) else { return false }
            return started >= instant && backup.start <= reached
        }
        return later.map {
            "A later base backup shows it: it began at \($0.startTimeText) and \($0.start), which was replayed."
        }
    }
}

/// Whether the server came up: what is thrown after that is no fault of recovery.
private actor UpFlag {
    private(set) var isSet = false
    func set() { isSet = true }
}
