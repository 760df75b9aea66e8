/// One kind of `scratch.objects` that brings the objects of the resolved set into scratch, where probes then judge them.
///
/// Only what the inventory says is present at the recovery point is copied, each key in exactly that version. Sources are only
/// read.
package protocol ObjectCopier: Sendable {
    /// The word in the drill file.
    static var kind: String { get }
    /// What `scratch.objects` may hold beside `kind`.
    static var shape: SettingsShape { get }
    /// Throws (`usage`) where what is to be written to is, holds or lies in one of the sources.
    init(_ settings: SettingsReader, _ context: CopyContext) throws

    /// What `muster plan` says would be created. Whole sentences.
    var plan: [String] { get }
    /// What copying all of that would ask of S3, but for listing it.
    func expectedTraffic(of buckets: [BucketMeasure]) -> [ExpectedTraffic]
    /// Whether reading and hashing a copy asks nothing of S3.
    var readsAreFree: Bool { get }
    /// Copies, hands the copies to `use`, and removes what it made outside the scratch directory when `use` has returned or
    /// thrown, whatever happened, unless ``Scratch/keeping`` says otherwise then.
    ///
    /// - Parameter stores: The objects to copy, by bucket.
    func withCopies(
        of stores: [String: any ObjectStore], in scratch: Scratch, progress: any ProgressSink,
        _ use: @escaping @Sendable (CopiedObjects) async throws -> Void
    ) async throws
}

/// What a copier's settings are checked against when the drill file is read.
package struct CopyContext: Sendable {
    package var environment: DrillEnvironment
    package var sources: [any ObjectBackup]
    /// Every `s3://…` of the drill file's `backup:`; all of them are only read.
    package var bucketURLs: [String]
    package init(environment: DrillEnvironment, sources: [any ObjectBackup], bucketURLs: [String]) {
        self.environment = environment
        self.sources = sources
        self.bucketURLs = bucketURLs
    }
}

/// The objects as probes see them.
package struct CopiedObjects: Sendable {
    /// By bucket name as rows know it.
    package var stores: [String: any ObjectStore]
    /// What `command` probes get as `MUSTER_OBJECTS`; nil where nothing was copied.
    package var place: String?
    package var variables: [String: String]
    /// One line: how many objects and bytes.
    package var summary: String
    /// Whole sentences for the report.
    package var notes: [String]
    package var gaps: [CopyGap]

    package init(
        stores: [String: any ObjectStore], place: String? = nil, variables: [String: String] = [:],
        summary: String = "",
        notes: [String] = [], gaps: [CopyGap] = []
    ) {
        self.stores = stores
        self.place = place
        self.variables = variables
        self.summary = summary
        self.notes = notes
        self.gaps = gaps
    }
}

/// What of a bucket did not come into scratch whole.
package struct CopyGap: Sendable {
    package var bucket: String
    /// Objects of which two readings are possible, whose bytes cannot be had, or whose bytes are not what the store says.
    package var count: Int64
    /// Of these, the last kind.
    package var damaged: Int64
    /// The first one's key, and why.
    package var first: String
    package init(bucket: String, count: Int64, damaged: Int64, first: String) {
        self.bucket = bucket
        self.count = count
        self.damaged = damaged
        self.first = first
    }
}
