import DrillCore
import Foundation

/// A line for a terminal, without colour codes: what it is, so that a command can colour it.
package struct SummaryLine: Sendable, Hashable {
    package enum Style: Sendable, Hashable {
        case verdict(Verdict)
        case heading, plain
        /// Of something that is as it should be, that is not, or that is not known.
        case good, bad, doubtful
        /// Of what only looks things up later: notes, paths, the chain head.
        case faint
    }

    package var style: Style
    package var text: String

    package init(_ style: Style, _ text: String) {
        self.style = style
        self.text = text
    }
}

/// What a tired person wants to know of a run, most important first. The last line of a finished run is its chain head
/// alone.
package func summaryText(_ record: RunRecord, reportsDirectory: String) -> [SummaryLine] {
    let outcome = record.outcome
    let verdict = outcome?.verdict ?? .inconclusive
    var lines = [
        SummaryLine(.verdict(verdict), "\(verdict.rawValue.uppercased())  \(terminalSafe(record.header.drill))"),
        SummaryLine(.plain, "  " + terminalSafe(outcome?.reason ?? didNotFinish)), SummaryLine(.plain, ""),
    ]
    lines += recoveryLines(record)
    lines += caseLines(record)
    lines += groupLines(record.groups)
    lines += noteLines(record)
    let folder = ReportFolder(reportsDirectory: reportsDirectory, drill: record.header.drill)
    lines.append(SummaryLine(.heading, "Reports"))
    lines.append(SummaryLine(.faint, "  " + terminalSafe(folder.path(ofRun: record.header.runID) + "/report.html")))
    lines.append(
        SummaryLine(.faint, "  junit.xml and report.json stand beside it; `muster show \(record.header.runID)`"))
    if let head = record.chainHead {
        lines.append(SummaryLine(.faint, "  The ledger's chain head, for `muster verify --anchor`, is:"))
        lines.append(SummaryLine(.faint, head))
    }
    return lines
}

private func recoveryLines(_ record: RunRecord) -> [SummaryLine] {
    let (outcome, objectives) = (record.outcome, record.header.objectives)
    func line(_ name: String, _ text: String, _ style: SummaryLine.Style = .plain) -> SummaryLine {
        SummaryLine(style, "  \(padded(name, 16))\(text)")
    }
    func reached(_ name: String, _ seconds: Double?, _ objective: Duration?) -> SummaryLine {
        let (text, isMet) = objectiveText(seconds, objective)
        return line(name, text, isMet.map { $0 ? .good : .bad } ?? (objective == nil ? .plain : .doubtful))
    }
    let point = outcome?.recoveryPoint.map { instantText($0) } ?? "not known"
    return [
        line("Backup set", terminalSafe(outcome?.backupSet ?? "none")),
        line("Recovery point", "\(point)  (target: \(terminalSafe(record.header.recoveryTarget)))"),
        reached("RPO reached", outcome?.rpoSeconds, objectives.rpo),
        reached("RTO reached", outcome?.rtoSeconds, objectives.rto), SummaryLine(.plain, ""),
    ]
}

/// `42s of 30m allowed`, and whether that is met; nil where that cannot be said.
func objectiveText(_ seconds: Double?, _ objective: Duration?) -> (text: String, isMet: Bool?) {
    let allowed = objective.map { spanText($0) }
    guard let seconds else { return (allowed.map { "not known, \($0) allowed" } ?? "not known", nil) }
    guard let objective, let allowed else { return ("\(spanText(seconds)), no objective set", nil) }
    if milliseconds(seconds) <= milliseconds(objective) { return ("\(spanText(seconds)) of \(allowed) allowed", true) }
    return ("\(spanText(seconds)), more than the \(allowed) allowed", false)
}

