import ArgumentParser
import DrillCore
import Foundation

struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract:
            "Says which set a run would take, why each other candidate was refused, what it would cost and create.",
        discussion: "Changes nothing.")

    @Argument(help: "A drill file.")
    var file: String

    @Option(help: "The recovery target: `latest`, RFC 3339 with an offset, lsn:0/1A2B3C4D, or name:RESTORE_POINT.")
    var at: String?

    @Option(help: "The backup set to take, by name.")
    var set: String?

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        let workplace = try Workplace()
        let drill = try workplace.loader.load(file, .init(target: try parseTarget(at)))
        let sets = try await drill.backup.catalog.sets()
        let wanted = try set.map { try sets.named($0, at: drill.backup.catalog.place) }
        var lines = ["drill        \(drill.name)", "target       \(drill.backup.target.text)"]
        let taken = wanted ?? sets.first { $0.state == .usable }
        if let taken {
            lines.append("set          \(printable(taken.id.utf8)) at \(printable(taken.place.utf8))")
            lines += try await steps(drill, taken)
            lines += try await costs(drill, taken)
        } else {
            lines.append("set          none can be drilled: the verdict would be fail")
        }
        let newestIsBad = sets.first {
            if case .usable = $0.state { true } else if case .unusable = $0.state { true } else { false }
        }
        if wanted == nil, let newestIsBad, case .unusable(let reason) = newestIsBad.state {
            lines.append(
                "verdict      fail in any case: the newest set \(printable(newestIsBad.id.utf8)) is refused: \(reason)")
        }
        let others = sets.filter { $0.id != taken?.id }
        if !others.isEmpty { lines.append("other candidates") }
        for other in others { lines += SetLine(other).lines.map { "  \($0)" } }
        try writeToOutput(Array((lines.map(harmless).joined(separator: "\n") + "\n").utf8))
    }

    private func block(_ name: String, _ sentences: [String]) -> [String] {
        sentences.enumerated().map { index, sentence in
            (index == 0 ? name : "").padding(toLength: 13, withPad: " ", startingAt: 0) + sentence
        }
    }

    private func steps(_ drill: Drill, _ taken: BackupSet) async throws -> [String] {
        var lines: [String] = []
        if let hooks = drill.backup.hooks {
            lines += block("volume", hooks.plan(taken))
        } else {
            lines += block("database", try await drill.backup.database.plan(taken))
        }
        for objects in drill.backup.objects where drill.backup.hooks == nil || !objects.isKeptPerSet {
            lines += block("objects", try await objects.plan(taken))
        }
        lines += block(
            "scratch",
            ["\(drill.scratch.directory)/muster-<run id>, kept: \(drill.scratch.keep.rawValue)."]
                + (drill.scratch.copier?.plan ?? []))
        for probe in drill.probes {
            let sentences = probe.plan.isEmpty ? [type(of: probe).kind] : probe.plan
            lines += block("probe", ["\(probe.name): \(sentences.joined(separator: " "))"])
        }
        if let deadline = drill.deadline { lines.append("deadline     \(spanText(deadline.seconds))") }
        return lines
    }

    /// What a run would ask of S3 by kind of request, and what that costs; nothing where nothing is in S3.
    private func costs(_ drill: Drill, _ taken: BackupSet) async throws -> [String] {
        var measures: [BucketMeasure] = []
        for objects in drill.backup.objects { measures.append(try await objects.measure(taken)) }
        let copier = drill.scratch.copier
        var steps = try await setSteps(drill, taken)
        steps += measures.filter(\.isRemote).map { measure in
            let times = copier == nil ? drill.probes.filter { $0 is ReferencesProbe }.count : 1
            var listing = ExpectedTraffic.listing(
                measure, step: "list \(measure.place)\(times > 1 ? ", once for each of \(times) probes" : "")")
            listing.totals[.list] += Int64(max(0, times - 1)) * (measure.isListed ? measure.pages : 0)
            return listing
        }
        steps += copier?.expectedTraffic(of: measures) ?? []
        for probe in drill.probes {
            steps += probe.expectedTraffic(of: measures, readsAreFree: copier?.readsAreFree ?? false)
        }
        guard !steps.isEmpty else { return [] }
        var lines = block("requests", CostPlan(steps).lines)
        let limits = [
            drill.traffic.limits.requests.map { "\(grouped($0)) requests" },
            drill.traffic.limits.bytes.map { "\(grouped($0)) bytes" },
        ].compactMap { $0 }
        lines += block(
            "limits",
            [limits.isEmpty ? "none" : "\(limits.joined(separator: ", ")); at one of them the run is inconclusive"])
        if let last = try await lastRun(of: drill.name) { lines += block("last run", [last]) }
        return lines
    }

    /// A set in a bucket is downloaded.
    private func setSteps(_ drill: Drill, _ taken: BackupSet) async throws -> [ExpectedTraffic] {
        guard taken.place.hasPrefix("s3://") else { return [] }
        var totals = TrafficTotals()
        // Names and kinds of the sets, and a look at the one that is taken.
        totals[.list] = 2
        totals[.head] = 3
        totals[.get] = 2
        let state = try await drill.backup.database.examine(taken)
        totals.bytesReceived = state.sizeBytes ?? 0
        return [
            ExpectedTraffic(
                "fetch the database backup of \(taken.place)", totals, .atLeast,
                basis: "A HEAD more for each set, and a GET for each file.")
        ]
    }

    /// What the newest finished run of the drill asked, as the ledger has it; nil where there was none.
    private func lastRun(of drill: String) async throws -> String? {
        guard FileManager.default.fileExists(atPath: "\(reports.reports)/ledger.sqlite") else { return nil }
        let ledger = try reports.ledger()
        guard let summary = try await ledger.newestFinishedRun(of: drill) else { return nil }
        let record = try await ledger.record(of: summary.runID)
        guard let phase = record.phases.last(where: { $0.name == TrafficTotals.phaseName }),
            let totals = TrafficTotals(phase.detail)
        else { return nil }
        return
            "\(summary.runID) asked \(totals.shortText): \(S3PriceList.dollars(S3PriceList.requests(totals))) for the requests"
    }
}
