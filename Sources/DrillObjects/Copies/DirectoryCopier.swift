import DrillCore

/// `scratch.objects: { kind: directory }`: the objects as files in the run's scratch directory.
struct DirectoryCopier: ObjectCopier {
    static let kind = "directory"
    static let shape = SettingsShape(
        "directory: the objects are copied into the run's scratch directory, with a manifest",
        [SettingsField("concurrency", .integer(1...256), "Objects copied at a time. Default: 32.")])

    private let environment: DrillEnvironment
    private let concurrency: Int

    init(_ settings: SettingsReader, _ context: CopyContext) throws {
        environment = context.environment
        concurrency = Int(try settings.integer("concurrency", in: 1...256) ?? 32)
    }

    var plan: [String] {
        [
            "Copies each object in the version of the recovery point into the scratch directory; 1.2 times its bytes must be free."
        ]
    }

    func expectedTraffic(of buckets: [BucketMeasure]) -> [ExpectedTraffic] {
        buckets.filter(\.isRemote).map { bucket in
            var totals = TrafficTotals()
            totals[.get] = bucket.objects
            totals.bytesReceived = bucket.bytes
            return ExpectedTraffic(
                "copy \(bucket.place) into scratch", totals, bucket.isWhole ? .atMost : .atLeast,
                basis: bucket.isWhole ? nil : "A GET for each object, and its bytes.")
        }
    }

    var readsAreFree: Bool { true }

    func withCopies(
        of stores: [String: any ObjectStore], in scratch: Scratch, progress: any ProgressSink,
        _ use: @escaping @Sendable (CopiedObjects) async throws -> Void
    ) async throws {
        let run = CopyRun(scratchDirectory: scratch.directory, traffic: environment.traffic, progress: progress)
        let kept = try await run.keepInventories(stores)
        let destination = try FileDestination(
            scratch.directory + "/objects", concurrency: concurrency, clock: environment.clock)
        try kept.check(environment.traffic, requestsAnObject: 1)
        try await destination.prepare(
            objects: kept.reduce(0) { $0 + $1.objects }, bytes: kept.reduce(0) { $0 + $1.bytes })
        let copied = try await run.copy(kept, to: destination)
        try await use(CopiedObjects(copied, at: destination))
    }
}

extension [KeptBucket] {
    /// Throws where the limits do not leave room for all of it: then nothing is begun.
    func check(_ traffic: TrafficMeter, requestsAnObject: Int64) throws {
        let asked = filter { $0.source.bucketReader != nil || requestsAnObject > 1 }
        try traffic.check(
            requests: asked.reduce(0) { $0 + $1.objects } * requestsAnObject, bytes: reduce(0) { $0 + $1.bytes },
            for: "copying \(grouped(reduce(0) { $0 + $1.objects })) objects into scratch")
    }
}

extension CopiedObjects {
    init<Destination: CopyDestination>(
        _ copied: [CopiedBucket], at destination: Destination, variables: [String: String] = [:], notes: [String] = []
    ) {
        self.init(
            stores: Dictionary(
                uniqueKeysWithValues: copied.map { ($0.source.bucket, CopiedStore($0, at: destination)) }),
            place: destination.place, variables: variables, summary: copied.summary(at: destination.place),
            notes: notes + copied.notes(), gaps: copied.gaps())
    }
}
