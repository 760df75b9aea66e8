import DrillCore
import Foundation

/// A testsuite of a JUnit document.
package enum JUnitSuite: Sendable {
    /// A run as it stands; "did not finish" while it has not.
    case run(RunRecord)
    /// A drill of this call whose run has not begun, or never could: one `<error>` that says so.
    case notRun(drill: String, at: Date, host: String, reason: String)
}

/// JUnit XML in the subset that the Ant and the Jenkins schema share (J1): a testsuite a drill, a testcase a stage and
/// a probe, `<failure>` for fail and `<error>` for inconclusive, never `<skipped>` (J6). Under 5 MB however many
/// findings there are (J3): the first of them stand in the message, all of them in the ledger.
package func junitReport(_ suites: [JUnitSuite]) -> [UInt8] {
    let contents = suites.map { SuiteContent($0, caseLimit: max(20, caseLimit / suites.count)) }
    let caseCount = contents.reduce(0) { $0 + $1.cases.count }
    var xml = XMLText()
    xml.add("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
    xml.open(
        "testsuites",
        [("name", "muster")] + totals(contents.flatMap(\.cases), seconds: contents.reduce(0) { $0 + $1.seconds }))
    for (id, content) in contents.enumerated() {
        content.write(id: id, budget: documentBudgetBytes / max(1, caseCount), to: &xml)
    }
    xml.close("testsuites")
    return xml.bytes
}

/// What all testcases of a document may take together, their messages included.
private let documentBudgetBytes = 3_500_000
private let caseLimit = 2000

private struct SuiteContent {
    var drill: String
    var startedAt: Date
    var host: String
    var seconds: Double
    var properties: [(String, String)]
    var cases: [ReportCase]
    /// What no testcase has a place for: notes, relaxations, findings that are only reported.
    var remarks: [String]

    init(_ suite: JUnitSuite, caseLimit: Int) {
        switch suite {
        case .run(let record):
            drill = record.header.drill
            startedAt = record.header.startedAt
            host = record.header.host
            seconds = record.outcome.map { $0.finishedAt.timeIntervalSince(record.header.startedAt) } ?? 0
            properties = runProperties(record)
            cases = folded(reportCases(record), limit: caseLimit)
            remarks = runRemarks(record)
        case .notRun(let drill, let startedAt, let host, let reason):
            self.drill = drill
            self.startedAt = startedAt
            self.host = host
            seconds = 0
            properties = []
            cases = [ReportCase(name: "run", verdict: .inconclusive, message: reason, seconds: 0, groups: [])]
            remarks = []
        }
    }

    func write(id: Int, budget: Int, to xml: inout XMLText) {
        // Without zone and fraction, as the Ant schema wants it; the instant itself is among the properties.
        let timestamp = String(instantText(startedAt).prefix(19))
        xml.open(
            "testsuite",
            [("name", drill), ("package", "muster"), ("id", "\(id)"), ("timestamp", timestamp), ("hostname", host)]
                + totals(cases, seconds: seconds))
        xml.open("properties", [])
        for (name, value) in properties { xml.empty("property", [("name", name), ("value", value)]) }
        xml.close("properties")
        for reportCase in cases { write(reportCase, budget: budget, to: &xml) }
        xml.element("system-out", text: remarks.map { $0 + "\n" }.joined(), limit: 64 << 10)
        xml.element("system-err", text: "", limit: 0)
        xml.close("testsuite")
    }

    private func write(_ reportCase: ReportCase, budget: Int, to xml: inout XMLText) {
        let attributes = [
            ("name", reportCase.name), ("classname", "muster.\(drill)"),
            ("time", decimalSeconds(max(0, reportCase.seconds))),
        ]
        guard reportCase.verdict != .pass else { return xml.empty("testcase", attributes) }
        let bodyLimit = min(256 << 10, budget / 2)
        xml.open("testcase", attributes)
        let groups = reportCase.groups.filter(\.counts)
        let type = reportCase.verdict == .fail ? groups.first?.kind.rawValue ?? "fail" : "inconclusive"
        xml.element(
            reportCase.verdict == .fail ? "failure" : "error",
            [("message", reportCase.message), ("type", type)], attributeLimit: min(4096, budget / 4),
            text: body(of: reportCase, limit: bodyLimit), limit: bodyLimit)
        xml.close("testcase")
    }

    /// Not much more of it than can be shown.
    private func body(of reportCase: ReportCase, limit: Int) -> String {
        var lines = [shortened(reportCase.message, to: limit)]
        if let result = reportCase.result {
            lines.append(
                "examined \(grouped(result.examined)), passed \(grouped(result.passed)), failed \(grouped(result.failed)), "
                    + "unknown \(grouped(result.unknown))")
        }
        var room = limit
        for group in reportCase.groups where room > 0 {
            lines.append("")
            lines.append(group.title)
            lines.append("  next: \(visible(advice(for: group)))")
            for example in group.examples where room > 0 {
                lines.append("  " + example.line)
                room -= lines.last?.utf8.count ?? 0
            }
            let left = group.count - Int64(group.examples.count)
            if left > 0 { lines.append("  and \(grouped(left)) more, which the ledger holds") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// Beyond the limit the best are one case together, and the rest keep their order.
private func folded(_ cases: [ReportCase], limit: Int) -> [ReportCase] {
    guard cases.count > limit else { return cases }
    let ranked = cases.indices.sorted { (-cases[$0].verdict.rank, $0) < (-cases[$1].verdict.rank, $1) }
    let kept = Set(ranked.prefix(limit - 1))
    let rest = cases.indices.filter { !kept.contains($0) }.map { cases[$0] }
    let together = ReportCase(
        name: "and \(grouped(Int64(rest.count))) more", verdict: rest.reduce(.pass) { $0.combined(with: $1.verdict) },
        message: "these stand in report.json and in the ledger", seconds: rest.reduce(0) { $0 + $1.seconds }, groups: []
    )
    return cases.indices.filter { kept.contains($0) }.map { cases[$0] } + [together]
}

private func totals(_ cases: [ReportCase], seconds: Double) -> [(String, String)] {
    [
        ("tests", "\(cases.count)"), ("failures", "\(cases.count { $0.verdict == .fail })"),
        ("errors", "\(cases.count { $0.verdict == .inconclusive })"), ("skipped", "0"),
        ("time", decimalSeconds(max(0, seconds))),
    ]
}

private func runProperties(_ record: RunRecord) -> [(String, String)] {
    let (header, outcome) = (record.header, record.outcome)
    let properties: [(String, String?)] = [
        ("run_id", header.runID), ("verdict", (outcome?.verdict ?? .inconclusive).rawValue),
        ("reason", outcome?.reason ?? didNotFinish), ("started_at", instantText(header.startedAt)),
        ("finished_at", outcome.map { instantText($0.finishedAt) }), ("backup_set", outcome?.backupSet),
        ("recovery_target", header.recoveryTarget), ("recovery_point", outcome?.recoveryPoint.map { instantText($0) }),
        ("rpo_seconds", outcome?.rpoSeconds.map { decimalSeconds($0) }),
        ("rto_seconds", outcome?.rtoSeconds.map { decimalSeconds($0) }),
        ("rpo_objective_seconds", header.objectives.rpo.map { decimalSeconds(Double(milliseconds($0)) / 1000) }),
        ("rto_objective_seconds", header.objectives.rto.map { decimalSeconds(Double(milliseconds($0)) / 1000) }),
        ("strategy", header.strategy), ("drill_digest", header.drillDigest), ("tool_version", header.toolVersion),
        ("chain_head", record.chainHead),
    ]
    return properties.compactMap { name, value in value.map { (name, $0) } }
}

private func runRemarks(_ record: RunRecord) -> [String] {
    var remarks = (record.outcome?.notes ?? []).map { "note: \($0)" }
    for probe in record.probes { remarks += probe.relaxations.map { "relaxation of \(probe.probe): \($0)" } }
    remarks += record.groups.filter { !$0.counts }.map { "\($0.probe): \($0.title)" }
    return remarks
}
