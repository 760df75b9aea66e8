import Foundation

/// Runs drills: drill file in, verdict with evidence out.
package struct DrillRunner: Sendable {
    let environment: DrillEnvironment
    let ledger: any RunLedger
    let scratchDirectories: any ScratchDirectories
    let progress: any RunProgress
    let toolVersion: String

    package init(
        environment: DrillEnvironment, ledger: any RunLedger, scratchDirectories: any ScratchDirectories,
        progress: any RunProgress, toolVersion: String
    ) {
        self.environment = environment
        self.ledger = ledger
        self.scratchDirectories = scratchDirectories
        self.progress = progress
        self.toolVersion = toolVersion
    }

    package struct Options: Sendable {
        /// The one set to take; it never falls back.
        package var setID: String?
        /// What samples are drawn with.
        package var seed: UInt64
        /// What ended the run from outside, such as `ended by SIGTERM`; nil while nothing has.
        package var interruption: (@Sendable () -> String?)?
        package init(setID: String? = nil, seed: UInt64, interruption: (@Sendable () -> String?)? = nil) {
            self.setID = setID
            self.seed = seed
            self.interruption = interruption
        }
    }

    /// Runs one drill from first to last. What goes wrong in the drill is part of the record; only a ledger or a report that
    /// cannot be written is thrown, and an unknown `--set` (`usage`) before anything was recorded.
    package func run(_ drill: Drill, _ options: Options) async throws -> RunRecord {
        if let setID = options.setID {
            _ = try await drill.backup.catalog.candidates().named(setID, at: drill.backup.catalog.place)
        }
        let header = Self.header(of: drill, environment: environment, toolVersion: toolVersion)
        let journal = try await ledger.begin(header)
        progress.runBegan(header)
        let run = DrillRun(
            drill: drill, options: options, header: header, journal: journal, environment: environment,
            scratchDirectories: scratchDirectories, progress: progress)
        let outcome = await withDeadline(drill.deadline, run)
        // The verdict is written also when the run was ended by a signal: a cancelled task would refuse to.
        return try await Task {
            let record = try await journal.finish(outcome)
            try await ledger.writeReports(record)
            return record
        }.value
    }

    /// What is known of a run of that drill that begins now.
    package static func header(of drill: Drill, environment: DrillEnvironment, toolVersion: String) -> RunHeader {
        let startedAt = environment.clock.now()
        return RunHeader(
            runID: runID(startedAt), drill: drill.name, description: drill.description, startedAt: startedAt,
            recoveryTarget: drill.backup.target.text, strategy: drill.backup.database.strategy,
            objectives: drill.objectives, drillDigest: drill.digest, toolVersion: toolVersion,
            host: environment.hostName)
    }

    /// The run's outcome; past the deadline the run is cancelled, cleans up, and is inconclusive.
    private func withDeadline(_ deadline: Duration?, _ run: DrillRun) async -> RunOutcome {
        guard let deadline else { return await run.outcome(endedBy: nil) }
        let clock = environment.clock
        return await withTaskGroup(of: RunOutcome?.self) { group in
            let passed = KeepDecision(isKept: false)
            group.addTask { await run.outcome(endedBy: { passed.isKept ? deadline : nil }) }
            group.addTask {
                do {
                    try await clock.sleep(for: deadline)
                    passed.decide(isKept: true)
                } catch {
                    // The run ended first, or was cancelled from outside.
                }
                return nil
            }
            var outcome: RunOutcome?
            while let result = await group.next() {
                group.cancelAll()
                if let result { outcome = result }
            }
            // The first child always returns an outcome.
            return outcome
                ?? RunOutcome(
                    verdict: .inconclusive, finishedAt: clock.now(), reason: "the run ended without an outcome")
        }
    }

    /// `<UTC start as yyyyMMddTHHmmssZ>-<6 random hex>`.
    static func runID(_ startedAt: Date) -> String {
        let digits = rfc3339(startedAt).prefix(19).filter { $0 != "-" && $0 != ":" }
        let random = hexadecimal((0..<3).map { _ in UInt8.random(in: 0...255) })
        return "\(digits)Z-\(random)"
    }
}

extension RecoveryTarget {
    /// For reports and the ledger.
    package var text: String {
        switch self {
        case .latest: "latest"
        case .instant(let date): rfc3339(date)
        case .lsn(let lsn): "lsn \(lsn)"
        case .name(let name): "restore point \(name)"
        }
    }
}
