import ArgumentParser
import DrillCore
import DrillHost
import Foundation

@main
struct Muster: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "muster",
        abstract: "Restores the newest backup set into scratch and calls the roll of every row that names an object.",
        discussion: """
            Exit status: 0 pass, 1 fail, 2 inconclusive, 4 passed but scratch could not be removed, 64 wrong usage or drill \
            file, 128+n ended by signal n.
            """,
        version: toolVersion,
        subcommands: [
            RunCommand.self, PlanCommand.self, SetsCommand.self, GateCommand.self, HistoryCommand.self,
            ShowCommand.self,
            DiffCommand.self, ReportCommand.self, VerifyCommand.self, GCCommand.self, InitCommand.self,
            SchemaCommand.self, DemoCommand.self, MarkCommand.self,
        ])

    static func main() async {
        do {
            try prepareProcess()
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch let error as DrillError {
            let terminal = Terminal(variables: ProcessInfo.processInfo.environment)
            terminal.write("\(terminal.styled("muster:", .red)) \(harmless(error.description))\n")
            leave(error.exitStatus)
        } catch {
            switch exitCode(for: error) {
            // ArgumentParser's own: help, wrong usage, and a status that a command ends with.
            case .success, .validationFailure: exit(withError: error)
            case _ where error is ExitCode: exit(withError: error)
            // Whatever else went wrong says nothing of a backup: its status must not be that of a bad one.
            default:
                let terminal = Terminal(variables: ProcessInfo.processInfo.environment)
                terminal.write("\(terminal.styled("muster:", .red)) \(harmless("\(error)"))\n")
                leave(2)
            }
        }
    }
}

let toolVersion = "0.1.0"

/// Ends the process with that status; what was written before is out already.
func leave(_ status: Int32) -> Never { Foundation.exit(status) }

extension DrillError {
    /// The spec's exit status of an error that ends a command.
    var exitStatus: Int32 {
        switch code {
        case .usage: 64
        case .backupUnusable: 1
        case .cleanupFailed: 4
        case .couldNotLook, .deadlinePassed, .cancelled, .ledgerUnusable: 2
        }
    }
}

extension Verdict {
    var exitStatus: Int32 {
        switch self {
        case .pass: 0
        case .fail: 1
        case .inconclusive: 2
        }
    }
}
