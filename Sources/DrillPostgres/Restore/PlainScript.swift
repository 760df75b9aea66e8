import DrillCore
import Foundation

/// Cuts a plain SQL dump into statements and COPY data as it streams by. Nothing in it is ever handed to psql, whose
/// meta-commands run programs (P5): a backslash outside quotes and COPY data is refused, but for the three commands that
/// pg_dump itself writes, `\restrict TOKEN`, `\unrestrict TOKEN` and `\connect NAME`, and those are reported, not run.
///
/// What ends a statement follows psql. (PostgreSQL source, psqlscan.l.)
struct PlainScript {
    enum Piece: Equatable, Sendable {
        /// Without its semicolon's trailing blanks; never empty.
        case statement([UInt8], line: Int)
        /// A `COPY … FROM stdin`; its data follow, then `copyEnd`.
        case copyStatement([UInt8], line: Int)
        case copyData([UInt8])
        case copyEnd
        /// A line comment between statements, without the line's end.
        case comment([UInt8])
        /// `restrict`, `unrestrict` or `connect` with its argument.
        case metaCommand(name: String, argument: String, line: Int)
    }

    struct Failure: Error, Equatable {
        /// Lower case, no full stop.
        var what: String
        var line: Int
    }

    private enum State: Equatable {
        /// Before a statement.
        case between
        case plain
        case string(escapes: Bool)
        case identifier
        case dollar(tag: [UInt8])
        case lineComment
        case blockComment(depth: Int)
        /// On the line of a COPY statement, behind its semicolon.
        case copyHead
        case copyData
    }

    /// The protocol's own limit on a message.
    static let longestStatement = (1 << 30) - 1
    private static let longestWord = 1 << 20

    /// Whether COPY data are handed on; without, they are only passed over.
    let keepsData: Bool
    private var state = State.between
    /// From the start of the pending statement, comment or COPY line on.
    private var buffer: [UInt8] = []
    private var start = 0
    private var scan = 0
    private var line = 1
    private var startLine = 1
    private var parentheses = 0
    /// Open BEGIN ATOMIC and CASE of a SQL-standard function body, in which semicolons end nothing.
    private var bodyDepth = 0
    /// The first words of the pending statement, lower case.
    private var firstWords: [String] = []
    private var lastWord = ""
    private var plainStringsEscape = false
    private var isAtLineStart = true
    private var sawFirstBytes = false
    private var isLast = false
    private var pieces: [Piece] = []

    init(keepsData: Bool = true) { self.keepsData = keepsData }

    /// Takes the next bytes and returns what is complete with them.
    mutating func feed(_ bytes: some Collection<UInt8>) throws(Failure) -> [Piece] {
        buffer.append(contentsOf: bytes)
        return try drain()
    }

    /// Says that the script has ended. Throws where it ends inside a statement or inside COPY data.
    mutating func finish() throws(Failure) -> [Piece] {
        isLast = true
        let rest = try drain()
        switch state {
        case .between: return rest
        case .copyHead, .copyData:
            throw Failure(what: "the script ends inside the data of the COPY in line \(startLine)", line: line)
        default:
            throw Failure(what: "the script ends inside the statement that begins in line \(startLine)", line: line)
        }
    }

    private mutating func drain() throws(Failure) -> [Piece] {
        if !sawFirstBytes {
            guard buffer.count >= 3 || isLast else { return [] }
            try skipByteOrderMark()
        }
        while try step() {}
        buffer.removeFirst(start)
        scan -= start
        start = 0
        defer { pieces = [] }
        return pieces
    }

    private mutating func skipByteOrderMark() throws(Failure) {
        sawFirstBytes = true
        if buffer.starts(with: [0xEF, 0xBB, 0xBF]) { scan = 3 }
        start = scan
        if buffer.starts(with: [0xFF, 0xFE]) || buffer.starts(with: [0xFE, 0xFF]) {
            throw Failure(what: "the script is UTF-16, which PostgreSQL does not read", line: 1)
        }
    }

