import Foundation
import Testing

@testable import DrillTestKit

@Suite("S3 stand-in: versions")
struct S3VersionTests {
    @Test("S14: put, delete, put in one second stand in document order, newest first")
    func oneSecondKeepsItsOrder() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, body: "1".utf8, at: target, versionID: "first")
        bucket.delete("k".utf8, at: target, versionID: "marker")
        bucket.put("k".utf8, body: "22".utf8, at: target + 0.5, versionID: "last")
        bucket.put("a".utf8, at: target, versionID: "other")
        let answer = RawClient(standIn).ask("GET", "/b?versions&encoding-type=url")
        #expect(answer.all("VersionId") == ["other", "last", "marker", "first"])
        #expect(answer.all("IsLatest") == ["true", "true", "false", "false"])
        #expect(Set(answer.all("LastModified")) == ["2026-11-14T14:30:05.000Z"])
        #expect(answer.all("DeleteMarker").count == 1)
        #expect(RawClient(standIn).ask("GET", "/b/k").text == "22")
    }

    @Test func versionsArePlacedByTheirTime() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, at: target + 60, versionID: "late")
        bucket.put("k".utf8, at: target - 60, versionID: "early")
        #expect(bucket.history("k".utf8).map(\.versionID) == ["late", "early"])
    }

    @Test func everyPageSizeGivesTheSameVersions() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        for key in ["a b", "b+", "c"] {
            for step in 0..<3 { bucket.put(key.utf8, at: target + Double(step)) }
            bucket.delete(key.utf8, at: target + 9)
        }
        let expected = ["a b", "b+", "c"].flatMap { Array(repeating: [UInt8]($0.utf8), count: 4) }
        for size in 1...13 { #expect(page(of: standIn, "/b?versions&encoding-type=url&max-keys=\(size)") == expected) }
        let bad = RawClient(standIn).ask("GET", "/b?versions&version-id-marker=x")
        #expect(bad.status == 400)
    }

    @Test("S17: enable, put, suspend, put, delete, enable: null comes once and in place of itself")
    func suspendedVersioningOverwritesNull() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        #expect(bucket.put("k".utf8, body: "0".utf8, at: target) == "null")
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, body: "1".utf8, at: target + 1, versionID: "one")
        #expect(bucket.history("k".utf8).map(\.versionID) == ["one", "null"])
        bucket.setVersioning(.suspended)
        #expect(bucket.put("k".utf8, body: "2".utf8, at: target + 2, versionID: "ignored") == "null")
        #expect(bucket.history("k".utf8).map(\.versionID) == ["null", "one"])
        #expect(bucket.delete("k".utf8, at: target + 3) == "null")
        #expect(bucket.history("k".utf8).map(\.isDeleteMarker) == [true, false])
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, body: "3".utf8, at: target + 4, versionID: "three")
        #expect(bucket.history("k".utf8).map(\.versionID) == ["three", "null", "one"])
        #expect(RawClient(standIn).ask("GET", "/b?versioning").all("Status") == ["Enabled"])
    }

    @Test func deletingInANeverVersionedBucketLeavesNothing() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.put("k".utf8, at: target)
        #expect(bucket.delete("k".utf8, at: target) == nil)
        let client = RawClient(standIn)
        #expect(client.ask("GET", "/b?versions").all("Key").isEmpty)
        #expect(client.ask("GET", "/b?versioning").all("Status").isEmpty)
        #expect(client.ask("GET", "/b/k").headers["x-amz-delete-marker"] == nil)
    }

    @Test("S29: a delete marker is a 404 that says so; asked for by its id, a 405")
    func deleteMarkerIsNamed() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        bucket.put("k".utf8, body: "1".utf8, at: target, versionID: "one")
        bucket.delete("k".utf8, at: target + 1, versionID: "gone")
        let client = RawClient(standIn)
        let head = client.ask("HEAD", "/b/k")
        #expect(head.status == 404)
        #expect(head.headers["x-amz-delete-marker"] == "true" && head.headers["x-amz-version-id"] == "gone")
        #expect(head.body.isEmpty)
        let marker = client.ask("GET", "/b/k?versionId=gone")
        #expect(marker.status == 405)
        #expect(marker.headers["x-amz-delete-marker"] == "true" && marker.headers["allow"] == "DELETE")
        #expect(client.ask("GET", "/b/k?versionId=one").text == "1")
        #expect(client.ask("GET", "/b/k?versionId=never").all("Code") == ["NoSuchVersion"])
        #expect(client.ask("GET", "/b/k?versionId=").all("Code") == ["InvalidArgument"])
    }

    @Test("S15: a multipart object is as old as its initiation, or as its completion where a clone has it so")
    func multipartTimeIsInitiation() throws {
        for (time, expected) in [
            (StandInSettings.MultipartTime.initiation, "2026-11-14T14:29:05.000Z"),
            (.completion, "2026-11-14T14:31:05.000Z"),
        ] {
            var settings = StandInSettings()
            settings.multipartTime = time
            let standIn = try S3StandIn(settings)
            standIn.bucket("b").putMultipart(
                "k".utf8, parts: [[1, 2], [3]], initiatedAt: target - 60, completedAt: target + 60,
                checksum: (.sha256, .composite))
            let answer = RawClient(standIn).ask("GET", "/b?list-type=2")
            #expect(answer.all("LastModified") == [expected])
            #expect(answer.all("ETag").first?.hasSuffix("-2\"") == true)
            #expect(answer.all("ChecksumType") == ["COMPOSITE"])
        }
    }

    @Test("S15: the same through HTTP, and the version stands where the initiation was")
    func multipartThroughHTTPIsAsOldAsItsInitiation() throws {
        var settings = StandInSettings()
        settings.minimumPartBytes = 1
        let standIn = try S3StandIn(settings)
        let bucket = standIn.bucket("b")
        bucket.setVersioning(.enabled)
        let client = RawClient(standIn)
        standIn.setClock { target - 60 }
        let id = client.ask("POST", "/b/k?uploads").all("UploadId").first ?? ""
        standIn.setClock { target }
        _ = client.ask("PUT", "/b/k", body: [9])
        standIn.setClock { target + 60 }
        let tags = (1...2).map { number in
            client.ask("PUT", "/b/k?partNumber=\(number)&uploadId=\(id)", body: [UInt8(number)]).headers["etag"] ?? ""
        }
        let parts = tags.enumerated().map {
            "<Part><PartNumber>\($0.offset + 1)</PartNumber><ETag>\($0.element)</ETag></Part>"
        }
        let done = client.ask(
            "POST", "/b/k?uploadId=\(id)",
            body: [UInt8]("<CompleteMultipartUpload>\(parts.joined())</CompleteMultipartUpload>".utf8))
        #expect(done.status == 200)
        #expect(client.ask("GET", "/b?versions").all("Size") == ["1", "2"])
        #expect(client.ask("GET", "/b/k").body == [9])
    }
}
