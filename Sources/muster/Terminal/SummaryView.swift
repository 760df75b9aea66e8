import DrillCore
import DrillReports

/// A run's summary on the terminal, with colours where they are wanted.
struct SummaryView {
    let terminal: Terminal

    func show(_ record: RunRecord, reportsDirectory: String) {
        for line in summaryText(record, reportsDirectory: reportsDirectory) {
            // A log is searched line by line, so only a terminal's lines are broken.
            let text = harmless(line.text)
            for part in terminal.isInteractive ? wrapped(text, width: terminal.width) : [text] {
                terminal.write(terminal.styled(part, style(line.style)) + "\n")
            }
        }
    }

    /// Breaks a line at blanks; what goes on below stands further in. A word longer than a line stays whole, so that it can be
    /// copied.
    private func wrapped(_ text: String, width: Int) -> [String] {
        let indentation = text.prefix { $0 == " " }
        let hanging = String(indentation) + "    "
        var lines: [String] = []
        var line = String(indentation)
        var isEmpty = true
        for word in text.dropFirst(indentation.count).split(separator: " ", omittingEmptySubsequences: false) {
            if !isEmpty, line.count + 1 + word.count > width {
                lines.append(line)
                (line, isEmpty) = (hanging + String(word), false)
            } else {
                line += isEmpty ? String(word) : " " + word
                isEmpty = false
            }
        }
        return lines + [line]
    }

    private func style(_ style: SummaryLine.Style) -> Terminal.Style {
        switch style {
        case .verdict(.pass), .good: .green
        case .verdict(.fail), .bad: .red
        case .verdict(.inconclusive), .doubtful: .yellow
        case .heading: .bold
        case .faint: .dim
        case .plain: .plain
        }
    }
}
