import DrillCore
import DrillTestKit
import Foundation
import Testing

/// References to keys whose history leaves several readings: the row's own evidence decides, or nothing does.
struct AmbiguousReferencesTests {
    private let first = VersionID("v1"), second = VersionID("v2")
    private let withVersion = "{ table: t, key: k, bucket: b, version: v"
    private let withChecksum =
        "{ table: t, key: k, bucket: b, size: s, checksum: { column: c, algorithm: crc32c, encoding: hex }"

    /// Two versions of four bytes each; hashing gives the bytes themselves.
    private func store(archived: VersionID? = nil, isListed: Bool = true, unreadable: Bool = false) -> MemoryStore {
        let readings = [second, first].map { version in
            ObjectReading(
                sizeBytes: 4, version: version,
                archived: version == archived ? "DEEP_ARCHIVE: a restore takes hours" : nil)
        }
        let detail = EntryDetail(note: "in the same second", readings: readings)
        return MemoryStore(
            bucket: "b",
            entries: [
                MemoryStore.Entry(
                    Array("a".utf8), content: [0, 0, 0, 0], state: .ambiguous, detail: detail,
                    contents: [first: [1, 1, 1, 1], second: [2, 2, 2, 2]])
            ],
            presences: isListed ? [:] : [Array("a".utf8): .ambiguous(detail)],
            unreadable: unreadable ? [Array("a".utf8)] : [], isListed: isListed)
    }

    private func run(_ settings: String, _ row: ScriptedDatabase.Row, _ store: MemoryStore) async throws -> ProbeRun {
        try await ProbeRun.references(settings + " }", rows: ["t": [row]], stores: [store])
    }

    private func row(version: String? = nil, size: Int64? = nil, digest: String? = nil) -> ScriptedDatabase.Row {
        ScriptedDatabase.Row(Array("a".utf8), id: "1", sizeBytes: size, checksum: digest, version: version)
    }

    @Test("S14: the row's checksum with its size decides, and where the store keeps none the bytes are read for it")
    func checksumDecides() async throws {
        for digest in ["01010101", "02020202"] {
            let store = store()
            let ran = try await run(withChecksum, row(size: 4, digest: digest), store)
            #expect(ran.outcome.verdict == .pass, "\(ran.outcome.summary)")
            #expect(!store.contentsRead.isEmpty)
        }
        let neither = try await run(withChecksum, row(size: 4, digest: "03030303"), store())
        #expect(neither.findings.map(\.kind) == [.checksumMismatch])
        #expect(neither.outcome.verdict == .fail)
        let withoutSize = try await run(withChecksum, row(digest: "01010101"), store())
        #expect(withoutSize.findings.map(\.kind) == [.ambiguous])
        let unread = try await run(withChecksum, row(size: 4, digest: "01010101"), store(unreadable: true))
        #expect(unread.findings.map(\.kind) == [.ambiguous])
        #expect(unread.outcome.verdict == .inconclusive)
    }

    @Test("V11: a version that the row names is read like any other object") func chosenVersionIsRead() async throws {
        let store = store()
        let ran = try await run(withVersion + ", content: all", row(version: "v1"), store)
        #expect(ran.outcome.verdict == .pass)
        #expect(store.contentsRead.count == 1)
        let unreadable = try await run(withVersion + ", content: all", row(version: "v1"), self.store(unreadable: true))
        #expect(unreadable.findings.map(\.kind) == [.unreadable])
        #expect(unreadable.outcome.verdict == .fail)
    }

    @Test("S26: a version that the row names and that is archived cannot be read") func chosenVersionIsArchived()
        async throws
    {
        let ran = try await run(withVersion, row(version: "v1"), store(archived: first))
        #expect(ran.findings.map(\.kind) == [.unreadable])
        #expect(ran.findings.first?.cause == .archived)
        #expect(try await run(withVersion, row(version: "v2"), store(archived: first)).outcome.verdict == .pass)
    }

    @Test("S14: what was asked for by key is as ambiguous as what was listed") func askedForByKey() async throws {
        let unsettled = try await run("{ table: t, key: k, bucket: b", row(), store(isListed: false))
        #expect(unsettled.findings.map(\.kind) == [.ambiguous])
        #expect(unsettled.outcome.verdict == .inconclusive)
        let settled = try await run(withVersion, row(version: "v2"), store(isListed: false))
        #expect(settled.outcome.verdict == .pass)
        let contradicted = try await run(withVersion, row(version: "v9"), store(isListed: false))
        #expect(contradicted.findings.map(\.kind) == [.staleVersion])
    }
}
