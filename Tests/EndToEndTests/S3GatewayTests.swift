import DrillTestKit
import Foundation
import Testing

/// Buckets of a real gateway, written by the tools that people use, drilled from the command line.
@Suite("S3: drills of a real gateway", .needs(.s3), .needs(.postgres))
struct S3GatewayTests {
    private let service: S3Service

    init() throws { service = try S3Service.gateway() }

    private var otherUser: S3Service {
        get throws {
            let environment = ProcessInfo.processInfo.environment
            return S3Service(
                endpoint: service.endpoint,
                accessKey: try #require(environment["MUSTER_TEST_S3_OTHER_ACCESS_KEY"]),
                secretKey: try #require(environment["MUSTER_TEST_S3_OTHER_SECRET_KEY"]))
        }
    }

    // MARK: kind s3

    @Test func theTargetOfASyncIsCalledByRollAndTheLiveBucketTellsCauses() throws {
        let shop = try Workshop()
        let live = Workshop.bucketName(), copy = Workshop.bucketName()
        let keys = (0..<12).map { "users/\($0).png" }
        try shop.play(
            [.bucket(live), .bucket(copy)] + keys.dropLast().map { .put(live, $0, "picture") }, on: service)
        let synced = try shop.run(
            ["/usr/bin/env", "aws", "s3", "sync", "s3://\(live)", "s3://\(copy)/nightly"],
            variables: service.variables(home: shop.root))
        try #require(synced.status == 0, "\(synced.errors)")
        let ended = Date()
        let objects =
            "{ bucket: uploads, kind: s3, url: \"s3://\(copy)/nightly\", origin: { url: \"s3://\(live)\" } }"
        try shop.bucketDrill(try shop.filesDatabase(keys.dropLast()), objects: objects)
        let sound = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(sound.status == 0, "\(sound.errors)")

        try shop.wait { Date() > ended + 2 }
        try shop.play([.delete(copy, "nightly/users/3.png"), .put(live, keys[11], "late")], on: service)
        try shop.bucketDrill(try shop.filesDatabase(keys), objects: objects)
        let damaged = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(damaged.status == 1, "\(damaged.errors)")
        #expect(
            try shop.findings() == [
                "missing|uploaded_after_copy|users/11.png", "missing|not_copied|users/3.png",
            ])
    }

