import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite struct WALArchiveTests {
    /// A directory of empty files, and of those with content.
    private func withArchive(
        _ names: [String], _ contents: [String: [UInt8]] = [:], _ body: (WALArchive) async throws -> Void
    ) async throws {
        try await RestoreFixture.with { fixture async throws in
            let folder = fixture.folder + "/wal"
            for (name, bytes) in contents.merging(names.map { ($0, []) }, uniquingKeysWith: { first, _ in first }) {
                let path = "\(folder)/\(name)"
                try FileManager.default.createDirectory(
                    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try Data(bytes).write(to: URL(fileURLWithPath: path))
            }
            try await body(WALArchive.read(LocalFolder(directory: folder), fixture.environment))
        }
    }

    private func name(_ number: UInt64, _ timeline: UInt32 = 1) -> String {
        WALSegment(timeline: timeline, number: number, segmentBytes: 16 << 20).name
    }

    @Test func packedAndPlainAndPartialNamesAreTold() async throws {
        let names = [
            name(1), name(1) + ".gz", name(2) + ".zst", name(3) + ".lz4", name(4) + ".partial", "note.txt",
            "0000000100000000/" + name(5), name(6) + ".tmp",
        ]
        try await withArchive(names) { archive async throws in
            #expect(archive.segments == [1: [1, 2, 3, 5]])
            #expect(archive.path(of: name(1)) == name(1))
            #expect(archive.path(of: name(2)) == name(2) + ".zst")
            #expect(archive.path(of: name(4)) == nil)
            #expect(archive.path(of: name(4) + ".partial") == name(4) + ".partial")
            #expect(archive.path(of: name(5)) == "0000000100000000/" + name(5))
            #expect(archive.segmentBytes == 16 << 20)
            #expect(archive.isListed)
        }
    }

    @Test func aSegmentTellsWhoWroteIt() async throws {
        let number: UInt64 = 7
        let name = WALSegment(timeline: 1, number: number, segmentBytes: 1 << 20).name
        try await withArchive([], [name: WALPage.first(of: number, system: 42, segmentBytes: 1 << 20)]) {
            archive async throws in
            #expect(archive.systemIdentifier == 42)
            #expect(archive.segmentBytes == 1 << 20)
            #expect(archive.major == 15)
            #expect(archive.segments == [1: [number]])
        }
    }

    @Test("the newest segment that is damaged hides nothing of those before it")
    func aDamagedNewestSegmentIsNotAsked() async throws {
        let names = (7...8).map { WALSegment(timeline: 1, number: UInt64($0), segmentBytes: 1 << 20).name }
        let contents = [names[0]: WALPage.first(of: 7, system: 42, segmentBytes: 1 << 20), names[1]: []]
        try await withArchive([], contents) { archive async throws in
            #expect(archive.systemIdentifier == 42)
            #expect(archive.segmentBytes == 1 << 20)
        }
    }

    @Test func anArchiveThatIsNotThereIsNoEmptyArchive() async throws {
        try await RestoreFixture.with { fixture async throws in
            do {
                _ = try await WALArchive.read(LocalFolder(directory: fixture.folder + "/none"), fixture.environment)
                Issue.record("an archive was made up")
            } catch { #expect(DrillError(wrapping: error).code == .couldNotLook) }
        }
    }

    @Test(
        "a segment packed in a way that is not known is no missing one",
        arguments: [".xz", ".bz2", ".gz.gpg", ".partial.xz"])
    func anUnknownPackingIsSaid(suffix: String) async throws {
        do {
            try await withArchive([name(3), name(4) + suffix]) { _ in }
            Issue.record("\(suffix) was taken for something")
        } catch {
            let error = DrillError(wrapping: error)
            #expect(error.code == .couldNotLook)
            #expect(error.what == "is packed in a way that is not known")
        }
    }

    // MARK: - Timelines

    private static let history = "1\t0/5800000\tno recovery target specified\n"

    @Test func theChainLeadsFromTheBackupToTheNewestTimeline() async throws {
        let contents = [
            "00000002.history": Array(Self.history.utf8),
            "00000003.history": Array((Self.history + "2\t0/7000000\tbefore 2026\n").utf8),
        ]
        try await withArchive([name(4), name(5, 2), name(6, 2), name(7, 3)], contents) { archive async throws in
            #expect(archive.chain(to: 3, from: 1)?.map(\.timeline) == [1, 2, 3])
            #expect(archive.chain(to: 3, from: 1)?.map(\.end) == [LSN(0x580_0000), LSN(0x700_0000), nil])
            #expect(archive.chain(to: 3, from: 2)?.map(\.timeline) == [2, 3])
            #expect(archive.chain(to: 2, from: 3) == nil)
            #expect(archive.chain(to: 9, from: 1) == nil)
            #expect(archive.descendants(of: 1) == [3, 2])
            let chain = try #require(archive.chain(to: 3, from: 1))
            #expect(
                archive.segments(along: chain, from: 4).map(\.name) == [name(4), name(5, 2), name(6, 2), name(7, 3)])
            #expect(archive.branch(in: chain) == nil)
        }
    }

    @Test("a gap is told along the timelines that are followed, and only there (P21)")
    func gapsAreToldAlongTheChain() async throws {
        try await withArchive([name(3), name(4), name(6)]) { archive async throws in
            #expect(archive.segments(along: [(1, nil)], from: 5).map(\.name) == [name(6)])
            #expect(archive.segments(along: [(1, LSN(0x400_1000))], from: 3).map(\.name) == [name(3), name(4)])
        }
    }

    @Test("two histories in one archive are refused until one is chosen; the other is named (P21)")
    func aRogueTimelineIsNoChoice() async throws {
        let contents = ["00000002.history": Array(Self.history.utf8)]
        try await withArchive([name(4), name(5), name(6), name(5, 2)], contents) { archive async throws in
            do throws(DrillError) {
                _ = try TimelineChoice(archive, base: 1, wanted: nil)
                Issue.record("two histories were not seen")
            } catch {
                #expect(error.code == .couldNotLook)
                #expect(
                    error.what
                        == "the archive has two histories: timeline 1 goes on to \(name(6)), and timeline 2 left it before"
                )
                #expect(error.hints.first?.contains("`timeline: 1` or `timeline: 2`") == true)
            }
            let first = try TimelineChoice(archive, base: 1, wanted: 1)
            #expect(first.timeline == 1)
            #expect(first.notes == ["Recovery followed timeline 1; the archive has others besides: 2."])
            #expect(try TimelineChoice(archive, base: 1, wanted: 2).chain.map(\.timeline) == [1, 2])
        }
    }

    @Test("the old timeline's whole copy of the segment that the younger one lacks is another history (P21)")
    func theSegmentOfThePromotionCounts() async throws {
        let contents = ["00000002.history": Array(Self.history.utf8)]
        try await withArchive([name(4), name(5)], contents) { archive async throws in
            #expect(throws: DrillError.self) { try TimelineChoice(archive, base: 1, wanted: nil) }
        }
        // Just promoted: the primary archived what it had of the old timeline, and nothing of the new one yet.
        try await withArchive([name(4), name(5) + ".partial"], contents) { archive async throws in
            #expect(try TimelineChoice(archive, base: 1, wanted: nil).timeline == 2)
        }
    }

    @Test func aTimelineThatDoesNotDescendIsRefused() async throws {
        try await withArchive([name(4), name(4, 7)]) { archive async throws in
            do throws(DrillError) {
                _ = try TimelineChoice(archive, base: 1, wanted: 7)
                Issue.record("no history file was asked for")
            } catch {
                #expect(error.code == .backupUnusable)
                #expect(error.hints == ["Its history file `00000007.history` must be in the archive."])
            }
            // A timeline without a history of ours is no newest one.
            #expect(try TimelineChoice(archive, base: 1, wanted: nil).timeline == 1)
        }
    }

    @Test func withoutAnArchiveThereIsOneTimeline() throws {
        #expect(try TimelineChoice(nil, base: 3, wanted: nil).timeline == 3)
        #expect(try TimelineChoice(nil, base: 3, wanted: 3).timeline == 3)
        #expect(throws: DrillError.self) { try TimelineChoice(nil, base: 3, wanted: 4) }
    }

    @Test("a source that cannot be listed is asked for histories one by one, and for a branch (P21)")
    func aSearchedSource() async throws {
        try await RestoreFixture.with { fixture async throws in
            let source = NamedFiles(["00000002.history": Array(Self.history.utf8), name(6): [1]])
            let archive = try await WALArchive.searched(
                source, from: 1, segmentBytes: 16 << 20, in: fixture.scratch)
            #expect(!archive.isListed)
            #expect(archive.chain(to: 2, from: 1)?.map(\.timeline) == [1, 2])
            #expect(throws: DrillError.self) { try TimelineChoice(archive, base: 1, wanted: nil) }
            #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.scratch.directory) == [])
        }
    }

    @Test func historiesAreReadWithTheirComments() {
        let text = "1\t0/5000000\tno recovery target specified\n\n2 0/60000A8 after LSN 0/60000A0\nnonsense\n"
        let history = WALArchive.history(text)
        #expect(history.map(\.parent) == [1, 2])
        #expect(history.map(\.end) == [LSN(0x500_0000), LSN(0x600_00A8)])
    }
}

/// The first page of a segment. (src/include/access/xlog_internal.h)
enum WALPage {
    static func first(of number: UInt64, system: UInt64, segmentBytes: UInt64, magic: UInt64 = 0xD110) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 8192)
        func put(_ value: UInt64, at offset: Int, count: Int) {
            for index in 0..<count { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        put(magic, at: 0, count: 2)
        put(2, at: 2, count: 2)
        put(1, at: 4, count: 4)
        put(number * segmentBytes, at: 8, count: 8)
        put(system, at: 24, count: 8)
        put(segmentBytes, at: 32, count: 4)
        put(8192, at: 36, count: 4)
        return bytes
    }
}

private struct NamedFiles: WALSource {
    let place = "a tool"
    let files: [String: [UInt8]]
    init(_ files: [String: [UInt8]]) { self.files = files }
    func fetch(_ name: String, to path: String) async throws -> WALFetch {
        guard let bytes = files[name] else { return .absent }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return .found
    }
}
