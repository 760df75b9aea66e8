import DrillCore
import DrillReports

/// A run's summary on the terminal, with colours where they are wanted.
struct SummaryView {
    let terminal: Terminal

    func show(_ record: RunRecord, reportsDirectory: String) {
        for line in summaryText(record, reportsDirectory: reportsDirectory) {
            terminal.write(terminal.styled(harmless(line.text), style(line.style)) + "\n")
        }
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
