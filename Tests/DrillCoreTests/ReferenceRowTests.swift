import DrillCore
import DrillTestKit
import Foundation
import Testing

/// Rows that name nothing, or the same object as others, or hold more than a name.
extension ReferencesProbeTests {
    @Test(
        "V2: a prefix alone is no key, not even where a folder marker stands at it",
        arguments: ["key", "percent_encoded"])
    func anEmptyKeyBehindAPrefixIsNoReference(form: String) async throws {
        let ran = try await run(
            "{ table: t, key: k, bucket: b, prefix: \"avatars/\", form: \(form) }",
            rows: ["t": [Row(bytes(""), id: "1"), Row(bytes("a"), id: "2")]],
            stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("avatars/")), Entry(bytes("avatars/a"))])])
        #expect(ran.findings.map(\.kind) == [.badReference])
        #expect(ran.findings.first?.rowID == "1")
        #expect(ran.findings.first?.objectKey == [])
        #expect(ran.outcome.examined == 2)
        #expect(ran.outcome.passed == 1)
    }

    @Test("V2: so it is where rows name their buckets") func anEmptyKeyInABucketOfItsRow() async throws {
        let ran = try await run(
            "{ table: t, key: k, bucket_column: bc, prefix: p/ }",
            rows: [
                "t": [
                    Row(bytes(""), id: "1", bucket: "b"), Row(bytes("x"), id: "2", bucket: nil),
                    Row(bytes("x"), id: "3", bucket: "b"),
                ]
            ], stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("p/")), Entry(bytes("p/x"))])])
        let found = Dictionary(uniqueKeysWithValues: ran.findings.map { ($0.rowID ?? "", $0) })
        #expect(found.keys.sorted() == ["1", "2"])
        #expect(found["2"]?.objectKey == bytes("x"), "the raw value, without the prefix")
        #expect(ran.outcome.passed == 1)
    }

    @Test(
        "A size that is no whole number of bytes equals no object's",
        arguments: [
            "bucket: b", "bucket: b, form: percent_encoded", "bucket_column: bc", "bucket: b, orphans: report",
            "bucket: b, content: all",
        ], [true, false])
    func aSizeThatIsNoWholeNumber(setting: String, isListed: Bool) async throws {
        let odd = "5.4 bytes, which is no whole number"
        let rows = [
            Row(bytes("a"), id: "1", bucket: "b", sizeBytes: 5), Row(bytes("b"), id: "2", bucket: "b", oddSize: odd),
            Row(bytes("c"), id: "3", bucket: "b"), Row(bytes("d"), id: "4", bucket: "b", sizeBytes: -5),
        ]
        let store = MemoryStore(
            bucket: "b", entries: ["a", "b", "c", "d"].map { Entry(bytes($0), content: [1, 2, 3, 4, 5]) },
            isListed: isListed)
        let ran = try await run("{ table: t, key: k, size: s, \(setting) }", rows: ["t": rows], stores: [store])
        #expect(ran.findings.map(\.kind) == [.sizeMismatch, .sizeMismatch])
        #expect(ran.findings.map(\.rowID) == ["2", "4"])
        #expect(ran.findings.map(\.expected) == [odd, "-5 bytes"])
        #expect(ran.findings.map(\.observed) == ["5 bytes", "5 bytes"])
        #expect(ran.outcome.passed == 2)
        #expect(ran.outcome.summary.contains("sizes: 3 compared, 1 not comparable"), "\(ran.outcome.summary)")
    }

    @Test(
        "S25: an object that rows with and without a checksum name is compared with each in its own algorithm",
        arguments: [["1": "01020304", "2": nil], ["1": nil, "2": "01020304"], ["1": "01020304", "2": "ffffffff"]])
    func rowsWithAndWithoutAChecksum(checksums: [String: String?]) async throws {
        // What the store keeps is of another algorithm than the rows: digests of both have four bytes here.
        let object = Entry(
            bytes("a"), content: [1, 2, 3, 4], stored: StoredChecksum(algorithm: .md5, digest: [9, 9, 9, 9]))
        let store = MemoryStore(
            bucket: "b", entries: [object],
            hash: { bytes, algorithm in algorithm == .md5 ? [9, 9, 9, 9] : bytes })
        let ran = try await run(
            "{ table: t, key: k, bucket: b, content: all, checksum: { column: c, algorithm: crc32c } }",
            rows: ["t": ["1", "2"].map { Row(bytes("a"), id: $0, checksum: checksums[$0] ?? nil) }], stores: [store])
        let isWrong = checksums["2"] == "ffffffff"
        #expect(ran.findings.map(\.rowID) == (isWrong ? ["2"] : []))
        #expect(ran.outcome.passed == (isWrong ? 1 : 2))
    }

    @Test("A probe whose rows cannot be read hides no missing object of another", arguments: ["report", "fail"])
    func anotherProbeThatCannotBeRead(orphans: String) async throws {
        func ran(_ keys: [String]) async throws -> ProbeOutcome {
            try await run(
                "{ table: t, key: k, bucket: b, orphans: \(orphans) }",
                rows: ["t": keys.map { Row(bytes($0), id: $0) }],
                stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("a")), Entry(bytes("z"))])],
                others: [("lost", "{ table: nowhere, key: k, bucket: b }")]
            ).outcome
        }
        #expect(try await ran(["a", "m"]).failed == 1)
        let whole = try await ran(["a"])
        #expect(whole.passed == 1)
        #expect(whole.otherFailures == 0)
        #expect(whole.verdict == .inconclusive)
        #expect(
            whole.doubt == "orphans cannot be told: what probe lost names could not be read: there is no such table")
    }

    @Test("S1: a bucket's name is bytes: another spelling of it is another bucket") func bucketsAreBytes() async throws
    {
        let ran = try await run(
            "{ table: t, key: k, bucket_column: bc }",
            rows: [
                "t": [Row(bytes("x"), id: "1", bucket: "cafe\u{301}"), Row(bytes("x"), id: "2", bucket: "caf\u{e9}")]
            ],
            stores: [MemoryStore(bucket: "caf\u{e9}", entries: [Entry(bytes("x"))])])
        #expect(ran.findings.map(\.rowID) == ["1"])
        #expect(ran.findings.first?.cause == .otherBucket)
    }

    @Test func aBucketOfTheDrillFileIsOneWhateverItsName() async throws {
        let ran = try await run(
            "{ table: t, key: k, form: url }",
            rows: [
                "t": [
                    Row(bytes("s3://b/x"), id: "1"), Row(bytes("https://b.s3.amazonaws.com/x"), id: "2"),
                    Row(bytes("https://s3.example:9000/b/x"), id: "3"), Row(bytes("s3://c/x"), id: "4"),
                ]
            ], stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("x"))])])
        #expect(ran.findings.map(\.rowID) == ["4"])
        #expect(ran.outcome.passed == 3)
    }

    @Test(
        "X2: what signs a URL and a password in it reach no finding",
        arguments: [
            (
                "https://x.example/k?X-Amz-Date=1&X-Amz-Signature=c0ffee&x-amz-security-token=t#f",
                "https://x.example/k?X-Amz-Date=1&X-Amz-Signature=<redacted>&x-amz-security-token=<redacted>#f"
            ),
            ("https://me:pw@x.example/k", "https://me:<redacted>@x.example/k"),
            ("ftp://x.example:21/k?v=1", "ftp://x.example:21/k?v=1"),
            ("https://x.example/Signature=1", "https://x.example/Signature=1"),
        ])
    func secretsInURLs(raw: String, shown: String) async throws {
        let ran = try await run(
            "{ table: t, key: k, form: url }", rows: ["t": [Row(bytes(raw), id: "1")]],
            stores: [MemoryStore(bucket: "b", entries: [])])
        #expect(ran.findings.map(\.kind) == [.badReference])
        #expect(ran.findings.first?.objectKey == bytes(shown))
    }
}
