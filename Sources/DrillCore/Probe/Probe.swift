import Foundation

/// One question put to the restored set.
package protocol Probe: Sendable {
    /// The word in the drill file.
    static var kind: String { get }
    /// What the probe may hold beside `name` and `kind`.
    static var shape: SettingsShape { get }
    init(name: String, _ settings: SettingsReader, _ context: ProbeContext) throws
    var name: String { get }
    /// `command` probes run last, since they may write.
    var mayWrite: Bool { get }
    /// What `muster plan` says it would do. Whole sentences.
    var plan: [String] { get }
    /// What it is expected to ask of S3 beside the listings.
    /// - Parameter readsAreFree: The objects' bytes are at hand in scratch.
    func expectedTraffic(of buckets: [BucketMeasure], readsAreFree: Bool) -> [ExpectedTraffic]
    /// Throws where it could not look; that is its own inconclusive result, and the other probes still run.
    func run(against set: RestoredSet) async throws -> ProbeOutcome
}

extension Probe {
    package var mayWrite: Bool { false }
    package var plan: [String] { [] }
    package func expectedTraffic(of buckets: [BucketMeasure], readsAreFree: Bool) -> [ExpectedTraffic] { [] }
}

/// What a probe's settings are checked against when the drill file is read.
package struct ProbeContext: Sendable {
    package var drillFileDirectory: String
    /// The buckets of `backup.objects`.
    package var buckets: [String]
    /// Hosts (with port) of the endpoints in the drill file, for `form: url`.
    package var endpointAuthorities: [String]
    /// Whether a file is there, on this machine.
    package var fileExists: @Sendable (String) -> Bool
    /// The instant asked for.
    package var target: RecoveryTarget
    /// Whether this user may run it.
    package var fileIsExecutable: @Sendable (String) -> Bool
    package init(
        drillFileDirectory: String, buckets: [String], endpointAuthorities: [String],
        fileExists: @escaping @Sendable (String) -> Bool,
        fileIsExecutable: @escaping @Sendable (String) -> Bool = { _ in true }, target: RecoveryTarget = .latest
    ) {
        self.drillFileDirectory = drillFileDirectory
        self.buckets = buckets
        self.endpointAuthorities = endpointAuthorities
        self.fileExists = fileExists
        self.target = target
        self.fileIsExecutable = fileIsExecutable
    }
}

/// The restored set as probes see it.
package struct RestoredSet: Sendable {
    package var runID: String
    package var backupSet: String
    package var database: any RestoredDatabase
    /// By bucket name as rows know it.
    package var objects: [String: any ObjectStore]
    package var recoveryPoint: Date?
    package var startedAt: Date
    package var scratchDirectory: String?
    /// Where copies of objects were made, if they were: a directory, or `s3://bucket/prefix`.
    package var objectsDirectory: String?
    /// What a program needs besides to find them there, as environment variables.
    package var objectsVariables: [String: String]
    /// The run's folder below the reports directory: evidence and tool output go here.
    package var evidenceDirectory: String
    package var environment: DrillEnvironment
    package var findings: any FindingSink
    package var progress: any ProgressSink
    /// Of `--seed`: what samples are drawn with.
    package var seed: UInt64
    /// All probes of this run: an object that a row of any references probe names is no orphan.
    package var siblings: [any Probe]
    /// Rows each restored table got, by `schema.table`, where known: totals for progress.
    package var tableRows: [String: Int64]
    /// Copies of older sets, newest first, by bucket: what was there once shows a deletion. May be empty.
    package var olderCopies: [OlderCopy]

    package init(
        runID: String, backupSet: String, database: any RestoredDatabase, objects: [String: any ObjectStore],
        recoveryPoint: Date?, startedAt: Date, scratchDirectory: String?, objectsDirectory: String?,
        evidenceDirectory: String, environment: DrillEnvironment, findings: any FindingSink, progress: any ProgressSink,
        seed: UInt64, siblings: [any Probe], tableRows: [String: Int64] = [:], olderCopies: [OlderCopy] = [],
        objectsVariables: [String: String] = [:]
    ) {
        self.runID = runID
        self.backupSet = backupSet
        self.database = database
        self.objects = objects
        self.recoveryPoint = recoveryPoint
        self.startedAt = startedAt
        self.scratchDirectory = scratchDirectory
        self.objectsDirectory = objectsDirectory
        self.evidenceDirectory = evidenceDirectory
        self.environment = environment
        self.findings = findings
        self.progress = progress
        self.seed = seed
        self.siblings = siblings
        self.tableRows = tableRows
        self.olderCopies = olderCopies
        self.objectsVariables = objectsVariables
    }
}

/// The objects of an older backup set, asked only about keys with findings.
package struct OlderCopy: Sendable {
    package var setID: String
    package var objects: [String: any ObjectStore]
    package init(setID: String, objects: [String: any ObjectStore]) {
        self.setID = setID
        self.objects = objects
    }
}

/// Where findings go as they are found. Batches of a few hundred to a few thousand; saved before anything is concluded from them.
package protocol FindingSink: Sendable {
    func record(_ findings: [Finding]) async throws
}

/// What a probe found, as counts; the verdict follows from them and from nothing else.
package struct ProbeOutcome: Sendable {
    package var examined: Int64
    package var passed: Int64
    package var failed: Int64
    package var unknown: Int64
    /// Findings that count though they are none of what was examined, such as orphans under `orphans: fail`.
    package var otherFailures: Int64
    /// Fewer examined than this: inconclusive.
    package var minimumExamined: Int64
    /// One line a person reads: counts, coverage, what was not comparable, the bound of a sample.
    package var summary: String
    /// Relaxations (samples, waivers), printed in every report as what they are. Whole sentences.
    package var relaxations: [String]
    /// Why it is inconclusive, where the counts do not say it.
    package var doubt: String?

    package init(
        examined: Int64, passed: Int64, failed: Int64, unknown: Int64, otherFailures: Int64 = 0,
        minimumExamined: Int64 = 1, summary: String, relaxations: [String] = [], doubt: String? = nil
    ) {
        self.examined = examined
        self.passed = passed
        self.failed = failed
        self.unknown = unknown
        self.otherFailures = otherFailures
        self.minimumExamined = minimumExamined
        self.summary = summary
        self.relaxations = relaxations
        self.doubt = doubt
    }

    /// `fail` where anything failed; else `inconclusive` where anything is unknown, in doubt, too little was examined or the
    /// counts do not add up; else `pass` (V1, V2).
    package var verdict: Verdict {
        if failed > 0 || otherFailures > 0 { return .fail }
        if unknown > 0 || doubt != nil || examined < minimumExamined || examined != passed + failed + unknown {
            return .inconclusive
        }
        return .pass
    }
}
