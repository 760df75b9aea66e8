import ArgumentParser
import DrillCore
import DrillReports
import Foundation

struct DiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Compares the findings of two runs: what is new, what is gone.")

    @Argument(help: "The earlier run id.")
    var earlier: String

    @Argument(help: "The later run id.")
    var later: String

    @Option(help: "How many findings of each side to show.")
    var limit = 50

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        let ledger = try reports.ledger()
        let before = try await findings(of: earlier, ledger), after = try await findings(of: later, ledger)
        let new = after.subtracting(before).sorted(), gone = before.subtracting(after).sorted()
        var text = "\(grouped(Int64(new.count))) new, \(grouped(Int64(gone.count))) gone, "
        text += "\(grouped(Int64(after.intersection(before).count))) in both\n"
        for line in new.prefix(limit) { text += "+ \(line)\n" }
        if new.count > limit { text += "+ and \(grouped(Int64(new.count - limit))) more\n" }
        for line in gone.prefix(limit) { text += "- \(line)\n" }
        if gone.count > limit { text += "- and \(grouped(Int64(gone.count - limit))) more\n" }
        try writeToOutput(Array(harmless(text).utf8))
    }

    /// One line a finding, made of what names it and of nothing that changes from run to run.
    private func findings(of run: String, _ ledger: SQLiteLedger) async throws -> Set<String> {
        let record = try await ledger.record(named: run)
        let lines = LineSet()
        try await ledger.forEachFinding(ofRun: record.header.runID) { batch in
            await lines.insert(
                batch.map { finding in
                    let key = finding.objectKey.map { printable($0) }
                    return [
                        finding.probe, finding.kind.rawValue, finding.cause.rawValue, finding.relation, finding.rowID,
                        finding.bucket,
                        key,
                    ].compactMap { $0 }.joined(separator: "  ")
                })
        }
        return await lines.lines
    }

    private actor LineSet {
        private(set) var lines: Set<String> = []
        func insert(_ more: [String]) { lines.formUnion(more) }
    }
}
