import DrillCore
import Foundation

/// The bytes of an archive's header and table of contents, read in order.
/// (PostgreSQL source, pg_backup_archiver.c: ReadHead, ReadToc; pg_backup_custom.c and pg_backup_tar.c: _ReadExtraToc.)
struct ArchiveReader {
    /// No definition, tag or statement is longer; a longer one is nonsense rather than a reason to read more.
    static let longestString = 256 << 20

    private var cursor: ByteCursor
    private var integerSize = 4
    private var offsetSize = 8
    private var encoding = DumpEncoding.utf8

    init(_ bytes: [UInt8]) { cursor = ByteCursor(bytes[...]) }

    var offset: Int { cursor.offset }

    mutating func header() throws(ArchiveError) -> ArchiveHeader {
        guard try cursor.take(5).elementsEqual("PGDMP".utf8) else {
            throw .nonsense("no `PGDMP`", offset: 0)
        }
        let version = [Int(try cursor.byte()), Int(try cursor.byte()), Int(try cursor.byte())]
        guard ArchiveTOC.isKnown(version: version) else {
            throw .unknownVersion(version.map(String.init).joined(separator: "."))
        }
        integerSize = Int(try cursor.byte())
        offsetSize = Int(try cursor.byte())
        guard (1...8).contains(integerSize), (1...8).contains(offsetSize) else {
            throw .nonsense("integers of \(integerSize) and offsets of \(offsetSize) bytes", offset: offset)
        }
        let formatByte = try cursor.byte()
        guard let format = ArchiveFormat(rawValue: formatByte) else {
            throw .nonsense("format \(formatByte)", offset: offset - 1)
        }
        let compression = try compression(version)
        let created = try created()
        return ArchiveHeader(
            version: version, format: format, compression: compression, created: created,
            databaseName: try string() ?? "", serverVersion: try string() ?? "", dumpVersion: try string() ?? "")
    }

    private mutating func compression(_ version: [Int]) throws(ArchiveError) -> String {
        // Since 1.15 the algorithm is named; before, there was only gzip's level, where 0 is none.
        guard version[1] >= 15 else { return try integer() == 0 ? "none" : "gzip" }
        let algorithms = ["none", "gzip", "lz4", "zstd"]
        let number = Int(try cursor.byte())
        guard number < algorithms.count else { throw .nonsense("compression \(number)", offset: offset - 1) }
        return algorithms[number]
    }

    /// A `struct tm`: months from 0, years from 1900, and last a summer-time flag that says too little to be used.
    private mutating func created() throws(ArchiveError) -> ClockReading {
        let start = offset
        let second = try integer(), minute = try integer(), hour = try integer()
        let day = try integer(), month = try integer(), year = try integer()
        _ = try integer()
        guard (0...60).contains(second), (0...59).contains(minute), (0...23).contains(hour), (1...31).contains(day),
            (0...11).contains(month), (0...8099).contains(year)
        else { throw .nonsense("a creation time that is none", offset: start) }
        return ClockReading(year: year + 1900, month: month + 1, day: day, hour: hour, minute: minute, second: second)
    }

    mutating func entries(of header: ArchiveHeader) throws(ArchiveError) -> [ArchiveEntry] {
        let start = offset
        let count = try integer()
        guard count >= 0 else { throw .nonsense("\(count) entries", offset: start) }
        // The count may be nonsense: nothing is reserved for it.
        var entries: [ArchiveEntry] = []
        while entries.count < count {
            let entry = try entry(header)
            if entry.kind == "ENCODING" { encoding = DumpEncoding(clientEncodingStatement: entry.definition) }
            entries.append(entry)
        }
        return entries
    }