private func caseLines(_ record: RunRecord) -> [SummaryLine] {
    let cases = reportCases(record)
    let width = min(28, cases.map(\.name.count).max() ?? 0)
    var lines = [SummaryLine(.heading, "Probes and stages")]
    for reportCase in cases {
        let style: SummaryLine.Style =
            switch reportCase.verdict {
            case .pass: .good
            case .fail: .bad
            case .inconclusive: .doubtful
            }
        let verdict = padded(reportCase.verdict == .pass ? "pass" : reportCase.verdict.rawValue.uppercased(), 14)
        let message = sentences(reportCase.message)
        lines.append(
            SummaryLine(
                style, "  \(verdict)\(padded(terminalSafe(reportCase.name), width + 2))\(message.first ?? "")"))
        lines += message.dropFirst().map { SummaryLine(.plain, "  " + padded("", width + 16) + $0) }
        if let result = reportCase.result {
            let counts =
                "examined \(grouped(result.examined)), passed \(grouped(result.passed)), "
                + "failed \(grouped(result.failed)), unknown \(grouped(result.unknown)), in \(spanText(result.seconds))"
            lines.append(SummaryLine(.faint, "  " + padded("", width + 16) + counts))
        }
    }
    return lines + [SummaryLine(.plain, "")]
}

/// The lines of a message, its hints for one, each safe on a terminal.
private func sentences(_ message: String) -> [String] {
    shortened(message, to: 4000).utf8.split(separator: UInt8(ascii: "\n")).map { line in
        terminalSafe(String(decoding: line.drop { $0 == UInt8(ascii: " ") }, as: UTF8.self))
    }
}

/// At most so many groups on a terminal; the reports hold all.
private let groupLimit = 20

private func groupLines(_ groups: [FindingGroup]) -> [SummaryLine] {
    guard !groups.isEmpty else { return [] }
    var lines = [SummaryLine(.heading, groups.contains(where: \.counts) ? "What is wrong" : "What is reported")]
    for group in groups.prefix(groupLimit) {
        lines.append(
            SummaryLine(group.counts ? .bad : .doubtful, "  \(terminalSafe(group.probe)): \(terminalSafe(group.title))")
        )
        lines.append(SummaryLine(.plain, "    first  \(terminalSafe(group.first.line))"))
        if group.count > 1 { lines.append(SummaryLine(.plain, "    last   \(terminalSafe(group.last.line))")) }
        lines.append(SummaryLine(.plain, "    next   \(terminalSafe(advice(for: group)))"))
    }
    if groups.count > groupLimit {
        lines.append(SummaryLine(.faint, "  and \(groups.count - groupLimit) more groups, which the reports hold"))
    }
    return lines + [SummaryLine(.plain, "")]
}

private func noteLines(_ record: RunRecord) -> [SummaryLine] {
    var notes = record.outcome?.notes ?? []
    for probe in record.probes { notes += probe.relaxations.map { "\(probe.probe): \($0)" } }
    guard !notes.isEmpty else { return [] }
    return [SummaryLine(.heading, "Notes")] + notes.map { SummaryLine(.doubtful, "  " + terminalSafe($0)) }
        + [SummaryLine(.plain, "")]
}

/// One line in which nothing is hidden, and that no CI system takes for a command: `::set-output` at a line's start and
/// `##[` anywhere are such (J5).
func terminalSafe(_ text: String) -> String {
    // As bytes: to Swift, a bracket and a combining accent behind it are one `Character`, to a CI system they are not.
    let bytes = Array(visible(shortened(text, to: 4000)).utf8)
    let start = bytes.prefix { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }.count
    var line: [UInt8] = []
    for (index, byte) in bytes.enumerated() {
        let next = bytes[(index + 1)...]
        switch byte {
        case UInt8(ascii: "\n"): line += "\\n".utf8
        case UInt8(ascii: "\t"): line += " ".utf8
        case UInt8(ascii: ":") where index == start && next.first == byte: line += "\\x3a".utf8
        case UInt8(ascii: "#") where next.starts(with: "#[".utf8): line += "\\x23".utf8
        default: line.append(byte)
        }
    }
    return String(decoding: line, as: UTF8.self)
}

private func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(text.isEmpty ? 0 : 2, width - text.count))
}
