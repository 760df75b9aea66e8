import DrillCore
import Foundation

/// What a server's log says of its recovery. (src/backend/access/transam/xlogrecovery.c.)
struct RecoveryLog: Sendable {
    let text: String

    /// - Parameter text: Of it, what the server said to those who came too early is left out.
    init(_ text: String) {
        self.text = text.split(whereSeparator: \.isNewline).filter {
            !$0.contains("FATAL:  the database system is ") && !$0.contains("DETAIL:  Hot standby mode is disabled.")
        }.joined(separator: "\n")
    }

    init(contentsOf path: String) {
        self.init(String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self))
    }

    private func lines(_ part: String) -> [Substring] {
        text.split(whereSeparator: \.isNewline).filter { $0.contains(part) }
    }

    private func lsn(after part: String, last: Bool = true) -> LSN? {
        let found = lines(part)
        guard let line = last ? found.last : found.first, let range = line.firstRange(of: part) else { return nil }
        return LSN(line[range.upperBound...].prefix { $0.isHexDigit || $0 == "/" })
    }

    var redoStart: LSN? { lsn(after: "redo starts at ") }
    /// Where the last record that was replayed begins.
    var redoEnd: LSN? { lsn(after: "redo done at ") }
    /// Where reading the WAL came to its end, where the server says.
    var walEnd: LSN? {
        guard let line = readError, let range = line.firstRange(of: " at ") else { return nil }
        return LSN(line[range.upperBound...].prefix { $0.isHexDigit || $0 == "/" })
    }
    var consistentAt: LSN? { lsn(after: "consistent recovery state reached at ") }
    /// What it says of having stopped at its target.
    var stop: String? { message(lines("recovery stopping ").last) }
    var endedBeforeTarget: Bool {
        text.contains("recovery ended before configured recovery target was reached")
    }
    var stoppedBeforeConsistent: Bool {
        text.contains("requested recovery stop point is before consistent recovery point")
    }
    /// The instant of the last commit that was replayed.
    var lastCommit: Date? {
        let part = "last completed transaction was at log time "
        guard let line = lines(part).last, let range = line.firstRange(of: part) else { return nil }
        return Self.instant(line[range.upperBound...])
    }

    /// As the server writes it under `timezone=UTC`: `2026-11-14 14:30:05.123456+00`.
    static func instant(_ text: some StringProtocol) -> Date? {
        let words = text.split(separator: " ")
        guard words.count >= 2 else { return nil }
        return parseInstant("\(words[0])T\(words[1].prefix { $0.isNumber || $0 == ":" || $0 == "." })Z")
    }

    /// Why the server ended: its FATAL or PANIC, with what follows.
    var fatal: String? {
        let all = text.split(whereSeparator: \.isNewline)
        guard let index = all.firstIndex(where: { $0.contains("FATAL:") || $0.contains("PANIC:") }) else { return nil }
        return message(all[index])
    }

    /// Why reading stopped, where the server says.
    var readError: String? {
        let parts = [
            "invalid record length", "incorrect resource manager data checksum", "unexpected pageaddr",
            "invalid magic number", "record with incorrect prev-link", "invalid resource manager ID",
            "invalid info bits",
            "invalid contrecord", "contrecord",
        ]
        return message(text.split(whereSeparator: \.isNewline).last { line in parts.contains { line.contains($0) } })
    }

    /// What tells of recovery, for the report.
    var evidence: [String] {
        let parts = [
            "starting point-in-time", "starting archive recovery", "starting backup recovery", "redo ",
            "consistent recovery state",
            "recovery stopping", "last completed transaction", "selected new timeline", "archive recovery complete",
            "not properly shut down", "was interrupted", "invalid record length", "FATAL:", "PANIC:",
            "completed backup recovery",
        ]
        return text.split(whereSeparator: \.isNewline).filter { line in parts.contains { line.contains($0) } }
            .map { message($0) ?? String($0) }
    }

    /// The line without time and process.
    private func message(_ line: Substring?) -> String? {
        guard let line else { return nil }
        for level in ["LOG:  ", "FATAL:  ", "PANIC:  ", "WARNING:  "] {
            if let range = line.firstRange(of: level) { return String(line[range.upperBound...]) }
        }
        return String(line)
    }
}
