import DrillCore

/// All versions and delete markers of one key.
enum KeyHistory {
    /// Newest first; empty where there are none.
    static func read(_ reader: BucketReader, _ key: ObjectKey) async throws -> ListedEntries {
        let full = reader.fullKey(key)
        // Longer keys follow; most keys have few versions.
        let source = ListingSource(reader.client, .versions, prefix: full, place: reader.place, pageSize: 100)
        var history = ListedEntries()
        var cursor = ListingCursor()
        while true {
            let page = try await source.page(cursor)
            for index in 0..<page.entries.count {
                // Longer keys with this one as their prefix come behind it.
                guard page.entries.keys[index].elementsEqual(full) else { return history }
                history.append(page.entries, index)
            }
            guard let next = page.next else { return history }
            cursor = next
        }
    }
}
