import ArgumentParser
import DrillCore
import DrillReports
import Foundation

struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Lists the runs of the ledger, newest first.")

    @Argument(help: "A drill's name; all drills unless said.")
    var drill: String?

    @Option(help: "How many runs at the most.")
    var limit = 50

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        let runs = try await reports.ledger().runs(of: drill, limit: limit)
        if runs.isEmpty {
            throw DrillError(
                .usage, drill.map { "no run of a drill `\(printable($0.utf8))` is recorded" } ?? "no run is recorded",
                at: reports.reports)
        }
        var text = ""
        for run in runs {
            let verdict = run.finishedAt == nil ? "did not finish" : run.verdict.rawValue
            let columns = [
                verdict.padding(toLength: 14, withPad: " ", startingAt: 0), run.runID, run.drill,
                run.backupSet.map { "set \($0)" } ?? "no set",
                run.findings > 0 ? "\(grouped(run.findings)) findings" : "",
                run.reason.split(separator: "\n").first.map(String.init) ?? "",
            ]
            text += harmless(columns.filter { !$0.isEmpty }.joined(separator: "  ")) + "\n"
        }
        try writeToOutput(Array(text.utf8))
    }
}

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Shows one run of the ledger as its summary.")

    @Argument(help: "A run id, or a drill's name for its newest run.")
    var run: String

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        let record = try await reports.ledger().record(named: run)
        let lines = summaryText(record, reportsDirectory: reports.reports)
        try writeToOutput(Array((lines.map { harmless($0.text) }.joined(separator: "\n") + "\n").utf8))
    }
}

extension SQLiteLedger {
    /// The run of that id, or the newest run of the drill of that name.
    func record(named name: String) async throws -> RunRecord {
        if let newest = try await runs(of: name, limit: 1).first { return try await record(of: newest.runID) }
        return try await record(of: name)
    }
}
