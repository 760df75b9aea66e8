import Foundation
import Testing

@testable import DrillPostgres

/// Segments of 1 MiB on timeline 1, told by their numbers.
@Suite struct ReplayEndTests {
    private static let bytes: UInt64 = 1 << 20
    private func segment(_ number: UInt64, _ timeline: UInt32 = 1) -> WALSegment {
        WALSegment(timeline: timeline, number: number, segmentBytes: Self.bytes)
    }

    private func end(
        found: [UInt64], absent: [UInt64], unfinished: [UInt64] = [], archive: [UInt64], redoEnd: UInt64? = nil,
        _ words: String = ""
    ) async -> ReplayEnd {
        var deliveries = WALDeliveries()
        for number in found { deliveries.record(segment(number).name, .found) }
        for number in unfinished { deliveries.record(segment(number).name, .foundUnfinished) }
        for number in absent { deliveries.record(segment(number).name, .absent) }
        let done = redoEnd.map { "LOG:  redo done at \(LSN($0)) system usage" } ?? ""
        return await ReplayEnd(
            RecoveryLog("LOG:  \(words)\n\(done)"), start: LSN(0x30_0028), deliveries, segmentBytes: Self.bytes
        ) { number in
            archive.filter { $0 >= number }.min().map { segment($0) }
        }
    }

    @Test func allWasReadAndMoreWasAskedFor() async {
        #expect(await end(found: [3, 4], absent: [5], archive: [3, 4], redoEnd: 0x4F_FF00) == .archiveEnd)
    }

    @Test("a segment that is withheld is named though later ones are there (P15)")
    func aWithheldSegmentIsMissing() async {
        let end = await end(found: [3], absent: [4], archive: [3, 5, 6], redoEnd: 0x3F_FF00)
        #expect(end == .missing(segment(4), next: segment(5)))
        #expect(
            end.fault(RecoveryLog(""))
                == "the WAL segment 000000010000000000000004 (timeline 1) is missing; the archive goes on with "
                + "000000010000000000000005")
    }

    @Test("damage in the very last segment looks to the server like the end of WAL: it is none")
    func damageAtTheVeryEndIsNoEnd() async {
        let words = "incorrect resource manager data checksum in record at 0/480000"
        let end = await end(found: [3, 4], absent: [], archive: [3, 4], redoEnd: 0x47_FF00, words)
        #expect(end == .damaged(segment(4), at: LSN(0x47_FF00)))
        #expect(
            end.fault(RecoveryLog("LOG:  \(words)"))
                == "the WAL segment 000000010000000000000004 (timeline 1) is damaged: \(words)")
        #expect(end.isOfBackup)
    }

    @Test func damageInTheMiddleNamesTheSegment() async {
        let end = await end(found: [3, 4], absent: [], archive: [3, 4, 5], redoEnd: 0x47_FF00)
        #expect(end == .damaged(segment(4), at: LSN(0x47_FF00)))
    }

    @Test("an absence earlier than what was found is not the end: the base backup had that segment")
    func segmentsOfTheBackupItself() async {
        #expect(await end(found: [4, 5], absent: [3, 6], archive: [4, 5], redoEnd: 0x5F_FF00) == .archiveEnd)
        #expect(
            await end(found: [4, 5], absent: [3], archive: [4, 5], redoEnd: 0x53_0000)
                == .damaged(segment(5), at: LSN(0x53_0000)))
    }

    @Test("the archive lacks a segment that the backup has only the beginning of, and goes on behind it")
    func theBackupsOwnLastSegmentIsNoEnd() async {
        #expect(
            await end(found: [], absent: [3, 4], archive: [5], redoEnd: 0x40_1000)
                == .missing(segment(4), next: segment(5)))
        #expect(await end(found: [], absent: [3], archive: [], redoEnd: 0x30_1000) == .archiveEnd)
    }

    @Test("a server that never asked, as when its restore_command could not be started, proves nothing")
    func silenceIsUnexplained() async {
        let end = await end(found: [], absent: [], archive: [3, 4], redoEnd: 0x30_1000)
        #expect(end == .unexplained(LSN(0x30_1000)))
        #expect(!end.isOfBackup)
        #expect(end.error(RecoveryLog(""), at: "wal")?.code == .couldNotLook)
    }

    @Test func anUnfinishedSegmentEndsSomewhere() async {
        #expect(
            await end(found: [3], absent: [], unfinished: [4], archive: [3], redoEnd: 0x42_0000) == .archiveEnd)
        #expect(
            await end(found: [3], absent: [], unfinished: [4], archive: [3, 5], redoEnd: 0x42_0000)
                == .missing(segment(4), next: segment(5)))
    }

    @Test func whatTheServerWantedIsOfTheYoungestTimeline() {
        var deliveries = WALDeliveries()
        deliveries.record(segment(3).name, .found)
        deliveries.record(segment(4, 2).name, .absent)
        deliveries.record(segment(4, 1).name, .absent)
        deliveries.record("00000003.history", .absent)
        #expect(deliveries.wanted(Self.bytes) == segment(4, 2))
        #expect(deliveries.lastFound(Self.bytes) == segment(3))
    }
}
