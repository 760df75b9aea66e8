import DrillCore
import Foundation

/// Has a server recover a copied snapshot as it would after a crash, and proves from control file, log and pages what it did.
struct CrashRecovery: Sendable {
    var cluster: RecoveredCluster
    /// As the snapshot had it.
    var control: ControlData
    var pages: PageLSNs
    var commits: CommitTimes.Found
    var copied: SnapshotCopy.Copied
    /// For a person.
    var place: String

    struct Outcome: Sendable {
        var notes: [String]
        var logs: [String: String]
    }

    /// A cold copy: nothing is to be replayed.
    private var wasShutDown: Bool { ["shut down", "shut down in recovery"].contains(control.state) }
    private var isOfStandby: Bool {
        control.state.contains("in recovery") || control.state.contains("in archive recovery")
    }

    private var settings: [(name: String, value: String)] {
        var settings = control.floors
        // So that a probe may ask when a row was committed, as on the primary.
        if let setting = control.value("track_commit_timestamp setting") {
            settings.append(("track_commit_timestamp", setting))
        }
        return settings
    }

    /// Hands on the server once recovery is over and nothing speaks against the snapshot.
    func run<Result: Sendable>(_ body: (RestoreHost, Outcome) async throws -> Result) async throws -> Result {
        let isUp = UpFlag()
        do {
            return try await cluster.withServer(settings) { server in
                let after = try await ControlData.read(cluster.dataDirectory, cluster.tools, cluster.environment)
                let outcome = try judged(RecoveryLog(contentsOf: server.logPath), after)
                await isUp.set()
                let host = try await RestoreHost(server.parameters, server: server, environment: cluster.environment)
                return try await body(host, outcome)
            }
        } catch {
            if await isUp.isSet || error is CancellationError { throw error }
            throw explained(DrillError(wrapping: error), RecoveryLog(contentsOf: cluster.logPath))
        }
    }

    // MARK: - A server that came up

    private func judged(_ log: RecoveryLog, _ after: ControlData) throws -> Outcome {
        guard after.state == "in production", let end = wasShutDown ? control.checkpoint : after.checkpoint else {
            throw DrillError(
                .couldNotLook, "the server is up, and its control file says `\(after.state)`", at: place,
                hints: log.evidence)
        }
        if let fault = pages.fault(walEnd: end) { throw unusable(fault, log) }
        if let needed = control.minimumRecoveryEnd, end < needed {
            throw unusable(
                "the standby's data are only consistent from \(needed) on, and its WAL ends at \(end)", log)
        }
        guard wasShutDown || log.redoStart != nil || log.text.contains("redo is not required") else {
            throw DrillError(
                .couldNotLook, "the server's log does not show that crash recovery ran", at: place, hints: log.evidence)
        }
        return Outcome(
            notes: notes(log, after, end), logs: ["recovery.log": evidence(log, after), "server.log": log.text])
    }

    private func notes(_ log: RecoveryLog, _ after: ControlData, _ end: LSN) -> [String] {
        let was = "control file `\(control.state)`, checkpoint \(Self.text(control.checkpoint))"
        var notes: [String] = []
        if wasShutDown {
            notes.append(
                "The snapshot is of a server that was not running (\(was)): a cold copy, nothing was replayed.")
        } else if let start = log.redoStart {
            notes.append(
                "Crash recovery ran (\(was)): redo from \(start) to the record at \(Self.text(log.redoEnd)), the end of the WAL "
                    + "at \(end); afterwards control file `\(after.state)`, checkpoint \(Self.text(after.checkpoint)).")
        } else {
            notes.append(
                "Crash recovery ran (\(was)) and had nothing to replay; afterwards control file `\(after.state)`, checkpoint "
                    + "\(Self.text(after.checkpoint)).")
        }
        if isOfStandby {
            notes.append(
                "The snapshot is of a standby, or of a server in recovery: it was recovered from the WAL that it holds, as a "
                    + "server of its own.")
        }
        notes.append(
            "None of \(grouped(pages.pages)) pages is newer than the end of the WAL. A volume that is older than the others may "
                + "still go unseen by that; the integrity probe looks for what it would break.")
        return notes
    }

    private var copiedLine: String {
        let seconds = String(format: "%.3f", copied.seconds)
        return "copied \(copied.bytes) bytes in \(seconds) s"
    }

    private static func text(_ lsn: LSN?) -> String { lsn.map { "\($0)" } ?? "unknown" }

    private func evidence(_ log: RecoveryLog, _ after: ControlData) -> String {
        let newest = pages.newest.prefix(10).map { "  \($0.lsn) block \($0.block) of \($0.file)" }
        let parts =
            ["crash recovery of \(place)", "", copiedLine] + log.evidence
            + ["", "pg_waldump ended: \(commits.end)", "pages looked at: \(pages.pages)"]
            + (newest.isEmpty ? [] : ["pages beyond the snapshot's checkpoint, the newest of each file:"] + newest)
            + ["", "control file of the snapshot:", control.text, "control file after recovery:", after.text]
        return parts.joined(separator: "\n")
    }

    // MARK: - A server that did not

    private func unusable(_ what: String, _ log: RecoveryLog) -> DrillError {
        let state =
            "Control file: \(control.state), checkpoint \(Self.text(control.checkpoint)), redo from "
            + "\(Self.text(control.redo)) (\(control.value("Time of latest checkpoint") ?? "no time"))."
        return DrillError(
            .backupUnusable, what, at: place,
            hints: [
                "Take the data directory, its WAL and its tablespaces in one atomic snapshot, or make a base backup.",
                state,
            ] + log.evidence.suffix(8))
    }

    /// Words of a server that show its data or WAL to be at fault, and not the machine.
    private static let marks = [
        "could not locate a valid checkpoint record", "could not locate required checkpoint record",
        "could not find redo location", "invalid page", "is not satisfied", "could not access status of transaction",
        "unexpected timeline ID", "requested timeline", "WAL ends before", "consistent recovery point",
        "incorrect checksum in control file", "invalid data in", "could not read block", "checksum",
        "unexpected data beyond EOF", "is corrupted", "failed to re-find", "could not open file \"pg_",
        "could not open file \"base",
        "could not open file \"global", "does not exist in WAL", "invalid magic number",
    ]

    private func explained(_ error: DrillError, _ log: RecoveryLog) -> DrillError {
        guard error.code == .couldNotLook, let fatal = log.fatal else { return error }
        if let end = log.walEnd, let fault = pages.fault(walEnd: end) {
            return unusable("\(fault); the server ended with: \(fatal)", log)
        }
        guard Self.marks.contains(where: fatal.contains) else { return error }
        return unusable("the server does not recover from it: \(fatal)", log)
    }
}
