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
    init(workplace: Workplace, reports: String, junit: String?, drills: [String]) throws {
        terminal = workplace.terminal
        self.reports = reports
        // Before anything that may fail: an old green file must not be taken for this call's (V5).
        self.junit = try junit.map {
            try JUnitCollection(
                path: $0, drills: drills, at: workplace.environment.clock.now(), host: workplace.environment.hostName)
        }
        progress = TerminalProgress(terminal: workplace.terminal)
        runner = DrillRunner(
            environment: workplace.environment, ledger: try SQLiteLedger(reportsDirectory: reports),
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
        progress.finish()
        SummaryView(terminal: terminal).show(record, reportsDirectory: reports)
    }
}
