import Foundation

/// One run of one drill: chooses the set, restores it, probes it, removes scratch, concludes.
struct DrillRun: Sendable {
    let drill: Drill
    let options: DrillRunner.Options
    let header: RunHeader
    let journal: any RunJournal
    let environment: DrillEnvironment
    let scratchDirectories: any ScratchDirectories
    let progress: any RunProgress

    /// - Parameter endedBy: The deadline, where it is what cancelled the run.
    func outcome(endedBy: (@Sendable () -> Duration?)?) async -> RunOutcome {
        let conclusion = Conclusion(drill: drill, header: header)
        do {
            try await drillSets(conclusion)
        } catch {
            if let deadline = endedBy?() {
                // What was waited for when it passed, where that is known.
                let trouble = (error as? DrillError).flatMap { $0.code == .cancelled ? "; \($0.what)" : nil } ?? ""
                await conclusion.stopped(
                    by: DrillError(.deadlinePassed, "the deadline of \(spanText(deadline.seconds)) passed\(trouble)"))
            } else if let words = options.interruption?() {
                await conclusion.stopped(by: DrillError(.cancelled, words))
            } else {
                await conclusion.stopped(by: DrillError(wrapping: error))
            }
        }
        await recordTraffic(conclusion)
        return await conclusion.outcome(finishedAt: environment.clock.now())
    }

    /// Tries the newest set first; what is wrong with it is recorded, and the next older one is drilled instead.
    private func drillSets(_ conclusion: Conclusion) async throws {
        let catalog = drill.backup.catalog
        let sets = try await phase("choose the backup set") { () -> ([BackupSet], String) in
            let all = try await catalog.candidates()
            return (all, "\(all.count) candidate\(all.count == 1 ? "" : "s") in \(catalog.place)")
        }
        for (index, candidate) in sets.enumerated() where isWanted(candidate) {
            let isLast = try await withVolume(of: candidate, conclusion) {
                try await drillCandidate(candidate, olderThan: Array(sets[(index + 1)...]), conclusion)
            }
            if isLast { return }
        }
        if await !conclusion.hasRestoreFinding { try await noUsableSet(sets, conclusion) }
    }

    private func isWanted(_ candidate: BackupSet) -> Bool {
        options.setID.map { $0.utf8.elementsEqual(candidate.id.utf8) } ?? true
    }

    /// - Returns: Whether no other candidate is to be tried.
    private func drillCandidate(
        _ candidate: BackupSet, olderThan older: [BackupSet], _ conclusion: Conclusion
    ) async throws -> Bool {
        let set = try await drill.backup.catalog.examined(candidate)
        await conclusion.note(set.notes.map { "Set \(set.id): \($0)" })
        switch set.state {
        case .passedOver(let reason), .beingWritten(let reason):
            if options.setID != nil {
                try await restoreFailed(set, reason, conclusion)
            } else {
                await conclusion.note(["Set \(set.id) was passed over. \(reason)"])
                progress.note("set \(set.id) passed over: \(reason)")
            }
            return false
        case .unusable(let reason):
            try await restoreFailed(set, reason, conclusion)
        case .usable:
            do {
                try await drillOne(set, olderThan: older, conclusion)
                return true
            } catch let error as DrillError where error.code == .backupUnusable {
                try await restoreFailed(set, error.description, conclusion)
            }
        }
        return !drill.backup.fallBack || options.setID != nil
    }

    private func restoreFailed(_ set: BackupSet, _ reason: String, _ conclusion: Conclusion) async throws {
        progress.note("set \(set.id) cannot be restored: \(reason)")
        try await journal.record([
            Finding(
                probe: "restore", kind: .restore, rowID: nil, expected: "a set that restores", observed: reason,
                evidence: "Backup set \(set.id) at \(set.place).",
                repair: "Find out why this set is bad before you need it: the job that made it, its log, its disk.")
        ])
        await conclusion.restoreFailed(set.id, reason)
    }

    private func noUsableSet(_ sets: [BackupSet], _ conclusion: Conclusion) async throws {
        // The oldest was the best chance to reach back far enough.
        let oldest = sets.compactMap { set -> String? in
            switch set.state {
            case .passedOver(let reason), .beingWritten(let reason): "\(set.id): \(reason)"
            case .usable, .unusable: nil
            }
        }.last
        let reason =
            sets.isEmpty
            ? "there is no backup set"
            : "none of \(sets.count) candidates can be drilled" + (oldest.map { "; \($0)" } ?? "")
        try await journal.record([
            Finding(
                probe: "restore", kind: .restore, expected: "a backup set", observed: reason,
                evidence: "Looked in \(drill.backup.catalog.place).",
                repair: "See `muster sets \(drill.path)` for why each candidate was refused.")
        ])
        await conclusion.restoreFailed(nil, reason)
    }