    private mutating func entry(_ header: ArchiveHeader) throws(ArchiveError) -> ArchiveEntry {
        let start = offset
        let dumpID = try integer()
        guard dumpID > 0 else { throw .nonsense("an entry with number \(dumpID)", offset: start) }
        _ = try integer()  // whether it has data: the entry's data state says it better
        _ = try string()  // table OID
        _ = try string()  // object OID
        let tag = try string() ?? ""
        let kind = try string() ?? ""
        _ = try integer()  // section
        let definition = try string() ?? ""
        let dropStatement = try string() ?? ""
        let copyStatement = try string() ?? ""
        let namespace = try string()
        let tablespace = try string()
        if header.version[1] >= 14 { _ = try string() }  // table access method
        if header.version[1] >= 16 { _ = try integer() }  // relkind
        let owner = try string() ?? ""
        _ = try string()  // WITH OIDS
        var dependencies: [Int] = []
        while let dependency = try string() {
            guard let number = strictInteger(dependency).flatMap({ Int(exactly: $0) }) else {
                throw .nonsense("a dependency that is no number", offset: offset)
            }
            dependencies.append(number)
        }
        return ArchiveEntry(
            dumpID: dumpID, kind: kind, tag: tag, namespace: nonEmpty(namespace), owner: owner,
            tablespace: nonEmpty(tablespace), definition: definition, dropStatement: dropStatement,
            copyStatement: copyStatement, dependencies: dependencies,
            data: header.format == .custom ? try block() : try file())
    }

    private mutating func block() throws(ArchiveError) -> ArchiveEntry.Data {
        let state = try cursor.byte()
        var value: UInt64 = 0
        for index in 0..<offsetSize { value |= UInt64(try cursor.byte()) << UInt64(8 * index) }
        switch state {
        case 1: return .block(offset: nil)
        case 2:
            guard let position = Int64(exactly: value) else {
                throw .nonsense("a data offset of \(value)", offset: offset - offsetSize)
            }
            return .block(offset: position)
        case 3: return .none
        default: throw .nonsense("data state \(state)", offset: offset - offsetSize - 1)
        }
    }

    private mutating func file() throws(ArchiveError) -> ArchiveEntry.Data {
        guard let name = nonEmpty(try string()) else { return .none }
        // pg_dump writes plain names; one that leads elsewhere is none of its making (X4).
        guard !name.utf8.contains(UInt8(ascii: "/")), !name.hasPrefix("."), !name.utf8.contains(0) else {
            throw .nonsense("the file name `\(printable(name.utf8))`", offset: offset)
        }
        return .file(name)
    }

    /// A sign byte, then the magnitude with the lowest byte first.
    private mutating func integer() throws(ArchiveError) -> Int {
        let start = offset
        let sign = try cursor.byte()
        var magnitude: UInt64 = 0
        for index in 0..<integerSize { magnitude |= UInt64(try cursor.byte()) << UInt64(8 * index) }
        guard sign <= 1, let value = Int32(exactly: magnitude) else {
            throw .nonsense("an integer that is none", offset: start)
        }
        return sign == 0 ? Int(value) : -Int(value)
    }

    private mutating func string() throws(ArchiveError) -> String? {
        let start = offset
        let length = try integer()
        guard length >= 0 else { return nil }
        guard length <= Self.longestString else { throw .nonsense("a text of \(length) bytes", offset: start) }
        return encoding.decode(try cursor.take(length))
    }
}

private func nonEmpty(_ text: String?) -> String? { text?.isEmpty == true ? nil : text }

/// The encoding of a dump's text, as far as names in it must be understood here.
enum DumpEncoding: Sendable, Equatable {
    case utf8
    case other(String.Encoding)

    /// PostgreSQL's names of encodings that Foundation knows too; any other is read as UTF-8, with U+FFFD for what is none.
    private static let known: [String: String.Encoding] = [
        "LATIN1": .isoLatin1, "ISO88591": .isoLatin1, "LATIN2": .isoLatin2, "ISO88592": .isoLatin2,
        "WIN1250": .windowsCP1250,
        "WIN1251": .windowsCP1251, "WIN1252": .windowsCP1252, "WIN1253": .windowsCP1253, "WIN1254": .windowsCP1254,
        "EUCJP": .japaneseEUC, "SJIS": .shiftJIS,
    ]

    init(name: String) {
        self = Self.known[name.uppercased().filter { $0 != "_" && $0 != "-" }].map { .other($0) } ?? .utf8
    }

    /// - Parameter clientEncodingStatement: `SET client_encoding = 'LATIN1';`
    init(clientEncodingStatement: String) {
        self.init(name: clientEncodingStatement.split(separator: "'").dropFirst().first.map(String.init) ?? "UTF8")
    }

    func decode(_ bytes: ArraySlice<UInt8>) -> String {
        if case .other(let encoding) = self, let text = String(bytes: bytes, encoding: encoding) { return text }
        return String(decoding: bytes, as: UTF8.self)
    }
}
