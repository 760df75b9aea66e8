import DrillCore
import Foundation

/// `kind: s3`: a bucket or prefix as it is now, such as the target of `aws s3 sync s3://… s3://…`.
struct S3Backup: ObjectBackup, BucketNaming {
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
    /// With `path` the bucket is that of the sets, which the drill file names itself.
    var buckets: [S3Settings] { (path == nil ? [settings] : []) + (origin.map { [$0] } ?? []) }

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
        let source = ListingSource(
            reader.client, .objects, prefix: settings.prefix, place: settings.place, pageSize: 1)
        let page = try await source.page(ListingCursor())
        // Of an empty page that others follow the drill's own listing makes what it is.
        guard page.entries.count > 0 || page.next != nil else {
            return ComponentState(.incomplete("there are no objects in \(settings.place)"))
        }
        return ComponentState(.usable)
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        let settings = try settings(for: set)
        return try await BucketReader(settings, environment).plan(.objects, settings)
    }

    func measure(_ set: BackupSet) async throws -> BucketMeasure {
        let settings = try settings(for: set)
        let source = ListingSource(
            BucketReader(settings, environment).client, .objects, prefix: settings.prefix, place: settings.place)
        let page = try await source.page(ListingCursor())
        var measure = BucketMeasure(bucket: bucket, place: settings.place, isRemote: true)
        measure.objects = Int64(page.entries.count)
        measure.entries = measure.objects
        measure.bytes = page.entries.sizes.reduce(0, +)
        measure.isWhole = page.next == nil
        measure.isListed = settings.listing != .head
        // Whether the set's objects are there is asked before anything else.
        measure.fixed[.list] = 1
        return measure
    }

    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore {
        S3Store(bucket: bucket, try settings(for: set), origin: origin, environment)
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
