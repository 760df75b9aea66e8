import Foundation

/// One kind of database backup: how a set's component is looked at, and how it comes back.
package protocol Restorer: Sendable {
    /// The word in the drill file.
    static var kind: String { get }
    /// What `backup.database` may hold beside `kind`.
    static var shape: SettingsShape { get }
    init(_ settings: SettingsReader, _ context: PartContext) throws

    /// `maintenance_window`, `point_in_time`, `snapshot` or `restored`, for the ledger.
    var strategy: String { get }
    /// Probes that a drill of this kind always needs; each is added where the drill file has none that does.
    var requiredProbes: [RequiredProbe] { get }
    /// The tool's own catalog; nil where sets are folders below `backup.sets` or where there is one fixed set.
    func catalog() throws -> (any BackupCatalog)?
    /// Looks without restoring: is it there, is it whole as far as can be told cheaply, when was it taken?
    func examine(_ set: BackupSet) async throws -> ComponentState
    /// What `muster plan` says would be created and done. Whole sentences.
    func plan(_ set: BackupSet) async throws -> [String]
    /// Restores into scratch. Throws `backupUnusable` where the backup is at fault, other codes where it is not.
    /// The server or database it made is gone when `use` has returned or thrown, whatever happened.
    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result
}

extension Restorer {
    package var requiredProbes: [RequiredProbe] { [] }
}

/// What a restorer made.
package struct Restored: Sendable {
    package var database: any RestoredDatabase
    /// The instant really reached, read from the restored data or the backup's own header; nil where it cannot be known.
    package var recoveryPoint: Date?
    /// Seconds by which the clock of a server that exists is ahead of this machine's; nil where there is none to ask: what stamped a
    /// dump is not at hand.
    package var clockAhead: Double?
    /// Whole sentences for the report: relaxations, waivers, what flatters the RTO, what could not be sealed.
    package var notes: [String]
    /// Rows each restored table got, by `schema.table`, where known.
    package var rowCounts: [(table: String, rows: Int64)]
    /// Tool logs and other evidence, their text by file name, to be kept in the run's folder.
    package var logs: [String: String]

    package init(
        database: any RestoredDatabase, recoveryPoint: Date?, clockAhead: Double? = nil, notes: [String] = [],
        rowCounts: [(table: String, rows: Int64)] = [], logs: [String: String] = [:]
    ) {
        self.database = database
        self.recoveryPoint = recoveryPoint
        self.clockAhead = clockAhead
        self.notes = notes
        self.rowCounts = rowCounts
        self.logs = logs
    }
}

/// One kind of object backup.
package protocol ObjectBackup: Sendable {
    static var kind: String { get }
    /// What an element of `backup.objects` may hold beside `kind` and `bucket`.
    static var shape: SettingsShape { get }
    init(bucket: String, _ settings: SettingsReader, _ context: PartContext) throws

    /// As rows name it.
    var bucket: String { get }
    /// Whether each set has objects of its own: then an older set's objects are evidence of what was there before.
    var isKeptPerSet: Bool { get }
    /// Whether this bucket, as of the set or of now, can be looked at. A source that does not answer is thrown as `couldNotLook`.
    func examine(_ set: BackupSet) async throws -> ComponentState
    /// What `muster plan` says it would ask and cost. Whole sentences.
    func plan(_ set: BackupSet) async throws -> [String]
    /// How much there is, for `muster plan`: a request or two.
    func measure(_ set: BackupSet) async throws -> BucketMeasure
    /// The objects as of the recovery point. `scratch` is where copies may be made; nothing is copied for a view.
    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore
    /// As without `clockAhead`, for what compares the recovery point with stamps of another clock.
    ///
    /// - Parameter clockAhead: Seconds by which the database server's clock is ahead of this machine's; nil where it cannot be asked.
    func open(
        _ set: BackupSet, recoveryPoint: Date?, clockAhead: Double?, in scratch: Scratch?
    ) async throws -> any ObjectStore
}

extension ObjectBackup {
    package var isKeptPerSet: Bool { false }
    package func open(
        _ set: BackupSet, recoveryPoint: Date?, clockAhead: Double?, in scratch: Scratch?
    ) async throws -> any ObjectStore {
        try await open(set, recoveryPoint: recoveryPoint, in: scratch)
    }
    package func measure(_ set: BackupSet) async throws -> BucketMeasure {
        BucketMeasure(bucket: bucket, place: bucket, isRemote: false)
    }
}

/// What a part gets beside its own settings.
package struct PartContext: Sendable {
    package var environment: DrillEnvironment
    /// Absolute; relative paths in the drill file start here.
    package var drillFileDirectory: String
    /// Whether `backup.sets` is there: then paths in components are relative to the set's folder.
    package var hasSets: Bool
    /// Whether `backup.sets` is a URL: then no set is a directory of this machine.
    package var setsAreRemote: Bool
    /// The scratch settings of the drill.
    package var scratch: ScratchSettings
    /// The origins (endpoints) that the drill file names, for URLs in rows.
    package var tuning: [String: String]
    /// The instant asked for: a catalog of a tool's own lists what is too new for it as passed over.
    package var target: RecoveryTarget
    /// How long what is incomplete may still be being written.
    package var settle: Duration
    /// Of the whole run, for estimates; nil where the drill sets none.
    package var deadline: Duration?
    /// Opens places that are not of this machine.
    private let registry: Registry

    package init(
        environment: DrillEnvironment, drillFileDirectory: String, hasSets: Bool, setsAreRemote: Bool = false,
        scratch: ScratchSettings, tuning: [String: String] = [:], target: RecoveryTarget = .latest,
        settle: Duration = SetRules.standardSettle, deadline: Duration? = nil, registry: Registry = Registry()
    ) {
        self.registry = registry
        self.environment = environment
        self.drillFileDirectory = drillFileDirectory
        self.hasSets = hasSets
        self.setsAreRemote = setsAreRemote
        self.scratch = scratch
        self.tuning = tuning
        self.target = target
        self.settle = settle
        self.deadline = deadline
    }

    /// The folder that a URL in a part's own settings names, such as `wal: s3://bucket/prefix`, reached as
    /// ``BackupFolderAccess`` in the same mapping says; nil where the text is no URL but a path.
    /// - Throws: `usage` for a scheme that no part knows.
    package func remoteFolder(_ key: String, in settings: SettingsReader) throws -> (any BackupFolder)? {
        guard let location = try settings.string(key), location.contains("://") else { return nil }
        guard let folder = try registry.folder(location, settings: settings, environment: environment) else {
            throw settings.error(
                key, "nothing here reads '\(location)'", hints: ["A directory or s3://bucket/prefix."])
        }
        return folder
    }
}
