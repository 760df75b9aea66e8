import DrillTestKit
import Foundation
import Testing

/// Everything that can go wrong between muster and a bucket. None of it may end in a pass on missing data or run for ever.
@Suite("S3: faults, from the command line", .needs(.postgres))
struct S3FaultTests {
    private let standIn: S3StandIn
    private let service: S3Service
    /// Of a run that only its deadline can end.
    private static let deadline = 4.0
    private static let objects = "{ bucket: uploads, kind: s3 }"

    init() throws {
        standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: "ACCESS", secret: "SECRET"))
        service = S3Service(endpoint: standIn.endpoint, accessKey: "ACCESS", secretKey: "SECRET")
    }

    private static func key(_ index: Int) -> String { "users/\(10000 + index).png" }

    /// Three pages of objects, and rows for all of them and for one that is not there.
    private func threePages(_ shop: Workshop, missing: Bool, deadline: Double = 120) throws {
        let bucket = standIn.bucket("uploads")
        for index in 0..<2500 { bucket.put(Self.key(index).utf8) }
        let database = try shop.database([
            "CREATE TABLE files (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text)",
            "INSERT INTO files (key) SELECT 'users/' || 10000 + i || '.png' FROM generate_series(0, 2499) i",
        ])
        if missing { try shop.psql("INSERT INTO files (key) VALUES ('users/11234.jpg')", in: database) }
        try shop.bucketDrill(database, objects: Self.objects, top: "deadline: \(Int(deadline))s")
    }

    private func drill(_ shop: Workshop) throws -> (ran: Workshop.Ran, seconds: Double) {
        let began = ContinuousClock.now
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        let took = began.duration(to: .now)
        return (ran, Double(took.components.seconds))
    }

    // MARK: Overload

    @Test("S31: a burst of 503 passes") func burst() throws {
        let shop = try Workshop()
        try threePages(shop, missing: false)
        standIn.inject(.slowDown, into: .listings.first(4))
        let (ran, _) = try drill(shop)
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(standIn.counts.faulted == 4)
    }

    @Test(
        "S31 V6: what never ends is inconclusive within the deadline",
        arguments: [S3Fault.slowDown, .internalError, .stall, .reset, .listing(.endless), .trickle(bytesPerSecond: 20)])
    func forEver(fault: S3Fault) throws {
        let shop = try Workshop()
        try threePages(shop, missing: true, deadline: Self.deadline)
        standIn.inject(fault, into: .listings)
        let (ran, seconds) = try drill(shop)
        #expect(ran.status == 2, "\(fault): \(ran.errors)")
        #expect(seconds <= Self.deadline + 10, "\(fault)")
        #expect(try shop.leftInScratch.isEmpty)
        #expect(try shop.ledger("SELECT verdict FROM run") == ["inconclusive"])
    }

    // MARK: Half answers

    @Test("S7: a listing that is cut short once is read again, and what is missing is still missing")
    func cutOnce() throws {
        let shop = try Workshop()
        try threePages(shop, missing: true)
        for (page, fraction) in [(1, 0.0), (1, 0.5), (2, 0.99), (3, 0.3)] {
            standIn.clearFaults()
            standIn.inject(.cutBody(fraction: fraction), into: .listings.number(page))
            let (ran, _) = try drill(shop)
            #expect(ran.status == 1, "page \(page), \(fraction): \(ran.errors)")
            #expect(try shop.ledger("SELECT object_key_text FROM finding").last == "users/11234.jpg")
        }
        #expect(
            try shop.ledger("SELECT DISTINCT examined, passed, failed, unknown FROM probe_result") == ["2501|2500|1|0"])
    }

    @Test("S7: a listing that is always cut short is inconclusive", arguments: [0.0, 0.4, 0.999])
    func cutAlways(fraction: Double) throws {
        let shop = try Workshop()
        try threePages(shop, missing: true)
        // Behind the first page, which comes whole; without a length, so that nothing but its end shows the cut.
        standIn.inject(.untilClose, into: .listings)
        standIn.inject(.cutBody(fraction: fraction), into: .listings.numbers(2...10_000))
        let (ran, _) = try drill(shop)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(try shop.ledger("SELECT count(*) FROM finding") == ["0"])
    }

    /// A fault of each page that a probe lists, and what the report must say of it.
    static let notListings: [(fault: S3Fault, words: String)] = [
        (.errorIn200(code: "AccessDenied"), "answered with 200 and the error AccessDenied"),
        (.errorIn200(code: "InternalError"), "answered with 200 and the error InternalError"),
        (.html(status: 200), "not what S3 sends"), (.html(status: 404), "It was not S3 that answered"),
        (.answer(status: 200, headers: [], body: []), "an empty body"),
        (.oversizedPage(bytes: 200 << 20), "the body is larger than"),
        (.listing(.entityBomb), "a DOCTYPE"), (.listing(.documentType), "a DOCTYPE"),
        (.listing(.nested(depth: 10_000)), "more than 32 levels"),
        // Whichever shows first: the token itself, or, where ranges are listed side by side, the page that it brings again.
        (.listing(.repeatedToken), "the token that it was asked with|a page starts at or before the key"),
        (.listing(.truncatedWithoutToken), "no token to go on with"),
        (.listing(.shuffled(seed: 1)), "not in the order of key bytes"),
        (.listing(.droppedEntry(7)), "announces 1000 keys and holds 999"),
        (.listing(.repeatedKey), "a page"),
    ]

    @Test("S3 S7 S9 S30 X7: what is no listing is never taken for an empty one", arguments: notListings)
    func noListing(fault: S3Fault, words: String) throws {
        let shop = try Workshop()
        try threePages(shop, missing: true)
        // The set is looked at by one listing; what comes behind that is the probe's.
        standIn.inject(fault, into: .listings.numbers(2...100_000))
        let (ran, _) = try drill(shop)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(words.split(separator: "|").contains { ran.errors.contains($0) }, "\(ran.errors)")
        #expect(try shop.ledger("SELECT probe, verdict FROM probe_result") == ["files|inconclusive"])
    }

    // MARK: Elsewhere

    @Test(
        "S34: a redirect to another host is refused, and the Authorization header not sent there",
        arguments: [301, 302, 307, 308])
    func redirect(status: Int) throws {
        let shop = try Workshop()
        try threePages(shop, missing: false)
        let elsewhere = try S3StandIn()
        standIn.inject(.redirect(status: status, location: elsewhere.endpoint + "/uploads?list-type=2"))
        let (ran, _) = try drill(shop)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("redirect"), "\(ran.errors)")
        #expect(elsewhere.counts.total == 0)
        #expect(elsewhere.counts.connections == 0)
    }

    @Test("S8: an object that listings hide is found by its key, and said to be unlisted") func hiddenChild() throws {
        let shop = try Workshop()
        let bucket = standIn.bucket("uploads")
        for key in ["a", "a/b", "c"] { bucket.put(key.utf8) }
        bucket.hide("a/b".utf8)
        try shop.bucketDrill(try shop.filesDatabase(["a", "a/b", "c", "d"]), objects: Self.objects)
        let (ran, _) = try drill(shop)
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.findings() == ["missing|unknown|d"])
        #expect(ran.errors.contains("no listing names them"), "\(ran.errors)")
    }

    @Test("S29: where every key is answered with 403, a listing miss is not called missing") func forbiddenHead() throws
    {
        let shop = try Workshop()
        standIn.bucket("uploads").put("a".utf8)
        standIn.inject(.error(status: 403, code: "AccessDenied"), into: .of(.headObject))
        try shop.bucketDrill(try shop.filesDatabase(["a", "b"]), objects: Self.objects)
        let (ran, _) = try drill(shop)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(try shop.ledger("SELECT count(*) FROM finding") == ["0"])
        #expect(ran.errors.contains("s3:ListBucket"), "\(ran.errors)")
    }

    // MARK: Bytes

    @Test("S22 S28: bytes that differ from what was listed never pass") func changedBytes() throws {
        let shop = try Workshop()
        let bucket = standIn.bucket("uploads")
        bucket.put("a".utf8, body: "content".utf8)
        let database = try shop.filesDatabase(["a"])
        let probe =
            "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, content: all }\n"
        try shop.bucketDrill(database, objects: Self.objects, probes: probe)
        #expect(try drill(shop).ran.status == 0)
        for fault in [S3Fault.flippedBit(3), .bodyLength(change: -1), .bodyLength(change: 1)] {
            standIn.clearFaults()
            standIn.inject(fault, into: .of(.getObject))
            let (ran, _) = try drill(shop)
            #expect(ran.status == 1 || ran.status == 2, "\(fault): \(ran.errors)")
        }
        standIn.clearFaults()
        standIn.inject(.before { bucket.put("a".utf8, body: "another".utf8) }, into: .of(.getObject).number(1))
        let (ran, _) = try drill(shop)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("changed between listing and reading"), "\(ran.errors)")
    }

    // MARK: Versions

    @Test("S14 S15: what two readings of the history leave open is ambiguous, unless the row itself decides")
    func ambiguousVersions() throws {
        let shop = try Workshop()
        let bucket = standIn.bucket("uploads")
        bucket.setVersioning(.enabled)
        let start = Date()
        bucket.put("sure".utf8, body: "v1".utf8, at: start - 3600)
        bucket.put("doubtful".utf8, body: "v1".utf8, at: start - 3600)
        bucket.put("told".utf8, body: "v1".utf8, at: start - 3600)
        let database = try shop.filesDatabase(
            ["sure", "doubtful", "told"],
            more: ["ALTER TABLE files ADD version text", "UPDATE files SET version = 'second' WHERE key = 'told'"])
        try shop.dumpDrill(
            database, objects: "{ bucket: uploads, kind: s3_versions }",
            probes:
                "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, version: version }\n"
        )
        let dumped = Date()
        bucket.delete("doubtful".utf8, at: dumped)
        bucket.put("told".utf8, body: "other".utf8, at: dumped, versionID: "second")
        let (ran, _) = try drill(shop)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(try shop.findings() == ["ambiguous|unknown|doubtful"])
        #expect(try shop.ledger("SELECT passed, failed, unknown FROM probe_result") == ["2|0|1"])
    }
}
