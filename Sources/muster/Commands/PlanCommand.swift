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

    private func steps(_ drill: Drill, _ taken: BackupSet) async throws -> [String] {
        func block(_ name: String, _ sentences: [String]) -> [String] {
            sentences.enumerated().map { index, sentence in
                (index == 0 ? name : "").padding(toLength: 13, withPad: " ", startingAt: 0) + sentence
            }
        }
        var lines = block("database", try await drill.backup.database.plan(taken))
        for objects in drill.backup.objects { lines += block("objects", try await objects.plan(taken)) }
        lines += block("scratch", ["\(drill.scratch.directory)/muster-<run id>, kept: \(drill.scratch.keep.rawValue)."])
        for probe in drill.probes {
            let sentences = probe.plan.isEmpty ? [type(of: probe).kind] : probe.plan
            lines += block("probe", ["\(probe.name): \(sentences.joined(separator: " "))"])
        }
        if let deadline = drill.deadline { lines.append("deadline     \(spanText(deadline.seconds))") }
        return lines
    }
}
