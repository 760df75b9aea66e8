import DrillCore
import Foundation

/// When the newest checkpoint in replayed WAL began: evidence that the log goes on to that instant though nothing was committed.
/// Commit records bear instants, and so do checkpoints; pg_waldump tells where those stand, but not their instants.
struct CheckpointTime: Sendable {
    var environment: DrillEnvironment
    var tools: PostgresTools
    var segmentBytes: UInt64

    /// - Parameter segments: Files below `directory` that were replayed to their end, the newest first.
    /// - Returns: To the second, rounded down; nil where none is found or this version's records are not known.
    func newest(in directory: String, _ segments: [WALSegment]) async throws -> (instant: Date, place: LSN)? {
        // src/include/catalog/pg_control.h: the fields before `time` have stood still since version 12.
        guard (12...18).contains(tools.major) else { return nil }
        for segment in segments {
            let path = "\(directory)/\(segment.name)"
            guard FileManager.default.fileExists(atPath: path) else { continue }
            var command = Command(tools.path("pg_waldump"), ["--rmgr=XLOG", path], environment: ["LC_ALL": "C"])
            command.output = .collected(limitBytes: 256 << 20)
            // It ends with an error where the segment does, in the middle of a record.
            let places = Self.places(try await environment.processes.run(command).outputText)
            guard let place = places.last else { continue }
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            try file.seek(toOffset: place.value % segmentBytes)
            let bytes = Array(try file.read(upToCount: Self.mostBytes) ?? Data())
            if let instant = Self.instant(of: bytes, at: place, segmentBytes: segmentBytes) { return (instant, place) }
        }
        return nil
    }

    /// Where checkpoint records begin, as pg_waldump prints them.
    static func places(_ text: String) -> [LSN] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            guard line.contains("desc: CHECKPOINT_ONLINE") || line.contains("desc: CHECKPOINT_SHUTDOWN"),
                let range = line.firstRange(of: "lsn: ")
            else { return nil }
            return LSN(line[range.upperBound...].prefix { $0.isHexDigit || $0 == "/" })
        }
    }

    private static let pageBytes: UInt64 = 8192
    private static let recordHeaderBytes = 24
    private static let dataHeaderBytes = 2
    /// In the record's data. (struct CheckPoint)
    private static let timeOffset = 64
    /// Enough for the record, and the header of a page that it may run across.
    private static let mostBytes = 512

    /// - Parameter bytes: The log from the record's start on.
    static func instant(of bytes: [UInt8], at place: LSN, segmentBytes: UInt64) -> Date? {
        var record: [UInt8] = []
        var position = place.value
        var rest = bytes[...]
        while !rest.isEmpty {
            if position % pageBytes == 0 {
                let header: UInt64 = position % segmentBytes == 0 ? 40 : 24
                rest = rest.dropFirst(Int(header))
                position += header
            }
            let taken = rest.prefix(Int(pageBytes - position % pageBytes))
            record += taken
            rest = rest.dropFirst(taken.count)
            position += UInt64(taken.count)
        }
        let start = recordHeaderBytes + dataHeaderBytes + timeOffset
        // A record of the log's own resource manager, a checkpoint, and nothing but a short piece of data.
        guard record.count >= start + 8, record[17] == 0, [0x00, 0x10].contains(record[16] & 0xF0),
            record[recordHeaderBytes] == 0xFF, Int(record[recordHeaderBytes + 1]) >= timeOffset + 8
        else { return nil }
        let seconds = littleEndian(record[start..<start + 8])
        // From 2000 to 2200: anything else is no instant.
        guard (946_684_800...7_258_118_400).contains(seconds) else { return nil }
        return Date(timeIntervalSince1970: Double(seconds))
    }
}
