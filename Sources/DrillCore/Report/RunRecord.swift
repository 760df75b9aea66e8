import Foundation

/// What is known of a run when it begins; the ledger holds it before anything is made.
package struct RunHeader: Sendable {
    package var runID: String
    package var drill: String
    package var description: String?
    package var startedAt: Date
    package var recoveryTarget: String
    package var strategy: String
    package var objectives: Objectives
    package var drillDigest: String
    package var toolVersion: String
    package var host: String

    package init(
        runID: String, drill: String, description: String?, startedAt: Date, recoveryTarget: String, strategy: String,
        objectives: Objectives, drillDigest: String, toolVersion: String, host: String
    ) {
        self.runID = runID
        self.drill = drill
        self.description = description
        self.startedAt = startedAt
        self.recoveryTarget = recoveryTarget
        self.strategy = strategy
        self.objectives = objectives
        self.drillDigest = drillDigest
        self.toolVersion = toolVersion
        self.host = host
    }
}

/// What is known at its end.
package struct RunOutcome: Sendable {
    package var verdict: Verdict
    package var finishedAt: Date
    package var backupSet: String?
    package var recoveryPoint: Date?
    package var rpoSeconds: Double?
    package var rtoSeconds: Double?
    /// Why the verdict is what it is, one sentence.
    package var reason: String
    /// Whole sentences: relaxations, waivers, sets that were passed over, what could not be sealed.
    package var notes: [String]
    /// The `restore`, `objectives` and `cleanup` testcases of JUnit: verdict and message each.
    package var stages: [StageResult]
    package var rowCounts: [(table: String, rows: Int64)]

    package init(
        verdict: Verdict, finishedAt: Date, backupSet: String? = nil, recoveryPoint: Date? = nil,
        rpoSeconds: Double? = nil, rtoSeconds: Double? = nil, reason: String, notes: [String] = [],
        stages: [StageResult] = [], rowCounts: [(table: String, rows: Int64)] = []
    ) {
        self.verdict = verdict
        self.finishedAt = finishedAt
        self.backupSet = backupSet
        self.recoveryPoint = recoveryPoint
        self.rpoSeconds = rpoSeconds
        self.rtoSeconds = rtoSeconds
        self.reason = reason
        self.notes = notes
        self.stages = stages
        self.rowCounts = rowCounts
    }
}

/// `restore`, `objectives` or `cleanup`, as a testcase of its own.
package struct StageResult: Sendable, Codable, Hashable {
    package var name: String
    package var verdict: Verdict
    package var message: String
    package var seconds: Double
    package init(name: String, verdict: Verdict, message: String, seconds: Double) {
        self.name = name
        self.verdict = verdict
        self.message = message
        self.seconds = seconds
    }
}

package struct PhaseRecord: Sendable {
    package var name: String
    package var startedAt: Date
    package var seconds: Double
    package var detail: String
    package init(name: String, startedAt: Date, seconds: Double, detail: String) {
        self.name = name
        self.startedAt = startedAt
        self.seconds = seconds
        self.detail = detail
    }
}

package struct ProbeResult: Sendable {
    package var probe: String
    package var kind: String
    package var verdict: Verdict
    package var examined: Int64
    package var passed: Int64
    package var failed: Int64
    package var unknown: Int64
    package var seconds: Double
    package var summary: String
    package var relaxations: [String]

    package init(
        probe: String, kind: String, verdict: Verdict, examined: Int64, passed: Int64, failed: Int64, unknown: Int64,
        seconds: Double, summary: String, relaxations: [String] = []
    ) {
        self.probe = probe
        self.kind = kind
        self.verdict = verdict
        self.examined = examined
        self.passed = passed
        self.failed = failed
        self.unknown = unknown
        self.seconds = seconds
        self.summary = summary
        self.relaxations = relaxations
    }
}

/// Findings with one probe, kind and cause, as one group (J8): thousands of lines are read by nobody.
package struct FindingGroup: Sendable {
    package var probe: String
    package var kind: FindingKind
    package var cause: Cause
    package var counts: Bool
    package var count: Int64
    /// The first findings in the order recorded, at most 100 over all groups of one probe.
    package var examples: [Finding]
    package var first: Finding
    package var last: Finding

    package init(
        probe: String, kind: FindingKind, cause: Cause, counts: Bool, count: Int64, examples: [Finding], first: Finding,
        last: Finding
    ) {
        self.probe = probe
        self.kind = kind
        self.cause = cause
        self.counts = counts
        self.count = count
        self.examples = examples
        self.first = first
        self.last = last
    }
}

/// A run as it stands in the ledger: what every report is written from, so that totals cannot disagree (J7) and a report
/// written again is the same byte for byte.
package struct RunRecord: Sendable {
    package var header: RunHeader
    /// nil while the run has not finished (or never did): reports then say "did not finish".
    package var outcome: RunOutcome?
    package var phases: [PhaseRecord]
    package var probes: [ProbeResult]
    package var groups: [FindingGroup]
    /// 64 hex digits; nil while the run has not finished.
    package var chainHead: String?

    package init(
        header: RunHeader, outcome: RunOutcome?, phases: [PhaseRecord], probes: [ProbeResult], groups: [FindingGroup],
        chainHead: String?
    ) {
        self.header = header
        self.outcome = outcome
        self.phases = phases
        self.probes = probes
        self.groups = groups
        self.chainHead = chainHead
    }
}

/// Where a run is recorded while it goes on. Everything is synced to disk when the call returns.
package protocol RunJournal: FindingSink, ScratchJournal {
    func record(_ phase: PhaseRecord) async throws
    func record(_ probe: ProbeResult) async throws
    /// The run's own folder, `<reports>/<drill>/<run id>`: reports, tool logs and the evidence that was judged.
    var runDirectory: String { get }
    /// Keeps a tool's log or other evidence as a whole file in the run's folder; the name has no slash.
    func keep(_ contents: [UInt8], as name: String) async throws
    /// The run as it stands now.
    func snapshot() async throws -> RunRecord
    /// Ends the run: verdict in the ledger, synced, chained; the record with its chain head.
    func finish(_ outcome: RunOutcome) async throws -> RunRecord
}

package protocol RunLedger: Sendable {
    /// Records the start of a run (verdict `inconclusive`, "did not finish"), makes its folder, and has the reports say so.
    func begin(_ header: RunHeader) async throws -> any RunJournal
    /// Writes the reports of that record: the drill's current ones and the run's own. Whole files (temporary, fsync, rename).
    func writeReports(_ record: RunRecord) async throws
}
