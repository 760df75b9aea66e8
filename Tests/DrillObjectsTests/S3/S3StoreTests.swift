import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillObjects

/// Against the stand-in: Amazon's page shapes and timing, and every fault.
@Suite struct S3StoreTests {
    private let instant = Date(timeIntervalSince1970: 1_794_657_600)

    private func standIn() throws -> S3StandIn {
        let standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: S3Fixture.accessKey, secret: S3Fixture.secretKey))
        return standIn
    }

    @Test("A bucket behaves as every object store must", arguments: ObjectStoreCheck.all)
    func conforms(_ check: ObjectStoreCheck) async throws {
        let standIn = try standIn()
        let fixture = try S3Fixture(endpoint: standIn.endpoint)
        let number = Mutex(0)
        try await check.run { objects in
            let name = number.withLock { number in
                number += 1
                return "bucket-\(number)"
            }
            let bucket = standIn.bucket(name)
            for (key, bytes) in objects { bucket.put(key.bytes, body: bytes) }
            return try await fixture.store(name)
        }
    }

    @Test("A versioned bucket behaves as every object store must", arguments: ObjectStoreCheck.all)
    func versionsConform(_ check: ObjectStoreCheck) async throws {
        let standIn = try standIn()
        let fixture = try S3Fixture(endpoint: standIn.endpoint)
        let number = Mutex(0)
        try await check.run { objects in
            let name = number.withLock { number in
                number += 1
                return "bucket-\(number)"
            }
            let bucket = standIn.bucket(name)
            bucket.setVersioning(.enabled)
            for (key, bytes) in objects {
                bucket.put(key.bytes, body: Array("older".utf8), at: Date() - 7200)
                bucket.put(key.bytes, body: bytes, at: Date() - 3600)
            }
            return try await fixture.versions(name, at: Date() - 60)
        }
    }

    @Test("S14, S16: what was current at T, from puts, deletions, multipart uploads and null versions")
    func atT() async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("uploads")
        bucket.put("null-then-new".utf8, body: "1".utf8, at: instant - 5000)
        bucket.setVersioning(.enabled)
        bucket.put("plain".utf8, body: "old".utf8, at: instant - 100, versionID: "p1")
        bucket.put("plain".utf8, body: "newer".utf8, at: instant + 100, versionID: "p2")
        bucket.put("deleted".utf8, body: "1".utf8, at: instant - 100)
        bucket.delete("deleted".utf8, at: instant - 50)
        bucket.put("deleted later".utf8, body: "1".utf8, at: instant - 100, versionID: "l1")
        bucket.delete("deleted later".utf8, at: instant + 50)
        bucket.put("created later".utf8, body: "1".utf8, at: instant + 50)
        bucket.put("tie".utf8, body: "put".utf8, at: instant, versionID: "t1")
        bucket.delete("tie".utf8, at: instant + 0.2)
        bucket.put("skewed".utf8, body: "1".utf8, at: instant - 3, versionID: "s1")
        bucket.putMultipart("multipart".utf8, parts: [[1], [2]], initiatedAt: instant - 60, completedAt: instant + 60)
        bucket.put("null-then-new".utf8, body: "22".utf8, at: instant - 500, versionID: "n2")
        let fixture = try S3Fixture(endpoint: standIn.endpoint)
        let store = try await fixture.versions("uploads", at: instant)
        let entries = try await inventory(store)

        #expect(entries[ObjectKey("plain")]?.state == .present)
        #expect(entries[ObjectKey("plain")]?.reading.version == VersionID("p1"))
        #expect(entries[ObjectKey("plain")]?.reading.sizeBytes == 3)
        #expect(entries[ObjectKey("deleted")]?.state == .deleted)
        #expect(entries[ObjectKey("deleted")]?.detail?.cause == .deletedBeforeCopy)
        #expect(entries[ObjectKey("deleted later")]?.reading.version == VersionID("l1"))
        #expect(entries[ObjectKey("created later")]?.state == .notYetCreated)
        #expect(entries[ObjectKey("null-then-new")]?.reading.version == VersionID("n2"))
        for (key, readings) in [("tie", [nil, "t1"]), ("skewed", ["s1", nil])] as [(String, [String?])] {
            #expect(entries[ObjectKey(key)]?.state == .ambiguous)
            #expect(entries[ObjectKey(key)]?.detail?.readings.map { $0?.version?.text } == readings, "\(key)")
        }
        #expect(entries[ObjectKey("multipart")]?.state == .ambiguous)
        let notes = await store.notes
        #expect(
            notes.contains {
                $0.hasPrefix(
                    "3 keys of s3://uploads have two readings at the recovery point: 1 within the skew tolerance, 1 in the same second"
                )
            })

        guard case .absent = try await store.presence(of: ObjectKey("deleted")) else {
            Issue.record("deleted is present"); return
        }
        guard case .ambiguous(let tie) = try await store.presence(of: ObjectKey("tie")) else {
            Issue.record("tie is decided"); return
        }
        #expect(tie.readings.map { $0?.version?.text } == [nil, "t1"])
        #expect(
            try await store.evidence(about: ObjectKey("created later"), finding: .missing)?.cause == .uploadedAfterCopy)
        // Bytes are those of the version, not of today.
        let plain = try #require(entries[ObjectKey("plain")])
        #expect(
            try await store.content(of: ObjectKey("plain"), reading: plain.reading, algorithm: .sha256).sizeBytes == 3)
    }

    @Test("S18: a version that lifecycle removed is named as the cause")
    func expired() async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("uploads")
        bucket.setVersioning(.enabled)
        var rule = LifecycleRule(id: "short")
        rule.noncurrentDays = 7
        bucket.setLifecycle([rule])
        let now = Date()
        bucket.put("k".utf8, body: "1".utf8, at: now - 20 * 86400)
        let store = try await S3Fixture(endpoint: standIn.endpoint).versions("uploads", at: now - 30 * 86400)
        let entry = try #require(try await inventory(store)[ObjectKey("k")])
        #expect(entry.state == .notYetCreated && entry.detail?.cause == .expiredVersion)
        #expect(await store.notes.contains { $0.hasPrefix("Lifecycle rule \"short\" removes versions 7 days after") })
    }

    @Test("Versioning that was never enabled, a future T, a bucket that is not there")
    func refused() async throws {
        let standIn = try standIn()
        _ = standIn.bucket("plain")
        standIn.bucket("versioned").setVersioning(.enabled)
        let fixture = try S3Fixture(endpoint: standIn.endpoint)
        var error = await #expect(throws: DrillError.self) { _ = try await fixture.versions("plain", at: Date() - 60) }
        #expect(error?.code == .backupUnusable)
        error = await #expect(throws: DrillError.self) {
            _ = try await fixture.versions("versioned", at: Date() + 3600)
        }
        #expect(error?.code == .couldNotLook && error?.what.contains("is in the future") == true)
        error = await #expect(throws: DrillError.self) { _ = try await inventory(fixture.store("nowhere")) }
        #expect(error?.what.contains("NoSuchBucket") == true)
        #expect(throws: DrillError.self) {
            _ = try S3Settings(fixture.reader(S3Backup.shape, [:]), bucket: "b--use1-az4--x-s3", fixture.environment)
        }
    }

    @Test("S29: 403 is not 404, and without s3:ListBucket nothing is missing")
    func forbidden() async throws {
        let standIn = try standIn()
        standIn.bucket("b").put("there".utf8, body: "1".utf8)
        let store = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        var ofThatKey = RequestFilter.of(.headObject)
        ofThatKey.keyPrefix = Array("there".utf8)
        standIn.inject(.answer(status: 403, headers: [("x-amz-request-id", "1")], body: []), into: ofThatKey)
        guard case .unreadable(_, .accessDenied) = try await store.presence(of: ObjectKey("there")) else {
            Issue.record("a denied object is not unreadable")
            return
        }
        standIn.deny([.listBucket, .getObject])
        let blind = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        guard case .unknown = try await blind.presence(of: ObjectKey("missing")) else {
            Issue.record("a 403 was taken for an answer"); return
        }
        let error = await #expect(throws: DrillError.self) { _ = try await inventory(blind) }
        #expect(error?.description.contains("s3:ListBucket") == true)
    }

    @Test("S26: archived objects are unreadable, with how long a restore takes")
    func archived() async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("b")
        bucket.put("deep".utf8, body: "1".utf8) { $0.storageClass = "DEEP_ARCHIVE" }
        bucket.put("tier".utf8, body: "1".utf8) {
            $0.storageClass = "INTELLIGENT_TIERING"
            $0.archiveStatus = "ARCHIVE_ACCESS"
        }
        let store = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        let entries = try await inventory(store)
        #expect(entries[ObjectKey("deep")]?.state == .unreadable)
        #expect(entries[ObjectKey("deep")]?.detail?.note == "DEEP_ARCHIVE: a restore takes up to 12 hours")
        guard case .unreadable(_, .archived) = try await store.presence(of: ObjectKey("tier")) else {
            Issue.record("tier is readable"); return
        }
        let reading = try #require(entries[ObjectKey("tier")]?.reading)
        await #expect(throws: ContentUnreadable.self) {
            _ = try await store.content(of: ObjectKey("tier"), reading: reading, algorithm: .sha256)
        }
    }

    @Test("S24, S25: composite checksums and multipart ETags are no content hashes")
    func storedChecksums() async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("b")
        bucket.put("whole".utf8, body: "hello".utf8) { $0.checksum = ObjectChecksum(.sha256, of: Array("hello".utf8)) }
        bucket.putMultipart(
            "parts".utf8, parts: [[1], [2]], initiatedAt: instant, completedAt: instant, checksum: (.sha256, .composite)
        )
        bucket.put("kms".utf8, body: "hello".utf8) {
            $0.encryption = "aws:kms"
            $0.checksum = nil
        }
        let store = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        let entries = try await inventory(store)
        func stored(_ key: String, _ algorithm: ChecksumAlgorithm) async throws -> StoredChecksum? {
            try await store.storedChecksum(
                of: ObjectKey(key), reading: #require(entries[ObjectKey(key)]).reading, preferring: algorithm)
        }
        #expect(try await stored("whole", .sha256)?.digest == ContentHasher.sha256(of: Array("hello".utf8)))
        #expect(try await stored("parts", .sha256) == nil)
        #expect(try await stored("parts", .md5) == nil)
        #expect(try await stored("kms", .md5) == nil)
    }

    @Test("S22: an object that changed since it was listed is not passed off as it")
    func changedBehindTheListing() async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("b")
        bucket.put("k".utf8, body: "old".utf8)
        let store = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        let reading = try #require(try await inventory(store)[ObjectKey("k")]).reading
        bucket.put("k".utf8, body: "new".utf8)
        let error = await #expect(throws: DrillError.self) {
            _ = try await store.content(of: ObjectKey("k"), reading: reading, algorithm: .sha256)
        }
        #expect(error?.what == "an object changed between listing and reading: k")
    }

    @Test("S34: the region is corrected once, and a redirect to another host is never followed")
    func regions() async throws {
        let standIn = try standIn()
        standIn.bucket("far", region: "eu-central-1").put("k".utf8, body: "1".utf8)
        let fixture = try S3Fixture(endpoint: standIn.endpoint)
        #expect(try await inventory(fixture.store("far")).count == 1)
        let sink = try S3StandIn()
        standIn.inject(.redirect(status: 307, location: sink.endpoint + "/far"))
        await #expect(throws: DrillError.self) { _ = try await inventory(fixture.store("far")) }
        #expect(sink.counts.total == 0)
    }

    @Test("S32: a clock that is off is learnt from the Date header")
    func clocks() async throws {
        let standIn = try standIn()
        standIn.bucket("b").put("k".utf8, body: "1".utf8)
        standIn.setClock(aheadBy: 3600)
        let store = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        #expect(try await inventory(store).count == 1)
        #expect(await store.notes.contains { $0.contains("s ahead of this machine's") })
    }

    enum Trouble: String, CaseIterable { case burst, cutBodies, inBody, resets }

    @Test("S7, S31: passing trouble changes nothing", arguments: Trouble.allCases)
    func passingFaults(_ trouble: Trouble) async throws {
        let standIn = try standIn()
        let keys = (0..<3500).map { "users/\(1_000_000 + $0)/avatar.png" }
        let bucket = standIn.bucket("b")
        for key in keys { bucket.put(key.utf8) }
        switch trouble {
        case .burst: standIn.inject(.slowDown, into: .listings.first(3))
        case .cutBodies: standIn.inject(.cutBody(fraction: 0.7), into: .listings.number(2))
        case .inBody: standIn.inject(.errorIn200(code: "SlowDown"), into: .listings.first(2))
        case .resets: standIn.inject(.reset(afterBytes: 500), into: .listings.number(2))
        }
        let entries = try await inventory(S3Fixture(endpoint: standIn.endpoint).store("b"))
        #expect(Set(entries.keys) == Set(keys.map { ObjectKey($0) }))
    }

    @Test(
        "S3, S7, S9, S30, X7: lasting trouble is never a complete inventory",
        arguments: [
            S3Fault.listing(.endless), .listing(.repeatedToken), .listing(.truncatedWithoutToken),
            .listing(.shuffled(seed: 3)),
            .listing(.repeatedKey), .listing(.droppedEntry(7)), .listing(.documentType), .listing(.entityBomb),
            .listing(.nested(depth: 64)),
            .errorIn200(code: "InternalError"), .html(status: 200), .html(status: 404), .bodyLength(change: -10),
            .cutBody(fraction: 0.5),
            .error(status: 403, code: "AccessDenied"), .redirect(status: 301, location: "http://127.0.0.1:1/"),
            .untilClose,
        ])
    func lastingFaults(_ fault: S3Fault) async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("b")
        for number in 0..<2500 { bucket.put("k\(10_000 + number)".utf8) }
        standIn.inject(fault, into: .listings)
        let store = try await S3Fixture(endpoint: standIn.endpoint).store("b")
        do {
            let entries = try await inventory(store)
            // Without a length the whole body may have come, as its closing tag shows.
            guard case .untilClose = fault else { Issue.record("complete with \(entries.count)"); return }
            #expect(entries.count == 2500)
        } catch let error as DrillError {
            #expect(error.code == .couldNotLook)
        }
    }

    @Test("X4: a folder of a bucket: sets, files, ranges and directories")
    func folders() async throws {
        let standIn = try standIn()
        let bucket = standIn.bucket("backups")
        bucket.put("app/2026-11-13-02-00/db_dump.sqlc".utf8, body: "0123456789".utf8)
        bucket.put("app/2026-11-13-02-00/s3_files/a/b".utf8, body: "1".utf8)
        bucket.put("app/2026-11-14-02-00/db_dump.sqlc".utf8, body: "x".utf8)
        bucket.put("app/".utf8)
        var variables = [
            "AWS_ACCESS_KEY_ID": S3Fixture.accessKey, "AWS_SECRET_ACCESS_KEY": S3Fixture.secretKey,
            "HOME": "/nonexistent",
        ]
        variables["AWS_ENDPOINT_URL_S3"] = standIn.endpoint
        let fixture = try S3Fixture(endpoint: standIn.endpoint, variables: variables)
        let folder = try S3FolderKind.open("s3://backups/app", settings: nil, environment: fixture.environment)
        #expect(try await folder.names(in: "") == ["2026-11-13-02-00", "2026-11-14-02-00"])
        let set = folder.folder("2026-11-13-02-00")
        #expect(try await set.names(in: "") == ["db_dump.sqlc", "s3_files"])
        #expect(try await set.entry("db_dump.sqlc")?.kind == .file)
        #expect(try await set.entry("s3_files")?.kind == .directory)
        #expect(try await set.entry("none") == nil)
        #expect(try await set.read("db_dump.sqlc", offset: 3, count: 4) == Array("3456".utf8))
        #expect(try await set.read("db_dump.sqlc", offset: 8, count: 40) == Array("89".utf8))
        #expect(try await set.read("db_dump.sqlc", offset: 50, count: 4) == [])
        #expect(try await set.newestModification(limit: 100) != nil)
        let directory = FileManager.default.temporaryDirectory.appending(path: "s3folder-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let scratch = Scratch(runID: "r", directory: directory, journal: NoJournal())
        let file = try await set.localPath("db_dump.sqlc", in: scratch) { _ in }
        #expect(FileManager.default.contents(atPath: file) == Data("0123456789".utf8))
        let tree = try await set.localPath("s3_files", in: scratch) { _ in }
        #expect(FileManager.default.contents(atPath: tree + "/a/b") == Data("1".utf8))
        standIn.inject(.flippedBit(3), into: .of(.getObject))
        let error = await #expect(throws: DrillError.self) {
            _ = try await folder.localPath("2026-11-14-02-00/db_dump.sqlc", in: scratch) { _ in }
        }
        #expect(error == nil || error?.code == .backupUnusable)
    }
}

private struct NoJournal: ScratchJournal {
    func willCreate(_ item: ScratchItem) async throws {}
    func didRemove(_ item: ScratchItem) async throws {}
}
