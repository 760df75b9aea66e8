import DrillCore
import DrillTestKit
import Foundation
import Testing

/// The references probe over rows and objects in memory: what is judged, counted and found.
struct ReferencesProbeTests {
    typealias Row = ScriptedDatabase.Row
    typealias Entry = MemoryStore.Entry

    func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// - Parameter settings: YAML lines of the probe beside name, kind and table.
    func run(
        _ settings: String, rows: [String: [Row]], stores: [MemoryStore], recoveryPoint: Date? = nil,
        others: [(name: String, settings: String)] = [], older: [OlderCopy] = [], failsAfter: Int? = nil
    ) async throws -> ProbeRun {
        try await ProbeRun.references(
            settings, rows: rows, stores: stores, recoveryPoint: recoveryPoint, others: others, older: older,
            failsAfter: failsAfter)
    }

    var plain: String { "{ table: t, key: k, bucket: b }" }

    @Test func everyRowAnsweredPasses() async throws {
        let ran = try await run(
            plain, rows: ["t": [Row(bytes("a"), id: "1"), Row(bytes("b/c"), id: "2"), Row(bytes("b/c"), id: "3")]],
            stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("a")), Entry(bytes("b/c")), Entry(bytes("z"))])])
        #expect(ran.outcome.verdict == .pass)
        #expect(ran.outcome.examined == 3)
        #expect(ran.findings.isEmpty)
    }

    @Test(arguments: 0..<7)
    func eachMissingKeyIsFoundWhereverItStands(missing: Int) async throws {
        let keys = (0..<7).map { "key-\($0)" }
        let ran = try await run(
            plain, rows: ["t": keys.map { Row(bytes($0), id: $0) }],
            stores: [
                MemoryStore(bucket: "b", entries: keys.filter { $0 != keys[missing] }.map { Entry(bytes($0)) })
            ])
        #expect(ran.outcome.verdict == .fail)
        #expect(ran.findings.map(\.kind) == [.missing])
        #expect(ran.findings.first?.rowID == keys[missing])
        #expect(ran.findings.first?.objectKey == bytes(keys[missing]))
        #expect(ran.outcome.passed == 6)
    }

    @Test("A bucket that no row names is not asked for, though its listing may have begun", arguments: [false, true])
    func unnamedBucket(isAhead: Bool) async throws {
        let store = MemoryStore(
            bucket: "b", entries: [], wantsSplitHints: isAhead,
            listingFailure: DrillError(.couldNotLook, "no such bucket"))
        let settings = "{ table: t, key: k, bucket: b, min_rows: 0 }"
        #expect(try await run(settings, rows: ["t": []], stores: [store]).outcome.verdict == .pass)
        await #expect(throws: DrillError.self) {
            try await run(settings, rows: ["t": [Row(bytes("a"), id: "1")]], stores: [store])
        }
    }

    @Test("A listing that begins while rows are sorted leads to the same findings", arguments: [false, true])
    func listedAhead(failsInRows: Bool) async throws {
        let store = MemoryStore(bucket: "b", entries: [Entry(bytes("a")), Entry(bytes("z"))], wantsSplitHints: true)
        let rows = ["t": [Row(bytes("a"), id: "1"), Row(bytes("c"), id: "2"), Row(bytes("d"), id: "3")]]
        if failsInRows {
            await #expect(throws: DrillError.self) { try await run(plain, rows: rows, stores: [store], failsAfter: 0) }
        } else {
            let ran = try await run("{ table: t, key: k, bucket: b, orphans: report }", rows: rows, stores: [store])
            #expect(ran.findings.filter { $0.kind == .missing }.map(\.objectKey) == [bytes("c"), bytes("d")])
            #expect(ran.findings.filter { $0.kind == .orphan }.map(\.objectKey) == [bytes("z")])
            #expect(ran.outcome.passed == 1)
        }
    }

    @Test("V2: nothing examined is inconclusive, unless min_rows is 0") func nothingExamined() async throws {
        let empty = try await run(plain, rows: ["t": []], stores: [MemoryStore(bucket: "b", entries: [])])
        #expect(empty.outcome.verdict == .inconclusive)
        let declared = try await run(
            "{ table: t, key: k, bucket: b, min_rows: 0 }", rows: ["t": []],
            stores: [MemoryStore(bucket: "b", entries: [])])
        #expect(declared.outcome.verdict == .pass)
    }

    @Test("P12: a stream that breaks off never passes") func brokenStream() async throws {
        await #expect(throws: DrillError.self) {
            _ = try await run(
                plain, rows: ["t": (0..<8).map { Row(bytes("k\($0)"), id: "\($0)") }],
                stores: [MemoryStore(bucket: "b", entries: (0..<8).map { Entry(bytes("k\($0)")) })], failsAfter: 4)
        }
    }

    @Test("S1: NFC and NFD are two keys, and the finding says so") func normalisation() async throws {
        let ran = try await run(
            plain, rows: ["t": [Row(bytes("cafe\u{301}"), id: "1")]],
            stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("caf\u{E9}"))])])
        let finding = try #require(ran.findings.first)
        #expect(finding.kind == .missing)
        #expect(finding.cause == .keyEncoding)
        #expect(finding.evidence?.contains("Unicode normalisation") == true)
        #expect(ran.outcome.verdict == .fail)
    }

    @Test(arguments: [
        ("/lead", "lead", "a leading slash"), ("A/b.PNG", "a/b.png", "upper and lower case"),
        ("a%20b", "a b", "percent-encoding"), ("a b", "a%20b", "percent-encoding"),
    ])
    func spellingsAreNamed(row: String, object: String, difference: String) async throws {
        let ran = try await run(
            plain, rows: ["t": [Row(bytes(row), id: "1")]],
            stores: [MemoryStore(bucket: "b", entries: [Entry(bytes(object))])])
        let finding = try #require(ran.findings.first)
        #expect(finding.cause == .keyEncoding)
        #expect(finding.evidence?.contains(difference) == true, "\(finding.evidence ?? "")")
    }

    @Test func sizesAreComparedAndNullIsNotComparable() async throws {
        let rows = [
            Row(bytes("a"), id: "1", sizeBytes: 3), Row(bytes("b"), id: "2", sizeBytes: 4), Row(bytes("c"), id: "3"),
        ]
        let store = MemoryStore(bucket: "b", entries: ["a", "b", "c"].map { Entry(bytes($0), content: [1, 2, 3]) })
        let ran = try await run("{ table: t, key: k, bucket: b, size: s }", rows: ["t": rows], stores: [store])
        #expect(ran.findings.map(\.kind) == [.sizeMismatch])
        #expect(ran.findings.first?.expected == "4 bytes")
        #expect(ran.findings.first?.observed == "3 bytes")
        #expect(ran.outcome.passed == 2)
        #expect(ran.outcome.summary.contains("sizes: 2 compared, 1 not comparable"), "\(ran.outcome.summary)")
    }

    @Test("V8: a required expectation that is NULL is unknown, and the run inconclusive") func required() async throws {
        let ran = try await run(
            "{ table: t, key: k, bucket: b, size: s, require: [size] }", rows: ["t": [Row(bytes("a"), id: "1")]],
            stores: [MemoryStore(bucket: "b", entries: [Entry(bytes("a"))])])
        #expect(ran.outcome.unknown == 1)
        #expect(ran.outcome.verdict == .inconclusive)
    }

    @Test func contentIsReadOncePerObjectAndHashed() async throws {
        let rows = [
            Row(bytes("a"), id: "1", checksum: "01020304"), Row(bytes("a"), id: "2", checksum: "01020304"),
            Row(bytes("b"), id: "3", checksum: "ffffffff"),
        ]
        let store = MemoryStore(bucket: "b", entries: ["a", "b"].map { Entry(bytes($0), content: [1, 2, 3, 4]) })
        let ran = try await run(
            "{ table: t, key: k, bucket: b, content: all, checksum: { column: c, algorithm: crc32c } }",
            rows: ["t": rows], stores: [store])
        #expect(store.contentsRead.count == 2)
        #expect(ran.findings.map(\.kind) == [.checksumMismatch])
        #expect(ran.findings.first?.rowID == "3")
        #expect(ran.outcome.passed == 2)
    }

    @Test func unreadableContentIsAFindingAndOutranksTheSize() async throws {
        let store = MemoryStore(
            bucket: "b", entries: [Entry(bytes("a"), content: [1])], unreadable: [bytes("a")])
        let ran = try await run(
            "{ table: t, key: k, bucket: b, size: s, content: all }",
            rows: ["t": [Row(bytes("a"), id: "1", sizeBytes: 9)]], stores: [store])
        #expect(ran.findings.map(\.kind) == [.unreadable])
    }

    @Test("S25: a value that is no digest is a doubt, not a mismatch") func malformedDigest() async throws {
        let store = MemoryStore(bucket: "b", entries: [Entry(bytes("a"), content: [1, 2, 3, 4])])
        let ran = try await run(
            "{ table: t, key: k, bucket: b, content: all, checksum: { column: c, algorithm: crc32c } }",
            rows: ["t": [Row(bytes("a"), id: "1", checksum: "0102")]], stores: [store])
        #expect(ran.findings.isEmpty)
        #expect(ran.outcome.verdict == .inconclusive)
    }

    @Test func orphansAreReportedWithoutFailingOrFail() async throws {
        let rows = ["t": [Row(bytes("b"), id: "1")]]
        let entries = ["a", "b", "c", "d"].map { Entry(bytes($0)) }
        let reported = try await run(
            "{ table: t, key: k, bucket: b, orphans: report }", rows: rows,
            stores: [MemoryStore(bucket: "b", entries: entries)])
        #expect(reported.findings.map { printable($0.objectKey ?? []) } == ["a", "c", "d"])
        #expect(reported.findings.allSatisfy { $0.kind == .orphan && !$0.counts })
        #expect(reported.outcome.verdict == .pass)
        let failing = try await run(
            "{ table: t, key: k, bucket: b, orphans: fail }", rows: rows,
            stores: [MemoryStore(bucket: "b", entries: entries)])
        #expect(failing.outcome.verdict == .fail)
        #expect(failing.outcome.examined == 1)
        let ignored = try await run(plain, rows: rows, stores: [MemoryStore(bucket: "b", entries: entries)])
        #expect(ignored.findings.isEmpty)
    }

    @Test func whatAnotherProbeOrALeftOutRowNamesIsNoOrphan() async throws {
        let ran = try await run(
            "{ table: t, key: k, bucket: b, orphans: report, where: \"x\" }",
            rows: [
                "t": [Row(bytes("b"), id: "1"), Row(bytes("c"), id: "2", isIncluded: false)],
                "u": [Row(bytes("a"), id: "3"), Row(bytes("e"), id: "4")],
            ],
            stores: [MemoryStore(bucket: "b", entries: ["a", "b", "c", "d", "e"].map { Entry(bytes($0)) })],
            others: [("other", "{ table: u, key: k, bucket: b, prefix: \"\" }")])
        #expect(ran.findings.map { printable($0.objectKey ?? []) } == ["d"])
        #expect(ran.outcome.examined == 1)
    }

    @Test("S12: a prefix is put before the key and bounds the orphans exactly") func prefix() async throws {
        let ran = try await run(
            "{ table: t, key: k, bucket: b, prefix: \"my/path/\", orphans: report }",
            rows: ["t": [Row(bytes("a"), id: "1")]],
            stores: [
                MemoryStore(
                    bucket: "b", entries: ["my/path/a", "my/path/x", "my/path2/y"].map { Entry(bytes($0)) })
            ])
        #expect(ran.outcome.passed == 1)
        #expect(ran.findings.map { printable($0.objectKey ?? []) } == ["my/path/x"])
    }

    @Test func severalBucketsInOneProbe() async throws {
        let rows = [
            Row(bytes("k"), id: "1", bucket: "one"), Row(bytes("k"), id: "2", bucket: "two"),
            Row(bytes("k"), id: "3", bucket: "elsewhere"), Row(bytes("k"), id: "4", bucket: nil),
            Row(bytes("m"), id: "5", bucket: "two"),
        ]
        let ran = try await run(
            "{ table: t, key: k, bucket_column: bc }", rows: ["t": rows],
            stores: [
                MemoryStore(bucket: "one", entries: [Entry(bytes("k"))]),
                MemoryStore(bucket: "two", entries: [Entry(bytes("k"))]),
            ])
        let found = Dictionary(uniqueKeysWithValues: ran.findings.map { ($0.rowID ?? "", $0) })
        #expect(found["3"]?.kind == .missing && found["3"]?.cause == .otherBucket)
        #expect(found["4"]?.kind == .badReference)
        #expect(found["5"]?.kind == .missing && found["5"]?.bucket == "two")
        #expect(found.count == 3)
        #expect(ran.outcome.examined == 5)
    }

    @Test func urlsAreSortedAgainAndLeadToTheirBuckets() async throws {
        let rows = [
            Row(bytes("https://s3.example:9000/one/z%20z"), id: "1"), Row(bytes("s3://one/a%20a"), id: "2"),
            Row(bytes("https://one.s3.eu-west-1.amazonaws.com/b"), id: "3"),
            Row(bytes("http://169.254.169.254/x"), id: "4"),
            Row(bytes("s3://other/key"), id: "5"), Row(bytes("file:///etc/passwd"), id: "6"),
        ]
        let ran = try await run(
            "{ table: t, key: k, form: url }", rows: ["t": rows],
            stores: [MemoryStore(bucket: "one", entries: ["a%20a", "b", "z z"].map { Entry(bytes($0)) })])
        let found = Dictionary(uniqueKeysWithValues: ran.findings.map { ($0.rowID ?? "", $0) })
        #expect(found.keys.sorted() == ["4", "5", "6"])
        #expect(found["4"]?.kind == .badReference)
        #expect(found["4"]?.objectKey == bytes("http://169.254.169.254/x"))
        #expect(found["5"]?.cause == .otherBucket)
        #expect(found["6"]?.kind == .badReference)
        #expect(ran.outcome.passed == 3)
    }

    @Test("S8: what a listing hides is confirmed by key before it is called missing") func unlisted() async throws {
        let ran = try await run(
            plain, rows: ["t": [Row(bytes("a"), id: "1")]],
            stores: [MemoryStore(bucket: "b", entries: [], unlisted: [bytes("a"): 1])])
        #expect(ran.outcome.verdict == .pass)
        #expect(ran.outcome.summary.contains("no listing names them"))
        #expect(!ran.outcome.relaxations.isEmpty)
    }

    @Test("S29: a store that would not say is unknown, never missing and never a pass") func refused() async throws {
        let ran = try await run(
            plain, rows: ["t": [Row(bytes("a"), id: "1")]],
            stores: [MemoryStore(bucket: "b", entries: [], presences: [bytes("a"): .unknown(reason: "403")])])
        #expect(ran.outcome.verdict == .inconclusive)
        #expect(ran.findings.isEmpty)
    }

    @Test func emptyAndOverlongKeysCannotBeReferences() async throws {
        let ran = try await run(
            plain, rows: ["t": [Row([], id: "1"), Row([UInt8](repeating: 97, count: 1025), id: "2")]],
            stores: [MemoryStore(bucket: "b", entries: [])])
        #expect(ran.findings.map(\.kind) == [.badReference, .badReference])
        let longest = [UInt8](repeating: 97, count: 1024)
        let sound = try await run(
            plain, rows: ["t": [Row(longest, id: "1")]], stores: [MemoryStore(bucket: "b", entries: [Entry(longest)])])
        #expect(sound.outcome.verdict == .pass)
    }

    @Test func versionsThatDifferAreStale() async throws {
        let store = MemoryStore(bucket: "b", entries: [Entry(bytes("a"), version: VersionID("v2"))])
        let ran = try await run(
            "{ table: t, key: k, bucket: b, version: v }", rows: ["t": [Row(bytes("a"), id: "1", version: "v1")]],
            stores: [store])
        #expect(ran.findings.map(\.kind) == [.staleVersion])
    }

    @Test("S14: two readings are ambiguous and inconclusive, unless the row's version decides") func ambiguous()
        async throws
    {
        let readings = [
            ObjectReading(sizeBytes: 1, version: VersionID("v1")),
            ObjectReading(sizeBytes: 1, version: VersionID("v2")),
        ]
        let store = MemoryStore(
            bucket: "b",
            entries: [
                Entry(
                    bytes("a"), content: [1], state: .ambiguous,
                    detail: EntryDetail(note: "same second", readings: readings))
            ])
        let unsettled = try await run(plain, rows: ["t": [Row(bytes("a"), id: "1")]], stores: [store])
        #expect(unsettled.findings.map(\.kind) == [.ambiguous])
        #expect(unsettled.outcome.verdict == .inconclusive)
        let settled = try await run(
            "{ table: t, key: k, bucket: b, version: v }", rows: ["t": [Row(bytes("a"), id: "1", version: "v2")]],
            stores: [store])
        #expect(settled.outcome.verdict == .pass)
        let contradicted = try await run(
            "{ table: t, key: k, bucket: b, version: v }", rows: ["t": [Row(bytes("a"), id: "1", version: "v9")]],
            stores: [store])
        #expect(contradicted.findings.map(\.kind) == [.staleVersion])
        #expect(contradicted.outcome.verdict == .fail)
    }

    @Test func aDeleteMarkerAtTheRecoveryPointIsMissing() async throws {
        let store = MemoryStore(
            bucket: "b",
            entries: [
                Entry(
                    bytes("a"), state: .deleted, detail: EntryDetail(note: "deleted at noon", cause: .deletedBeforeCopy)
                )
            ])
        let ran = try await run(plain, rows: ["t": [Row(bytes("a"), id: "1")]], stores: [store])
        #expect(ran.findings.map(\.kind) == [.missing])
        #expect(ran.findings.first?.cause == .deletedBeforeCopy)
    }

    @Test func causesAreNamedOnlyWhereTimesShowThem() async throws {
        let dump = Date(timeIntervalSince1970: 1_800_000_000)
        func store(_ from: Double, _ to: Double) -> MemoryStore {
            MemoryStore(bucket: "b", entries: [], copiedBetween: (dump + from)...(dump + to))
        }
        func cause(_ store: MemoryStore, changed: Double, older: [OlderCopy] = []) async throws -> Cause? {
            try await run(
                "{ table: t, key: k, bucket: b, changed_at: c }",
                rows: ["t": [Row(bytes("a"), id: "1", changedAt: dump + changed)]], stores: [store],
                recoveryPoint: dump, older: older
            ).findings.first?.cause
        }
        #expect(try await cause(store(-600, -300), changed: -60) == .uploadedAfterCopy)
        #expect(try await cause(store(-600, -300), changed: -900) == .unknown)
        #expect(try await cause(store(60, 90), changed: -900) == .unknown)
        let older = OlderCopy(setID: "older", objects: ["b": MemoryStore(bucket: "b", entries: [Entry(bytes("a"))])])
        #expect(try await cause(store(60, 90), changed: -900, older: [older]) == .deletedBeforeCopy)
    }

    @Test("V9: a sample says its share and its bound") func samples() async throws {
        let keys = (0..<400).map { "key-\($0)" }.sorted()
        let store = MemoryStore(bucket: "b", entries: keys.map { Entry(bytes($0), content: [1]) })
        let ran = try await run(
            "{ table: t, key: k, bucket: b, content: { sample: 25% } }",
            rows: ["t": keys.map { Row(bytes($0), id: $0) }], stores: [store])
        #expect((60...140).contains(store.contentsRead.count), "\(store.contentsRead.count)")
        #expect(ran.outcome.summary.contains("sample of 25.00%"))
        #expect(!ran.outcome.relaxations.isEmpty)
    }

    @Test func askingForEachKeyFindsWhatAListingFinds() async throws {
        let keys = (0..<9).map { "key-\($0)" }
        let rows = keys.map { Row(bytes($0), id: $0, sizeBytes: $0 == "key-3" ? 9 : 1) }
        for isListed in [true, false] {
            let store = MemoryStore(
                bucket: "b", entries: keys.filter { $0 != "key-7" }.map { Entry(bytes($0), content: [1]) },
                isListed: isListed)
            let ran = try await run("{ table: t, key: k, bucket: b, size: s }", rows: ["t": rows], stores: [store])
            #expect(
                Set(ran.findings.map { "\($0.kind) \($0.rowID ?? "")" }) == ["sizeMismatch key-3", "missing key-7"])
            #expect(ran.outcome.passed == 7)
            #expect(!ran.outcome.summary.contains("no listing names them"))
        }
    }

    @Test func anyOfSeveralVersionsWithTheSameBytesMayBeNamed() async throws {
        let readings = ["v1", "v2"].map { ObjectReading(sizeBytes: 1, version: VersionID($0)) }
        let store = MemoryStore(
            bucket: "b",
            entries: [
                Entry(
                    bytes("a"), content: [1], detail: EntryDetail(note: "same bytes", readings: readings),
                    version: VersionID("v2"))
            ])
        for (version, verdict) in [("v1", Verdict.pass), ("v2", .pass), ("v3", .fail)] {
            let ran = try await run(
                "{ table: t, key: k, bucket: b, version: v }",
                rows: ["t": [Row(bytes("a"), id: "1", version: version)]],
                stores: [store])
            #expect(ran.outcome.verdict == verdict, "\(version)")
        }
    }
}
