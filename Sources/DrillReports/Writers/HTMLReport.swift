import Crypto
import DrillCore
import Foundation
import Mustache

/// The report that people read: verdict first, then what it rests on and what to do next. One file without scripts,
/// links or anything fetched; under 5 MB however many findings there are.
package func htmlReport(_ record: RunRecord) throws -> [UInt8] {
    guard let page = try templates.get().render(pageValues(record), withTemplate: "page") else {
        throw DrillError(.ledgerUnusable, "the report's template is not there")
    }
    return Array(page.utf8)
}

/// Read once in a process.
private let templates: Result<MustacheLibrary, DrillError> = {
    MustacheContentTypes.register(HTMLText(), named: "MUSTER")
    do {
        return .success(
            MustacheLibrary(templates: [
                "page": try MustacheTemplate(string: HTMLTemplate.page),
                "group": try MustacheTemplate(string: HTMLTemplate.group),
            ]))
    } catch {
        return .failure(DrillError(.ledgerUnusable, "the report's template cannot be read", cause: error))
    }
}()

/// Escapes scalar by scalar; the library's own looks for whole `Character`s and lets `<` with an accent through.
private struct HTMLText: MustacheContentType {
    func escapeText(_ text: String) -> String {
        var bytes: [UInt8] = []
        appendEscaped(text, limit: 16 << 10, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}

private let documentBudgetBytes = 1_200_000
private let groupLimit = 100
private let tableLimit = 500
private let rowLimit = 400
/// Of a text among as many as `rowLimit`: with an escape for every byte these stay well under 5 MB.
private let textLimitBytes = 500

private func pageValues(_ record: RunRecord) -> [String: Any] {
    let (header, outcome) = (record.header, record.outcome)
    let verdict = outcome?.verdict ?? .inconclusive
    let style = HTMLTemplate.style
    let cases = reportCases(record)
    let shownGroups = record.groups.prefix(groupLimit)
    let budget = documentBudgetBytes / max(1, shownGroups.count)
    let failing = shownGroups.filter(\.counts).map { groupValues($0, budget: budget) }
    let reported = shownGroups.filter { !$0.counts }.map { groupValues($0, budget: budget) }
    let tables = outcome?.rowCounts ?? []
    var values: [String: Any] = [
        "style": style, "styleDigest": Data(SHA256.hash(data: Data(style.utf8))).base64EncodedString(),
        "drill": header.drill, "runID": header.runID, "verdict": verdict.rawValue,
        "verdictWord": outcome == nil ? "Did not finish" : verdict.rawValue.capitalized,
        "reason": outcome.map { shortened($0.reason, to: 4000) }
            ?? "The run has not come to its end. Nothing here says that the backup is good.",
        "facts": facts(record), "hasFailing": cases.contains { $0.verdict != .pass }, "failing": failing,
        "hasReported": !reported.isEmpty,
        "reported": reported, "cases": cases.prefix(rowLimit).map(caseValues),
        "notPassed": cases.filter { $0.verdict != .pass && !$0.groups.contains(where: \.counts) }.prefix(rowLimit).map(
            caseValues),
        "limits": limits(record, cases),
        "hasPhases": !record.phases.isEmpty,
        "phases": record.phases.prefix(rowLimit).map { phase in
            [
                "name": phase.name, "began": instantText(phase.startedAt), "took": spanText(phase.seconds),
                "detail": shortened(phase.detail, to: textLimitBytes),
            ]
        },
        "hasTables": !tables.isEmpty,
        "tables": tables.prefix(tableLimit).map { ["table": $0.table, "rows": grouped($0.rows)] },
        "particulars": particulars(record),
    ]
    values["description"] = header.description
    if tables.count > tableLimit {
        values["moreTables"] = "and \(grouped(Int64(tables.count - tableLimit))) more tables"
    }
    return values
}

private func facts(_ record: RunRecord) -> [[String: Any]] {
    let (outcome, objectives) = (record.outcome, record.header.objectives)
    func reached(_ name: String, _ seconds: Double?, _ objective: Duration?) -> [String: Any] {
        let (text, isMet) = objectiveText(seconds, objective)
        var fact: [String: Any] = ["name": name, "value": text]
        if let isMet {
            fact["mark"] = isMet ? "pass" : "fail"
        } else if objective != nil {
            fact["mark"] = "inconclusive"
        }
        return fact
    }
    return [
        ["name": "Backup set", "value": outcome?.backupSet ?? "none"],
        ["name": "Recovery point", "value": outcome?.recoveryPoint.map { instantText($0) } ?? "not known"],
        ["name": "Recovery target", "value": record.header.recoveryTarget],
        reached("RPO reached", outcome?.rpoSeconds, objectives.rpo),
        reached("RTO reached", outcome?.rtoSeconds, objectives.rto),
        ["name": "Oldest backup allowed", "value": objectives.maxBackupAge.map { spanText($0) } ?? "no objective set"],
    ]
}

private func caseValues(_ reportCase: ReportCase) -> [String: Any] {
    var values: [String: Any] = [
        "name": reportCase.name, "message": shortened(reportCase.message, to: textLimitBytes),
        "verdict": reportCase.verdict.rawValue,
        "time": spanText(reportCase.seconds),
    ]
    if let result = reportCase.result {
        values["kind"] = result.kind
        values["examined"] = grouped(result.examined)
        values["passed"] = grouped(result.passed)
        values["failed"] = grouped(result.failed)
        values["unknown"] = grouped(result.unknown)
    }
    return values
}

private func groupValues(_ group: FindingGroup, budget: Int) -> [String: Any] {
    var values: [String: Any] = [
        "probe": shortened(group.probe, to: 100), "title": group.title, "first": group.first.line,
        "last": group.last.line,
        "several": group.count > 1, "next": shortened(advice(for: group), to: textLimitBytes),
    ]
    var room = budget
    var lines: [String] = []
    for example in group.examples {
        let line = example.line
        room -= 6 * line.utf8.count  // what an escape may take
        guard room > 0 else { break }
        lines.append(line)
    }
    if group.count > 2, !lines.isEmpty {
        let label =
            Int64(lines.count) == group.count
            ? "all \(grouped(group.count))"
            : "the first \(lines.count) of \(grouped(group.count)); all stand in the ledger"
        values["more"] = ["label": label, "lines": lines] as [String: Any]
    }
    return values
}

/// What was relaxed, waived, not reached or not known (Q5): a reader must not take this for more than it is.
private func limits(_ record: RunRecord, _ cases: [ReportCase]) -> [String] {
    var limits: [String] = []
    if record.groups.count > groupLimit {
        limits.append("\(record.groups.count - groupLimit) more groups stand in the ledger.")
    }
    if cases.count > rowLimit { limits.append("\(cases.count - rowLimit) more probes stand in report.json.") }
    limits += record.outcome?.notes ?? []
    for probe in record.probes {
        limits += probe.relaxations.map { "\(shortened(probe.probe, to: 100)): \($0)" }
        if probe.unknown > 0 { limits.append("\(probe.probe): \(grouped(probe.unknown)) could not be judged.") }
    }
    limits += cases.filter { $0.verdict == .inconclusive && $0.result == nil }.map { "\($0.name): \($0.message)." }
    if record.groups.count > 200 {
        limits.append("\(record.groups.count - 200) more groups of findings stand in the ledger.")
    }
    return limits.prefix(rowLimit).map { shortened($0, to: textLimitBytes) } + [
        "Only what the probes above ask was looked at; nothing else of the backup was."
    ]
}

private func particulars(_ record: RunRecord) -> [[String: Any]] {
    let (header, outcome) = (record.header, record.outcome)
    let values: [(String, String?)] = [
        ("Run", header.runID), ("Began", instantText(header.startedAt)),
        ("Finished", outcome.map { instantText($0.finishedAt) } ?? didNotFinish), ("Host", header.host),
        ("Strategy", header.strategy), ("Tool", header.toolVersion), ("Drill file (SHA-256)", header.drillDigest),
        ("Ledger chain head", record.chainHead),
    ]
    return values.compactMap { name, value in value.map { ["name": name, "value": $0] } }
}
