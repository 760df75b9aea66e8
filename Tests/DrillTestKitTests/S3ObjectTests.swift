import Foundation
import Testing

@testable import DrillTestKit

@Suite("S3 stand-in: objects and buckets")
struct S3ObjectTests {
    @Test func objectIsDescribedInItsHeaders() throws {
        let standIn = try S3StandIn()
        standIn.bucket("b").put("k".utf8, body: "hello".utf8, at: target) { object in
            object.headers = [("Content-Encoding", "gzip"), ("x-amz-meta-a", "1")]
            object.replicationStatus = "FAILED"
        }
        let head = RawClient(standIn).ask("HEAD", "/b/k")
        #expect(head.headers["etag"] == "\"5d41402abc4b2a76b9719d911017c592\"")
        #expect(head.headers["content-length"] == "5" && head.headers["content-encoding"] == "gzip")
        #expect(head.headers["last-modified"] == "Sat, 14 Nov 2026 14:30:05 GMT")
        #expect(head.headers["x-amz-replication-status"] == "FAILED" && head.headers["x-amz-meta-a"] == "1")
        #expect(head.headers["x-amz-version-id"] == nil)
    }

    @Test("S10: dot segments, empty segments and hostile bytes are keys like others")
    func everyKeyIsItself() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        let keys = [
            ".", "..", "a/../b", "./x", "a//b", "/lead", "trail/", "a+b", "a b", "a%20b", "?", "#", "\u{1}", "é",
            "e\u{301}",
        ]
        for key in keys { bucket.put(key.utf8, body: key.utf8, at: target) }
        let client = RawClient(standIn)
        for key in keys {
            let path = String(decoding: Bytes.uriEncoded([UInt8](key.utf8), keepingSlash: true), as: UTF8.self)
            #expect(client.ask("GET", "/b/" + path).body == [UInt8](key.utf8))
        }
    }

    @Test("S27: ranges, also of nothing")
    func rangesAreAnsweredOrRefused() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.put("k".utf8, body: "0123456789".utf8, at: target)
        bucket.put("empty".utf8, at: target)
        let client = RawClient(standIn)
        func get(_ range: String, _ key: String = "k") -> RawAnswer {
            client.ask("GET", "/b/\(key)", [("Range", range)])
        }
        #expect(get("bytes=0-0").text == "0" && get("bytes=0-0").headers["content-range"] == "bytes 0-0/10")
        #expect(get("bytes=8-99").text == "89" && get("bytes=-3").text == "789" && get("bytes=4-").text == "456789")
        #expect(get("bytes=10-").status == 416 && get("bytes=0-0", "empty").all("Code") == ["InvalidRange"])
        #expect(get("bytes=5-4").status == 200 && get("lines=1-2").status == 200)
        standIn.inject(.ignoredRange)
        #expect(get("bytes=0-0").status == 200 && get("bytes=0-0").text == "0123456789")
    }

    @Test func conditionsHoldOrDoNot() throws {
        let standIn = try S3StandIn()
        standIn.bucket("b").put("k".utf8, body: "hello".utf8, at: target + 0.5)
        let client = RawClient(standIn)
        let tag = "\"5d41402abc4b2a76b9719d911017c592\""
        let at = "Sat, 14 Nov 2026 14:30:05 GMT"
        let before = "Sat, 14 Nov 2026 14:30:04 GMT"
        let cases = [
            ("If-Match", tag, 200), ("If-Match", "\"x\"", 412), ("If-None-Match", tag, 304),
            ("If-None-Match", "\"x\"", 200),
            ("If-Modified-Since", at, 304), ("If-Modified-Since", before, 200), ("If-Unmodified-Since", at, 200),
            ("If-Unmodified-Since", before, 412),
        ]
        for (name, value, status) in cases {
            #expect(client.ask("GET", "/b/k", [(name, value)]).status == status, "\(name): \(value)")
            #expect(client.ask("HEAD", "/b/k", [(name, value)]).body.isEmpty)
        }
    }

    @Test("S25: checksums are shown when asked for, with their type")
    func checksumsAreShownWhenAskedFor() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.putMultipart(
            "parts".utf8, parts: [[1], [2]], initiatedAt: target, completedAt: target, checksum: (.sha256, .composite))
        for algorithm in ObjectChecksum.Algorithm.allCases {
            bucket.put(algorithm.rawValue.utf8, body: "123456789".utf8, at: target) { object in
                object.checksum = ObjectChecksum(algorithm, of: object.body)
            }
        }
        let client = RawClient(standIn)
        let asked = [("x-amz-checksum-mode", "ENABLED")]
        let expected = [
            "CRC32": "y/Q5Jg==", "CRC32C": "4waSgw==", "CRC64NVME": "rosUhgp5mIg=",
            "SHA1": "98O8HYCOBHMq32eZZczDTKeuNEE=",
            "SHA256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
        ]
        for (name, value) in expected {
            let head = client.ask("HEAD", "/b/\(name)", asked)
            #expect(head.headers["x-amz-checksum-\(name.lowercased())"] == value)
            #expect(head.headers["x-amz-checksum-type"] == "FULL_OBJECT")
        }
        let parts = client.ask("HEAD", "/b/parts", asked)
        #expect(parts.headers["x-amz-checksum-type"] == "COMPOSITE")
        #expect(parts.headers["x-amz-checksum-sha256"]?.hasSuffix("-2") == true)
        #expect(client.ask("HEAD", "/b/parts").headers["x-amz-checksum-type"] == nil)
    }

    @Test("S26: archived objects are listed and described, and not given")
    func archivedObjectsAreNotGiven() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.put("deep".utf8, body: "1".utf8, at: target) { $0.storageClass = "DEEP_ARCHIVE" }
        bucket.put("tier".utf8, body: "1".utf8, at: target) { object in
            object.storageClass = "INTELLIGENT_TIERING"
            object.archiveStatus = "ARCHIVE_ACCESS"
        }
        bucket.put("restored".utf8, body: "1".utf8, at: target) { object in
            object.storageClass = "GLACIER"
            object.restore = "ongoing-request=\"false\", expiry-date=\"Fri, 21 Dec 2029 00:00:00 GMT\""
        }
        let client = RawClient(standIn)
        #expect(client.ask("HEAD", "/b/deep").headers["x-amz-storage-class"] == "DEEP_ARCHIVE")
        #expect(client.ask("GET", "/b/deep").all("Code") == ["InvalidObjectState"])
        #expect(client.ask("HEAD", "/b/tier").headers["x-amz-archive-status"] == "ARCHIVE_ACCESS")
        #expect(client.ask("GET", "/b/tier").all("AccessTier") == ["ARCHIVE_ACCESS"])
        #expect(client.ask("GET", "/b/restored").text == "1")
        #expect(
            client.ask("GET", "/b?list-type=2").all("StorageClass") == [
                "DEEP_ARCHIVE", "GLACIER", "INTELLIGENT_TIERING",
            ])
    }

    @Test("S29: four policies, and a HEAD that cannot say why")
    func policiesRefuse() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, body: "1".utf8, at: target, versionID: "one") { $0.encryption = "aws:kms" }
        let client = RawClient(standIn)
        standIn.deny([.listBucket])
        #expect(client.ask("GET", "/b?list-type=2").all("Code") == ["AccessDenied"])
        #expect(client.ask("HEAD", "/b/none").status == 403 && client.ask("HEAD", "/b/none").body.isEmpty)
        #expect(client.ask("HEAD", "/b/k").status == 200)
        standIn.deny([.getObject])
        #expect(client.ask("GET", "/b/k").status == 403 && client.ask("GET", "/b/k?versionId=one").status == 200)
        standIn.deny([.listBucketVersions, .getObjectVersion])
        #expect(client.ask("GET", "/b?versions").text.contains("s3:ListBucketVersions"))
        #expect(client.ask("GET", "/b/k?versionId=one").status == 403)
        standIn.deny([.kmsDecrypt])
        #expect(client.ask("HEAD", "/b/k").status == 200 && client.ask("GET", "/b/k").text.contains("kms:Decrypt"))
        standIn.deny(Set(S3Permission.allCases))
        #expect(client.ask("GET", "/b?versioning").status == 403 && client.ask("HEAD", "/b").status == 403)
    }

    @Test("S30: what is not there is named")
    func absencesAreNamed() throws {
        let standIn = try S3StandIn()
        _ = standIn.bucket("b")
        let client = RawClient(standIn)
        #expect(client.ask("GET", "/none?list-type=2").all("Code") == ["NoSuchBucket"])
        #expect(client.ask("GET", "/b/none").all("Code") == ["NoSuchKey"])
        #expect(client.ask("GET", "/b/none").headers["x-amz-request-id"] != nil)
        #expect(client.ask("GET", "/b?lifecycle").all("Code") == ["NoSuchLifecycleConfiguration"])
    }

    @Test("S34: a bucket elsewhere answers 301 or 400 with its region; virtual-host style finds it as well")
    func otherRegionsAreNamed() throws {
        let standIn = try S3StandIn()
        standIn.bucket("far", region: "eu-central-1").put("k".utf8, body: "1".utf8, at: target)
        let client = RawClient(standIn)
        func signed(_ region: String) -> [(String, String)] {
            [
                (
                    "Authorization",
                    "AWS4-HMAC-SHA256 Credential=A/20261114/\(region)/s3/aws4_request,SignedHeaders=host,Signature=0"
                )
            ]
        }
        let moved = client.ask("HEAD", "/far", signed("us-east-1"))
        #expect(moved.status == 301 && moved.headers["x-amz-bucket-region"] == "eu-central-1")
        #expect(client.ask("GET", "/far/k", signed("us-west-2")).all("Region") == ["eu-central-1"])
        #expect(client.ask("GET", "/far/k", signed("eu-central-1")).text == "1")
        standIn.settings.wrongRegion = .malformed
        #expect(client.ask("GET", "/far/k", signed("us-east-1")).all("Code") == ["AuthorizationHeaderMalformed"])
        #expect(client.ask("GET", "/k", host: "far.s3.localhost:9").text == "1")
        #expect(client.ask("GET", "/k", host: "far.s3.eu-central-1.localhost").text == "1")
        #expect(client.ask("GET", "/far?location").all("LocationConstraint").isEmpty == false)
    }

    @Test("S18: lifecycle rules and versions that are gone for good")
    func historyCanBeEdited() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, at: target, versionID: "one")
        bucket.put("k".utf8, at: target, versionID: "two")
        var rule = LifecycleRule(id: "short")
        rule.noncurrentDays = 7
        bucket.setLifecycle([rule])
        let client = RawClient(standIn)
        #expect(client.ask("GET", "/b?lifecycle").all("NoncurrentDays") == ["7"])
        bucket.deleteVersion("k".utf8, "two")
        #expect(client.ask("GET", "/b?versions").all("VersionId") == ["one"])
        #expect(client.ask("DELETE", "/b/k?versionId=one").status == 204)
        #expect(client.ask("GET", "/b?versions").all("VersionId").isEmpty)
    }

    @Test func requestsAreRecordedAsSent() throws {
        let standIn = try S3StandIn()
        standIn.bucket("b").put("a b".utf8, at: target)
        let client = RawClient(standIn)
        _ = client.ask("GET", "/b/a%20b", [("Accept-Encoding", "identity")])
        _ = client.ask("GET", "/b/none")
        let requests = standIn.requests
        #expect(requests.map(\.line) == ["GET /b/a%20b HTTP/1.1", "GET /b/none HTTP/1.1"])
        #expect(requests.map(\.status) == [200, 404])
        #expect(
            requests[0].headers["accept-encoding"] == "identity" && requests[0].connection == requests[1].connection)
        #expect(standIn.counts.of(.getObject) == 2 && standIn.counts.inFlight == 0)
    }
}
