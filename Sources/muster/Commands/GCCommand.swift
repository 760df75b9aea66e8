import ArgumentParser
import DrillCore
import DrillHost
import DrillReports
import Foundation

struct GCCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Removes scratch that a killed run left behind, and only that.",
        discussion: """
            What a run made is in the ledger before it is made, and bears a marker that names the run. Only what both name is \
            removed, and only where the run's process is gone.
            """)

    @OptionGroup var reports: ReportsOption

    @Option(
        help: "A scratch directory to look in, beside those that the ledger names. Default: $TMPDIR, else /var/tmp.")
    var directory: String?

    func run() async throws {
        let workplace = try Workplace()
        let sweep = ScratchSweep(workplace: workplace)
        let fallback = workplace.environment.variables["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/var/tmp"
        // Without a ledger there may still be directories that name their run themselves.
        let ledger =
            FileManager.default.fileExists(atPath: "\(reports.reports)/ledger.sqlite")
            ? try SQLiteLedger(reportsDirectory: reports.reports) : nil
        let swept = try await sweep.run(
            ledger: ledger, directories: [URL(fileURLWithPath: directory ?? fallback).standardizedFileURL.path])
        for line in swept.lines { workplace.terminal.write(harmless(line) + "\n") }
        leave(swept.failed ? 4 : 0)
    }
}
