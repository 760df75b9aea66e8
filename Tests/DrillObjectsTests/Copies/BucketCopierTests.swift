import Crypto
import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillObjects

/// Objects brought into a scratch bucket, against the stand-in: what is written, what never is, and that all of it goes again.
@Suite struct BucketCopierTests {
    private let instant = Date(timeIntervalSince1970: 1_794_657_600)
    private let standIn: S3StandIn
    private let fixture: S3Fixture
    private static let sizes = BucketDestination.Sizes(
        oneCopyBytes: 1000, copyPartBytes: 600, partBytes: 400, partLimit: 5)

    init() throws {
        standIn = try Self.server()
        fixture = try S3Fixture(endpoint: standIn.endpoint)
    }

    private static func server() throws -> S3StandIn {
        let standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: S3Fixture.accessKey, secret: S3Fixture.secretKey))
        standIn.settings.minimumPartBytes = 1
        return standIn
    }

    private func body(_ count: Int, _ seed: UInt8 = 7) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761 >> 9) ^ Int(seed)) }
    }

    private func copier(
        _ copies: CopyFixture, _ settings: [String: String] = [:], sources: [any ObjectBackup] = [],
        urls: [String] = [],
        sizes: BucketDestination.Sizes = BucketDestination.Sizes()
    ) throws -> BucketCopier {
        var all = ["url": "s3://scratch/drills", "endpoint": standIn.endpoint].merging(settings) { $1 }
        if all["bucket"] != nil { all["url"] = nil }
        return try BucketCopier(
            copies.reader(BucketCopier.shape, all), copies.context(sources, urls: urls), sizes: sizes)
    }

    private func withScratch(_ body: (CopyFixture) async throws -> Void) async throws {
        standIn.bucket("scratch").setVersioning(.enabled)
        try await withTree { tree in
            try await body(CopyFixture(tree: tree, environment: fixture.environment))
        }
    }

    private func run(
        _ copier: BucketCopier, _ copies: CopyFixture, _ stores: [any ObjectStore],
        _ use: @escaping @Sendable (CopiedObjects) async throws -> Void = { _ in }
    ) async throws {
        try await copier.withCopies(
            of: Dictionary(uniqueKeysWithValues: stores.map { ($0.bucket, $0) }), in: copies.scratch,
            progress: NoProgress(), use)
    }

    /// All versions and delete markers of a bucket.
    private func entries(_ bucket: String, at endpoint: String? = nil) async throws -> [ObjectKey] {
        var settings = try S3Settings(bucket: bucket, prefix: [], fixture.environment)
        settings.address = S3Address(
            bucket: bucket, endpoint: S3Address.origin(endpoint ?? standIn.endpoint), region: "us-east-1",
            pathStyle: true)
        let source = ListingSource(
            BucketReader(settings, fixture.environment).client, .versions, prefix: [], place: bucket)
        var keys: [ObjectKey] = []
        var cursor = ListingCursor()
        while true {
            let page = try await source.page(cursor)
            for index in 0..<page.entries.count { keys.append(ObjectKey(page.entries.keys[index])) }
            guard let next = page.next else { return keys }
            cursor = next
        }
    }

    private func read(_ store: any ObjectStore, _ key: String) async throws -> String {
        let entry = try #require(try await inventory(store)[ObjectKey(key)])
        return hexadecimal(
            try await store.content(of: ObjectKey(key), reading: entry.reading, algorithm: .sha256).digest)
    }

    private func sha256(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    @Test("Copies in a bucket behave as every object store must", arguments: ObjectStoreCheck.all)
    func conforms(_ check: ObjectStoreCheck) async throws {
        try await withTree { tree in
            let number = Mutex(0)
            try await check.run { objects in
                let name = number.withLock { number in
                    number += 1
                    return "bucket-\(number)"
                }
                for (key, bytes) in objects { standIn.bucket(name).put(key.bytes, body: bytes) }
                _ = standIn.bucket(name)
                _ = standIn.bucket("scratch-\(name)")
                let copies = CopyFixture(tree: tree, environment: fixture.environment)
                copies.keeping.decide(isKept: true)
                let made = Mutex<(any ObjectStore)?>(nil)
                let copier = try self.copier(copies, ["bucket": "scratch-\(name)"])
                try await run(copier, copies, [try await fixture.store(name)]) { copied in
                    made.withLock { $0 = copied.stores[name] }
                }
                return try #require(made.withLock { $0 })
            }
        }
    }

    @Test(
        "The store itself copies exactly the resolved versions; what it wrote is gone afterwards, the source is as it was"
    )
    func serverSide() async throws {
        let bucket = standIn.bucket("uploads")
        bucket.setVersioning(.enabled)
        let wanted = bucket.put("a/b c".utf8, body: "wanted".utf8, at: instant - 600) {
            $0.contentType = "image/png"
            $0.headers = [("x-amz-meta-owner", "7")]
        }
        bucket.put("a/b c".utf8, body: "later".utf8, at: instant + 600)
        bucket.put("gone".utf8, body: "x".utf8, at: instant - 600)
        bucket.delete("gone".utf8, at: instant - 300)
        bucket.put("big".utf8, body: body(2500), at: instant - 600) { $0.contentType = "text/csv" }
        standIn.bucket("scratch").put("somebody/else".utf8, body: "stays".utf8)
        let before = try await entries("uploads")
        try await withScratch { copies in
            let place = "s3://scratch/drills/muster-\(CopyFixture.runID)"
            try await run(
                copier(copies, sizes: Self.sizes), copies, [try await fixture.versions("uploads", at: instant)]
            ) { copied in
                #expect(copied.place == place)
                #expect(copied.variables["MUSTER_OBJECTS_ENDPOINT"] == standIn.endpoint)
                #expect(copied.variables["MUSTER_OBJECTS_REGION"] == "us-east-1")
                let store = try #require(copied.stores["uploads"])
                #expect(try await read(store, "a/b c") == sha256(Array("wanted".utf8)))
                #expect(try await read(store, "big") == sha256(body(2500)))
                #expect(try await inventory(store)[ObjectKey("a/b c")]?.reading.version?.text == wanted)
                #expect(try await inventory(store)[ObjectKey("gone")]?.state == .deleted)
                let keys = Set(try await entries("scratch").map(\.description))
                let prefix = "drills/muster-\(CopyFixture.runID)/"
                #expect(
                    keys == [
                        prefix + ".muster-scratch", prefix + "manifest.jsonl", prefix + "uploads/a/b c",
                        prefix + "uploads/big", "somebody/else",
                    ])
            }
            #expect(standIn.counts.of(.copyObject) == 1)
            #expect(standIn.counts.of(.uploadPartCopy) == 5)
            #expect(standIn.counts.of(.getObject) == 2)
            #expect(try await entries("scratch").map(\.description) == ["somebody/else"])
            #expect(try await entries("uploads") == before)
            #expect(copies.journal.open.isEmpty)
            let writes = standIn.requests.filter { !$0.line.hasPrefix("GET ") && !$0.line.hasPrefix("HEAD ") }
            #expect(writes.allSatisfy { $0.bucket == "scratch" })
            let source = try #require(writes.first { $0.operation == .copyObject }?.headers["x-amz-copy-source"])
            #expect(source == "/uploads/a/b%20c?versionId=\(wanted)")
            #expect(fixture.environment.traffic.totals.bytesCopied == 2506)
        }
    }

    @Test("Where the store refuses to copy, bytes pass through here, verified, and the report says so")
    func refused() async throws {
        let bucket = standIn.bucket("uploads")
        bucket.put("small".utf8, body: body(300)) { $0.contentType = "image/png" }
        bucket.put("big".utf8, body: body(1900))
        standIn.inject(.error(status: 403, code: "AccessDenied"), into: .of(.copyObject, .uploadPartCopy))
        try await withScratch { copies in
            try await run(copier(copies, sizes: Self.sizes), copies, [try await fixture.store("uploads")]) { copied in
                let store = try #require(copied.stores["uploads"])
                #expect(try await read(store, "small") == sha256(body(300)))
                #expect(try await read(store, "big") == sha256(body(1900)))
                #expect(copied.notes.contains { $0.contains("refused to copy") && $0.contains("AccessDenied") })
            }
            let parts = standIn.requests.filter { $0.operation == .uploadPart && $0.key.suffix(3) == Array("big".utf8) }
            #expect(parts.count == 5)
            let put = standIn.requests.first { $0.operation == .putObject && $0.key.suffix(5) == Array("small".utf8) }
            #expect(put?.headers["content-type"] == "image/png")
            #expect(try await entries("scratch").isEmpty)
        }
    }

    @Test("A source in another store, or in a directory, is read and put") func otherStores() async throws {
        let other = try Self.server()
        let bucket = other.bucket("uploads")
        bucket.put("a".utf8, body: body(50))
        other.inject(.cutBody(fraction: 0.5), into: .of(.getObject).number(1))
        try await withTree { source in
            try source.write("x/y", "hello")
            try source.write("large", String(repeating: "0123456789", count: 200))
            try source.write([0xFF], [1, 2])
            try await withScratch { copies in
                let directory = try DirectoryObjects(
                    bucket: "files", copies.reader(DirectoryObjects.shape, ["path": source.path]), fixture.context)
                let stores: [any ObjectStore] = [
                    try await S3Fixture(environment: fixture.environment, endpoint: other.endpoint).store("uploads"),
                    try await directory.open(S3Fixture.anySet, recoveryPoint: nil, in: nil),
                ]
                try await run(copier(copies, sizes: Self.sizes), copies, stores) { copied in
                    #expect(try await read(try #require(copied.stores["uploads"]), "a") == sha256(body(50)))
                    let files = try #require(copied.stores["files"])
                    #expect(try await read(files, "x/y") == sha256(Array("hello".utf8)))
                    #expect(
                        try await read(files, "large")
                            == sha256(Array(String(repeating: "0123456789", count: 200).utf8)))
                    let odd = try #require(try await inventory(files)[ObjectKey([0xFF])])
                    let content = try await files.content(
                        of: ObjectKey([0xFF]), reading: odd.reading, algorithm: .sha256)
                    #expect(hexadecimal(content.digest) == sha256([1, 2]))
                }
                #expect(standIn.counts.of(.copyObject) == 0)
                #expect(try await entries("scratch").isEmpty)
                #expect(other.requests.allSatisfy { $0.line.hasPrefix("GET ") || $0.line.hasPrefix("HEAD ") })
            }
        }
    }

    @Test("S22, S7: an object that changed, and an error under 200, are no copies") func faults() async throws {
        let bucket = standIn.bucket("uploads")
        bucket.put("a".utf8, body: "first".utf8)
        try await withScratch { copies in
            standIn.inject(.after { bucket.put("a".utf8, body: "other".utf8) }, into: .listings.first(1))
            let changed = await refusal {
                try await run(copier(copies), copies, [try await fixture.store("uploads")])
            }
            #expect(
                changed?.what.contains("changed between listing and copying") == true, "\(changed?.description ?? "")")
            standIn.clearFaults()
            standIn.inject(.errorIn200(code: "InternalError"), into: .of(.copyObject))
            let failed = await refusal {
                try await run(copier(copies), copies, [try await fixture.store("uploads")])
            }
            #expect(failed?.code == .couldNotLook, "\(failed?.description ?? "")")
            standIn.clearFaults()
            let left = try await entries("scratch")
            #expect(left.isEmpty)
            #expect(copies.journal.open.isEmpty)
        }
    }

    @Test("A copy whose bytes are not the source's is found, by what both sides keep of it") func damagedCopy()
        async throws
    {
        let bucket = standIn.bucket("uploads")
        for key in ["longer", "other", "sound"] { bucket.put(key.utf8, body: body(100)) }
        try await withScratch { copies in
            let scratch = standIn.bucket("scratch")
            let prefix = "drills/muster-\(CopyFixture.runID)/uploads/"
            standIn.inject(
                .after { scratch.alter((prefix + "other").utf8) { $0 = StandInObject(Array($0.body.reversed())) } },
                into: RequestFilter.of(.copyObject).key(prefix: Array((prefix + "other").utf8)))
            standIn.inject(
                .after { scratch.alter((prefix + "longer").utf8) { $0 = StandInObject($0.body + [1]) } },
                into: RequestFilter.of(.copyObject).key(prefix: Array((prefix + "longer").utf8)))
            try await run(copier(copies), copies, [try await fixture.store("uploads")]) { copied in
                let entries = try await inventory(try #require(copied.stores["uploads"]))
                #expect(entries[ObjectKey("longer")]?.detail?.damage?.kind == .sizeMismatch)
                #expect(entries[ObjectKey("other")]?.detail?.damage?.kind == .checksumMismatch)
                #expect(entries[ObjectKey("sound")]?.state == .present)
            }
        }
    }

    @Test("P28: a place that is, holds or lies in a source is refused with its line, before anything is made")
    func overlap() throws {
        try withTree { tree in
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            func source(_ url: String, _ more: [String: String] = [:]) throws -> S3Backup {
                try S3Backup(
                    bucket: "uploads",
                    fixture.reader(S3Backup.shape, ["url": url, "endpoint": standIn.endpoint].merging(more) { $1 }),
                    fixture.context)
            }
            for (scratch, sourceURL) in [
                ("s3://b", "s3://b"), ("s3://b/x", "s3://b"), ("s3://b", "s3://b/x"), ("s3://b/x", "s3://b/x"),
                ("s3://b/x/y", "s3://b/x"),
            ] {
                #expect(throws: DrillError.self, "\(scratch) \(sourceURL)") {
                    try copier(copies, ["url": scratch], sources: [try source(sourceURL)], urls: [sourceURL])
                }
            }
            for (scratch, sourceURL) in [("s3://c", "s3://b"), ("s3://b/x", "s3://b/y"), ("s3://b/xy", "s3://b/x")] {
                _ = try copier(copies, ["url": scratch], sources: [try source(sourceURL)], urls: [sourceURL])
            }
            for settings in [["url": "s3://b", "bucket": "b"], ["url": "b"]] {
                #expect(throws: DrillError.self) {
                    try BucketCopier(copies.reader(BucketCopier.shape, settings), copies.context())
                }
            }
            do {
                _ = try copier(copies, ["bucket": "live"], sources: [try source("s3://copy")])
                var environment = fixture.environment
                environment.variables["AWS_ENDPOINT_URL_S3"] = standIn.endpoint
                let sets = CopyFixture(tree: tree, environment: environment)
                _ = try copier(sets, ["url": "s3://backups/nightly/scratch"], urls: ["s3://backups/nightly"])
                Issue.record("the place of the backup sets was not refused")
            } catch let error as DrillError {
                #expect(error.code == .usage)
                #expect(error.place == "drill.yaml:1")
                #expect(error.what.contains("s3://backups/nightly"))
            }
        }
    }

    @Test("P28, V7: the same bucket under another name is known by what it holds") func aliases() async throws {
        standIn.bucket("uploads").put("a".utf8, body: "one".utf8)
        try await withScratch { copies in
            let alias = "http://localhost:\(standIn.port)"
            for (url, isRefused) in [("s3://uploads", true), ("s3://uploads/x", true), ("s3://scratch", false)] {
                standIn.clearRequests()
                let error = await refusal {
                    try await run(
                        copier(copies, ["url": url, "endpoint": alias]), copies, [try await fixture.store("uploads")])
                }
                #expect((error != nil) == isRefused, "\(url): \(error?.description ?? "")")
                if isRefused {
                    #expect(error?.what.contains("shares keys with the source") == true)
                    #expect(standIn.requests.allSatisfy { $0.line.hasPrefix("GET ") || $0.line.hasPrefix("HEAD ") })
                }
            }
        }
    }

    @Test("P28, P29: a place where something is, and a bucket with Object Lock, are left as they are")
    func refusedPlaces()
        async throws
    {
        standIn.bucket("uploads").put("a".utf8, body: "one".utf8)
        try await withScratch { copies in
            let key = "drills/muster-\(CopyFixture.runID)/x"
            standIn.bucket("scratch").put(key.utf8, body: "somebody's".utf8)
            let taken = await refusal { try await run(copier(copies), copies, [try await fixture.store("uploads")]) }
            #expect(taken?.what.contains("something is there already") == true, "\(taken?.description ?? "")")
            let left = try await entries("scratch")
            #expect(left.map(\.description) == [key])
            let locked = Array(
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>".utf8
            )
            standIn.inject(.answer(status: 200, headers: [], body: locked), into: .of(.unsupported))
            let lock = await refusal {
                try await run(copier(copies, ["bucket": "scratch"]), copies, [try await fixture.store("uploads")])
            }
            #expect(lock?.what.contains("Object Lock") == true, "\(lock?.description ?? "")")
            #expect(standIn.counts.of(.putObject) == 0)
            #expect(copies.journal.open.isEmpty)
        }
    }

    @Test("A request that writes goes to a run's own scratch, or it cannot be made") func onlyScratchIsWrittenTo()
        async throws
    {
        standIn.bucket("uploads").put("a".utf8, body: "one".utf8)
        try await withScratch { copies in
            var settings = try S3Settings(bucket: "scratch", prefix: [], fixture.environment)
            settings.address.endpoint = S3Address.origin(standIn.endpoint)
            settings.address.isPathStyle = true
            let place = try await ScratchPlace.claim(
                settings, runID: CopyFixture.runID, sources: [], fixture.environment)
            let inside = place.settings.prefix + Array("x".utf8)
            for key in [Array("x".utf8), place.settings.prefix, Array("muster-other/x".utf8)] {
                #expect(throws: DrillError.self) { try S3Call(writing: .putObject, to: place, fullKey: key) }
                #expect(throws: DrillError.self) { try S3Call(deleting: [(inside, nil), (key, nil)], in: place) }
            }
            var elsewhere = settings
            elsewhere.address.bucket = "uploads"
            let client = BucketReader(elsewhere, fixture.environment).client
            let call = try S3Call(writing: .putObject, to: place, fullKey: inside, body: [1])
            #expect(await refusal { _ = try await client.send(call) }?.what.contains("only s3://scratch/") == true)
            #expect(S3Call(.deleteObject, key: inside).method == .get)
            #expect(standIn.counts.of(.putObject) == 0)
        }
    }

    @Test("Ended halfway, by an error or from outside, everything goes again") func ended() async throws {
        let bucket = standIn.bucket("uploads")
        for number in 0..<30 { bucket.put("k\(number)".utf8, body: body(1500 + number)) }
        struct Stop: Error {}
        try await withScratch { copies in
            await #expect(throws: Stop.self) {
                try await run(copier(copies, sizes: Self.sizes), copies, [try await fixture.store("uploads")]) { _ in
                    throw Stop()
                }
            }
            #expect(try await entries("scratch").isEmpty)
            let began = Mutex<CheckedContinuation<Void, Never>?>(nil)
            standIn.inject(
                .before {
                    began.withLock { waiting in
                        waiting?.resume()
                        waiting = nil
                    }
                }, into: .of(.completeMultipartUpload).number(3))
            let second = try self.copier(copies, sizes: Self.sizes)
            let store = try await fixture.store("uploads")
            let work = Task { try await run(second, copies, [store]) }
            await withCheckedContinuation { continuation in
                let isLate = standIn.counts.of(.completeMultipartUpload) >= 3
                if isLate { continuation.resume() } else { began.withLock { $0 = continuation } }
            }
            work.cancel()
            _ = await work.result
            #expect(try await entries("scratch").isEmpty)
            #expect(copies.journal.open.isEmpty)
        }
    }

    @Test(
        "P29: what a killed run left goes with all versions, markers and uploads, whatever its keys; nothing else does")
    func killed() async throws {
        let bucket = standIn.bucket("uploads")
        let keys = ["plain", "\u{1}control\u{8}", "a&b<c>", "line\nbreak\r", " lead", "%25", "+", "caf\u{E9}"]
        for key in keys { bucket.put(key.utf8, body: body(40)) }
        try await withScratch { copies in
            copies.keeping.decide(isKept: true)
            let item = Mutex<ScratchItem?>(nil)
            try await run(copier(copies), copies, [try await fixture.store("uploads")]) { _ in
                item.withLock { $0 = copies.journal.open.first }
            }
            let left = try #require(item.withLock { $0 })
            #expect(left.kind == ScratchPrefixRemover.itemKind)
            #expect(copies.journal.open.isEmpty)
            let scratch = standIn.bucket("scratch")
            let prefix = "drills/muster-\(CopyFixture.runID)/"
            scratch.put((prefix + "uploads/plain").utf8, body: "again".utf8)
            scratch.delete((prefix + "uploads/caf\u{E9}").utf8)
            scratch.put("drills/other".utf8, body: "stays".utf8)
            let settings = try #require(try ScratchPlace.settings(from: left.locator, fixture.environment))
            let place = try #require(
                try await ScratchPlace.left(settings, runID: CopyFixture.runID, fixture.environment))
            _ = try await ScratchBucket(place, fixture.environment).beginUpload(
                Array("half & half".utf8), describing: nil)
            #expect(try await entries("scratch").count == keys.count + 2 + 2 + 1)

            let remover = ScratchPrefixRemover(environment: fixture.environment)
            let other = await refusal { try await remover.remove(left, ofRun: "20260101T000000Z-000000") }
            #expect(other?.code == .cleanupFailed)
            try await remover.remove(left, ofRun: CopyFixture.runID)
            #expect(try await entries("scratch").map(\.description) == ["drills/other"])
            #expect(standIn.counts.of(.abortMultipartUpload) == 1)
            // Gone already is success.
            try await remover.remove(left, ofRun: CopyFixture.runID)

            // Without our marker, or with another's, it is not ours.
            scratch.put((prefix + "x").utf8, body: "1".utf8)
            #expect(await refusal { try await remover.remove(left, ofRun: CopyFixture.runID) }?.code == .cleanupFailed)
            scratch.put(
                (prefix + ".muster-scratch").utf8,
                body: "{\"run\":\"other\",\"host\":\"h\",\"made_by\":\"muster\"}".utf8)
            #expect(await refusal { try await remover.remove(left, ofRun: CopyFixture.runID) }?.code == .cleanupFailed)
            #expect(try await entries("scratch").count == 3)
        }
    }

    @Test("A removal that fails says so, and can be taken up again: the marker goes last") func removalFails()
        async throws
    {
        standIn.bucket("uploads").put("a".utf8, body: "one".utf8)
        try await withScratch { copies in
            standIn.inject(.error(status: 403, code: "AccessDenied"), into: .of(.deleteObjects))
            let error = await refusal { try await run(copier(copies), copies, [try await fixture.store("uploads")]) }
            #expect(error?.code == .cleanupFailed, "\(error?.description ?? "")")
            #expect(error?.hints.contains { $0.contains("s3:DeleteObjectVersion") } == true)
            let left = try #require(copies.journal.open.first)
            standIn.clearFaults()
            try await ScratchPrefixRemover(environment: fixture.environment).remove(left, ofRun: CopyFixture.runID)
            #expect(try await entries("scratch").isEmpty)
        }
    }

    @Test("Limits bind copies in a bucket, never their removal") func limits() async throws {
        let bucket = standIn.bucket("uploads")
        for number in 0..<20 { bucket.put("k\(number)".utf8, body: body(100)) }
        standIn.bucket("scratch").setVersioning(.enabled)
        try await withTree { tree in
            var environment = fixture.environment
            environment.traffic = TrafficMeter(TrafficLimits(requests: 46))
            let limited = S3Fixture(environment: environment, endpoint: standIn.endpoint)
            let copies = CopyFixture(tree: tree, environment: environment)
            let error = await refusal {
                try await run(copier(copies), copies, [try await limited.store("uploads")]) { _ in
                    let view = try await limited.store("uploads")
                    for _ in 0..<9 { _ = try await view.presence(of: ObjectKey("k1")) }
                }
            }
            #expect(error?.what.contains("limits.requests") == true, "\(error?.description ?? "")")
            let left = try await entries("scratch")
            #expect(left.isEmpty)
        }
    }
}
