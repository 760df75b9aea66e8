import DrillCore
import Foundation

/// WAL-G's archive: listed by `wal-show`, fetched by `wal-fetch`.
struct WalGWAL: ToolArchive {
    let tool: WalG
    var folder: ToolFolder?

    var place: String { "\(tool.place) wal_005" }

    func names() async throws -> [String] {
        let result = try await tool.run(["wal-show", "--detailed-json", "--without-backups"])
        guard result.succeeded else { throw tool.failure(result, "wal-show") }
        if result.text.allSatisfy(\.isWhitespace) { return [] }
        return try (result.decoded([WalGTimeline]?.self, at: place) ?? []).flatMap(\.names)
    }

    func fetch(_ name: String, to path: String) async throws -> WALFetch {
        guard let folder else { throw DrillError(.couldNotLook, "no folder to fetch WAL into", at: place) }
        let own = folder.fetchPath()
        let result = try await tool.run(["wal-fetch", name, own], in: folder)
        switch result.status {
        case 0: break
        // EX_IOERR: the file is not there; all other errors are 1. (WAL-G manual, wal-fetch.)
        case 74: return .absent
        default:
            let isDamage = ["decompress", "decrypt", "corrupt", "unexpected EOF", "checksum"]
                .contains(where: result.errors.contains)
            throw result.failure(
                isDamage ? .backupUnusable : .couldNotLook, "wal-g wal-fetch \(name): \(result.firstWords)", at: place)
        }
        try folder.handOver(own, to: path)
        return .found
    }
}

/// One timeline of `wal-g wal-show --detailed-json`: from a first to a last segment, but for those that are missing.
struct WalGTimeline: Decodable, Sendable {
    var id: UInt32
    var parent: UInt32?
    var start: String?
    var end: String?
    var missing: [String]?
    enum CodingKeys: String, CodingKey {
        case id
        case parent = "parent_id"
        case start = "start_segment"
        case end = "end_segment"
        case missing = "missing_segments"
        case range = "segment_range_size"
    }
    var range: UInt64?

    var names: [String] {
        guard let first = start.flatMap({ WALSegment($0) }), let last = end.flatMap({ WALSegment($0) }) else {
            return []
        }
        let absent = Set(missing ?? [])
        let history = parent.map { $0 > 0 } ?? false ? ["\(WALSegment.digits(id)).history"] : []
        return history
            + (first.number(segmentBytes: bytes(first, last))...last.number(segmentBytes: bytes(first, last))).map {
                WALSegment(timeline: id, number: $0, segmentBytes: bytes(first, last)).name
            }.filter { !absent.contains($0) }
    }

    /// How many segments there are from the first to the last tells how large one is.
    private func bytes(_ first: WALSegment, _ last: WALSegment) -> UInt64 {
        let sizes = (20...30).map { UInt64(1) << $0 }
        let fitting = sizes.filter { bytes in
            let from = first.number(segmentBytes: bytes), to = last.number(segmentBytes: bytes)
            return to >= from && range.map { to - from + 1 == $0 } ?? true
        }
        return fitting.contains(16 << 20) ? 16 << 20 : fitting.first ?? 16 << 20
    }
}