    /// Restores one set and probes it. Throws `backupUnusable` where the set is at fault; whatever is thrown, scratch is gone.
    private func drillOne(_ backupSet: BackupSet, olderThan older: [BackupSet], _ conclusion: Conclusion) async throws {
        let keeping = KeepDecision(isKept: drill.scratch.keep != .never)
        let directory = try scratchDirectories.path(in: drill.scratch.directory, runID: header.runID)
        let item = ScratchItem(kind: "directory", locator: directory)
        try await journal.willCreate(item)
        var failure: (any Error)?
        do {
            _ = try scratchDirectories.make(in: drill.scratch.directory, runID: header.runID)
            let scratch = Scratch(runID: header.runID, directory: directory, journal: journal, keeping: keeping)
            try await restoreAndProbe(backupSet, olderThan: older, in: scratch, conclusion)
        } catch {
            failure = error
            if let error = error as? DrillError, error.code == .backupUnusable, drill.backup.fallBack,
                options.setID == nil, keeping.isKept
            {
                // The next older set is restored to the same place.
                keeping.decide(isKept: false)
                await conclusion.note([
                    "Scratch of set \(backupSet.id), which did not restore, was removed to make way for the next older set; "
                        + "`--set \(backupSet.id)` keeps it."
                ])
            }
        }
        await cleanUp(item, directory: directory, keeping: keeping, conclusion)
        if let error = failure as? DrillError, error.code == .cleanupFailed {
            await conclusion.cleanupFailed(error.description)
        } else if let failure {
            throw failure
        }
    }

    private func restoreAndProbe(
        _ backupSet: BackupSet, olderThan older: [BackupSet], in scratch: Scratch, _ conclusion: Conclusion
    ) async throws {
        let began = environment.clock.monotonicSeconds()
        let beganAt = environment.clock.now()
        progress.phaseBegan("restore \(backupSet.id)")
        let run = self
        do {
            try await drill.backup.database.withRestored(
                backupSet, to: drill.backup.target, in: scratch, progress: progress
            ) { restored in
                try await run.probeRestored(
                    restored, backupSet, older, scratch, conclusion, beganAt: beganAt, began: began)
            }
        } catch let error as DrillError where error.code == .backupUnusable {
            try await journal.record(
                PhaseRecord(
                    name: "restore \(backupSet.id)", startedAt: beganAt,
                    seconds: environment.clock.monotonicSeconds() - began, detail: "failed: \(error.what)"))
            throw error
        }
    }

    /// Everything between a restored database and the removal of scratch.
    private func probeRestored(
        _ restored: Restored, _ backupSet: BackupSet, _ older: [BackupSet], _ scratch: Scratch,
        _ conclusion: Conclusion,
        beganAt: Date, began: Double
    ) async throws {
        for (name, text) in restored.logs.sorted(by: { $0.key < $1.key }) {
            try await journal.keep(Array(text.utf8), as: name)
        }
        let recoveryPoint = restored.recoveryPoint ?? backupSet.time
        var views: [String: any ObjectStore] = [:]
        for backup in drill.backup.objects {
            views[backup.bucket] = try await backup.open(
                backupSet, recoveryPoint: recoveryPoint, clockAhead: restored.clockAhead, in: scratch)
        }
        let seconds = environment.clock.monotonicSeconds() - began
        let rows = restored.rowCounts.reduce(0) { $0 + $1.rows }
        let counted =
            restored.rowCounts.isEmpty
            ? ""
            : ", \(restored.rowCounts.count) table\(restored.rowCounts.count == 1 ? "" : "s") with \(grouped(rows)) rows"
        let phase = PhaseRecord(
            name: "restore \(backupSet.id)", startedAt: beganAt, seconds: seconds,
            detail: "\(restored.database.place)\(counted)")
        try await journal.record(phase)
        progress.phaseEnded(phase)
        let run = self
        try await withObjects(views, in: scratch, conclusion) { objects in
            await conclusion.restored(
                backupSet, restored, recoveryPoint: recoveryPoint, usableAt: run.environment.clock.now(),
                seconds: run.environment.clock.monotonicSeconds() - began)
            let set = RestoredSet(
                runID: run.header.runID, backupSet: backupSet.id, database: restored.database, objects: objects.stores,
                recoveryPoint: recoveryPoint, startedAt: run.header.startedAt, scratchDirectory: scratch.directory,
                objectsDirectory: objects.place, evidenceDirectory: run.journal.runDirectory,
                environment: run.environment, findings: run.journal, progress: run.progress, seed: run.options.seed,
                siblings: run.drill.probes,
                tableRows: Dictionary(restored.rowCounts.map { ($0.table, $0.rows) }) { first, _ in first },
                olderCopies: await run.olderCopies(older, in: scratch, conclusion),
                objectsVariables: objects.variables)
            try await run.probe(set, scratch, conclusion)
        }
    }

