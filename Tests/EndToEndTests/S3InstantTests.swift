import DrillTestKit
import Foundation
import Testing

/// Versioned buckets of the stand-in, whose stamps a test chooses, as of an instant that the drill file gives.
@Suite("S3: versions at an instant, from the command line", .needs(.postgres))
struct S3InstantTests {
    private let standIn: S3StandIn
    private let service: S3Service
    private let bucket: StandInBucket
    /// On the whole second, an hour ago.
    private let instant = Date(timeIntervalSince1970: (Date().timeIntervalSince1970 - 3600).rounded(.down))

    init() throws {
        standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: "ACCESS", secret: "SECRET"))
        service = S3Service(endpoint: standIn.endpoint, accessKey: "ACCESS", secretKey: "SECRET")
        bucket = standIn.bucket("uploads")
        bucket.setVersioning(.enabled)
    }

    /// A drill of rows with these keys, as of the instant.
    private func drill(
        _ shop: Workshop, _ keys: [String], settings: String = "", columns: [String] = [], probe: String = "",
        at target: Date? = nil
    ) throws -> Workshop.Ran {
        try shop.bucketDrill(
            try shop.filesDatabase(keys, more: columns), objects: "{ bucket: uploads, kind: s3_versions\(settings) }",
            probes: "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads\(probe) }\n",
            backup: "target: \(ISO8601DateFormatter().string(from: target ?? instant))")
        return try shop.muster(["run", "drill.yaml"], on: service)
    }

    /// What a put or a deletion before, at or after the instant may be.
    enum Change: String, CaseIterable { case putBefore, deletedBefore, putAt, deletedAt, putAfter, deletedAfter }

    private func apply(_ change: Change, to key: String, offset: Double, version: String) {
        let time =
            switch change {
            case .putBefore, .deletedBefore: instant - 600 + offset
            case .putAt, .deletedAt: instant + offset / 1000
            case .putAfter, .deletedAfter: instant + 600 + offset
            }
        switch change {
        case .putBefore, .putAt, .putAfter: bucket.put(key.utf8, body: version.utf8, at: time, versionID: version)
        case .deletedBefore, .deletedAt, .deletedAfter: bucket.delete(key.utf8, at: time, versionID: version)
        }
    }

    @Test("S14 S16: two changes of a key, each a put or a deletion before, at or after T: the truth table")
    func truthTable()
        throws
    {
        let shop = try Workshop()
        var expected: [String: String] = [:]
        for first in Change.allCases {
            for second in Change.allCases where order(first) <= order(second) {
                let key = "\(first)-\(second)"
                apply(first, to: key, offset: 1, version: "first")
                apply(second, to: key, offset: 2, version: "second")
                expected[key] = answer(first, second)
            }
        }
        let ran = try drill(shop, expected.keys.sorted(), settings: ", listing: list")
        #expect(ran.status == 1, "\(ran.errors)")
        let findings = Dictionary(
            uniqueKeysWithValues: try shop.ledger("SELECT object_key_text, kind FROM finding").map { line in
                let parts = line.split(separator: "|")
                return (String(parts[0]), String(parts[1]))
            })
        for (key, answer) in expected { #expect(findings[key] ?? "met" == answer, "\(key)") }

        // One by one, the answers are the same.
        let asked = try drill(shop, expected.keys.sorted(), settings: ", listing: head")
        #expect(asked.status == 1, "\(asked.errors)")
        let run = try shop.ledger("SELECT run_id FROM run ORDER BY started_at DESC LIMIT 1")[0]
        let again = Set(try shop.ledger("SELECT object_key_text, kind FROM finding WHERE run_id = '\(run)'"))
        #expect(again == Set(findings.map { "\($0.key)|\($0.value)" }))
    }

    private func order(_ change: Change) -> Int {
        switch change {
        case .putBefore, .deletedBefore: 0
        case .putAt, .deletedAt: 1
        case .putAfter, .deletedAfter: 2
        }
    }

    /// What a row that names the key must get: a change in the very second of T may have come before or after it.
    private func answer(_ first: Change, _ second: Change) -> String {
        var readings: Set<String> = ["missing"]
        for change in [first, second] {
            switch change {
            case .putBefore: readings = ["met"]
            case .deletedBefore: readings = ["missing"]
            case .putAt: readings.insert("met \(change)")
            case .deletedAt: readings.insert("missing")
            case .putAfter, .deletedAfter: break
            }
        }
        return readings == ["met"] ? "met" : readings == ["missing"] ? "missing" : "ambiguous"
    }

    @Test(
        "S14: what the row says of its object decides between two readings; its bytes are read where nothing else tells"
    )
    func evidence() throws {
        let shop = try Workshop()
        for key in ["by-checksum", "by-version", "of-neither", "undecided", "unread"] {
            bucket.put(key.utf8, body: "older".utf8, at: instant - 600, versionID: "v1-\(key)") { $0.checksum = nil }
            bucket.put(key.utf8, body: "newer".utf8, at: instant, versionID: "v2-\(key)") { $0.checksum = nil }
        }
        let ran = try drill(
            shop, ["by-checksum", "by-version", "of-neither", "undecided"],
            columns: [
                "ALTER TABLE files ADD size bigint DEFAULT 5, ADD sha text, ADD version text",
                "UPDATE files SET sha = encode(sha256('newer'), 'hex') WHERE key = 'by-checksum'",
                "UPDATE files SET sha = encode(sha256('third'), 'hex') WHERE key = 'of-neither'",
                "UPDATE files SET version = 'v1-by-version' WHERE key = 'by-version'",
            ],
            probe:
                ", size: size, version: version, checksum: { column: sha, algorithm: sha256, encoding: hex }, content: all"
        )
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.findings() == ["checksum_mismatch|unknown|of-neither", "ambiguous|unknown|undecided"])
        let observed = try shop.ledger("SELECT observed FROM finding WHERE kind = 'ambiguous'")[0]
        #expect(observed.contains("v1-undecided") && observed.contains("v2-undecided"), "\(observed)")
        #expect(try shop.ledger("SELECT passed, failed, unknown FROM probe_result") == ["2|1|1"])
        // Both bytes of two keys, and those of the version that a row names.
        #expect(standIn.counts.byOperation[.getObject] == 5)
    }

    @Test("S19: keys near T are counted; a clock seen to be farther off than skew_tolerance widens it") func skew()
        throws
    {
        let shop = try Workshop()
        for (key, offset) in [("far", -600.0), ("near", -30.0), ("nearest", -3.0)] {
            bucket.put(key.utf8, at: instant + offset)
        }
        let calm = try drill(shop, ["far", "near", "nearest"])
        #expect(calm.status == 2, "\(calm.errors)")
        #expect(try shop.findings() == ["ambiguous|unknown|nearest"])
        #expect(
            calm.errors.contains("1 key of s3://uploads changed within 5 s of the recovery point"), "\(calm.errors)")
        standIn.setClock(aheadBy: 60)
        let skewed = try drill(shop, ["far", "near", "nearest"])
        #expect(skewed.status == 2, "\(skewed.errors)")
        #expect(skewed.errors.contains("farther apart than skew_tolerance allows"), "\(skewed.errors)")
        #expect(skewed.errors.contains("2 keys of s3://uploads changed within"), "\(skewed.errors)")
        // Both runs may have begun in one second, which is as far as their names tell.
        let latest = "run_id = (SELECT run_id FROM run ORDER BY started_at DESC LIMIT 1)"
        #expect(try shop.ledger("SELECT unknown FROM probe_result WHERE \(latest)") == ["2"])
    }

    @Test("S20: a version that a replica lacks is looked for in the live bucket, with its replication status")
    func replica() throws {
        let shop = try Workshop()
        let live = standIn.bucket("live")
        live.setVersioning(.enabled)
        for key in ["copied", "failed", "late"] {
            live.put(key.utf8, at: key == "late" ? instant + 60 : instant - 600, versionID: "v-\(key)") {
                $0.replicationStatus = key == "failed" ? "FAILED" : "COMPLETED"
            }
        }
        bucket.put("copied".utf8, at: instant - 600, versionID: "v-copied") { $0.replicationStatus = "REPLICA" }
        let ran = try drill(shop, ["copied", "failed", "late"], settings: ", origin: { bucket: live }")
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.findings() == ["missing|not_copied|failed", "missing|uploaded_after_copy|late"])
        let evidence = try shop.ledger("SELECT evidence FROM finding WHERE object_key_text = 'failed'")[0]
        #expect(evidence.contains("replication status there is FAILED"), "\(evidence)")
    }

    @Test("a T that lies ahead, before versioning was enabled, or before the bucket's first version")
    func impossibleInstants()
        throws
    {
        let shop = try Workshop()
        bucket.put("a".utf8, at: instant - 600)
        let future = try drill(shop, ["a"], at: Date() + 86400)
        #expect(future.status == 2, "\(future.errors)")
        #expect(future.errors.contains("is in the future"), "\(future.errors)")

        bucket.setVersioning(.never)
        bucket.put("old".utf8, at: instant - 900)
        bucket.put("overwritten".utf8, at: instant + 60)
        bucket.setVersioning(.enabled)
        bucket.put("overwritten".utf8, at: instant + 120)
        let before = try drill(shop, ["old", "overwritten"], settings: ", listing: list", at: instant - 700)
        #expect(before.status == 1, "\(before.errors)")
        #expect(try shop.findings() == ["missing|unknown|overwritten"])
        #expect(before.errors.contains("versioning may have been enabled only after"), "\(before.errors)")
    }

    @Test("S18: a version removed by its id shows by what the row says, and lifecycle rules are read")
    func removedVersion() throws {
        let shop = try Workshop()
        bucket.put("a".utf8, body: "older".utf8, at: instant - 900, versionID: "v1")
        bucket.put("a".utf8, body: "newer".utf8, at: instant - 600, versionID: "v2")
        bucket.deleteVersion("a".utf8, "v2")
        var rule = LifecycleRule(id: "tidy")
        rule.noncurrentDays = 0
        bucket.setLifecycle([rule])
        let ran = try drill(
            shop, ["a"], columns: ["ALTER TABLE files ADD version text DEFAULT 'v2'"], probe: ", version: version")
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT kind, expected, observed FROM finding") == ["stale_version|version v2|version v1"])
        #expect(ran.errors.contains("Lifecycle rule \"tidy\""), "\(ran.errors)")
    }
}
