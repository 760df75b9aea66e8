import ArgumentParser
import DrillCore
import DrillHost
import DrillReports
import Foundation

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs drills: restores into scratch, probes, removes scratch, leaves a verdict.")

    @Argument(help: "Drill files.")
    var files: [String]

    @Option(help: "The recovery target: `latest`, RFC 3339 with an offset, lsn:0/1A2B3C4D, or name:RESTORE_POINT.")
    var at: String?

    @Option(help: "The backup set to take, by name; it never falls back to an older one.")
    var set: String?

    @OptionGroup var reports: ReportsOption

    @Option(help: "One more JUnit XML file, with a testsuite a drill.")
    var junit: String?

    @Option(help: "Whether scratch stays: never, on_failure or always.")
    var keep: String?

    @Flag(help: "The report as JSON on standard output.")
    var json = false

    @Option(help: "What samples are drawn with; random unless said.")
    var seed: UInt64?

    func run() async throws {
        let workplace = try Workplace()
        let overrides = DrillFileLoader.Overrides(target: try parseTarget(at), keep: try keepOverride())
        // All files are read before the first drill begins: a mistake in the last one costs nothing.
        let drills = try files.map { try workplace.loader.load($0, overrides) }
        try refuseDoubles(drills)
        try await refuseUnknownSet(drills)
        let session = try RunSession(
            workplace: workplace, reports: reports.reports, junit: junit, drills: drills)
        let signals = SignalWatch([SIGINT, SIGTERM, SIGHUP])
        let options = DrillRunner.Options(
            setID: set, seed: seed ?? .random(in: 0...UInt64.max),
            interruption: { signals.received.map { "ended by \(SignalWatch.name($0))" } })
        var records: [RunRecord] = []
        for drill in drills {
            let work = Task { try await session.run(drill, options) }
            signals.onSignal { work.cancel() }
            let record = try await work.value
            records.append(record)
            session.show(record)
            if signals.received != nil { break }
        }
        if json { try writeToOutput(jsonDocument(records)) }
        if let number = signals.received { leave(128 + number) }
        leave(exitStatus(records))
    }

    private func keepOverride() throws -> ScratchSettings.Keep? {
        guard let keep else { return nil }
        guard let value = ScratchSettings.Keep(rawValue: keep) else {
            throw DrillError(
                .usage, "'\(keep)' is not known", at: "--keep", hints: ["Known: never, on_failure, always."])
        }
        return value
    }

    private func refuseDoubles(_ drills: [Drill]) throws {
        for (index, drill) in drills.enumerated() {
            guard let other = drills[..<index].first(where: { $0.name == drill.name }) else { continue }
            throw DrillError(
                .usage, "two drill files are named `\(drill.name)`: \(other.path) and \(drill.path)",
                hints: ["Give each drill a name of its own: its reports carry it."])
        }
    }

    /// A catalog that cannot be read is no mistake of the command's: the run then says so itself.
    private func refuseUnknownSet(_ drills: [Drill]) async throws {
        guard let set else { return }
        for drill in drills {
            let candidates: [BackupSet]
            do { candidates = try await drill.backup.catalog.candidates() } catch { continue }
            _ = try candidates.named(set, at: drill.backup.catalog.place)
        }
    }

    /// The worst of all drills; 4 only where all passed.
    private func exitStatus(_ records: [RunRecord]) -> Int32 {
        let verdict = records.map { $0.outcome?.verdict ?? .inconclusive }.reduce(Verdict.pass) {
            $0.combined(with: $1)
        }
        let cleanupFailed = records.contains { record in
            record.outcome?.stages.contains { $0.name == "cleanup" && $0.verdict == .fail } ?? false
        }
        return verdict == .pass && cleanupFailed ? 4 : verdict.exitStatus
    }

    private func jsonDocument(_ records: [RunRecord]) -> [UInt8] {
        // One drill file: its report as it is; several: an array of them.
        files.count == 1 && records.count == 1 ? jsonReport(records[0]) : jsonReport(records)
    }
}
