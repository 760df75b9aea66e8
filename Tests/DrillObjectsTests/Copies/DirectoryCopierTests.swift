import Crypto
import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillObjects

/// Objects brought into scratch as files, from the stand-in and from directories.
@Suite struct DirectoryCopierTests {
    private let instant = Date(timeIntervalSince1970: 1_794_657_600)

    private func standIn() throws -> (S3StandIn, S3Fixture) {
        let standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: S3Fixture.accessKey, secret: S3Fixture.secretKey))
        return (standIn, try S3Fixture(endpoint: standIn.endpoint))
    }

    private func body(_ count: Int, _ seed: UInt8 = 7) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761 >> 9) ^ Int(seed)) }
    }

    private static func sha256(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    @Test("Copies behave as every object store must", arguments: ObjectStoreCheck.all)
    func conforms(_ check: ObjectStoreCheck) async throws {
        let (standIn, fixture) = try standIn()
        let number = Mutex(0)
        let trees = Mutex<[String]>([])
        try await check.run { objects in
            let name = number.withLock { number in
                number += 1
                return "bucket-\(number)"
            }
            let bucket = standIn.bucket(name)
            for (key, bytes) in objects { bucket.put(key.bytes, body: bytes) }
            let place = NSTemporaryDirectory() + "/muster-copies-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            trees.withLock { $0.append(place) }
            let copies = CopyFixture(tree: TestTree(path: place), environment: fixture.environment)
            let made = Mutex<(any ObjectStore)?>(nil)
            try await copies.withCopies([try await fixture.store(name)]) { copied in
                made.withLock { $0 = copied.stores[name] }
            }
            return try #require(made.withLock { $0 })
        }
        for tree in trees.withLock({ $0 }) { try FileManager.default.removeItem(atPath: tree) }
    }

    @Test("S13, X4: hostile keys become files whose names come from their hash, and the manifest names each exactly")
    func hostileKeys() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            let keys = ObjectStoreCheck.hostileKeys.filter {
                (1...1024).contains($0.bytes.count) && !$0.bytes.contains(0)
                    && String(validating: $0.bytes, as: UTF8.self) != nil
            }
            for (index, key) in keys.enumerated() { bucket.put(key.bytes, body: body(index * 31)) }
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")])
            let lines = try copies.manifest()
            #expect(lines.map { ObjectKey($0.bytes) } == keys.sorted())
            for line in lines {
                let index = try #require(keys.firstIndex(of: ObjectKey(line.bytes)))
                let content = try copies.bytes(line)
                #expect(content == body(index * 31))
                #expect(line.sha256 == Self.sha256(content))
                let digest = Self.sha256(line.bytes)
                #expect(line.file == "uploads/\(digest.prefix(2))/\(digest)")
            }
            let mode =
                try FileManager.default.attributesOfItem(atPath: tree.path + "/objects")[.posixPermissions] as? Int
            #expect(mode == 0o700)
        }
    }

    @Test("Each key is copied in exactly the version of the recovery point; what is in doubt is said, not copied")
    func versionsAtT() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            bucket.setVersioning(.enabled)
            let wanted = bucket.put("a".utf8, body: "wanted".utf8, at: instant - 600)
            bucket.put("a".utf8, body: "later".utf8, at: instant + 600)
            bucket.put("deleted".utf8, body: "x".utf8, at: instant - 600)
            bucket.delete("deleted".utf8, at: instant - 300)
            bucket.put("undeleted".utf8, body: "kept".utf8, at: instant - 600)
            bucket.delete("undeleted".utf8, at: instant + 300)
            bucket.put("new".utf8, body: "x".utf8, at: instant + 300)
            bucket.put("doubtful".utf8, body: "one".utf8, at: instant - 600)
            bucket.put("doubtful".utf8, body: "two".utf8, at: instant)
            bucket.put("frozen".utf8, body: "ice".utf8, at: instant - 600) { $0.storageClass = "GLACIER" }
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.versions("uploads", at: instant)]) { copied in
                let store = try #require(copied.stores["uploads"])
                let kept = try await inventory(store)
                let viewed = try await inventory(try await fixture.versions("uploads", at: instant))
                #expect(kept.mapValues(\.state) == viewed.mapValues(\.state))
                #expect(kept.mapValues(\.reading) == viewed.mapValues(\.reading))
                #expect(kept.mapValues { $0.detail?.note } == viewed.mapValues { $0.detail?.note })
                #expect(kept[ObjectKey("doubtful")]?.detail?.readings.count == 2)
                let reading = try #require(kept[ObjectKey("a")]?.reading)
                let content = try await store.content(of: ObjectKey("a"), reading: reading, algorithm: .sha256)
                #expect(hexadecimal(content.digest) == Self.sha256(Array("wanted".utf8)))
                #expect(copied.gaps.map(\.count) == [2])
                #expect(copied.notes.contains { $0.contains("two readings") && $0.contains("doubtful") })
                #expect(copied.notes.contains { $0.contains("cannot be read") && $0.contains("frozen") })
            }
            let lines = try copies.manifest()
            #expect(lines.map { $0.key } == ["a", "doubtful", "frozen", "undeleted"])
            #expect(lines.map(\.state) == ["present", "ambiguous", "unreadable", "present"])
            #expect(lines[0].version == wanted)
            #expect(lines[1].file == nil && lines[1].reason != nil)
            #expect(try copies.bytes(lines[0]) == Array("wanted".utf8))
            #expect(try copies.bytes(lines[3]) == Array("kept".utf8))
        }
    }

    @Test("A download that breaks off goes on by range, bound to the same object; nothing is fetched twice")
    func resumes() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            let content = body(3_000_000)
            bucket.put("big".utf8, body: content)
            standIn.inject(.cutBody(fraction: 0.5), into: .of(.getObject).number(1))
            standIn.inject(.cutBody(fraction: 0.9), into: .of(.getObject).number(2))
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")])
            #expect(try copies.bytes(copies.manifest()[0]) == content)
            let gets = standIn.requests.filter { $0.operation == .getObject }
            #expect(gets.count == 3)
            #expect(gets.allSatisfy { $0.headers["if-match"] != nil })
            #expect(gets.map { $0.headers["range"] != nil } == [false, true, true])
            #expect(standIn.counts.bytesSent < 3_100_000)
        }
    }

    @Test("S27: a server that ignores the range is read from the start again") func rangeIgnored() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let content = body(2_000_000)
            standIn.bucket("uploads").put("big".utf8, body: content)
            standIn.inject(.cutBody(fraction: 0.4), into: .of(.getObject).number(1))
            standIn.inject(.ignoredRange, into: .of(.getObject).number(2))
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")])
            #expect(try copies.bytes(copies.manifest()[0]) == content)
        }
    }

    @Test("S22: an object that is overwritten between listing and copying is not passed off as the one listed")
    func swapped() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            bucket.put("a".utf8, body: "first".utf8)
            standIn.inject(.after { bucket.put("a".utf8, body: "other".utf8) }, into: .listings.first(1))
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            let error = await refusal { try await copies.withCopies([try await fixture.store("uploads")]) }
            #expect(error?.code == .couldNotLook)
            #expect(error?.what.contains("changed between listing and reading") == true, "\(error?.description ?? "")")
        }
    }

    @Test("Bytes that are not what the store says are left out of the copy and found: wrong checksum, wrong length")
    func damaged() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            for key in ["flipped", "longer", "multipart", "shorter", "sound"] { bucket.put(key.utf8, body: body(500)) }
            bucket.putMultipart(
                "multipart".utf8, parts: [body(600), body(300)], initiatedAt: Date() - 60, completedAt: Date() - 50,
                checksum: (.crc64nvme, .fullObject))
            func fault(_ fault: S3Fault, _ key: String) {
                standIn.inject(fault, into: RequestFilter.of(.getObject).key(prefix: Array(key.utf8)))
            }
            fault(.flippedBit(77), "flipped")
            fault(.flippedBit(700), "multipart")
            fault(.bodyLength(change: 9), "longer")
            fault(.bodyLength(change: -9), "shorter")
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")]) { copied in
                let entries = try await inventory(try #require(copied.stores["uploads"]))
                #expect(entries[ObjectKey("sound")]?.state == .present)
                #expect(entries[ObjectKey("flipped")]?.detail?.damage?.kind == .checksumMismatch)
                #expect(entries[ObjectKey("multipart")]?.detail?.damage?.kind == .checksumMismatch)
                #expect(entries[ObjectKey("longer")]?.detail?.damage?.kind == .sizeMismatch)
                #expect(entries[ObjectKey("shorter")]?.detail?.damage?.kind == .sizeMismatch)
                #expect(copied.gaps.map(\.damaged) == [4])
            }
            #expect(try copies.manifest().filter { $0.file != nil }.map(\.key) == ["sound"])
        }
    }

    @Test("S24, S25: a multipart or KMS object whose ETag is no MD5 is no damage") func incomparable() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            bucket.putMultipart(
                "multipart".utf8, parts: [body(600), body(300)], initiatedAt: Date() - 60, completedAt: Date() - 50,
                checksum: (.sha256, .composite))
            bucket.put("kms".utf8, body: body(10)) {
                $0.encryption = "aws:kms"
                $0.eTag = String(repeating: "ab", count: 16)
            }
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")])
            #expect(try copies.manifest().map(\.state) == ["present", "present"])
        }
    }

    @Test("What is whole in scratch is not fetched again") func secondPass() async throws {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            for number in 0..<20 { bucket.put("k\(number)".utf8, body: body(100 + number)) }
            let store = try #require(try await fixture.store("uploads") as? any CopySource)
            let run = CopyRun(scratchDirectory: tree.path, traffic: TrafficMeter(), progress: NoProgress())
            let kept = try await run.keepInventories(["uploads": store])
            let destination = try FileDestination(
                tree.path + "/objects", concurrency: 4, clock: fixture.environment.clock)
            let first = try await run.copy(kept, to: destination)
            try FileManager.default.removeItem(
                atPath: tree.path + "/objects/"
                    + String(decoding: destination.name(of: ObjectKey("k7"), bucket: "uploads"), as: UTF8.self))
            let second = try await run.copy(kept, to: destination)
            #expect(first[0].tally.objects == 20 && second[0].tally.objects == 20)
            #expect(standIn.counts.of(.getObject) == 21)
        }
    }

    @Test("S35: limits refuse before a copy is begun, and on the way, and remember that they did")
    func limits() async throws {
        try await withTree { tree in
            let (standIn, plain) = try standIn()
            let bucket = standIn.bucket("uploads")
            for number in 0..<50 { bucket.put("k\(number)".utf8, body: body(1000)) }
            for (limits, words) in [
                (TrafficLimits(bytes: 30_000), "50,000 bytes, more than the limit of 30,000"),
                (TrafficLimits(requests: 20), "50 requests at least, more than the limit of 20"),
            ] {
                standIn.clearRequests()
                var environment = plain.environment
                environment.traffic = TrafficMeter(limits)
                let limited = S3Fixture(environment: environment, endpoint: plain.endpoint)
                let copies = CopyFixture(tree: tree, environment: environment)
                let error = await refusal { try await copies.withCopies([try await limited.store("uploads")]) }
                #expect(error?.code == .couldNotLook)
                #expect(error?.what.contains(words) == true, "\(error?.description ?? "")")
                #expect(environment.traffic.refusal != nil)
                #expect(standIn.counts.of(.getObject) == 0)
                try FileManager.default.removeItem(atPath: tree.path + "/objects")
            }
            // A view is bound by them too.
            var environment = plain.environment
            environment.traffic = TrafficMeter(TrafficLimits(requests: 3))
            let view = try await S3Fixture(environment: environment, endpoint: plain.endpoint).store("uploads")
            let error = await refusal {
                for _ in 0..<4 { _ = try await view.presence(of: ObjectKey("k1")) }
            }
            #expect(error?.what.contains("limits.requests") == true, "\(error?.description ?? "")")
            #expect(environment.traffic.totals[.head] == 3)
        }
    }

    @Test("X9: without room for 1.2 times the bytes nothing is copied") func freeSpace() async throws {
        try await withTree { tree in
            let destination = try FileDestination(tree.path + "/objects", concurrency: 1, clock: StoppedClock())
            try await destination.prepare(objects: 3, bytes: 1000)
            let error = await refusal { try await destination.prepare(objects: 1, bytes: 1 << 60) }
            #expect(error?.code == .couldNotLook)
            #expect(error?.what.contains("bytes of room") == true)
        }
    }

    @Test("A directory's objects are copied too, also those whose names are no UTF-8") func directories() async throws {
        try await withTree { source in
            try source.write("a/b", "hello")
            try source.write([0xFF, 0x2F, 0xFE], Array("bytes".utf8))
            try source.link("link", to: "a/b")
            try await withTree { tree in
                let environment = DrillEnvironment.fake()
                let backup = try DirectoryObjects(
                    bucket: "uploads/..",
                    CopyFixture(tree: tree, environment: environment).reader(
                        DirectoryObjects.shape, ["path": source.path]),
                    PartContext(
                        environment: environment, drillFileDirectory: "/", hasSets: false,
                        scratch: ScratchSettings(directory: tree.path, keep: .never)))
                let store = try await backup.open(S3Fixture.anySet, recoveryPoint: nil, in: nil)
                let copies = CopyFixture(tree: tree, environment: environment)
                try await copies.withCopies([store])
                let lines = try copies.manifest()
                #expect(lines.map(\.bytes) == [Array("a/b".utf8), Array("link".utf8), [0xFF, 0x2F, 0xFE]])
                #expect(lines.map(\.state) == ["present", "unreadable", "present"])
                #expect(lines[2].key == nil)
                #expect(try copies.bytes(lines[2]) == Array("bytes".utf8))
                #expect(lines[0].file?.hasPrefix("uploads%2F../") == true)
                #expect(environment.traffic.totals.bytesCopied == 10)
            }
        }
    }

    @Test("Every row's checksum is comparable with a copy at hand, whatever the store kept") func checksums()
        async throws
    {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            standIn.bucket("uploads").put("a".utf8, body: "hello".utf8)
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")]) { copied in
                let store = try #require(copied.stores["uploads"])
                standIn.clearRequests()
                let stored = try await store.storedChecksum(
                    of: ObjectKey("a"), reading: ObjectReading(sizeBytes: 5), preferring: .sha1)
                #expect(stored?.digest == Array(Insecure.SHA1.hash(data: Array("hello".utf8))))
                #expect(standIn.counts.total == 0)
            }
        }
    }

    @Test("S8: what no listing names was not copied, and the copy does not pass it off as there") func unlisted()
        async throws
    {
        try await withTree { tree in
            let (standIn, fixture) = try standIn()
            let bucket = standIn.bucket("uploads")
            bucket.put("shown".utf8, body: "1".utf8)
            bucket.put("hidden".utf8, body: "1".utf8)
            bucket.hide("hidden".utf8)
            let copies = CopyFixture(tree: tree, environment: fixture.environment)
            try await copies.withCopies([try await fixture.store("uploads")]) { copied in
                let store = try #require(copied.stores["uploads"])
                guard case .present = try await store.presence(of: ObjectKey("shown")) else {
                    Issue.record("a copied key is not present")
                    return
                }
                guard case .unknown(let reason) = try await store.presence(of: ObjectKey("hidden")) else {
                    Issue.record("an uncopied key is not unknown")
                    return
                }
                #expect(reason.contains("was not copied"))
            }
        }
    }
}
