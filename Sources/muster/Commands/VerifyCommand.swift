import ArgumentParser
import DrillCore
import DrillReports
import Foundation

struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Checks the ledger's chain offline; exits 0 only when it is whole.",
        discussion: """
            The chain is tamper-evident, not tamper-proof: whoever can write the file can rebuild it. A chain head that was kept \
            elsewhere (it is in every report and the last line of every run) shows that too: give it as --anchor.
            """)

    @Option(help: "A chain head that some report or log recorded.")
    var anchor: String?

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        if let anchor, anchor.utf8.count != 64 || !anchor.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit })
        {
            throw DrillError(.usage, "an anchor is 64 hexadecimal digits", at: "--anchor")
        }
        let result = try await reports.ledger().verify(anchor: anchor?.lowercased())
        let terminal = Terminal(variables: ProcessInfo.processInfo.environment)
        for problem in result.problems {
            terminal.write(harmless("\(problem.runID.map { "run \($0): " } ?? "")\(problem.what)") + "\n")
        }
        for run in result.unfinishedRuns {
            terminal.write(harmless("run \(run) never finished and is not in the chain") + "\n")
        }
        if let run = result.anchoredRun { terminal.write("the anchor is the head after run \(run)\n") }
        terminal.write("\(result.isSound ? "the chain is whole" : "the chain is broken"): \(result.chainedRuns) runs\n")
        terminal.write(result.head + "\n")
        leave(result.isSound ? 0 : 1)
    }
}