    @Test("S1 S5 S10 S12: hostile keys written by boto3 are all found, and none stands in for another")
    func hostileKeys() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        let keys = [
            "\u{1}", "\u{8}x", "\u{B}", "\u{1B}[31m", "\u{7F}", "\u{FFFE}", "%25", "a+b", "a b", "a%20b", "a%2Bb", " a",
            "a ",
            "\"<>&'", "]]>", "line\nbreak", "carriage\r\nreturn", "tab\tkey", ".", "..", "a/../b", "./x", "a//b",
            "/lead", "trail/",
            "caf\u{E9}", "cafe\u{301}", "\u{212B}", "\u{C5}", "\u{FFFF}", "\u{10000}", "A", "\\", "*", "~", "é/ü/日本語",
            "\u{202E}gnp.exe",
            "?versionId=x", "#", String(repeating: "k", count: 1024),
        ]
        try shop.play([.bucket(bucket)] + keys.map { .put(bucket, $0) }, on: service)
        let absent = ["A\u{30A}", "b", "x", "lead", "trail", "%2525", "a%252Bb"]
        try shop.bucketDrill(
            try shop.hostileDatabase(keys + absent), objects: "{ bucket: uploads, kind: s3, url: \"s3://\(bucket)\" }",
            probes:
                "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, orphans: fail }\n"
        )
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT passed, failed, unknown FROM probe_result") == ["\(keys.count)|\(absent.count)|0"])
        #expect(
            try Set(shop.ledger("SELECT kind || hex(object_key) FROM finding"))
                == Set(absent.map { "missing" + hexadecimal($0).uppercased() }))
    }

    // MARK: kind s3_versions

    @Test("S16: each key at the version that was current when the dump was taken") func versions() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        let keys = ["deleted-after", "deleted-before", "kept", "overwritten", "reborn", "too-late", "twice"]
        try shop.play(
            [
                .bucket(bucket), .versioning(bucket, "Enabled"), .put(bucket, "kept", "v1"),
                .put(bucket, "overwritten", "v1"), .put(bucket, "deleted-after", "v1"),
                .put(bucket, "deleted-before", "v1"), .delete(bucket, "deleted-before"),
                .put(bucket, "twice", "older one"),
                .put(bucket, "twice", "v2"), .put(bucket, "reborn", "older one"), .delete(bucket, "reborn"),
                .put(bucket, "reborn", "v2"),
            ], on: service)
        let written = Date()
        // Outside of the tolerance of a second, and of the whole seconds of a dump's own time.
        try shop.wait { Date() > written + 2.2 }
        let database = try shop.filesDatabase(keys, more: ["ALTER TABLE files ADD size bigint DEFAULT 2"])
        try shop.dumpDrill(
            database,
            objects: "{ bucket: uploads, kind: s3_versions, url: \"s3://\(bucket)\", skew_tolerance: 1s }",
            probes:
                "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, size: size, content: all }\n"
        )
        let dumped = Date()
        try shop.wait { Date() > dumped + 1.2 }
        try shop.play(
            [
                .put(bucket, "overwritten", "a longer one"), .delete(bucket, "deleted-after"),
                .put(bucket, "too-late", "v1"), .put(bucket, "twice", "a third one"), .delete(bucket, "kept"),
                .put(bucket, "kept", "back again"),
            ], on: service)
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT passed, failed, unknown FROM probe_result") == ["5|2|0"])
        #expect(
            try shop.findings() == [
                "missing|deleted_before_copy|deleted-before", "missing|uploaded_after_copy|too-late",
            ])
        let age = try #require(
            try shop.ledger("SELECT (julianday(started_at) - julianday(recovery_point)) * 86400 FROM run").first)
        #expect(try #require(Double(age)) < 60)
    }

    @Test func aBucketThatWasNeverVersionedCannotBeHadBackAsOfAnInstant() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket), .put(bucket, "a")], on: service)
        try shop.dumpDrill(
            try shop.filesDatabase(["a"]), objects: "{ bucket: uploads, kind: s3_versions, url: \"s3://\(bucket)\" }")
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(ran.errors.contains("versioning was never enabled"), "\(ran.errors)")
        #expect(try shop.ledger("SELECT count(*) FROM probe_result WHERE verdict = 'pass'") == ["0"])
    }

    // MARK: Sets in a bucket

    @Test func setsInABucketAreFetchedDrilledAndFallenBackFrom() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        let database = try shop.filesDatabase(["a", "b/c"])
        try shop.dump(database, to: "whole.sqlc")
        let dump = try shop.read("whole.sqlc")
        try shop.write(dump.prefix(dump.count * 2 / 3), to: "cut.sqlc")
        func set(_ name: String, _ file: String, _ keys: [String]) -> [S3Step] {
            [.upload("\(shop.root)/\(file)", bucket, "backups/\(name)/db_dump.sqlc")]
                + keys.map { .put(bucket, "backups/\(name)/s3_files/\($0)") }
        }
        try shop.play([.bucket(bucket)] + set("2026-01-02", "whole.sqlc", ["a", "b/c"]), on: service)
        let server = ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? ""
        try shop.write(
            """
            drill: e2e
            backup:
              sets: s3://\(bucket)/backups
              named: "%Y-%m-%d"
              settle: 0s
              database: { kind: pg_dump, path: db_dump.sqlc }
              objects: [ { bucket: uploads, kind: s3, path: s3_files } ]
            scratch: { directory: scratch, database: { kind: database, server: "\(server)" } }
            probes:
            \(Workshop.files)
            """, to: "drill.yaml")
        let sound = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(sound.status == 0, "\(sound.errors)")
        #expect(try shop.leftInScratch.isEmpty)

        try shop.play(
            set("2026-01-01", "whole.sqlc", ["a"]) + set("2026-01-03", "cut.sqlc", ["a", "b/c"]), on: service)
        let sets = try shop.muster(["sets", "drill.yaml"], on: service)
        #expect(sets.status == 0, "\(sets.errors)")
        for name in ["2026-01-01", "2026-01-02", "2026-01-03"] { #expect(sets.output.contains(name), "\(sets.output)") }
        let fallen = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(fallen.status == 1, "\(fallen.errors)")
        #expect(
            try shop.ledger("SELECT backup_set, verdict FROM run ORDER BY started_at DESC LIMIT 1") == [
                "2026-01-02|fail"
            ])
        #expect(try shop.ledger("SELECT kind FROM finding") == ["restore"])
        let incomplete = try shop.muster(["run", "drill.yaml", "--set", "2026-01-01"], on: service)
        #expect(incomplete.status == 1, "\(incomplete.errors)")
        #expect(try shop.ledger("SELECT object_key_text FROM finding WHERE kind = 'missing'") == ["b/c"])
        #expect(try shop.muster(["run", "drill.yaml", "--set", "2026-01-04"], on: service).status == 64)
        let plan = try shop.muster(["plan", "drill.yaml"], on: service)
        #expect(plan.status == 0, "\(plan.errors)")
        #expect(plan.output.contains("ListObjectsV2"), "\(plan.output)")
    }

    // MARK: What cannot be looked at

    @Test("S29: who may not list, or is not who they say, learns which permission is needed; never a verdict")
    func permissions() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play(
            [.bucket(bucket), .versioning(bucket, "Enabled"), .put(bucket, "a"), .grant(bucket, ["s3:GetObject"])],
            on: service)
        let database = try shop.filesDatabase(["a"])
        let now = "{ bucket: uploads, kind: s3, url: \"s3://\(bucket)\" }"
        try shop.bucketDrill(database, objects: now)
        let unlisted = try shop.muster(["run", "drill.yaml"], on: otherUser)
        #expect(unlisted.status == 2, "\(unlisted.errors)")
        #expect(unlisted.errors.contains("s3:ListBucket"), "\(unlisted.errors)")

        var wrong = service
        wrong.secretKey = String(service.secretKey.reversed())
        let refused = try shop.muster(["run", "drill.yaml"], on: wrong)
        #expect(refused.status == 2, "\(refused.errors)")
        #expect(refused.errors.contains("The credentials were refused"), "\(refused.errors)")
        #expect(!refused.errors.contains(wrong.secretKey))

        let absent = try shop.muster(
            ["run", "drill.yaml"], on: service, ["AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""])
        #expect(absent.status == 2, "\(absent.errors)")
        #expect(absent.errors.contains("no AWS credentials were found"), "\(absent.errors)")
        #expect(absent.errors.contains("s3:ListBucket"), "\(absent.errors)")

        // What is listed can still be unreadable: a finding, since listing tells that it is there.
        try shop.play([.grant(bucket, ["s3:ListBucket"])], on: service)
        try shop.bucketDrill(
            database, objects: now,
            probes:
                "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, content: all }\n")
        let unread = try shop.muster(["run", "drill.yaml"], on: otherUser)
        #expect(unread.status == 1, "\(unread.errors)")
        #expect(try shop.findings() == ["unreadable|access_denied|a"])
    }

    @Test func whoMayNotListVersionsLearnsWhichPermissionIsNeeded() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play(
            [
                .bucket(bucket), .versioning(bucket, "Enabled"), .put(bucket, "a"),
                .grant(bucket, ["s3:ListBucket", "s3:GetBucketVersioning"]),
            ], on: service)
        try shop.dumpDrill(
            try shop.filesDatabase(["a"]), objects: "{ bucket: uploads, kind: s3_versions, url: \"s3://\(bucket)\" }")
        let ran = try shop.muster(["run", "drill.yaml"], on: otherUser)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("s3:ListBucketVersions"), "\(ran.errors)")
        try shop.play([.grant(bucket, ["s3:ListBucketVersions"])], on: service)
        let facts = try shop.muster(["run", "drill.yaml"], on: otherUser)
        #expect(facts.status == 2, "\(facts.errors)")
        #expect(facts.errors.contains("s3:GetBucketVersioning"), "\(facts.errors)")
    }

    @Test("S30: no such bucket is not an empty one", arguments: ["s3", "s3_versions"])
    func noSuchBucket(kind: String) throws {
        let shop = try Workshop()
        let objects = "{ bucket: uploads, kind: \(kind), url: \"s3://\(Workshop.bucketName())\" }"
        let database = try shop.filesDatabase(["a"])
        if kind == "s3" {
            try shop.bucketDrill(database, objects: objects)
        } else {
            try shop.dumpDrill(database, objects: objects)
        }
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("There is no such bucket"), "\(ran.errors)")
    }

    @Test("V2: an empty bucket is no pass") func emptyBucket() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket)], on: service)
        try shop.bucketDrill(
            try shop.filesDatabase(["a"]), objects: "{ bucket: uploads, kind: s3, url: \"s3://\(bucket)\" }")
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status != 0, "\(ran.errors)")
    }

    // MARK: Rows and addresses

    @Test("X5: a row's URL names a bucket and a key, and nothing that it names is ever asked") func rowURLs() throws {
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket), .put(bucket, "a b"), .put(bucket, "c")], on: service)
        let endpoint = service.endpoint
        let urls = [
            "s3://\(bucket)/a b", "\(endpoint)/\(bucket)/a%20b", "https://\(bucket).s3.eu-west-1.amazonaws.com/c",
            "https://s3.us-east-1.amazonaws.com/\(bucket)/c?X-Amz-Signature=0", "s3://another-bucket/c",
            "https://another-bucket.s3.amazonaws.com/c", "http://169.254.169.254/\(bucket)/c",
            "https://evil.example/\(bucket)/c", "file:///etc/passwd", "c",
        ]
        try shop.bucketDrill(
            try shop.hostileDatabase(urls),
            objects: "{ bucket: \(bucket), kind: s3, endpoint: \"\(endpoint)\", region: us-east-1, path_style: true }",
            probes: "  - { name: files, kind: references, table: public.files, key: key, form: url }\n")
        let ran = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT kind, cause, row_id FROM finding ORDER BY cast(row_id AS integer)") == [
                "missing|other_bucket|5", "missing|other_bucket|6", "bad_reference|unknown|7",
                "bad_reference|unknown|8",
                "bad_reference|unknown|9", "bad_reference|unknown|10",
            ])
    }

    @Test("X8: a certificate is believed only where an authority is named; `insecure` is a waiver in the report")
    func certificates() throws {
        let environment = ProcessInfo.processInfo.environment
        let secure = try #require(environment["MUSTER_TEST_S3_TLS_ENDPOINT"])
        let authority = try #require(environment["MUSTER_TEST_S3_CA_FILE"])
        let shop = try Workshop()
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket), .put(bucket, "a")], on: service)
        let database = try shop.filesDatabase(["a"])
        func run(_ more: String) throws -> Workshop.Ran {
            try shop.bucketDrill(
                database,
                objects: "{ bucket: uploads, kind: s3, url: \"s3://\(bucket)\", endpoint: \"\(secure)\"\(more) }")
            return try shop.muster(["run", "drill.yaml"], on: service)
        }
        let unknown = try run("")
        #expect(unknown.status == 2, "\(unknown.errors)")
        #expect(unknown.errors.contains("ca_file"), "\(unknown.errors)")
        let named = try run(", ca_file: \"\(authority)\"")
        #expect(named.status == 0, "\(named.errors)")
        let waived = try run(", insecure: true")
        #expect(waived.status == 0, "\(waived.errors)")
        #expect(waived.errors.contains("Waiver"), "\(waived.errors)")
        #expect(String(decoding: try shop.read("reports/e2e/report.html"), as: UTF8.self).contains("Waiver"))
    }
}
