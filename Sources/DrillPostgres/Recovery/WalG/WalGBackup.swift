import DrillCore
import Foundation

/// One element of `wal-g backup-list --detail --json`. (WAL-G source, ExtendedMetadataDto.)
struct WalGBackup: Decodable, Sendable {
    var name: String
    var walFile: String?
    /// RFC 3339, with the offset.
    var startTime: String?
    var finishTime: String?
    /// 150018.
    var version: Int?
    /// As numbers.
    var startLSN: UInt64?
    var finishLSN: UInt64?
    var systemIdentifier: UInt64?
    var uncompressedSize: Int64?
    var compressedSize: Int64?
    enum CodingKeys: String, CodingKey {
        case name = "backup_name"
        case walFile = "wal_file_name"
        case startTime = "start_time"
        case finishTime = "finish_time"
        case version = "pg_version"
        case startLSN = "start_lsn"
        case finishLSN = "finish_lsn"
        case systemIdentifier = "system_identifier"
        case uncompressedSize = "uncompressed_size"
        case compressedSize = "compressed_size"
    }

    /// - Parameter names: All that are listed.
    func backup(among names: Set<String>) -> ToolBackup {
        var backup = ToolBackup(label: name)
        // base_SEGMENT, or base_SEGMENT_D_SEGMENT where it holds only what changed since the second one.
        let parts = name.split(separator: "_")
        let base = parts.count == 4 && parts[2] == "D" ? String(parts[3]) : nil
        backup.type = base == nil ? "full" : "delta"
        backup.startedAt = startTime.flatMap(parseInstant)
        backup.stoppedAt = finishTime.flatMap(parseInstant)
        backup.start = startLSN.map { LSN($0) }
        backup.stop = finishLSN.map { LSN($0) }
        backup.startSegment = walFile.flatMap { WALSegment($0) }
        backup.major = version.map { $0 / 10_000 }
        backup.version = version.map { $0 >= 100_000 ? "\($0 / 10_000).\($0 % 10_000)" : "\($0)" }
        backup.systemIdentifier = systemIdentifier
        backup.sizeBytes = base == nil ? uncompressedSize : nil
        backup.storedBytes = compressedSize
        if let segment = backup.startSegment, let bytes = backup.segmentBytes, let stop = backup.stop {
            let last = max(LSN(max(stop.value, 1) - 1).segmentNumber(bytes), segment.number(segmentBytes: bytes))
            backup.stopSegment = WALSegment(timeline: segment.timeline, number: last, segmentBytes: bytes)
        }
        if let base {
            let found = names.first { $0 == "base_\(base)" || $0.hasPrefix("base_\(base)_D_") }
            backup.reference = [found ?? "base_\(base)"]
            if found == nil {
                backup.state = .refused("it builds on the backup base_\(base), which is not in the storage")
            }
        }
        return backup
    }
}

/// Of a backup's sentinel: where its tablespaces were. (WAL-G source, BackupSentinelDto, TablespaceSpec.)
struct WalGSentinel {
    /// By number.
    private let locations: [String]

    init(_ result: ToolResult, at place: String) throws {
        struct Sentinel: Decodable {
            var spec: Spec?
            enum CodingKeys: String, CodingKey { case spec = "Spec" }
        }
        struct Spec: Decodable {
            var tablespaces: [String]?
        }
        locations = try result.decoded(Sentinel.self, at: place).spec?.tablespaces ?? []
        for number in locations where !number.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
            throw DrillError(
                .backupUnusable, "its sentinel names a tablespace `\(printable(number.utf8))`, which is no number",
                at: place)
        }
    }

    /// A restore specification that leads them below another folder; nil where there is none to lead.
    func spec(data: String, tablespaces: String) throws -> String? {
        guard !locations.isEmpty else { return nil }
        struct Place: Encodable {
            var loc: String
            var link: String
        }
        enum Value: Encodable {
            case text(String), list([String]), place(Place)
            func encode(to encoder: any Encoder) throws {
                var container = encoder.singleValueContainer()
                switch self {
                case .text(let text): try container.encode(text)
                case .list(let list): try container.encode(list)
                case .place(let place): try container.encode(place)
                }
            }
        }
        var spec: [String: Value] = ["base_prefix": .text(data), "tablespaces": .list(locations)]
        for number in locations {
            spec[number] = .place(Place(loc: "\(tablespaces)/\(number)", link: "pg_tblspc/\(number)"))
        }
        return String(decoding: try JSONEncoder().encode(spec), as: UTF8.self)
    }
}
