import Foundation

/// The part of a run that a user's own hooks take: the volume of a set is there while the set is looked into and drilled.
extension DrillRun {
    /// Mounts the set's volume, runs `body`, and unmounts it, whatever happened: also where mounting failed halfway, and where
    /// the run was cancelled. A volume that cannot be unmounted is scratch that could not be removed.
    func withVolume<Result: Sendable>(
        of set: BackupSet, _ conclusion: Conclusion, _ body: () async throws -> Result
    ) async throws -> Result {
        guard let hooks = drill.backup.hooks, set.state == .usable else { return try await body() }
        let item = try hooks.item(set)
        try await journal.willCreate(item)
        let outcome: Swift.Result<Result, any Error>
        do {
            try await phase("mount \(set.id)") {
                let result = try await hooks.mount.run(variables(set), environment)
                try await keep(result, as: "mount", set)
                guard result.succeeded else { throw hooks.mount.failed("mount", result) }
                return ((), "the mount command \(result.endingText)")
            }
            outcome = .success(try await body())
        } catch { outcome = .failure(error) }
        await unmount(set, hooks, item, conclusion)
        return try outcome.get()
    }

    private func unmount(
        _ set: BackupSet, _ hooks: VolumeHooks, _ item: ScratchItem, _ conclusion: Conclusion
    ) async {
        let run = self
        // A task of its own, which the end of the run does not cancel.
        await Task {
            do {
                try await run.phase("unmount \(set.id)") {
                    let result = try await hooks.unmount.run(run.variables(set), run.environment)
                    try await run.keep(result, as: "unmount", set)
                    guard result.succeeded else { throw hooks.unmount.failed("unmount", result, code: .cleanupFailed) }
                    return ((), "the unmount command \(result.endingText)")
                }
                try await run.journal.didRemove(item)
            } catch {
                await conclusion.cleanupFailed(
                    "the volume of set \(set.id) could not be unmounted: \(DrillError(wrapping: error))")
            }
        }.value
    }

    private func variables(_ set: BackupSet) -> [String: String] {
        ["MUSTER_BACKUP_SET": set.id, "MUSTER_RUN_ID": header.runID]
    }

    /// What a hook wrote, kept as evidence.
    private func keep(_ result: CommandResult, as hook: String, _ set: BackupSet) async throws {
        guard !result.output.isEmpty || !result.errors.isEmpty else { return }
        try await journal.keep(result.output + result.errors, as: "\(hook).\(printable(set.id.utf8)).log")
    }
}
