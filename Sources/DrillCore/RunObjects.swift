import Foundation

/// The part of a run that has to do with objects.
extension DrillRun {
    /// The objects as probes see them: the views, or copies in scratch where the drill file wants those.
    func withObjects(
        _ views: [String: any ObjectStore], in scratch: Scratch, _ conclusion: Conclusion,
        _ use: @escaping @Sendable (CopiedObjects) async throws -> Void
    ) async throws {
        guard let copier = drill.scratch.copier else {
            return try await use(CopiedObjects(stores: views))
        }
        let name = "copy objects"
        let beganAt = environment.clock.now()
        let began = environment.clock.monotonicSeconds()
        progress.phaseBegan(name)
        let run = self
        try await copier.withCopies(of: views, in: scratch, progress: progress) { copies in
            let phase = PhaseRecord(
                name: name, startedAt: beganAt, seconds: run.environment.clock.monotonicSeconds() - began,
                detail: copies.summary)
            try await run.journal.record(phase)
            run.progress.phaseEnded(phase)
            await conclusion.note(copies.notes)
            try await run.judgeGaps(copies.gaps, conclusion)
            do {
                try await use(copies)
            } catch {
                await run.noteKept(copies, scratch, conclusion)
                throw error
            }
            await run.noteKept(copies, scratch, conclusion)
        }
    }

    /// Copies in the scratch directory stay or go with it.
    private func noteKept(_ copies: CopiedObjects, _ scratch: Scratch, _ conclusion: Conclusion) async {
        guard scratch.keeping.isKept, let place = copies.place, !place.hasPrefix(scratch.directory) else { return }
        await conclusion.note([
            "The copies of objects were kept at \(place), as scratch.keep says; remove them by hand."
        ])
    }

    /// What did not come into scratch whole is for references probes to judge, row by row. Of a bucket that none of them asks
    /// about, nobody else would tell.
    private func judgeGaps(_ gaps: [CopyGap], _ conclusion: Conclusion) async throws {
        let known = drill.backup.objects.map(\.bucket)
        for gap in gaps {
            let isJudged = drill.probes.contains { probe in
                (probe as? ReferencesProbe)?.settings.buckets(of: known).contains(gap.bucket) ?? false
            }
            if isJudged { continue }
            let error = DrillError(
                gap.damaged > 0 ? .backupUnusable : .couldNotLook,
                "\(grouped(gap.count)) objects of bucket \(gap.bucket) did not come into scratch whole, and no references probe "
                    + "asks about that bucket; the first: \(gap.first)",
                hints: ["A references probe tells which rows need them."])
            if gap.damaged > 0 { throw error }
            await conclusion.stopped(by: error)
        }
    }

    /// At most three older sets whose objects are their own: what they hold shows deletions. They are only evidence: one that
    /// cannot be looked at is a note.
    func olderCopies(
        _ older: [BackupSet], in scratch: Scratch, _ conclusion: Conclusion
    ) async -> [OlderCopy] {
        let backups = drill.backup.objects.filter(\.isKeptPerSet)
        // Older volumes are not mounted, which may take long, for what is only evidence.
        guard !backups.isEmpty, drill.backup.hooks == nil else { return [] }
        var copies: [OlderCopy] = []
        for candidate in older.prefix(10) {
            guard copies.count < 3 else { break }
            do {
                let set = try await drill.backup.catalog.examined(candidate)
                guard set.state == .usable else { continue }
                var objects: [String: any ObjectStore] = [:]
                for backup in backups {
                    objects[backup.bucket] = try await backup.open(set, recoveryPoint: set.time, in: scratch)
                }
                copies.append(OlderCopy(setID: set.id, objects: objects))
            } catch {
                await conclusion.note([
                    "Set \(candidate.id) was not asked for evidence: \(DrillError(wrapping: error).what)."
                ])
            }
        }
        return copies
    }

    /// What was asked of object stores, as a phase of its own. A refused request may have ended as somebody's missing evidence:
    /// the run does not pass on it.
    func recordTraffic(_ conclusion: Conclusion) async {
        let totals = drill.traffic.totals
        if let refusal = drill.traffic.refusal { await conclusion.stopped(by: refusal) }
        guard !totals.isNothing else { return }
        let phase = PhaseRecord(
            name: TrafficTotals.phaseName, startedAt: environment.clock.now(), seconds: 0, detail: "\(totals)")
        let journal = self.journal
        // Also at the end of a run that was cancelled.
        let failure = await Task { () -> DrillError? in
            do {
                try await journal.record(phase)
                return nil
            } catch {
                return DrillError(wrapping: error)
            }
        }.value
        if let failure { await conclusion.stopped(by: failure) }
        progress.phaseBegan(phase.name)
        progress.phaseEnded(phase)
    }
}
