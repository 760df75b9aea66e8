import DrillCore
import Foundation

/// `kind: s3_versions`: a versioned bucket, each key at the version that was current at the recovery point.
struct S3VersionsBackup: ObjectBackup, BucketNaming {
    static let kind = "s3_versions"
    static let shape = SettingsShape(
        "s3_versions: a versioned bucket at the recovery point",
        S3Settings.connectionFields + S3Settings.listingFields + [
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
    private let origin: S3Settings?
    private let skewTolerance: Int64
    private let uploadWindow: Int64
    private let environment: DrillEnvironment

    init(bucket: String, _ reader: SettingsReader, _ context: PartContext) throws {
        self.bucket = bucket
        environment = context.environment
        settings = try S3Settings(reader, bucket: bucket, context.environment)
        origin = try S3Settings.origin(reader, bucket: bucket, context.environment)
        skewTolerance = Self.microseconds(try reader.duration("skew_tolerance") ?? .seconds(5))
        uploadWindow = Self.microseconds(try reader.duration("max_upload_window") ?? .seconds(86400))
    }

    private static func microseconds(_ span: Duration) -> Int64 {
        // More than a century says the same as a century.
        min(span.components.seconds, 3_200_000_000) * 1_000_000 + span.components.attoseconds / 1_000_000_000_000
    }

    var buckets: [S3Settings] { [settings] + (origin.map { [$0] } ?? []) }

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
        try await BucketReader(settings, environment).plan(.versions, settings)
    }

    func measure(_ set: BackupSet) async throws -> BucketMeasure {
        let source = ListingSource(
            BucketReader(settings, environment).client, .versions, prefix: settings.prefix, place: settings.place)
        let page = try await source.page(ListingCursor())
        var measure = BucketMeasure(bucket: bucket, place: settings.place, isRemote: true)
        measure.entries = Int64(page.entries.count)
        var start = 0
        while start < page.entries.count {
            let end = page.entries.endOfKey(from: start)
            measure.objects += 1
            // Which version is the one of the recovery point is not known yet: the largest.
            measure.bytes += page.entries.sizes[start..<end].max() ?? 0
            start = end
        }
        measure.isWhole = page.next == nil
        measure.isListed = settings.listing != .head
        // Versioning, asked for twice, and lifecycle rules.
        measure.fixed[.get] = 3
        return measure
    }

    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore {
        try await open(set, recoveryPoint: recoveryPoint, clockAhead: nil, in: scratch)
    }

    func open(
        _ set: BackupSet, recoveryPoint: Date?, clockAhead: Double?, in scratch: Scratch?
    ) async throws -> any ObjectStore {
        guard let recoveryPoint else {
            throw DrillError(
                .couldNotLook, "the recovery point is not known, and versions are resolved at it", at: settings.place,
                hints: ["Give `target:` or `--at`, or a set whose name or catalog tells its time."])
        }
        let now = environment.clock.now()
        guard recoveryPoint.timeIntervalSince(now) <= Double(skewTolerance) / 1_000_000 else {
            throw DrillError(
                .couldNotLook,
                "the recovery point \(Timestamps.text(microseconds: recoveryPoint.microseconds)) is in the future: what will be current then "
                    + "nobody can know",
                at: settings.place, hints: ["Correct the target, or the clock of this machine."])
        }
        let reader = BucketReader(settings, environment)
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
        let clocks = Clocks(
            storeAhead: reader.client.measuredSkew, databaseAhead: clockAhead, tolerance: skewTolerance,
            store: "\(reader.client.address.origin)")
        let resolver = VersionResolver(
            target: recoveryPoint.microseconds, skewTolerance: clocks.tolerance, uploadWindow: window)
        return S3VersionsStore(
            bucket: bucket, settings, reader, resolver: resolver, retention: retention,
            origin: origin.map { OriginBucket(BucketReader($0, environment)) }, openingNotes: notes + clocks.notes)
    }
}
