import DrillCore

/// The shapes in which a dump comes, told apart by content alone.
enum DumpFormat: Sendable, Equatable {
    case custom, directory, tar, plain
    /// Holds one of the others; which, shows once it is unpacked.
    case packed(Packing)

    /// Each is the name of the program that unpacks it by `-dc`.
    enum Packing: String, Sendable, CaseIterable {
        case gzip, zstd, lz4, xz, bzip2

        var magic: [UInt8] {
            switch self {
            case .gzip: [0x1F, 0x8B]
            case .zstd: [0x28, 0xB5, 0x2F, 0xFD]
            case .lz4: [0x04, 0x22, 0x4D, 0x18]
            case .xz: [0xFD, 0x37, 0x7A, 0x58, 0x5A, 0]
            case .bzip2: [0x42, 0x5A, 0x68]
            }
        }

        /// Debian's package with that program.
        var package: String { self == .xz ? "xz-utils" : rawValue }
    }

    var text: String {
        switch self {
        case .custom: "custom format"
        case .directory: "directory format"
        case .tar: "tar format"
        case .plain: "plain SQL"
        case .packed(let packing): "packed by \(packing.rawValue)"
        }
    }

    /// What a file is that begins so; nil where it is nothing known.
    /// - Parameter head: The first 4 KiB and more, or the whole file where it is shorter.
    init?(head: [UInt8]) {
        if head.starts(with: "PGDMP".utf8) {
            self = .custom
        } else if let packing = Packing.allCases.first(where: { head.starts(with: $0.magic) }) {
            // Before plain SQL: some of these keep the first words of a text as they are.
            self = .packed(packing)
        } else if TarHeader(head[...].prefix(TarHeader.blockBytes)) != nil {
            self = .tar
        } else if PlainFacts.isDump(head: head) || head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
            self = .plain
        } else {
            return nil
        }
    }

    /// What a file is whose bytes are known but not read here, such as `zip`.
    static func foreignPacking(head: [UInt8]) -> String? {
        let known: [(magic: [UInt8], name: String)] = [
            ([0x50, 0x4B, 0x03, 0x04], "zip"), ([0x37, 0x7A, 0xBC, 0xAF, 0x27, 0x1C], "7z"),
        ]
        return known.first { head.starts(with: $0.magic) }?.name
    }
}

/// The header block of one member of a tar archive, as far as pg_dump fills it. (POSIX, pax: ustar Interchange Format.)
struct TarHeader: Sendable, Equatable {
    static let blockBytes = 512

    var name: String
    var sizeBytes: Int64

    /// nil where the block is none: too short, or its checksum does not fit.
    init?(_ block: ArraySlice<UInt8>) {
        guard block.count == Self.blockBytes else { return nil }
        let bytes = Array(block)
        guard let size = Self.octal(bytes[124..<136]), let stated = Self.octal(bytes[148..<156]) else { return nil }
        let blanked =
            bytes[..<148].reduce(Int64(0)) { $0 + Int64($1) } + 8 * 0x20
            + bytes[156...].reduce(Int64(0)) { $0 + Int64($1) }
        guard stated == blanked else { return nil }
        name = String(decoding: bytes[..<100].prefix { $0 != 0 }, as: UTF8.self)
        guard !name.isEmpty else { return nil }
        sizeBytes = size
    }

    /// From this header's start to that of the next.
    var strideBytes: Int64 { Int64(Self.blockBytes) + (sizeBytes + 511) / 512 * 512 }

    /// Octal digits between blanks; or, with the high bit set, a binary number, as pg_dump writes for 8 GiB and more.
    private static func octal(_ field: ArraySlice<UInt8>) -> Int64? {
        var value: Int64 = 0
        if field.first == 0x80 {
            for byte in field.dropFirst() {
                guard value < 1 << 50 else { return nil }
                value = value << 8 | Int64(byte)
            }
            return value
        }
        let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0 }
        guard !digits.isEmpty else { return nil }
        for digit in digits {
            guard (0x30...0x37).contains(digit) else { return nil }
            value = value << 3 | Int64(digit - 0x30)
        }
        return value
    }
}

/// What the comments and statements of a plain dump say of it.
struct PlainFacts: Sendable {
    var requirements = DumpRequirements()
    var serverVersion: String?
    var dumpVersion: String?
    /// `2026-11-14 02:00:00 CET`, where pg_dump ran with `--verbose`.
    var startedOn: String?
    /// Whether its last words are there.
    var isComplete = false
    /// The tables that COPY fills, as the statements name them.
    var copiesTables = 0
    /// Lines of `\connect`.
    var connections: [String] = []
    var isCluster = false

    static func isDump(head: [UInt8]) -> Bool {
        head.count > 2 && [title, clusterTitle].contains { contains(Array($0.utf8), in: head[...].prefix(4096)) }
    }

    static let title = "-- PostgreSQL database dump"
    private static let clusterTitle = "-- PostgreSQL database cluster dump"
    private static let trailer = "-- PostgreSQL database dump complete"

    /// Whether a dump's last bytes hold its last words; what follows them is a few lines at most.
    static func isComplete(tail: [UInt8]) -> Bool { contains(Array(trailer.utf8), in: tail[...]) }

    private static func contains(_ needle: [UInt8], in bytes: ArraySlice<UInt8>) -> Bool {
        guard bytes.count >= needle.count else { return false }
        return (bytes.startIndex...(bytes.endIndex - needle.count)).contains { start in
            bytes[start] == needle[0] && bytes[start..<start + needle.count].elementsEqual(needle)
        }
    }

    mutating func add(_ piece: PlainScript.Piece) {
        switch piece {
        case .comment(let bytes): add(comment: String(decoding: bytes, as: UTF8.self))
        case .statement(let bytes, _):
            // Owners, grants and settings are short; a long statement is a function or rows of INSERT.
            if bytes.count <= 1 << 16 { requirements.add(statement: sqlTokens(bytes)) }
        case .copyStatement: copiesTables += 1
        case .metaCommand(name: "connect", let argument, _): connections.append(argument)
        case .metaCommand, .copyData, .copyEnd: break
        }
    }

    private mutating func add(comment: String) {
        func text(after prefix: String) -> String? {
            comment.hasPrefix(prefix) ? String(comment.dropFirst(prefix.count)) : nil
        }
        if comment == Self.trailer {
            isComplete = true
        } else if comment == Self.clusterTitle {
            isCluster = true
        } else if let version = text(after: "-- Dumped from database version ") {
            serverVersion = serverVersion ?? version
        } else if let version = text(after: "-- Dumped by pg_dump version ") {
            dumpVersion = dumpVersion ?? version
        } else if let start = text(after: "-- Started on ") {
            startedOn = startedOn ?? start
        }
    }
}
