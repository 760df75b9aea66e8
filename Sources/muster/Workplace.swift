import ArgumentParser
import DrillCore
import DrillHost
import DrillObjects
import DrillPostgres
import DrillReports
import Foundation
import Logging

/// What every command works with: the parts that this build knows and the machine it runs on.
struct Workplace: Sendable {
    let registry: Registry
    let environment: DrillEnvironment
    let terminal: Terminal

    init() throws {
        let variables = ProcessInfo.processInfo.environment
        registry = Registry.builtIns
        let clock = SystemClock()
        // One budget of retries and one limit of requests in flight for the whole process.
        let http = RetryingTransport(
            try CurlTransport(settings: .init()), clock: clock, random: SystemRandomNumberGenerator(), settings: .init()
        )
        var environment = DrillEnvironment(
            clock: clock, processes: HostProcesses(variables: variables), http: http, sorters: ExternalSorters(),
            variables: variables, log: Logger(label: "muster"), hostName: HostIdentity.hostName)
        environment.cloud = AmazonControl()
        self.environment = environment
        terminal = Terminal(variables: variables)
    }

    var loader: DrillFileLoader { DrillFileLoader(registry: registry, environment: environment, files: HostFiles()) }
}

/// `--reports DIR`, of every command that reads or writes the ledger.
struct ReportsOption: ParsableArguments {
    @Option(help: "Where the ledger and the reports are.")
    var reports = "reports"

    /// The ledger for reading. Throws `ledgerUnusable` where there is none.
    func ledger() throws -> SQLiteLedger { try SQLiteLedger(reading: reports) }
}
