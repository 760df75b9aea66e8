import ArgumentParser
import DrillCore
import DrillReports
import Foundation

struct GateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gate",
        abstract: "For CI: exits 0 only when each drill's newest finished run passed and is young enough, else 1.")

    @Argument(help: "Names of drills.")
    var drills: [String]

    @Option(help: "How old the newest finished run may be.")
    var maxAge = "8d"

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        guard let age = parseDuration(maxAge), age > .zero else {
            throw DrillError(.usage, "'\(maxAge)' is not a time span such as 36h or 8d", at: "--max-age")
        }
        let workplace = try Workplace()
        var isOpen = true
        for drill in drills {
            let answer = await judge(drill, age, now: workplace.environment.clock.now())
            isOpen = isOpen && answer.passes
            workplace.terminal.write(harmless("\(answer.passes ? "pass" : "stop")  \(drill): \(answer.reason)") + "\n")
        }
        leave(isOpen ? 0 : 1)
    }

    /// A ledger that is missing or broken stops the gate like a failed drill: nothing shows that the backup is good.
    private func judge(_ drill: String, _ age: Duration, now: Date) async -> (passes: Bool, reason: String) {
        do {
            guard let run = try await reports.ledger().newestFinishedRun(of: drill), let finishedAt = run.finishedAt
            else {
                return (false, "no finished run is recorded in \(reports.reports)")
            }
            let old = now.timeIntervalSince(finishedAt)
            let when = "run \(run.runID), finished \(spanText(old)) ago"
            guard run.verdict == .pass else { return (false, "\(run.verdict.rawValue): \(run.reason) (\(when))") }
            guard old <= age.seconds else { return (false, "too old: \(when); \(maxAge) are allowed") }
            guard old > -300 else { return (false, "finished in the future: \(when)") }
            return (true, when)
        } catch {
            return (false, DrillError(wrapping: error).description)
        }
    }
}