    /// Goes on by one piece or one change of state. False where more bytes are needed.
    private mutating func step() throws(Failure) -> Bool {
        switch state {
        case .between: try between()
        case .plain: try plain()
        case .string(let escapes): try quoted(UInt8(ascii: "'"), escapes: escapes)
        case .identifier: try quoted(UInt8(ascii: "\""), escapes: false)
        case .dollar(let tag): try dollarQuoted(tag)
        case .lineComment: skipLine()
        case .blockComment(let depth): blockComment(depth)
        case .copyHead: try copyHead()
        case .copyData: try copyData()
        }
    }

    private func at(_ index: Int) -> UInt8? { index < buffer.count ? buffer[index] : nil }

    private func failure(_ what: String) -> Failure { Failure(what: what, line: line) }

    private mutating func between() throws(Failure) -> Bool {
        while let byte = at(scan), isBlank(byte) {
            if byte == 0x0A { line += 1 }
            isAtLineStart = byte == 0x0A || (isAtLineStart && byte == 0x0D)
            scan += 1
        }
        start = scan
        startLine = line
        guard let byte = at(scan) else { return false }
        if byte == UInt8(ascii: "-") {
            guard let next = at(scan + 1) else { return needMore(orState: .plain) }
            if next == byte { return commentLine() }
        }
        if byte == UInt8(ascii: "\\") { return try metaCommand() }
        isAtLineStart = false
        (state, parentheses, bodyDepth, firstWords) = (.plain, 0, 0, [])
        return true
    }

    /// At the end of the script there are no more bytes to wait for.
    private mutating func needMore(orState next: State) -> Bool {
        if isLast {
            state = next
            return true
        }
        return false
    }

    /// The index of the next line feed, or the script's end where nothing follows; nil where more bytes are needed.
    private func lineEnd() -> Int? { newline(from: scan) ?? (isLast ? buffer.count : nil) }

    /// The line's end as far as a message shows it: a line of any length is not waited for.
    private func shownLineEnd() -> Int? { lineEnd() ?? (buffer.count - scan >= 4096 ? buffer.count : nil) }

