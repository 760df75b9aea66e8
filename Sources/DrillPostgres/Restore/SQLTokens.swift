/// One word of a SQL statement, as PostgreSQL's lexer would cut it.
enum SQLToken: Equatable, Sendable {
    /// An unquoted word, folded to lower case as PostgreSQL folds it (ASCII only).
    case word(String)
    /// A quoted identifier, without its quotes.
    case quoted(String)
    /// A string constant's text as it stands, without quotes or prefix; escapes are left as they are.
    case text(String)
    /// Any other character.
    case mark(UInt8)

    /// The identifier that this token is, quoted or not.
    var identifier: String? {
        switch self {
        case .word(let name), .quoted(let name): name
        case .text, .mark: nil
        }
    }

    func isWord(_ word: String) -> Bool { self == .word(word) }
    func isMark(_ mark: Character) -> Bool { mark.asciiValue.map { self == .mark($0) } ?? false }
}

/// Cuts one statement into tokens; comments and white space are dropped. For small statements such as GRANT.
/// - Parameter limit: At most so many tokens, from the front.
func sqlTokens(_ sql: some Collection<UInt8>, limit: Int = .max) -> [SQLToken] {
    var lexer = SQLLexer(sql)
    var tokens: [SQLToken] = []
    while tokens.count < limit, let token = lexer.next() { tokens.append(token) }
    return tokens
}

private struct SQLLexer {
    private let bytes: [UInt8]
    private var index = 0

    init(_ sql: some Collection<UInt8>) { bytes = Array(sql) }

    private func at(_ index: Int) -> UInt8? { index < bytes.count ? bytes[index] : nil }

    mutating func next() -> SQLToken? {
        skipBlanksAndComments()
        guard let byte = at(index) else { return nil }
        switch byte {
        case UInt8(ascii: "\""): return .quoted(delimited(by: byte))
        case UInt8(ascii: "'"): return .text(delimited(by: byte))
        case UInt8(ascii: "e"), UInt8(ascii: "E"):
            guard at(index + 1) == UInt8(ascii: "'") else { return word() }
            index += 1
            return .text(delimited(by: UInt8(ascii: "'"), escapes: true))
        case UInt8(ascii: "$"):
            if let tag = dollarTag(in: bytes[index...]) { return dollarQuoted(tag) }
        case _ where isIdentifierStart(byte): return word()
        default: break
        }
        index += 1
        return .mark(byte)
    }

    private mutating func word() -> SQLToken {
        let start = index
        while let byte = at(index), isIdentifierPart(byte) { index += 1 }
        let folded = bytes[start..<index].map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return .word(String(decoding: folded, as: UTF8.self))
    }

    private mutating func delimited(by quote: UInt8, escapes: Bool = false) -> String {
        var content: [UInt8] = []
        index += 1
        while let byte = at(index) {
            index += 1
            if byte == quote {
                guard at(index) == quote else { break }
                index += 1
            } else if escapes, byte == UInt8(ascii: "\\"), let escaped = at(index) {
                content.append(byte)
                content.append(escaped)
                index += 1
                continue
            }
            content.append(byte)
        }
        return String(decoding: content, as: UTF8.self)
    }

    private mutating func dollarQuoted(_ tag: ArraySlice<UInt8>) -> SQLToken {
        index += tag.count
        let start = index
        while index < bytes.count {
            if bytes[index...].starts(with: tag) {
                defer { index += tag.count }
                return .text(String(decoding: bytes[start..<index], as: UTF8.self))
            }
            index += 1
        }
        return .text(String(decoding: bytes[start...], as: UTF8.self))
    }

    private mutating func skipBlanksAndComments() {
        while let byte = at(index) {
            if byte == UInt8(ascii: "-"), at(index + 1) == byte {
                while let next = at(index), next != UInt8(ascii: "\n") { index += 1 }
            } else if byte == UInt8(ascii: "/"), at(index + 1) == UInt8(ascii: "*") {
                skipBlockComment()
            } else if isBlank(byte) {
                index += 1
            } else {
                return
            }
        }
    }

    private mutating func skipBlockComment() {
        var depth = 0
        while let byte = at(index) {
            if byte == UInt8(ascii: "/"), at(index + 1) == UInt8(ascii: "*") {
                depth += 1
                index += 2
            } else if byte == UInt8(ascii: "*"), at(index + 1) == UInt8(ascii: "/") {
                depth -= 1
                index += 2
                if depth == 0 { return }
            } else {
                index += 1
            }
        }
    }
}

/// The opening `$tag$` at the start of these bytes, with its dollar signs; nil where there is none.
func dollarTag(in bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    guard bytes.first == UInt8(ascii: "$") else { return nil }
    var index = bytes.startIndex + 1
    while index < bytes.endIndex {
        let byte = bytes[index]
        if byte == UInt8(ascii: "$") { return bytes[bytes.startIndex...index] }
        let isFirst = index == bytes.startIndex + 1
        guard isFirst ? isIdentifierStart(byte) : isIdentifierPart(byte) else { return nil }
        index += 1
    }
    return nil
}

/// Letters, underscore and every byte above ASCII. (PostgreSQL source, scan.l.)
func isIdentifierStart(_ byte: UInt8) -> Bool {
    (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte) || byte == UInt8(ascii: "_") || byte >= 0x80
}

func isIdentifierPart(_ byte: UInt8) -> Bool {
    isIdentifierStart(byte) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "$")
}

func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
