import DrillCore
import DrillHost
import DrillReports
import Foundation

/// Removes what dead runs left: first what the ledger says they made, then directories whose own marker names a dead run.
struct ScratchSweep {
    let workplace: Workplace

    struct Swept {
        var lines: [String] = []
        var failed = false
        /// Of what could not be removed.
        var stuckRuns: Set<String> = []
    }

    func run(ledger: SQLiteLedger?, directories: [String]) async throws -> Swept {
        var swept = Swept()
        let space = ScratchSpace(clock: workplace.environment.clock)
        var places = Set(directories)
        let items = try await ledger?.leftovers() ?? []
        for leftover in items where leftover.item.kind == "directory" {
            places.insert((leftover.item.locator as NSString).deletingLastPathComponent)
        }
        var dead: [String: ScratchLeftover] = [:]
        for place in places.sorted() where FileManager.default.fileExists(atPath: place) {
            for leftover in try space.leftovers(in: place) { dead[leftover.path] = leftover }
        }
        let deadRuns = Set(dead.values.map(\.runID))
        // Servers and databases before the directories that they use: the ledger's order turned round.
        for leftover in items.reversed() where leftover.item.kind != "directory" {
            guard
                leftover.runFinished || deadRuns.contains(leftover.runID) || VolumeRemover.ownerIsGone(leftover.item)
            else { continue }
            await remove(leftover, ledger, &swept)
        }
        for (path, leftover) in dead.sorted(by: { $0.key < $1.key }) {
            // It shows that its run is dead: without it, nothing else of that run would be looked at again.
            if swept.stuckRuns.contains(leftover.runID) {
                swept.lines.append("left \(path) until the rest of run \(leftover.runID) is removed")
                continue
            }
            do {
                try space.remove(path, runID: leftover.runID)
                swept.lines.append("removed \(path), of run \(leftover.runID)")
            } catch {
                swept.failed = true
                swept.lines.append("could not remove \(path): \(DrillError(wrapping: error))")
            }
        }
        for leftover in items where leftover.item.kind == "directory" {
            if !FileManager.default.fileExists(atPath: leftover.item.locator) {
                try await ledger?.markRemoved(leftover)
            }
        }
        if swept.lines.isEmpty { swept.lines.append("nothing is left behind") }
        return swept
    }

    private func remove(_ leftover: LeftoverItem, _ ledger: SQLiteLedger?, _ swept: inout Swept) async {
        guard let type = workplace.registry.removers[leftover.item.kind] else { return }
        let name = VolumeRemover.name(of: leftover.item) ?? "\(leftover.item.kind) \(leftover.item.locator)"
        do {
            try await type.init(environment: workplace.environment).remove(leftover.item, ofRun: leftover.runID)
            try await ledger?.markRemoved(leftover)
            swept.lines.append("removed \(name), of run \(leftover.runID)")
        } catch {
            swept.failed = true
            swept.stuckRuns.insert(leftover.runID)
            swept.lines.append(
                "could not remove \(name): \(DrillError(wrapping: error))")
        }
    }
}
