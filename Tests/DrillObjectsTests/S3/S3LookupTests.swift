import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

/// Listing a bucket, or asking for each key that rows name: whichever takes less.
@Suite struct S3LookupTests {
    private func bucket(_ keys: Int, versions: Int = 1) throws -> (S3StandIn, S3Fixture, GeneratedKeys) {
        let standIn = try S3StandIn()
        let generated = standIn.bucket("uploads").generated(
            count: keys, keyFormat: "users/{i}/{hash}", versionsPerKey: versions)
        return (standIn, try S3Fixture(endpoint: standIn.endpoint), generated)
    }

    /// - Parameter named: How many keys rows name, spread over the bucket.
    private func request(_ generated: GeneratedKeys, named: Int, needsEverything: Bool = false) -> InventoryRequest {
        let hints = min(named, 64)
        let keys = (0..<hints).map { generated.key((generated.count - 1) * $0 / max(1, hints - 1)) }
        return InventoryRequest(
            splitHints: keys.sorted { $0.lexicographicallyPrecedes($1) }.map { ObjectKey($0) },
            expectedKeyCount: Int64(named), needsEverything: needsEverything)
    }

    private func isListed(_ store: any ObjectStore, _ request: InventoryRequest) async throws -> Bool {
        let stream = try await store.inventory(request)
        await stream.cancel()
        return stream.namesEverything
    }

    @Test("item 7: few keys beside a big bucket are asked for, and it costs a few requests to see that")
    func fewKeys() async throws {
        let (standIn, fixture, generated) = try bucket(200_000)
        let store = try await fixture.store("uploads")
        #expect(try await !isListed(store, request(generated, named: 40)))
        #expect(standIn.counts.total <= 6)
        #expect(await store.notes.contains { $0.contains("a HEAD for each key") && $0.contains("about 40 keys") })
    }

    @Test("item 7: many keys, an unknown number, orphans and the drill file's own word make it list") func list()
        async throws
    {
        let (standIn, fixture, generated) = try bucket(20_000)
        defer { standIn.stop() }
        for (named, needsEverything, listing) in [
            (10_000, false, "auto"), (40, true, "auto"), (40, false, "list"), (40, true, "head"),
        ] {
            let store = try await fixture.store("uploads", ["listing": listing])
            let request = request(generated, named: named, needsEverything: needsEverything)
            #expect(try await isListed(store, request), "\(named) \(needsEverything) \(listing)")
            #expect(await store.notes.contains { $0.contains("is listed") })
        }
        let unknown = try await fixture.store("uploads")
        #expect(try await isListed(unknown, InventoryRequest(needsEverything: false)))
        let told = try await fixture.store("uploads", ["listing": "head"])
        #expect(try await !isListed(told, request(generated, named: 64)))
    }

    @Test("item 7: who may list but not read is not sent to ask by HEAD") func headDenied() async throws {
        let (standIn, fixture, generated) = try bucket(200_000)
        standIn.deny([.getObject])
        let store = try await fixture.store("uploads")
        #expect(try await isListed(store, request(generated, named: 40)))
        #expect(await store.notes.contains { $0.contains("HEAD is denied (s3:GetObject)") })
    }

    @Test(
        "item 7: the page that the choice was made from is the first of the listing, and is not asked for again",
        arguments: [(900, 1...1), (7300, 8...16), (40_000, 41...75)])
    func firstPageIsUsed(keys: Int, requests: ClosedRange<Int>) async throws {
        let (standIn, fixture, generated) = try bucket(keys)
        defer { standIn.stop() }
        let store = try await fixture.store("uploads")
        let stream = try await store.inventory(request(generated, named: keys))
        var found: [[UInt8]] = []
        while let batch = try await stream.next() { found += (0..<batch.count).map { Array(batch.keys[$0]) } }
        #expect(stream.namesEverything)
        #expect(found.count == keys)
        #expect(zip(found, found.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
        #expect(requests.contains(standIn.counts.total), "\(standIn.counts.total) requests")
    }

    @Test("item 7: the length of a listing is guessed within a factor of two", arguments: [3000, 30_000, 300_000])
    func estimate(keys: Int) async throws {
        let (standIn, fixture, generated) = try bucket(keys)
        defer { standIn.stop() }
        let pages = Double(keys) / 1000
        for (named, expected) in [(Int64(pages * 2), false), (Int64(pages * 8), true)] {
            let store = try await fixture.store("uploads")
            let request = request(generated, named: Int(named))
            #expect(try await isListed(store, request) == expected, "\(named) of \(keys)")
        }
    }

    @Test("item 7: the versions of few keys are asked for, one small listing each") func versions() async throws {
        let (standIn, fixture, generated) = try bucket(30_000, versions: 3)
        defer { standIn.stop() }
        let store = try await fixture.versions("uploads", at: Date())
        #expect(try await !isListed(store, request(generated, named: 40)))
        #expect(try await isListed(store, request(generated, named: 300)))
    }

    @Test(
        "S9: ranges of versions begin behind their key, also where a store lists that key again",
        arguments: [false, true])
    func markerKeyListedAgain(isListed: Bool) async throws {
        let (standIn, fixture, generated) = try bucket(4000, versions: 3)
        standIn.settings.listsMarkerKey = isListed
        let store = try await fixture.versions("uploads", at: Date())
        let entries = try await inventory(store, request(generated, named: 64, needsEverything: true))
        #expect(entries.count == 4000)
        #expect(entries.values.allSatisfy { $0.state == .present })
    }
}
