/// Opens the inventories of buckets for one references probe.
struct InventoryOpener: Sendable {
    private static let splits = 64

    let settings: ReferenceSettings
    let set: RestoredSet

    /// - Parameter wantsOrphans: Whether objects that no row names matter.
    func open(_ store: any ObjectStore, wantsOrphans: Bool) async throws -> any InventoryStream {
        try await store.inventory(try await request(store, wantsOrphans: wantsOrphans))
    }

    /// Begins to list while rows still come and are sorted, where that takes the store requests.
    /// - Returns: nil where there is nothing to gain or rows are not to be expected.
    func openAhead(_ store: any ObjectStore, wantsOrphans: Bool) async throws -> (any InventoryStream)? {
        guard store.wantsSplitHints else { return nil }
        let request = try await request(store, wantsOrphans: wantsOrphans)
        if request.expectedKeyCount == 0 { return nil }
        let inventory = try await store.inventory(request)
        await inventory.start()
        return inventory
    }

    private func request(_ store: any ObjectStore, wantsOrphans: Bool) async throws -> InventoryRequest {
        var request = InventoryRequest(prefix: settings.prefix, needsEverything: wantsOrphans)
        guard store.wantsSplitHints else { return request }
        // Only what a row spells as the key itself says where the key space may be split.
        let splits = settings.parser.form == .key ? Self.splits : 0
        let hints = try await set.database.referenceHints(settings.query, splits: splits)
        request.splitHints = hints.splitKeys.map { ObjectKey(settings.prefix + $0.bytes) }
        request.expectedKeyCount = wantsOrphans ? nil : hints.expectedCount
        return request
    }
}
