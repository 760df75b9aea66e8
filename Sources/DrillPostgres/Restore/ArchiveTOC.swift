import DrillCore
import Foundation

/// What the head of a pg_dump archive (custom format, or the toc.dat of the directory and tar formats) states.
/// (PostgreSQL source, pg_backup_archiver.c, ReadHead.)
struct ArchiveHeader: Sendable, Equatable {
    /// `1.14.0`: the archive format's own version.
    var version: [Int]
    /// `tar` for the directory format too: that is what pg_dump writes there.
    var format: ArchiveFormat
    /// `none`, `gzip`, `lz4` or `zstd`.
    var compression: String
    /// Wall-clock time on the machine that ran pg_dump; the archive bears no zone.
    var created: ClockReading
    var databaseName: String
    /// As the server called itself: `15.18 (Debian 15.18-0+deb12u1)`.
    var serverVersion: String
    var dumpVersion: String

    /// The major version that a tool needs to read this dump; nil where the header does not say.
    var dumpMajorVersion: Int? { majorVersion(dumpVersion) }
    var serverMajorVersion: Int? { majorVersion(serverVersion) }
}

enum ArchiveFormat: UInt8, Sendable {
    case custom = 1
    case tar = 3
}

/// A date and a time of day without a zone.
struct ClockReading: Sendable, Equatable {
    var year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int

    /// The instant at which clocks in that zone showed this. An hour that comes twice is read as its first. nil for what is no date.
    func instant(in zone: TimeZone) -> Date? {
        guard (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), (0...23).contains(hour),
            (0...59).contains(minute), (0...60).contains(second)
        else { return nil }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = zone
        return calendar.date(
            from: DateComponents(year: year, month: month, day: day, hour: hour, minute: minute, second: second))
    }
}

/// `15` of `15.18 (Debian …)`, `16` of `16beta1`.
func majorVersion(_ text: String) -> Int? {
    strictInteger(String(text.prefix { $0.isASCII && $0.isNumber })).flatMap { Int(exactly: $0) }
}

/// One line of `pg_restore -l`.
struct ArchiveEntry: Sendable, Equatable {
    enum Data: Sendable, Equatable {
        case none
        /// Custom format: where the entry's data block starts; nil where pg_dump could not seek back to note it.
        case block(offset: Int64?)
        /// Directory and tar: the file that holds it, without the suffix of its compression.
        case file(String)
    }

    var dumpID: Int
    /// `TABLE`, `TABLE DATA`, `ACL` …
    var kind: String
    var tag: String
    var namespace: String?
    var owner: String
    var tablespace: String?
    var definition: String
    var dropStatement: String
    var copyStatement: String
    var dependencies: [Int]
    var data: Data
}

/// Header and table of contents of a pg_dump archive.
struct ArchiveTOC: Sendable, Equatable {
    var header: ArchiveHeader
    var entries: [ArchiveEntry]
    /// Where the table of contents ends and, in the custom format, data begin.
    var endOffset: Int

    /// Versions of the archive format that are read here: PostgreSQL 9.0 to 18 write 1.12 to 1.16.
    static func isKnown(version: [Int]) -> Bool { version[0] == 1 && (12...16).contains(version[1]) }

    /// - Parameter bytes: From the start of the archive or of toc.dat on; what follows the table of contents is not looked at.
    /// - Throws: `truncated` where more bytes could help.
    init(_ bytes: [UInt8]) throws(ArchiveError) {
        var reader = ArchiveReader(bytes)
        header = try reader.header()
        entries = try reader.entries(of: header)
        endOffset = reader.offset
    }
}
