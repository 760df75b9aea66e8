import DrillCore
import Foundation

/// What the catalogs of backups that WAL is replayed on have in common.
extension BackupCatalog {
    /// Each candidate, also where the reason it cannot be looked at lies with this machine.
    func setsWithHints() async throws -> [BackupSet] {
        var sets: [BackupSet] = []
        for candidate in try await candidates() {
            do {
                sets.append(try await examined(candidate))
            } catch let error as DrillError where error.code == .couldNotLook {
                var set = candidate
                set.state = .unusable(error.what)
                set.notes += error.hints
                sets.append(set)
            }
        }
        return sets
    }

    /// Refuses a recovery target that has not come yet.
    func requirePast(_ target: RecoveryTarget, now: Date) throws {
        guard case .instant(let instant) = target, instant.timeIntervalSince(now) > 0 else { return }
        throw DrillError(
            .couldNotLook, "the recovery target \(rfc3339(instant)) is in the future (now is \(rfc3339(now)))",
            at: place, hints: ["Nothing can be restored to an instant that has not come."])
    }
}
