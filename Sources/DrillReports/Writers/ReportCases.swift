import DrillCore
import Foundation

/// One line of a report: a stage of the run, or a probe. All reports are written from these, so that they cannot
/// disagree (J7).
struct ReportCase {
    /// Unique in its report (J2).
    var name: String
    var verdict: Verdict
    var message: String
    var seconds: Double
    /// nil for a stage.
    var result: ProbeResult?
    var groups: [FindingGroup]
}

let didNotFinish = "did not finish"

/// `restore`, each probe, `objectives` and `cleanup`. No report is greener than what was found: a finding that counts
/// fails its case, a stage that was never reached is inconclusive, and where the run's verdict is worse than all of
/// these, `run` says why.
func reportCases(_ record: RunRecord) -> [ReportCase] {
    guard let outcome = record.outcome else {
        return [ReportCase(name: "run", verdict: .inconclusive, message: didNotFinish, seconds: 0, groups: [])]
    }
    var owned = Dictionary(grouping: record.groups, by: owner)
    func take(_ name: String) -> [FindingGroup] { owned.removeValue(forKey: Array(name.utf8)) ?? [] }
    let probes = record.probes.map { result in
        ReportCase(
            name: result.probe, verdict: result.verdict, message: result.summary, seconds: result.seconds,
            result: result,
            groups: take(result.probe))
    }
    let stages = ["restore", "objectives", "cleanup"].map { name in
        let stage = outcome.stages.first { $0.name == name }
        return ReportCase(
            name: name, verdict: stage?.verdict ?? .inconclusive,
            message: stage?.message ?? "the run did not come to this",
            seconds: stage?.seconds ?? 0, groups: take(name))
    }
    let others = outcome.stages.filter { stage in !stages.contains { $0.name == stage.name } }.map { stage in
        ReportCase(
            name: stage.name, verdict: stage.verdict, message: stage.message, seconds: stage.seconds,
            groups: take(stage.name))
    }
    var orphaned: [ReportCase] = []
    for group in record.groups where owned[owner(group)] != nil {
        orphaned.append(
            ReportCase(
                name: group.probe, verdict: .inconclusive, message: "it recorded findings and no result", seconds: 0,
                groups: take(group.probe)))
    }
    var cases = [stages[0]] + probes + orphaned + [stages[1]] + others + [stages[2]]
    for index in cases.indices where cases[index].groups.contains(where: \.counts) { cases[index].verdict = .fail }
    if cases.allSatisfy({ $0.verdict.rank < outcome.verdict.rank }) {
        cases.append(
            ReportCase(name: "run", verdict: outcome.verdict, message: outcome.reason, seconds: 0, groups: []))
    }
    return withUniqueNames(cases)
}

/// The name of the case that a group belongs to, as bytes: the set's own findings are of the stage that judged them.
private func owner(_ group: FindingGroup) -> [UInt8] {
    switch group.kind {
    case .restore: Array("restore".utf8)
    case .objective: Array("objectives".utf8)
    default: Array(group.probe.utf8)
    }
}

/// Cuts names to a length that viewers show, and numbers those that are then the same.
private func withUniqueNames(_ cases: [ReportCase]) -> [ReportCase] {
    var seen: Set<[UInt8]> = []
    return cases.map { reportCase in
        var unique = reportCase
        let name = shortened(oneLine(reportCase.name), to: 100)
        unique.name = name
        var number = 2
        // As bytes: to Swift, two spellings of one character are the same string, to a viewer they may not be.
        while !seen.insert(Array(unique.name.utf8)).inserted {
            unique.name = "\(name) (\(number))"
            number += 1
        }
        return unique
    }
}

extension Finding {
    /// One line that says which reference, object or row it is, and what is wrong with it.
    var line: String {
        var parts: [String] = []
        if let relation {
            parts.append(relation + (rowID.map { " row \($0)" } ?? ""))
        } else if let rowID {
            parts.append("row \(rowID)")
        }
        if bucket != nil || objectKey != nil {
            let key = objectKey.map { shortened(printable($0), to: 600) } ?? ""
            parts.append("object \(bucket.map { $0 + "/" } ?? "")\(key)")
        }
        if let expected { parts.append("expected \(expected)") }
        if let observed { parts.append("observed \(observed)") }
        if let evidence, evidence != observed { parts.append(evidence) }
        return shortened(oneLine(parts.joined(separator: "; ")), to: 1200)
    }
}

extension FindingGroup {
    /// `missing (uploaded_after_copy): 1,204 findings`; a cause that is not known is not named.
    var title: String {
        let known = cause == .unknown ? "" : " (\(cause.rawValue))"
        let reported = counts ? "" : ", reported only"
        return "\(kind.rawValue)\(known): \(counted(count, "finding"))\(reported)"
    }
}
