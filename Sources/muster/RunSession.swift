import DrillCore
import DrillHost
import DrillReports
import Foundation

/// Runs the drills of one call and keeps their reports current.
struct RunSession: Sendable {
    private let terminal: Terminal
    private let reports: String
    private let junit: JUnitCollection?
    private let runner: DrillRunner
    private let progress: TerminalProgress

    /// - Parameter junit: The path of one more JUnit file with a testsuite a drill, "did not finish" from the first second.
    init(workplace: Workplace, reports: String, junit: String?, drills: [Drill]) throws {
        terminal = workplace.terminal
        self.reports = reports
        // Before anything that may fail: an old green file must not be taken for this call's (V5).
        self.junit = try junit.map {
            try JUnitCollection(
                path: $0, drills: drills.map(\.name), at: workplace.environment.clock.now(),
                host: workplace.environment.hostName)
        }
        progress = TerminalProgress(terminal: workplace.terminal)
        let ledger: SQLiteLedger
        do {
            ledger = try SQLiteLedger(reportsDirectory: reports)
        } catch {
            // A drill that cannot even begin must not leave an older run's green reports as the current ones.
            for drill in drills {
                let header = DrillRunner.header(of: drill, environment: workplace.environment, toolVersion: toolVersion)
                try SQLiteLedger.showUnfinished(header, reportsDirectory: reports)
            }
            throw error
        }
        runner = DrillRunner(
            environment: workplace.environment, ledger: ledger,
            scratchDirectories: ScratchSpace(clock: workplace.environment.clock), progress: progress,
            toolVersion: toolVersion)
    }

    func run(_ drill: Drill, _ options: DrillRunner.Options) async throws -> RunRecord {
        let record = try await runner.run(drill, options)
        try await junit?.finished(record)
        return record
    }

    /// What a tired person reads, on standard error; the chain head is its last line.
    func show(_ record: RunRecord) {
        progress.clear()
        SummaryView(terminal: terminal).show(record, reportsDirectory: reports)
    }
}
