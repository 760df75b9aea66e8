import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

/// The bytes of objects: transfers that break off, and what it means that bytes cannot be had.
@Suite struct S3ReadingTests {
    private let body = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }

    private func bucket() throws -> (S3StandIn, S3Fixture) {
        let standIn = try S3StandIn()
        standIn.bucket("uploads").put("big".utf8, body: body)
        return (standIn, try S3Fixture(endpoint: standIn.endpoint))
    }

    private func read(_ store: any ObjectStore, _ name: String = "big") async throws -> ContentReading {
        let entry = try #require(try await inventory(store)[ObjectKey(name)])
        return try await store.content(of: ObjectKey(name), reading: entry.reading, algorithm: .sha256)
    }

    private var digest: [UInt8] {
        var hasher = ContentHasher(.sha256)
        body.withUnsafeBytes { hasher.update($0) }
        return hasher.digest
    }

    @Test("S31: a transfer that breaks off goes on where it ended, as often as it must") func goesOn() async throws {
        let (standIn, fixture) = try bucket()
        standIn.inject(.cutBody(fraction: 0.3), into: .of(.getObject).first(6))
        let content = try await read(try await fixture.store("uploads"))
        #expect(content.sizeBytes == Int64(body.count))
        #expect(content.digest == digest)
        // Each cut leaves less to be sent again.
        #expect(standIn.counts.bytesSent < body.count * 5 / 4 + 20_000)
    }

    @Test("S27: a server that answers a range with the whole object is read from the first byte again")
    func ignoredRange()
        async throws
    {
        let (standIn, fixture) = try bucket()
        standIn.inject(.ignoredRange, into: .of(.getObject))
        standIn.inject(.cutBody(fraction: 0.5), into: .of(.getObject).number(1))
        let content = try await read(try await fixture.store("uploads"))
        #expect(content.sizeBytes == Int64(body.count))
        #expect(content.digest == digest)
    }

    @Test("S22: what changed while a transfer was broken off is not stitched together") func changedBetween()
        async throws
    {
        let (standIn, fixture) = try bucket()
        let bucket = standIn.bucket("uploads")
        standIn.inject(.cutBody(fraction: 0.5), into: .of(.getObject).number(1))
        standIn.inject(
            .before { bucket.put("big".utf8, body: [UInt8](repeating: 7, count: 300_000)) },
            into: .of(.getObject).number(2))
        await #expect(throws: DrillError.self) { _ = try await read(try await fixture.store("uploads")) }
    }

    @Test("a transfer that brings nothing more is given up") func fruitless() async throws {
        let (standIn, fixture) = try bucket()
        standIn.inject(.cutBody(fraction: 0), into: .of(.getObject))
        await #expect(throws: DrillError.self) { _ = try await read(try await fixture.store("uploads")) }
    }

    @Test(
        "S32: refused credentials are no property of an object",
        arguments: ["InvalidAccessKeyId", "SignatureDoesNotMatch"])
    func refusedCredentials(code: String) async throws {
        let (standIn, fixture) = try bucket()
        standIn.inject(.error(status: 403, code: code), into: .of(.getObject))
        await #expect(throws: DrillError.self) { _ = try await read(try await fixture.store("uploads")) }
    }

    @Test("S29: where a denial may be the credentials' own, nothing is concluded of the object") func revoked()
        async throws
    {
        let (standIn, fixture) = try bucket()
        let store = try await fixture.store("uploads")
        standIn.inject(.error(status: 403, code: "AccessDenied"), into: .of(.headObject).first(1))
        guard case .unreadable = try await store.presence(of: ObjectKey("big")) else {
            Issue.record("a denial of one object was not told")
            return
        }
        standIn.inject(.error(status: 403, code: "AccessDenied"), into: .of(.headObject))
        guard case .unknown = try await store.presence(of: ObjectKey("big")) else {
            Issue.record("a denial of everything was taken for one of an object")
            return
        }
    }

    @Test("S30: a page that a proxy shows in place of an object is no object") func captivePage() async throws {
        let (standIn, fixture) = try bucket()
        standIn.inject(.html(status: 200), into: .of(.headObject))
        let store = try await fixture.store("uploads")
        await #expect(throws: DrillError.self) { _ = try await store.presence(of: ObjectKey("big")) }
    }

    @Test("S26: an archive tier that only reading shows is named, with what a restore takes") func archiveTier()
        async throws
    {
        let (standIn, fixture) = try bucket()
        standIn.bucket("uploads").put("tiered".utf8, body: [1]) {
            $0.storageClass = "INTELLIGENT_TIERING"
            $0.archiveStatus = "DEEP_ARCHIVE_ACCESS"
        }
        let store = try await fixture.store("uploads")
        do {
            _ = try await read(store, "tiered")
            Issue.record("an archived object was read")
        } catch let unreadable as ContentUnreadable {
            #expect(unreadable.cause == .archived)
            #expect(unreadable.reason == "DEEP_ARCHIVE_ACCESS: a restore takes up to 12 hours")
        }
        #expect(await store.notes.contains { $0.hasPrefix("1 objects of s3://uploads are in INTELLIGENT_TIERING") })
        guard case .unreadable(let reason, .archived) = try await store.presence(of: ObjectKey("tiered")) else {
            Issue.record("HEAD does not show the tier")
            return
        }
        #expect(reason.contains("12 hours"))
    }
}
