import DrillCore

/// A bucket or prefix as it is now, in key order.
struct ObjectInventory: InventoryStream {
    private let listing: ParallelListing
    /// Taken off each key: rows do not know of it.
    private let storePrefix: [UInt8]
    private let note: @Sendable (ListedEntries) -> Void

    /// - Parameter note: Is shown each page.
    init(
        _ listing: ParallelListing, storePrefix: [UInt8], note: @escaping @Sendable (ListedEntries) -> Void = { _ in }
    ) {
        self.listing = listing
        self.storePrefix = storePrefix
        self.note = note
    }

    func next() async throws -> ObjectBatch? {
        while let page = try await listing.next() {
            note(page)
            let batch = Self.batch(page, storePrefix: storePrefix)
            if batch.count > 0 { return batch }
        }
        return nil
    }

    func start() async { await listing.start() }
    func cancel() async { await listing.cancel() }

    static func batch(_ page: ListedEntries, storePrefix: [UInt8]) -> ObjectBatch {
        var page = page
        // The prefix itself may be an object, the "folder" of some consoles: it has no key of its own here.
        if !storePrefix.isEmpty, page.count > 0, page.keys[0].count == storePrefix.count { page = page.droppingFirst() }
        var batch = ObjectBatch()
        if page.flags.contains(.archived) {
            batch.states = page.flags.map { $0.contains(.archived) ? .unreadable : .present }
            batch.details = page.archiveClasses.mapValues { EntryDetail(note: ArchiveClass.note($0), cause: .archived) }
        }
        batch.keys = storePrefix.isEmpty ? page.keys : page.keys.droppingPrefix(of: storePrefix.count)
        batch.sizes = page.sizes
        batch.modified = page.modified
        batch.etags = page.etags
        return batch
    }
}

/// Nothing is listed: each key is asked for by itself.
struct UnlistedInventory: InventoryStream {
    var namesEverything: Bool { false }

    func next() async throws -> ObjectBatch? { nil }
    func cancel() async {}
}

extension ByteColumn {
    /// The same elements without their first `count` bytes, which each of them has.
    func droppingPrefix(of count: Int) -> ByteColumn {
        var shorter = ByteColumn()
        shorter.bytes.reserveCapacity(max(0, bytes.count - count * ends.count))
        shorter.ends.reserveCapacity(ends.count)
        for index in 0..<self.count { shorter.append(self[index].dropFirst(count)) }
        return shorter
    }
}

extension ListedEntries {
    func droppingFirst() -> ListedEntries {
        var rest = ListedEntries()
        for index in 1..<max(1, count) { rest.append(self, index) }
        return rest
    }
}
