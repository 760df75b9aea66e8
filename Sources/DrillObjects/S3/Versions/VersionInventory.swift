import DrillCore

/// What a listing of versions showed besides its entries, for the notes of the report.
struct VersionSummary: Sendable {
    var keys: Int64 = 0
    var entries: Int64 = 0
    var skewSensitive: Int64 = 0
    var ambiguous: Int64 = 0
    /// Ambiguous keys by reason; a key may have several.
    var byDoubt: [VersionDoubts: Int64] = [:]
    var deleted: Int64 = 0
    var notYetCreated: Int64 = 0
    var nullEntries: Int64 = 0
    /// The oldest entry that is not `null`: versioning was on by then. Microseconds since 1970 UTC.
    var oldestVersioned: Int64?
    /// Whether all of the listing was read; it is not where rows end before it does.
    var isComplete = false

    static let doubts: [VersionDoubts] = [.skew, .sameSecond, .multipart, .order, .nullOverwritten]

    mutating func count(_ resolution: VersionResolution) {
        keys += 1
        if resolution.isSkewSensitive { skewSensitive += 1 }
        switch resolution.outcome {
        case .current: break
        case .deleted: deleted += 1
        case .notYetCreated: notYetCreated += 1
        case .ambiguous:
            ambiguous += 1
            for doubt in Self.doubts where resolution.doubts.contains(doubt) { byDoubt[doubt, default: 0] += 1 }
        }
    }
}

/// A versioned bucket as it was at one instant, in key order: each key that has any history, with what was current
/// then.
actor VersionInventory: InventoryStream {
    private let listing: ParallelListing
    private let resolver: VersionResolver
    private let storePrefix: [UInt8]
    private let retention: RetentionRules
    private let note: @Sendable (VersionSummary) -> Void
    /// The last key's entries so far: the next page may hold more of them.
    private var carried = ListedEntries()
    private var summary = VersionSummary()
    private var facts: [VersionFacts] = []

    /// - Parameter note: Is shown what was seen so far, with each batch.
    init(
        _ listing: ParallelListing, resolver: VersionResolver, storePrefix: [UInt8], retention: RetentionRules,
        note: @escaping @Sendable (VersionSummary) -> Void
    ) {
        self.listing = listing
        self.resolver = resolver
        self.storePrefix = storePrefix
        self.retention = retention
        self.note = note
    }

    func next() async throws -> ObjectBatch? {
        while let page = try await listing.next() {
            let batch = resolve(page)
            note(summary)
            if batch.count > 0 { return batch }
        }
        summary.isComplete = true
        var batch = ObjectBatch()
        if carried.count > 0 { append(carried, 0..<carried.count, to: &batch) }
        carried = ListedEntries()
        note(summary)
        return batch.count > 0 ? batch : nil
    }

    func start() async { await listing.start() }
    func cancel() async { await listing.cancel() }

    private func resolve(_ page: ListedEntries) -> ObjectBatch {
        var batch = ObjectBatch()
        batch.keys.bytes.reserveCapacity(page.keys.bytes.count)
        var start = 0
        while start < page.count {
            let end = page.endOfKey(from: start)
            if start == 0, carried.count > 0 {
                if carried.keys[0] == page.keys[0] {
                    for index in start..<end { carried.append(page, index) }
                    start = end
                    continue
                }
            }
            if carried.count > 0 {
                append(carried, 0..<carried.count, to: &batch)
                carried = ListedEntries()
            }
            if end == page.count {
                for index in start..<end { carried.append(page, index) }
            } else {
                append(page, start..<end, to: &batch)
            }
            start = end
        }
        return batch
    }

    private func append(_ entries: ListedEntries, _ range: Range<Int>, to batch: inout ObjectBatch) {
        let key = entries.keys[range.lowerBound].dropFirst(storePrefix.count)
        guard !key.isEmpty || storePrefix.isEmpty else { return }
        facts.removeAll(keepingCapacity: true)
        for index in range { facts.append(entries.facts(index)) }
        let resolution = resolver.resolve(facts)
        summary.count(resolution)
        summary.entries += Int64(range.count)
        for fact in facts {
            if fact.isNull {
                summary.nullEntries += 1
            } else {
                summary.oldestVersioned = min(summary.oldestVersioned ?? .max, fact.modified)
            }
        }
        let entry = ResolvedEntry(resolution, entries, range, resolver: resolver, retention: retention)
        batch.append(key, entry, entries)
    }
}

extension ListedEntries {
    func endOfKey(from start: Int) -> Int {
        var end = start + 1
        while end < count, keys[end] == keys[start] { end += 1 }
        return end
    }

    func facts(_ index: Int) -> VersionFacts {
        let etag = etags[index]
        return VersionFacts(
            modified: modified[index], isDeleteMarker: flags[index].contains(.deleteMarker),
            isLatest: flags[index].contains(.latest), isNull: versions[index].elementsEqual("null".utf8),
            isMultipart: Self.isMultipart(etag), sizeBytes: sizes[index], etag: etag)
    }

    /// `-N` at its end, N a number of parts.
    static func isMultipart(_ etag: ArraySlice<UInt8>) -> Bool {
        guard let dash = etag.lastIndex(of: UInt8(ascii: "-")) else { return false }
        let digits = etag[etag.index(after: dash)...]
        return !digits.isEmpty && digits.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    func reading(_ index: Int) -> ObjectReading {
        ObjectReading(
            sizeBytes: sizes[index], modifiedAt: .init(microseconds: modified[index]),
            version: VersionID(String(decoding: versions[index], as: UTF8.self)),
            etag: String(decoding: etags[index], as: UTF8.self),
            archived: archiveClasses[index].map(ArchiveClass.note))
    }
}
