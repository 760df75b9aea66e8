import ArgumentParser
import DrillCore
import Foundation

struct SetsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sets", abstract: "Lists backup sets, newest first: usable, or why not. Changes nothing.")

    @Argument(help: "A drill file.")
    var file: String

    @Option(help: "The recovery target: `latest`, RFC 3339 with an offset, lsn:0/1A2B3C4D, or name:RESTORE_POINT.")
    var at: String?

    func run() async throws {
        let workplace = try Workplace()
        let drill = try workplace.loader.load(file, .init(target: try parseTarget(at)))
        let sets = try await drill.backup.catalog.sets()
        var lines: [String] = []
        for set in sets { lines += SetLine(set).lines }
        if sets.isEmpty { lines.append("no backup set in \(drill.backup.catalog.place)") }
        try writeToOutput(Array((lines.map(harmless).joined(separator: "\n") + "\n").utf8))
    }
}

/// `--at` of every command that takes it.
func parseTarget(_ text: String?) throws -> RecoveryTarget? {
    guard let text else { return nil }
    guard let target = RecoveryTarget(argument: text) else {
        throw DrillError(
            .usage, "'\(text)' is neither `latest` nor an instant", at: "--at",
            hints: [
                "Write RFC 3339 with an offset, such as 2026-11-14T14:30:05Z: without one nobody knows which zone is meant.",
                "Or a place in the log: lsn:0/1A2B3C4D, or name:RESTORE_POINT.",
            ])
    }
    return target
}

/// A candidate for people: one line, and its notes below.
struct SetLine {
    let set: BackupSet
    init(_ set: BackupSet) { self.set = set }

    var state: String {
        switch set.state {
        case .usable: "usable"
        case .beingWritten(let reason): "being written: \(reason)"
        case .passedOver(let reason): "passed over: \(reason)"
        case .unusable(let reason): "refused: \(reason)"
        }
    }

    var lines: [String] {
        var facts = set.facts.map { "\($0.name) \($0.value)" }
        if let time = set.time { facts.insert(rfc3339(time), at: 0) }
        if let size = set.sizeBytes { facts.append("\(grouped(size)) bytes") }
        let name = printable(set.id.utf8)
        let head = "\(name.padding(toLength: max(24, name.count), withPad: " ", startingAt: 0))  \(state)"
        return [facts.isEmpty ? head : "\(head)  (\(facts.joined(separator: ", ")))"] + set.notes.map { "    \($0)" }
    }
}
