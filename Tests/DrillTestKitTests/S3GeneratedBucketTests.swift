import Foundation
import Testing

@testable import DrillTestKit

@Suite("S3 stand-in: generated buckets")
struct S3GeneratedBucketTests {
    @Test func formulasAreAsDocumented() throws {
        let keys = try S3StandIn().bucket("b").generated(count: 100, versionsPerKey: 2)
        #expect(keys.key(0) == [UInt8]("users/00000000/avatar-00000000.png".utf8))
        // 42 * 2654435761 % 4294967296 = 0xf519f70a
        #expect(keys.key(42) == [UInt8]("users/00000042/avatar-f519f70a.png".utf8))
        #expect(keys.size(42) == 1000 + 42 * 7919 % 9000)
        #expect(keys.body(42, version: 1).count == keys.size(42, version: 1))
        #expect(keys.lastModified(90, version: 1) == Date(timeIntervalSince1970: 1_767_225_600 + 86400 + 90))
        #expect(keys.versionID(42, version: 1).utf8.count == 32)
    }

    @Test(arguments: [1, 3], ["{i}", "users/{i}/avatar-{hash}.png", "ü <&> {i}+{hash} x"])
    func fastPagesAreTheSameAsOthers(versions: Int, format: String) throws {
        let standIn = try S3StandIn()
        standIn.bucket("b").generated(
            count: 60, keyFormat: format, versionsPerKey: versions, omitting: [0, 7, 8, 9, 33, 59])
        let client = RawClient(standIn)
        for kind in ["list-type=2", "list-type=2&fetch-owner=true", "versions", "prefix="] {
            for encoding in ["", "&encoding-type=url"] {
                for size in [1, 7, 50, 1000] {
                    let target = "/b?\(kind)\(encoding)&max-keys=\(size)"
                    standIn.clearFaults()
                    let fast = client.ask("GET", target)
                    // A listing fault that does nothing keeps the page from being rendered the fast way.
                    standIn.inject(.listing(.droppedEntry(-1)))
                    #expect(fast.body == client.ask("GET", target).body)
                    #expect(fast.all("Size").count > 0)
                }
            }
        }
    }

    @Test func pagesJoinToTheWholeBucket() throws {
        let standIn = try S3StandIn()
        let keys = standIn.bucket("b").generated(count: 2500, versionsPerKey: 2, omitting: [1000, 2499])
        let present = (0..<2500).filter { $0 != 1000 && $0 != 2499 }
        let once: [[UInt8]] = present.map { keys.key($0) }
        #expect(page(of: standIn, "/b?list-type=2&encoding-type=url") == once)
        let twice: [[UInt8]] = present.flatMap { [keys.key($0), keys.key($0)] }
        #expect(page(of: standIn, "/b?versions&encoding-type=url&max-keys=777") == twice)
        let after = RawClient(standIn).ask("GET", "/b?list-type=2&max-keys=1&start-after=users/00000999")
        #expect(after.all("Key") == [String(decoding: keys.key(999), as: UTF8.self)])
        let within = RawClient(standIn).ask("GET", "/b?list-type=2&prefix=users/0000012")
        #expect(within.all("Key").count == 10)
        let folders = RawClient(standIn).ask("GET", "/b?list-type=2&delimiter=/&prefix=users/&max-keys=3")
        #expect(folders.all("CommonPrefixes").count == 3)
    }

    @Test func objectsAreThereAndOnlyThey() throws {
        let standIn = try S3StandIn()
        let keys = standIn.bucket("b").generated(count: 100_000_000, omitting: [5])
        let client = RawClient(standIn)
        let last = String(decoding: keys.key(99_999_999), as: UTF8.self)
        let head = client.ask("HEAD", "/b/\(last)")
        #expect(head.headers["content-length"] == String(keys.size(99_999_999)))
        #expect(head.headers["etag"] == "\"\(keys.eTag(99_999_999))\"")
        #expect(client.ask("GET", "/b/\(last)").body == keys.body(99_999_999))
        #expect(client.ask("HEAD", "/b/" + String(decoding: keys.key(5), as: UTF8.self)).status == 404)
        #expect(client.ask("PUT", "/b/k", body: [1]).status == 501)
    }
}