    private func probe(_ set: RestoredSet, _ scratch: Scratch, _ conclusion: Conclusion) async throws {
        for probe in drill.probes.filter({ !$0.mayWrite }) + drill.probes.filter(\.mayWrite) {
            let result = try await self.result(of: probe, set)
            try await journal.record(result)
            await conclusion.probed(result)
        }
        for (bucket, store) in set.objects.sorted(by: { $0.key < $1.key }) {
            await conclusion.note(await store.notes.map { "Bucket \(bucket): \($0)" })
            let usage = await store.usage.filter { $0.value > 0 }.sorted { $0.key < $1.key }
            if !usage.isEmpty {
                let text = usage.map { "\(grouped($0.value)) \($0.key)" }.joined(separator: ", ")
                await conclusion.note(["Bucket \(bucket): \(text)."])
            }
        }
        await conclusion.note(await set.database.notes)
        let objectives = await conclusion.judgeObjectives()
        try await journal.record(objectives)
        if let refusal = drill.traffic.refusal { await conclusion.stopped(by: refusal) }
        let verdict = await conclusion.verdict
        scratch.keeping.decide(
            isKept: drill.scratch.keep == .always || (drill.scratch.keep == .onFailure && verdict != .pass))
    }

    /// A probe that throws yields its own inconclusive result, and the others still run; only the end of the whole run is thrown.
    private func result(of probe: any Probe, _ set: RestoredSet) async throws -> ProbeResult {
        let name = probe.name
        let kind = type(of: probe).kind
        let beganAt = environment.clock.now()
        let began = environment.clock.monotonicSeconds()
        progress.phaseBegan("probe \(name)")
        var result: ProbeResult
        do {
            let outcome = try await probe.run(against: set)
            let doubt = outcome.doubt.flatMap { outcome.summary.contains($0) ? nil : "; \($0)" } ?? ""
            let floor =
                outcome.examined < outcome.minimumExamined
                ? "; examined \(grouped(outcome.examined)), fewer than the \(grouped(outcome.minimumExamined)) that the probe expects"
                : ""
            result = ProbeResult(
                probe: name, kind: kind, verdict: outcome.verdict, examined: outcome.examined, passed: outcome.passed,
                failed: outcome.failed, unknown: outcome.unknown, seconds: 0, summary: outcome.summary + floor + doubt,
                relaxations: outcome.relaxations)
        } catch {
            if Task.isCancelled { throw (error as? DrillError)?.code == .cancelled ? error : CancellationError() }
            let wrapped = DrillError(wrapping: error)
            result = ProbeResult(
                probe: name, kind: kind, verdict: .inconclusive, examined: 0, passed: 0, failed: 0, unknown: 0,
                seconds: 0,
                summary: "could not look: \(wrapped)")
        }
        result.seconds = environment.clock.monotonicSeconds() - began
        let phase = PhaseRecord(
            name: "probe \(name)", startedAt: beganAt, seconds: result.seconds,
            detail: "\(result.verdict.rawValue): \(result.summary)")
        try await journal.record(phase)
        progress.phaseEnded(phase)
        return result
    }

    /// Removes the scratch directory, also when the run was cancelled.
    private func cleanUp(
        _ item: ScratchItem, directory: String, keeping: KeepDecision, _ conclusion: Conclusion
    ) async {
        progress.phaseBegan("remove scratch")
        let beganAt = environment.clock.now()
        let began = environment.clock.monotonicSeconds()
        let run = self
        await Task {
            var detail = "removed \(directory)"
            do {
                if keeping.isKept {
                    try run.scratchDirectories.markKept(directory, runID: run.header.runID)
                    detail = "kept \(directory), as scratch.keep says"
                    await conclusion.note(["Scratch was kept at \(directory), as scratch.keep says; remove it by hand."]
                    )
                } else {
                    try run.scratchDirectories.remove(directory, runID: run.header.runID)
                }
                try await run.journal.didRemove(item)
            } catch {
                detail = "failed: \(DrillError(wrapping: error))"
                await conclusion.cleanupFailed(DrillError(wrapping: error).description)
            }
            let phase = PhaseRecord(
                name: "remove scratch", startedAt: beganAt, seconds: run.environment.clock.monotonicSeconds() - began,
                detail: detail)
            do {
                try await run.journal.record(phase)
            } catch {
                await conclusion.stopped(by: DrillError(wrapping: error))
            }
            run.progress.phaseEnded(phase)
        }.value
    }

    func phase<Result: Sendable>(
        _ name: String, _ body: () async throws -> (Result, detail: String)
    ) async throws -> Result {
        let beganAt = environment.clock.now()
        let began = environment.clock.monotonicSeconds()
        progress.phaseBegan(name)
        let (result, detail) = try await body()
        let phase = PhaseRecord(
            name: name, startedAt: beganAt, seconds: environment.clock.monotonicSeconds() - began, detail: detail)
        try await journal.record(phase)
        progress.phaseEnded(phase)
        return result
    }
}
