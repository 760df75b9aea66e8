import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

/// Backup files that come from a bucket into scratch.
@Suite struct S3DownloadTests {
    private let standIn: S3StandIn
    private let bucket: StandInBucket
    private let folder: any BackupFolder
    private let scratch: Scratch

    init() throws {
        standIn = try S3StandIn()
        bucket = standIn.bucket("backups")
        let fixture = try S3Fixture(
            endpoint: standIn.endpoint,
            variables: [
                "AWS_ACCESS_KEY_ID": S3Fixture.accessKey, "AWS_SECRET_ACCESS_KEY": S3Fixture.secretKey,
                "HOME": "/nonexistent", "AWS_ENDPOINT_URL_S3": standIn.endpoint,
            ])
        folder = try S3FolderKind.open("s3://backups/app", settings: nil, environment: fixture.environment)
        let directory = FileManager.default.temporaryDirectory.appending(path: "s3download-\(UUID().uuidString)").path
        scratch = Scratch(runID: "r", directory: directory, journal: NoJournal())
    }

    private func parts() -> [[UInt8]] { (0..<5).map { [UInt8](repeating: UInt8($0), count: $0 < 4 ? 50_000 : 123) } }

    private func fetch(_ path: String) async throws -> Data? {
        let local = try await folder.localPath(path, in: scratch) { _ in }
        defer { try? FileManager.default.removeItem(atPath: scratch.directory) }
        return FileManager.default.contents(atPath: local)
    }

    @Test("S24: a multipart upload is compared with the MD5s of its parts") func multipart() async throws {
        let parts = parts()
        bucket.putMultipart("app/dump".utf8, parts: parts, initiatedAt: Date() - 60, completedAt: Date() - 60)
        #expect(try await fetch("dump") == Data(parts.flatMap { $0 }))
        standIn.inject(.flippedBit(1_234_567), into: .of(.getObject))
        let error = await #expect(throws: DrillError.self) { _ = try await fetch("dump") }
        #expect(error?.code == .backupUnusable)
        #expect(error?.what.contains("ETag of its parts") == true)
    }

    @Test("bytes that were changed on the way once are fetched once more") func changedOnTheWay() async throws {
        bucket.put("app/dump".utf8, body: [UInt8](repeating: 5, count: 100_000))
        standIn.inject(.flippedBit(77), into: .of(.getObject).number(1))
        #expect(try await fetch("dump") == Data(repeating: 5, count: 100_000))
        #expect(standIn.counts.byOperation[.getObject] == 2)
    }

    @Test("S31: a download that breaks off goes on where it ended") func brokenOff() async throws {
        let parts = parts()
        bucket.putMultipart("app/dump".utf8, parts: parts, initiatedAt: Date() - 60, completedAt: Date() - 60)
        standIn.inject(.cutBody(fraction: 0.4), into: .of(.getObject).first(3))
        #expect(try await fetch("dump") == Data(parts.flatMap { $0 }))
    }

    @Test("a directory comes whole, several files at a time; one bad file spoils it") func directory() async throws {
        for index in 0..<1200 { bucket.put("app/tree/\(index % 7)/\(index)".utf8, body: "\(index)".utf8) }
        let local = try await folder.localPath("tree", in: scratch) { _ in }
        defer { try? FileManager.default.removeItem(atPath: scratch.directory) }
        for index in [0, 1, 999, 1199] {
            #expect(FileManager.default.contents(atPath: "\(local)/\(index % 7)/\(index)") == Data("\(index)".utf8))
        }
        #expect(standIn.counts.mostInFlight > 1)
        bucket.put("app/other/a".utf8, body: "a".utf8)
        bucket.put("app/other/b".utf8, body: "b".utf8) { $0.storageClass = "GLACIER" }
        let error = await #expect(throws: DrillError.self) {
            _ = try await folder.localPath("other", in: scratch) { _ in }
        }
        #expect(error?.code == .backupUnusable)
        #expect(error?.what == "GLACIER: a restore takes 3 to 5 hours")
    }
}

private struct NoJournal: ScratchJournal {
    func willCreate(_ item: ScratchItem) async throws {}
    func didRemove(_ item: ScratchItem) async throws {}
}
