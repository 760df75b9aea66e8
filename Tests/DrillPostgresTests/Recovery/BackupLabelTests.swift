import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite struct BackupLabelTests {
    static let text = """
        START WAL LOCATION: 0/3000028 (file 000000010000000000000003)
        CHECKPOINT LOCATION: 0/3000060
        BACKUP METHOD: streamed
        BACKUP FROM: primary
        START TIME: 2026-11-26 05:00:00 UTC
        LABEL: nightly: "full"
        START TIMELINE: 1

        """

    @Test func aLabelIsRead() throws {
        let label = try #require(BackupLabel(Array(Self.text.utf8)))
        #expect(label.start == LSN(0x300_0028))
        #expect(label.startSegment.name == "000000010000000000000003")
        #expect(label.timeline == 1)
        #expect(label.label == "nightly: \"full\"")
        #expect(label.startTimeText == "2026-11-26 05:00:00 UTC")
        #expect(label.stop == nil)
    }

    @Test func aHistoryFileKnowsTheEnd() throws {
        let text =
            Self.text
            + "STOP WAL LOCATION: 0/3000138 (file 000000010000000000000003)\nSTOP TIME: 2026-11-26 05:00:01 UTC\n"
        let label = try #require(BackupLabel(Array(text.utf8)))
        #expect(label.stop == LSN(0x300_0138))
        #expect(label.stopTimeText == "2026-11-26 05:00:01 UTC")
    }

    @Test("what is no label is none, and no mutation of one traps (P19)")
    func seededMutations() {
        #expect(BackupLabel([]) == nil)
        #expect(BackupLabel(Array("START WAL LOCATION: 0/3000028\n".utf8)) == nil)
        var random = RepeatableRandom(seed: 3)
        for _ in 0..<500 {
            var bytes = Array(Self.text.utf8)
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = BackupLabel(Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))))
        }
    }

    @Test("the zone's abbreviation is believed only where it can mean one zone (P17)")
    func zones() {
        let five = parseInstant("2026-11-26T05:00:00Z")
        #expect(BackupLabel.instant("2026-11-26 05:00:00 UTC") == five)
        #expect(BackupLabel.instant("2026-11-26 05:00:00 GMT") == five)
        #expect(BackupLabel.instant("2026-11-26 10:30:00 +0530", offsetSeconds: 19800) == five)
        #expect(BackupLabel.instant("2026-11-26 10:30:00 IST", offsetSeconds: 19800) == five)
        #expect(BackupLabel.instant("2026-11-26 05:00:00 QQQ") == nil)
        #expect(BackupLabel.instant("2026-11-26") == nil)
        #expect(BackupLabel.certainInstant("2026-11-26 05:00:00 UTC") == five)
        #expect(BackupLabel.certainInstant("2026-11-26 02:00:00 -03") == five)
        #expect(BackupLabel.certainInstant("2026-11-26 10:30:00 +0530") == five)
        #expect(BackupLabel.certainInstant("2026-11-26 05:00:00 IST") == nil)
        #expect(BackupLabel.certainInstant("2026-11-26 05:00:00 CST") == nil)
    }

    @Test func theManifestTellsTheZone() throws {
        let instant = try #require(parseInstant("2026-11-26T05:00:02Z"))
        #expect(BackupLabel.offsetSeconds(local: "2026-11-26 10:30:00 IST", instant: instant) == 19800)
        #expect(BackupLabel.offsetSeconds(local: "2026-11-26 05:00:00 UTC", instant: instant) == 0)
        #expect(BackupLabel.offsetSeconds(local: "2026-12-26 05:00:00 UTC", instant: instant) == nil)
    }

    @Test func aManifestsFrontAndEnd() {
        let facts = ManifestFacts(
            """
            { "PostgreSQL-Backup-Manifest-Version": 1,
            "Files": [
            { "Path": "backup_label", "Size": 225, "Last-Modified": "2026-11-26 05:00:00 GMT", "Checksum-Algorithm": "CRC32C" },
            ],
            "WAL-Ranges": [
            { "Timeline": 1, "Start-LSN": "0/3000028", "End-LSN": "0/3000138" }
            ],
            "Manifest-Checksum": "00"}
            """)
        #expect(facts.labelWrittenAt == parseInstant("2026-11-26T05:00:00Z"))
        #expect(facts.end == LSN(0x300_0138))
        #expect(facts.systemIdentifier == nil)
    }
}

@Suite struct LSNTests {
    @Test func asPostgreSQLWritesIt() {
        #expect(LSN("0/3000028")?.value == 0x300_0028)
        #expect(LSN("1A/2B3C4D5E")?.description == "1A/2B3C4D5E")
        for text in ["", "/", "0/", "0/g", "0/123456789", "3000028", "0/1/2", "-1/0", "+1/0"] {
            #expect(LSN(text) == nil)
        }
    }

    @Test func aSegmentsNameAndNumber() throws {
        let segment = try #require(WALSegment("0000000A00000001000000FF"))
        #expect(segment.timeline == 10)
        #expect(segment.number(segmentBytes: 16 << 20) == 0x1FF)
        #expect(WALSegment(timeline: 10, number: 0x1FF, segmentBytes: 16 << 20) == segment)
        #expect(WALSegment(timeline: 10, number: 0x1FF, segmentBytes: 16 << 20).name == "0000000A00000001000000FF")
        #expect(WALSegment(timeline: 1, number: 4096, segmentBytes: 1 << 20).name == "000000010000000100000000")
        for name in [
            "", "0000000a00000001000000ff", "0000000A00000001000000F", "00000002.history",
            String(repeating: "/", count: 24),
        ] {
            #expect(WALSegment(name) == nil)
        }
    }
}
