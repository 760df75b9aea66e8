import Foundation

/// What a run comes to: gathers what happened and draws the verdict from it, by the rules of the spec and nothing else.
actor Conclusion {
    private let drill: Drill
    private let header: RunHeader
    private var failedSets: [(id: String?, reason: String)] = []
    private var backupSet: BackupSet?
    private var recoveryPoint: Date?
    private var rpoSeconds: Double?
    private var rtoSeconds: Double?
    private var restoreSeconds = 0.0
    private var rowCounts: [(table: String, rows: Int64)] = []
    private var notes: [String] = []
    private var results: [ProbeResult] = []
    private var objectives: StageResult?
    private var stopError: DrillError?
    private var cleanupErrors: [String] = []

    init(drill: Drill, header: RunHeader) {
        self.drill = drill
        self.header = header
    }

    var hasRestoreFinding: Bool { !failedSets.isEmpty }

    func note(_ sentences: [String]) {
        for sentence in sentences where !notes.contains(sentence) { notes.append(sentence) }
    }

    func restoreFailed(_ id: String?, _ reason: String) { failedSets.append((id, reason)) }
    /// Its relaxations stand with it, and reports print them beside the notes.
    func probed(_ result: ProbeResult) { results.append(result) }
    func cleanupFailed(_ reason: String) { cleanupErrors.append(reason) }
    /// The first error is the one that tells.
    func stopped(by error: DrillError) { if stopError == nil { stopError = error } }

    func restored(
        _ set: BackupSet, _ restored: Restored, recoveryPoint point: Date?, usableAt: Date, seconds: Double
    ) {
        backupSet = set
        recoveryPoint = point
        restoreSeconds = seconds
        rowCounts = restored.rowCounts
        note(restored.notes)
        if restored.recoveryPoint == nil, let point {
            note(["The recovery point \(rfc3339(point)) is the set's own name: the backup itself does not state it."])
        }
        rpoSeconds = point.map { header.startedAt.timeIntervalSince($0) }
        if header.strategy != "restored" { rtoSeconds = usableAt.timeIntervalSince(header.startedAt) }
    }

    /// Judges RPO, RTO and age; what is missed is a finding.
    func judgeObjectives() -> [Finding] {
        var findings: [Finding] = []
        var doubts: [String] = []
        var met: [String] = []
        func judge(_ name: String, _ objective: Duration?, _ reached: Double?, unknownBecause: String) {
            guard let objective else { return }
            guard let reached else {
                doubts.append("\(name) cannot be judged: \(unknownBecause)")
                return
            }
            // A backup from the future was stamped by a clock or in a zone that we do not know: nothing follows from it.
            if reached < -300 {
                doubts.append("\(name) cannot be judged: the recovery point lies \(spanText(-reached)) in the future")
            } else if reached > objective.seconds {
                findings.append(
                    Finding(
                        probe: "objectives", kind: .objective, rowID: name,
                        expected: "\(name) within \(spanText(objective.seconds))",
                        observed: "\(name) \(spanText(reached))",
                        evidence: name == "RTO"
                            ? "From the start of the run until the restored set could be used."
                            : "Counted back from the start of the run.",
                        repair: name == "RTO"
                            ? "Restore in parallel, shorten the WAL to replay, or declare what is achievable."
                            : "Back up more often, and find out why this set is that old."))
            } else {
                met.append("\(name) \(spanText(reached)) of \(spanText(objective.seconds))")
            }
        }
        judge("RPO", drill.objectives.rpo, rpoSeconds, unknownBecause: "the recovery point is not known")
        judge("RTO", drill.objectives.rto, rtoSeconds, unknownBecause: "Muster did not restore this database")
        judge(
            "backup age", drill.objectives.maxBackupAge, backupSet?.time.map { header.startedAt.timeIntervalSince($0) },
            unknownBecause: "the set states no time")
        let verdict: Verdict = !findings.isEmpty ? .fail : doubts.isEmpty ? .pass : .inconclusive
        let missed = findings.compactMap(\.observed).map { "missed: \($0)" }
        let message = (missed + doubts + met).joined(separator: "; ")
        objectives = StageResult(
            name: "objectives", verdict: verdict, message: message.isEmpty ? "no objectives are set" : message,
            seconds: 0)
        return findings
    }

    /// As things stand; `fail` outranks `inconclusive`, which outranks `pass`.
    var verdict: Verdict {
        var verdict: Verdict = failedSets.isEmpty ? .pass : .fail
        if stopError != nil { verdict = verdict.combined(with: .inconclusive) }
        // Nothing was probed and nothing stands against the backup: nothing is known.
        if results.count < drill.probes.count { verdict = verdict.combined(with: .inconclusive) }
        for result in results { verdict = verdict.combined(with: result.verdict) }
        if let objectives { verdict = verdict.combined(with: objectives.verdict) }
        return verdict
    }

    func outcome(finishedAt: Date) -> RunOutcome {
        RunOutcome(
            verdict: verdict, finishedAt: finishedAt, backupSet: backupSet?.id, recoveryPoint: recoveryPoint,
            rpoSeconds: rpoSeconds, rtoSeconds: rtoSeconds, reason: reason, notes: notes, stages: stages,
            rowCounts: rowCounts)
    }

    private var stages: [StageResult] {
        let restore: StageResult
        if let failed = failedSets.first {
            let name = failed.id.map { "set \($0): " } ?? ""
            let instead = backupSet.map { "; set \($0.id) was drilled instead" } ?? ""
            restore = StageResult(
                name: "restore", verdict: .fail, message: "\(name)\(failed.reason)\(instead)", seconds: restoreSeconds)
        } else if let backupSet {
            restore = StageResult(
                name: "restore", verdict: .pass,
                message: header.strategy == "restored"
                    ? "something else restored this database; it was only read" : "set \(backupSet.id) was restored",
                seconds: restoreSeconds)
        } else {
            restore = StageResult(
                name: "restore", verdict: .inconclusive, message: stopError?.description ?? "nothing was restored",
                seconds: 0)
        }
        let cleanup = StageResult(
            name: "cleanup", verdict: cleanupErrors.isEmpty ? .pass : .fail,
            message: cleanupErrors.isEmpty
                ? "scratch was removed or kept as asked" : cleanupErrors.joined(separator: "; "),
            seconds: 0)
        let judged =
            objectives
            ?? StageResult(
                name: "objectives", verdict: failedSets.isEmpty && stopError != nil ? .inconclusive : .fail,
                message: "not judged: no set was probed to the end", seconds: 0)
        return [restore, judged, cleanup]
    }

    /// All of them stand among the findings.
    private static let setsInReason = 3

    private var reason: String {
        var parts = failedSets.prefix(Self.setsInReason).map { failed in
            "\(failed.id.map { "set \($0)" } ?? "restore"): \(failed.reason.split(separator: "\n").first ?? "")"
        }
        if failedSets.count > Self.setsInReason {
            let more = failedSets.count - Self.setsInReason
            parts.append("\(more) more set\(more == 1 ? "" : "s") cannot be restored either")
        }
        if let stopError {
            let words = "\(stopError.place.map { "\($0): " } ?? "")\(stopError.what)"
            parts.append(stopError.code == .cancelled ? words : "could not look: \(words)")
        }
        for verdict in [Verdict.fail, .inconclusive] {
            let names = results.filter { $0.verdict == verdict }.map { result in
                result.failed > 0 && result.examined > 1
                    ? "\(result.probe) (\(grouped(result.failed)) of \(grouped(result.examined)))" : result.probe
            }
            if !names.isEmpty { parts.append("\(verdict.rawValue): \(names.joined(separator: ", "))") }
        }
        if let objectives, objectives.verdict != .pass { parts.append("objectives: \(objectives.message)") }
        if !cleanupErrors.isEmpty { parts.append("scratch could not be removed") }
        return parts.isEmpty ? "every probe passed" : parts.joined(separator: "; ")
    }
}
