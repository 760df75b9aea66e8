import DrillCore
import Foundation

/// `kind: s3`: a bucket or prefix as it is now, such as the target of `aws s3 sync s3://… s3://…`.
struct S3Backup: ObjectBackup {
    static let kind = "s3"
    static let shape = SettingsShape(
        "s3: a bucket or prefix as it is now, as a copy",
        S3Settings.connectionFields + S3Settings.listingFields + [
            SettingsField(
                "path", .text,
                "With sets in a bucket: where the objects are below the set's folder. Default: the folder itself.")
        ])

    let bucket: String
    private let settings: S3Settings
    private let origin: S3Settings?
    private let path: String?
    private let environment: DrillEnvironment

    init(bucket: String, _ reader: SettingsReader, _ context: PartContext) throws {
        self.bucket = bucket
        environment = context.environment
        settings = try S3Settings(reader, bucket: bucket, context.environment)
        origin = try S3Settings.origin(reader, bucket: bucket, context.environment)
        path = try reader.string("path")
        if path != nil, !context.hasSets { throw reader.error("path", "means nothing without `backup.sets`") }
    }

    var isKeptPerSet: Bool { path != nil }

    /// With `path`, the bucket is that of the sets, and the keys are below the set's folder.
    private func settings(for set: BackupSet) throws -> S3Settings {
        guard let path else { return settings }
        guard let folder = set.folder as? S3Folder else {
            throw DrillError(.usage, "`path` of an s3 object backup needs sets in a bucket", at: set.place)
        }
        var own = folder.settings
        own.prefix = folder.key(path) + Array("/".utf8)
        own.listing = settings.listing
        own.concurrency = settings.concurrency
        return own
    }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let settings = try settings(for: set)
        let reader = BucketReader(settings, environment)
        let source = ListingSource(reader.client, .objects, prefix: settings.prefix, place: settings.place)
        guard try await source.page(ListingCursor()).entries.count > 0 else {
            return ComponentState(.incomplete("there are no objects in \(settings.place)"))
        }
        return ComponentState(.usable)
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        let settings = try settings(for: set)
        return [
            "Lists \(settings.place) at \(settings.address.origin): a ListObjectsV2 request for each 1,000 objects, \(settings.concurrency) at a time.",
            S3Prices.sentence,
        ]
    }

    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore {
        S3Store(bucket: bucket, try settings(for: set), origin: origin, environment)
    }
}

/// `kind: s3_versions`: a versioned bucket, each key at the version that was current at the recovery point.
struct S3VersionsBackup: ObjectBackup {
    static let kind = "s3_versions"
    static let shape = SettingsShape(
        "s3_versions: a versioned bucket at the recovery point",
        S3Settings.connectionFields + S3Settings.listingFields.filter { $0.name != "origin" } + [
            SettingsField(
                "skew_tolerance", .duration,
                "How far the clocks of database and store may be apart; a change nearer to the recovery point is in doubt. Default: 5s."
            ),
            SettingsField(
                "max_upload_window", .duration,
                "How long a multipart upload may take: its time is that of its beginning. Default: 1d, twice the longest session of an "
                    + "assumed role; a lifecycle rule that aborts uploads sooner shortens it."),
        ])

    let bucket: String
    private let settings: S3Settings
    private let skewTolerance: Int64
    private let uploadWindow: Int64
    private let environment: DrillEnvironment

    init(bucket: String, _ reader: SettingsReader, _ context: PartContext) throws {
        self.bucket = bucket
        environment = context.environment
        settings = try S3Settings(reader, bucket: bucket, context.environment)
        skewTolerance = Self.microseconds(try reader.duration("skew_tolerance") ?? .seconds(5))
        uploadWindow = Self.microseconds(try reader.duration("max_upload_window") ?? .seconds(86400))
    }

    private static func microseconds(_ span: Duration) -> Int64 {
        // More than a century says the same as a century.
        min(span.components.seconds, 3_200_000_000) * 1_000_000 + span.components.attoseconds / 1_000_000_000_000
    }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let (status, notes) = try await BucketFacts(BucketReader(settings, environment)).versioning()
        guard status != .never else {
            return ComponentState(
                .unusable(
                    "versioning was never enabled on \(settings.place): what was overwritten or deleted cannot be had back"
                ))
        }
        return ComponentState(.usable, notes: notes)
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        [
            "Lists all versions and delete markers of \(settings.place) at \(settings.address.origin): a ListObjectVersions request for each "
                + "1,000 of them, \(settings.concurrency) at a time.",
            S3Prices.sentence,
        ]
    }

    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore {
        guard let recoveryPoint else {
            throw DrillError(
                .couldNotLook, "the recovery point is not known, and versions are resolved at it", at: settings.place,
                hints: ["Give `target:` or `--at`, or a set whose name or catalog tells its time."])
        }
        let now = environment.clock.now()
        let reader = BucketReader(settings, environment)
        guard recoveryPoint.timeIntervalSince(now) <= Double(skewTolerance) / 1_000_000 else {
            throw DrillError(
                .couldNotLook,
                "the recovery point \(Timestamps.text(microseconds: recoveryPoint.microseconds)) is in the future",
                at: settings.place)
        }
        let facts = BucketFacts(reader)
        let (status, versioningNotes) = try await facts.versioning()
        guard status != .never else {
            throw DrillError(
                .backupUnusable, "versioning was never enabled: what was overwritten or deleted cannot be had back",
                at: settings.place)
        }
        var (retention, notes) = try await facts.retention(now: now.microseconds)
        notes = versioningNotes + notes
        if let warning = retention.warning(target: recoveryPoint.microseconds) { notes.append(warning) }
        var window = uploadWindow
        if let days = retention.abortsUploadsAfterDays {
            // Such rules run once a day.
            window = min(window, (days + 1) * 86_400_000_000)
        }
        let resolver = VersionResolver(
            target: recoveryPoint.microseconds, skewTolerance: skewTolerance, uploadWindow: window)
        return S3VersionsStore(
            bucket: bucket, settings, reader, resolver: resolver, retention: retention, openingNotes: notes)
    }
}

extension S3Settings {
    /// `origin:` of an object backup; nil where there is none.
    static func origin(_ reader: SettingsReader, bucket: String, _ environment: DrillEnvironment) throws -> S3Settings?
    {
        let fields = [SettingsField("bucket", .text, "The live bucket's name.")] + connectionFields
        guard let own = try reader.settings("origin", SettingsShape("The live bucket.", fields)) else { return nil }
        return try S3Settings(own, bucket: try own.string("bucket") ?? bucket, environment)
    }
}

/// Amazon's list prices (us-east-1, S3 Standard), for an estimate and no more.
enum S3Prices {
    static let sentence =
        "At Amazon's list prices (us-east-1, Standard) 1,000 LIST requests cost $0.005, 1,000 GET or HEAD requests $0.0004, and a GB sent "
        + "out to the internet $0.09."
}
