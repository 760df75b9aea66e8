import DrillCore

/// `scratch.objects: { kind: s3 }`: the objects as objects below a prefix of the run's own in a scratch bucket, copied by the store
/// itself where it can.
struct BucketCopier: ObjectCopier {
    static let kind = "s3"
    static let shape = SettingsShape(
        "s3: the objects are copied into a scratch bucket or prefix, and removed again with all versions",
        [SettingsField("bucket", .text, "The scratch bucket; or `url` with a prefix. It must not hold a source.")]
            + S3Settings.connectionFields
            + [SettingsField("concurrency", .integer(1...256), "Objects copied at a time. Default: 32.")])

    private let settings: S3Settings
    private let environment: DrillEnvironment
    private let sizes: BucketDestination.Sizes

    init(_ settings: SettingsReader, _ context: CopyContext) throws {
        try self.init(settings, context, sizes: BucketDestination.Sizes())
    }

    init(_ reader: SettingsReader, _ context: CopyContext, sizes: BucketDestination.Sizes) throws {
        guard reader.has("bucket") != reader.has("url") else {
            throw reader.error("bucket", "give either `bucket` or `url`: where copies may be written")
        }
        settings = try S3Settings(reader, bucket: try reader.string("bucket") ?? "", context.environment)
        environment = context.environment
        self.sizes = sizes
        for source in try Self.sources(context) where Self.isShared(settings, source) {
            throw reader.error(
                reader.has("url") ? "url" : "bucket",
                "`\(settings.place)` is, holds or lies in the source \(source.place), which is only read",
                hints: ["Name another bucket, or a prefix apart from the source's."])
        }
    }

    /// Every place in S3 that the drill file's `backup:` names.
    private static func sources(_ context: CopyContext) throws -> [S3Settings] {
        let named = context.sources.compactMap { $0 as? any BucketNaming }.flatMap(\.buckets)
        let others = try context.bucketURLs.compactMap { url -> S3Settings? in
            guard let (bucket, prefix) = S3Settings.location(url) else { return nil }
            // The settings beside it, which say where that bucket is, were read already.
            if named.contains(where: { $0.address.bucket == bucket && $0.prefix == prefix }) { return nil }
            return try S3Settings(bucket: bucket, prefix: prefix, context.environment)
        }
        return named + others
    }

    private static func isShared(_ scratch: S3Settings, _ source: S3Settings) -> Bool {
        scratch.address.bucket == source.address.bucket && scratch.address.endpoint == source.address.endpoint
            && ScratchPlace.overlap(scratch.prefix, source.prefix)
    }

    var plan: [String] {
        [
            "Copies each object in the version of the recovery point to \(settings.place)/muster-<run id>/, and removes that again with "
                + "all versions, delete markers and uploads."
        ]
    }

    func expectedTraffic(of buckets: [BucketMeasure]) -> [ExpectedTraffic] {
        buckets.map { bucket in
            var totals = TrafficTotals()
            totals[.write] = bucket.objects
            if bucket.isRemote {
                totals[.head] = bucket.objects
                totals.bytesCopied = bucket.bytes
            } else {
                totals.bytesSent = bucket.bytes
            }
            return ExpectedTraffic(
                "copy \(bucket.place) to \(settings.place)", totals,
                bucket.isWhole && bucket.isRemote ? .atMost : .atLeast,
                basis:
                    "A COPY and a HEAD for each object, more for one above 1 GiB; where the store refuses to copy, a GET and a PUT."
            )
        } + [removal(buckets)]
    }

    private func removal(_ buckets: [BucketMeasure]) -> ExpectedTraffic {
        let objects = buckets.reduce(0) { $0 + $1.objects } + 2
        var totals = TrafficTotals()
        // Object Lock, and the marker and manifest with what is copied.
        totals[.get] = 1
        // Whether that bucket is a source's under another name.
        totals[.head] = Int64(buckets.filter(\.isRemote).count)
        totals[.write] = 2
        // Each page is listed, deleted and listed again, beside looks for what is there at all.
        totals[.list] = 2 * ((objects + 999) / 1000) + 6
        totals[.delete] = (objects + 999) / 1000 + 1
        let isWhole = buckets.allSatisfy { $0.isWhole && $0.isRemote }
        return ExpectedTraffic("mark, and remove the copies", totals, isWhole ? .atMost : .atLeast)
    }

    var readsAreFree: Bool { false }

    func withCopies(
        of stores: [String: any ObjectStore], in scratch: Scratch, progress: any ProgressSink,
        _ use: @escaping @Sendable (CopiedObjects) async throws -> Void
    ) async throws {
        let run = CopyRun(scratchDirectory: scratch.directory, traffic: environment.traffic, progress: progress)
        let kept = try await run.keepInventories(stores)
        // A copy and a look at it.
        try kept.check(environment.traffic, requestsAnObject: 2)
        let place = try await ScratchPlace.claim(settings, runID: scratch.runID, sources: kept, environment)
        let bucket = ScratchBucket(place, environment)
        let item = ScratchItem(kind: ScratchPrefixRemover.itemKind, locator: place.locator)
        try await scratch.journal.willCreate(item)
        try await withCleanUp {
            try await bucket.mark(host: environment.hostName)
            let destination = BucketDestination(bucket, concurrency: settings.concurrency, environment, sizes: sizes)
            let copied = try await run.copy(kept, to: destination)
            try await use(
                CopiedObjects(
                    copied, at: destination, variables: variables(place), notes: settings.notes + destination.notes))
        } cleanUp: { [environment] in
            if !scratch.keeping.isKept { try await ScratchRemoval(place, environment).run() }
            try await scratch.journal.didRemove(item)
        }
    }

    /// For `command` probes: ours, and those that AWS's own tools go by. Credentials are for the drill file to hand on.
    private func variables(_ place: ScratchPlace) -> [String: String] {
        let address = place.settings.address
        var variables = ["MUSTER_OBJECTS_REGION": address.region, "AWS_REGION": address.region]
        variables["MUSTER_OBJECTS_ENDPOINT"] = address.endpoint.map { "\($0)" }
        variables["AWS_ENDPOINT_URL_S3"] = address.endpoint.map { "\($0)" }
        variables["AWS_PROFILE"] = settings.profile
        variables["AWS_CA_BUNDLE"] = address.trust.caFile
        return variables
    }
}

/// An object backup that names places in S3.
protocol BucketNaming {
    /// All of them are only read.
    var buckets: [S3Settings] { get }
}
