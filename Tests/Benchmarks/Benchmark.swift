import DrillCore
import DrillHost
import DrillObjects
import DrillPostgres
import DrillReports
import Foundation
import Logging

/// Runs parts of Muster for `Tests/bench.sh`, which measures them, with one more kind of objects: ``GeneratedObjects``.
///
///     muster-bench drill FILE REPORTS     runs a drill, its ledger and reports included; prints the first probe's result
///     muster-bench list FILE              lists the buckets of a drill to their end; prints how many keys there were
///
/// Prints one line of JSON. The exit status is 0 only when the drill passed, or the listing came to its end.
@main
struct Benchmark {
    private struct Answer: Encodable {
        var verdict: String?
        var summary: String?
        /// Of the probe, or of the listing.
        var seconds: Double
        /// References examined, or keys listed.
        var count: Int64
    }

    static func main() async {
        do {
            try prepareProcess()
            let arguments = CommandLine.arguments.dropFirst()
            switch (arguments.first, arguments.count) {
            case ("drill", 3): try await Benchmark().drill(arguments[2], reports: arguments[3])
            case ("list", 2): try await Benchmark().list(arguments[2])
            default: throw DrillError(.usage, "usage: muster-bench drill FILE REPORTS | muster-bench list FILE")
            }
        } catch {
            FileHandle.standardError.write(Data("muster-bench: \(DrillError(wrapping: error))\n".utf8))
            exit(2)
        }
    }

    private let environment: DrillEnvironment
    private let loader: DrillFileLoader

    private init() throws {
        var registry = Registry()
        registerCoreParts(&registry)
        registerPostgresParts(&registry)
        registerObjectParts(&registry)
        registry.register(GeneratedObjects.self)
        let variables = ProcessInfo.processInfo.environment
        let clock = SystemClock()
        let transport = RetryingTransport(try CurlTransport(), clock: clock, random: SystemRandomNumberGenerator())
        environment = DrillEnvironment(
            clock: clock, processes: HostProcesses(variables: variables), http: transport, sorters: ExternalSorters(),
            variables: variables, log: Logger(label: "muster-bench"),
            hostName: HostIdentity.hostName)
        loader = DrillFileLoader(registry: registry, environment: environment, files: HostFiles())
    }

    private func drill(_ path: String, reports: String) async throws {
        let runner = DrillRunner(
            environment: environment, ledger: try SQLiteLedger(reportsDirectory: reports),
            scratchDirectories: ScratchSpace(clock: environment.clock), progress: NoProgress(), toolVersion: "benchmark"
        )
        let record = try await runner.run(try loader.load(path), DrillRunner.Options(seed: 0))
        guard record.outcome?.verdict == .pass, let probe = record.probes.first else {
            throw DrillError(.couldNotLook, "the drill did not pass: \(record.outcome?.reason ?? "it has no outcome")")
        }
        try show(
            Answer(
                verdict: probe.verdict.rawValue, summary: probe.summary, seconds: probe.seconds, count: probe.examined))
    }

    private func list(_ path: String) async throws {
        let backup = try loader.load(path).backup
        guard let set = try await backup.catalog.candidates().first else {
            throw DrillError(.couldNotLook, "no backup set", at: backup.catalog.place)
        }
        let began = environment.clock.monotonicSeconds()
        var count: Int64 = 0
        for objects in backup.objects {
            let store = try await objects.open(set, recoveryPoint: nil, in: nil)
            let inventory = try await store.inventory(InventoryRequest())
            while let batch = try await inventory.next() { count += Int64(batch.count) }
        }
        try show(Answer(seconds: environment.clock.monotonicSeconds() - began, count: count))
    }

    private func show(_ answer: Answer) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        FileHandle.standardOutput.write(try encoder.encode(answer) + Data("\n".utf8))
    }
}
