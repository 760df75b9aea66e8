import DrillCore
import Foundation
import Synchronization

/// A tool's own catalog as candidates, newest first by when they ended.
struct ToolCatalog<Tool: BackupTool>: BackupCatalog {
    let tool: Tool
    let bin: String?
    let context: PartContext
    let listing: ToolListing

    var place: String { tool.place }
    private var now: Date { context.environment.clock.now() }

    func candidates() async throws -> [BackupSet] {
        let now = now
        try requirePast(context.target, now: now)
        let backups: [ToolBackup]
        do {
            backups = try await tool.backups()
        } catch let error as DrillError where error.code == .backupUnusable {
            // A catalog that is damaged is no catalog without backups, and no reason not to fail.
            return [BackupSet(id: "catalog", time: nil, place: place, state: .unusable(error.description))]
        }
        listing.replace(with: backups)
        let sets = backups.map { $0.set(place: place, target: context.target, now: now) }
        return SetRules(now: now, settle: context.settle, target: .latest).ordered(sets)
    }

    func examined(_ set: BackupSet) async throws -> BackupSet {
        guard let listed = listing[set.id] else { return set }
        switch set.state {
        case .usable, .unusable: break
        case .passedOver, .beingWritten: return set
        }
        let backup = try await tool.examined(listed)
        listing.update(backup)
        let set = backup.set(place: place, target: context.target, now: now)
        if set.state == .usable, let major = backup.major {
            _ = try await RecoveredCluster.tools(major: major, bin: bin, at: set.place, context.environment)
        }
        return set
    }

    func sets() async throws -> [BackupSet] { try await setsWithHints() }
}

/// What the catalog listed last: a tool is slow to ask.
final class ToolListing: Sendable {
    private let backups = Mutex<[String: ToolBackup]>([:])

    subscript(label: String) -> ToolBackup? { backups.withLock { $0[label] } }

    func replace(with listed: [ToolBackup]) {
        backups.withLock { backups in backups = Dictionary(listed.map { ($0.label, $0) }) { $1 } }
    }

    func update(_ backup: ToolBackup) { backups.withLock { $0[backup.label] = backup } }
}