    private func newline(from index: Int) -> Int? {
        buffer.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, index < bytes.count,
                let found = memchr(base + index, 0x0A, bytes.count - index)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    private mutating func commentLine() -> Bool {
        guard let end = lineEnd() else { return false }
        pieces.append(.comment(Array(trimmed(buffer[scan..<end]))))
        scan = end
        start = end
        return true
    }

    private mutating func metaCommand() throws(Failure) -> Bool {
        guard let end = shownLineEnd() else { return false }
        let text = trimmed(buffer[scan..<end])
        let words = String(decoding: text, as: UTF8.self).split(separator: " ", maxSplits: 1)
        let (name, argument) = (words[0].dropFirst(), words.dropFirst().first ?? "")
        guard isAtLineStart, allowed(name, argument) else { throw refused(text) }
        pieces.append(.metaCommand(name: String(name), argument: String(argument), line: line))
        scan = end
        start = end
        return true
    }

    private func allowed(_ name: Substring, _ argument: Substring) -> Bool {
        switch name {
        case "restrict", "unrestrict":
            !argument.isEmpty
                && argument.utf8.allSatisfy { $0 < 0x80 && isIdentifierPart($0) && $0 != UInt8(ascii: "$") }
        // Only reported: a name of any form does no harm. A backquote is psql's way to run a program.
        case "connect": !argument.isEmpty && !argument.utf8.contains(UInt8(ascii: "`"))
        default: false
        }
    }

    private func refused(_ text: ArraySlice<UInt8>) -> Failure {
        failure("the psql command `\(printable(text.prefix(80)))` is refused: it could run programs")
    }

    private mutating func plain() throws(Failure) -> Bool {
        while let byte = at(scan) {
            switch byte {
            case UInt8(ascii: ";"):
                scan += 1
                if parentheses == 0, bodyDepth == 0 { return try statementEnd() }
            case UInt8(ascii: "'"): return enter(.string(escapes: plainStringsEscape), after: 1)
            case UInt8(ascii: "\""): return enter(.identifier, after: 1)
            case UInt8(ascii: "-"), UInt8(ascii: "/"):
                guard let next = at(scan + 1) else { return isLast ? enter(.plain, after: 1) : false }
                if byte == next, byte == UInt8(ascii: "-") { return enter(.lineComment, after: 2) }
                if byte == UInt8(ascii: "/"), next == UInt8(ascii: "*") {
                    return enter(.blockComment(depth: 1), after: 2)
                }
                scan += 1
            case UInt8(ascii: "$"):
                guard let known = try dollar() else { return false }
                if known { return true }
            case UInt8(ascii: "\\"):
                guard let end = shownLineEnd() else { return false }
                throw refused(trimmed(buffer[scan..<end]))
            case 0: throw failure("a zero byte")
            case _ where isIdentifierStart(byte):
                guard let escapes = try word() else { return false }
                if escapes { return enter(.string(escapes: true), after: 1) }
            default:
                if byte == 0x0A { line += 1 }
                if byte == UInt8(ascii: "(") { parentheses += 1 }
                if byte == UInt8(ascii: ")") { parentheses = max(0, parentheses - 1) }
                scan += 1
            }
        }
        try requireBounded()
        return false
    }

    private mutating func enter(_ next: State, after count: Int) -> Bool {
        scan += count
        state = next
        return true
    }

    private func requireBounded() throws(Failure) {
        if scan - start > Self.longestStatement {
            throw Failure(what: "a statement of more than \(Self.longestStatement) bytes", line: startLine)
        }
    }

    /// Passes over one word. True where it was the `E` of an `E'…'` string; nil where more bytes are needed.
    private mutating func word() throws(Failure) -> Bool? {
        var end = scan
        while let byte = at(end), isIdentifierPart(byte) { end += 1 }
        if end == buffer.count, !isLast {
            guard end - scan < Self.longestWord else { throw failure("a word of more than \(Self.longestWord) bytes") }
            return nil
        }
        let isEscapePrefix = end == scan + 1 && buffer[scan] | 0x20 == UInt8(ascii: "e") && at(end) == UInt8(ascii: "'")
        note(word: buffer[scan..<end].prefix(16))
        scan = end
        return isEscapePrefix
    }

    private mutating func note(word: ArraySlice<UInt8>) {
        guard firstWords.count < 4 || (parentheses == 0 && isRoutine) else { return }
        let text = String(decoding: word, as: UTF8.self).lowercased()
        if firstWords.count < 4 { firstWords.append(text) }
        guard parentheses == 0, isRoutine else { return }
        defer { lastWord = text }
        switch text {
        case "atomic": bodyDepth += lastWord == "begin" ? 1 : 0
        case "case": bodyDepth += bodyDepth > 0 ? 1 : 0
        case "end": bodyDepth = max(0, bodyDepth - 1)
        default: break
        }
    }

    private var isRoutine: Bool {
        guard firstWords.first == "create", firstWords.count > 1 else { return false }
        let noun = firstWords[1] == "or" ? firstWords.dropFirst(3).first : firstWords[1]
        return noun == "function" || noun == "procedure"
    }

    /// At a dollar sign. True where a dollar-quoted text begins; nil where more bytes are needed.
    private mutating func dollar() throws(Failure) -> Bool? {
        if let tag = dollarTag(in: buffer[scan...].prefix(128)) {
            return enter(.dollar(tag: Array(tag)), after: tag.count)
        }
        let isUndecided = buffer.count - scan < 128 && buffer[(scan + 1)...].allSatisfy(isIdentifierPart)
        if isUndecided, !isLast { return nil }
        scan += 1
        return false
    }

    private mutating func quoted(_ quote: UInt8, escapes: Bool) throws(Failure) -> Bool {
        while let byte = at(scan) {
            if byte == quote {
                guard let next = at(scan + 1) else { return isLast ? enter(.plain, after: 1) : false }
                guard next == quote else { return enter(.plain, after: 1) }
                scan += 2
            } else if escapes, byte == UInt8(ascii: "\\") {
                guard let next = at(scan + 1) else { return false }
                if next == 0x0A { line += 1 }
                scan += 2
            } else {
                if byte == 0x0A { line += 1 }
                if byte == 0 { throw failure("a zero byte") }
                scan += 1
            }
        }
        try requireBounded()
        return false
    }

    private mutating func dollarQuoted(_ tag: [UInt8]) throws(Failure) -> Bool {
        while let byte = at(scan) {
            if byte == UInt8(ascii: "$") {
                guard buffer.count - scan >= tag.count || isLast else { return false }
                if buffer[scan...].starts(with: tag) { return enter(.plain, after: tag.count) }
            }
            if byte == 0x0A { line += 1 }
            if byte == 0 { throw failure("a zero byte") }
            scan += 1
        }
        try requireBounded()
        return false
    }

    /// Inside a statement; its line feed is left for ``plain()``.
    private mutating func skipLine() -> Bool {
        guard let end = newline(from: scan) else {
            scan = buffer.count
            return isLast ? enter(.plain, after: 0) : false
        }
        scan = end
        state = .plain
        return true
    }

    private mutating func blockComment(_ depth: Int) -> Bool {
        while let byte = at(scan) {
            guard let next = at(scan + 1) else { return false }
            if byte == UInt8(ascii: "/"), next == UInt8(ascii: "*") {
                return enter(.blockComment(depth: depth + 1), after: 2)
            }
            if byte == UInt8(ascii: "*"), next == UInt8(ascii: "/") {
                return enter(depth > 1 ? .blockComment(depth: depth - 1) : .plain, after: 2)
            }
            if byte == 0x0A { line += 1 }
            scan += 1
        }
        return false
    }

    private mutating func statementEnd() throws(Failure) -> Bool {
        let statement = Array(buffer[start..<scan])
        start = scan
        state = .between
        switch firstWords.first {
        case "copy" where readsStandardInput(statement):
            pieces.append(.copyStatement(statement, line: startLine))
            state = .copyHead
        case "set":
            noteStringSetting(statement)
            pieces.append(.statement(statement, line: startLine))
        case nil where sqlTokens(statement, limit: 2) == [.mark(UInt8(ascii: ";"))]: break
        default: pieces.append(.statement(statement, line: startLine))
        }
        return true
    }

    private func readsStandardInput(_ statement: [UInt8]) -> Bool {
        let tokens = sqlTokens(statement)
        var depth = 0
        for (token, next) in zip(tokens, tokens.dropFirst()) {
            if token.isMark("(") { depth += 1 }
            if token.isMark(")") { depth -= 1 }
            if depth == 0, token.isWord("from"), next.isWord("stdin") { return true }
        }
        return false
    }

    private mutating func noteStringSetting(_ statement: [UInt8]) {
        let tokens = sqlTokens(statement, limit: 5)
        guard tokens.count > 3, tokens[1].isWord("standard_conforming_strings") else { return }
        plainStringsEscape = [.word("off"), .text("off"), .word("false"), .text("false")].contains(tokens[3])
    }

    private mutating func copyHead() throws(Failure) -> Bool {
        guard let end = lineEnd() else { return false }
        guard buffer[scan..<end].allSatisfy(isBlank) else { throw failure("text behind a COPY statement") }
        scan = min(end + 1, buffer.count)
        start = scan
        line += 1
        isAtLineStart = true
        state = .copyData
        return true
    }

    /// Hands on whole lines, and of a long one what there is; a line `\.` ends the data.
    private mutating func copyData() throws(Failure) -> Bool {
        while scan < buffer.count {
            if isAtLineStart, buffer[scan] == UInt8(ascii: "\\") {
                guard buffer.count - scan >= 4 || newline(from: scan) != nil || isLast else { break }
                if let end = lineEnd(), trimmedOfReturn(buffer[scan..<end]).elementsEqual("\\.".utf8) {
                    handOn(upTo: scan)
                    pieces.append(.copyEnd)
                    scan = end
                    start = end
                    state = .between
                    return true
                }
            }
            guard let end = newline(from: scan) else {
                scan = buffer.count
                isAtLineStart = false
                break
            }
            scan = end + 1
            line += 1
            isAtLineStart = true
        }
        handOn(upTo: scan)
        return false
    }

    private mutating func handOn(upTo end: Int) {
        if keepsData, end > start { pieces.append(.copyData(Array(buffer[start..<end]))) }
        start = end
    }

    private func trimmedOfReturn(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        line.last == 0x0D ? line.dropLast() : line
    }

    private func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var line = line
        while let last = line.last, isBlank(last) { line.removeLast() }
        return line
    }
}
