import Foundation

/// Why bytes are not the XML that S3 sends.
struct XMLProblem: Error, Equatable, CustomStringConvertible {
    var what: String
    /// Bytes from the start of the body.
    var offset: Int
    var description: String { "\(what) at byte \(offset)" }
}

/// Reads markup from a body in memory, tag by tag. It knows what S3's answers are made of and nothing else: no DOCTYPE,
/// no CDATA, no comments, no entities but the five and numeric ones, at most 32 levels, at most 64 KiB of text at a
/// time (X7).
///
/// The body must outlive the scanner; ranges are offsets in it.
struct XMLScanner {
    static let depthLimit = 32
    static let textLimit = 64 << 10

    /// An opening tag that has been read.
    struct Tag {
        var name: Range<Int>
        /// `<Name/>`: there is neither content nor a closing tag.
        var isEmpty: Bool
    }

    private let base: UnsafePointer<UInt8>
    let count: Int
    private(set) var position = 0

    /// nil for an empty body.
    init?(_ body: UnsafeRawBufferPointer) {
        guard let start = body.baseAddress, body.count > 0 else { return nil }
        base = start.assumingMemoryBound(to: UInt8.self)
        count = body.count
    }

    /// Goes on behind what was read by other means.
    mutating func skip(to position: Int) { self.position = position }

    func problem(_ what: String) -> XMLProblem { XMLProblem(what: what, offset: position) }

    @inline(__always) func byte(_ index: Int) -> UInt8 { index < count ? base[index] : 0 }

    func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }

    @inline(__always) func named(_ range: Range<Int>, _ name: StaticString) -> Bool {
        range.count == name.utf8CodeUnitCount && memcmp(base + range.lowerBound, name.utf8Start, range.count) == 0
    }

    func text(_ range: Range<Int>) -> String { String(decoding: bytes(range), as: UTF8.self) }

    // MARK: Markup

    /// Goes past the byte order mark, the XML declaration and white space, up to the root's `<`.
    mutating func skipProlog() throws(XMLProblem) {
        if byte(0) == 0xEF, byte(1) == 0xBB, byte(2) == 0xBF { position = 3 }
        skipSpace()
        if byte(position) == UInt8(ascii: "<"), byte(position + 1) == UInt8(ascii: "?") {
            guard let end = find(UInt8(ascii: ">"), from: position, limit: 1024), byte(end - 1) == UInt8(ascii: "?")
            else {
                throw problem("an XML declaration without its end")
            }
            position = end + 1
            skipSpace()
        }
        guard byte(position) == UInt8(ascii: "<") else { throw problem("no XML: a tag was expected") }
    }

    /// After the root's closing tag only white space may follow.
    mutating func finish() throws(XMLProblem) {
        skipSpace()
        guard position == count else { throw problem("something follows the end of the document") }
    }

    /// The next opening tag inside the element `parent`, or nil after having read the parent's closing tag. Text
    /// between tags may only be white space.
    @inline(__always)
    mutating func nextChild(of parent: Range<Int>) throws(XMLProblem) -> Tag? {
        if byte(position) != UInt8(ascii: "<") {
            skipSpace()
            guard byte(position) == UInt8(ascii: "<") else {
                throw problem(
                    position >= count ? "the document ends before its closing tag" : "text where only tags may stand")
            }
        }
        if byte(position + 1) == UInt8(ascii: "/") {
            try closeTag(parent)
            return nil
        }
        return try openTag()
    }

    /// Reads the opening tag at the position.
    mutating func openTag() throws(XMLProblem) -> Tag {
        let start = position + 1
        var index = start
        while index < count, Self.isNameByte(base[index]) { index += 1 }
        guard index > start, index - start <= 256 else {
            throw problem(
                byte(start) == UInt8(ascii: "!")
                    ? "a DOCTYPE, comment or CDATA section is refused" : "a tag without a name")
        }
        let name = start..<index
        if byte(index) == UInt8(ascii: ">") {
            position = index + 1
            return Tag(name: name, isEmpty: false)
        }
        let end = try endOfAttributes(from: index)
        position = end + 1
        return Tag(name: name, isEmpty: byte(end - 1) == UInt8(ascii: "/"))
    }

    /// Reads the closing tag at the position, which must be that of `name`.
    mutating func closeTag(_ name: Range<Int>) throws(XMLProblem) {
        let start = position + 2
        guard count - start > name.count, memcmp(base + start, base + name.lowerBound, name.count) == 0 else {
            throw problem(count - start > name.count ? "the wrong element is closed" : "the document ends inside a tag")
        }
        var index = start + name.count
        while Self.isSpace(byte(index)) { index += 1 }
        guard byte(index) == UInt8(ascii: ">") else { throw problem("the wrong element is closed") }
        position = index + 1
    }

    /// The text of an element that may hold nothing but text, its closing tag read.
    @inline(__always)
    mutating func leaf(_ tag: Tag) throws(XMLProblem) -> Range<Int> {
        if tag.isEmpty { return position..<position }
        let start = position
        guard let end = find(UInt8(ascii: "<"), from: start, limit: Self.textLimit) else {
            throw problem(
                count - start > Self.textLimit ? "a text longer than 64 KiB" : "the document ends inside a text")
        }
        position = end
        guard byte(end + 1) == UInt8(ascii: "/") else { throw problem("an element where only text may stand") }
        try closeTag(tag.name)
        return start..<end
    }

    /// The text of the element at the position, where it is one without attributes, white space or elements in it: its tags are
    /// exactly those two. Else nil, and the position stays.
    @inline(__always)
    mutating func plainLeaf(_ opening: StaticString, _ closing: StaticString) -> Range<Int>? {
        let start = position + opening.utf8CodeUnitCount
        guard start < count, memcmp(base + position, opening.utf8Start, opening.utf8CodeUnitCount) == 0,
            let end = find(UInt8(ascii: "<"), from: start, limit: Self.textLimit),
            count - end >= closing.utf8CodeUnitCount,
            memcmp(base + end, closing.utf8Start, closing.utf8CodeUnitCount) == 0
        else { return nil }
        position = end + closing.utf8CodeUnitCount
        return start..<end
    }

    /// Goes past an element whose content does not matter, but which must be well-formed. `depth` is that of the element.
    mutating func skip(_ tag: Tag, depth: Int) throws(XMLProblem) {
        if tag.isEmpty { return }
        guard depth < Self.depthLimit else { throw problem("more than \(Self.depthLimit) levels") }
        while true {
            guard let next = find(UInt8(ascii: "<"), from: position, limit: Self.textLimit) else {
                throw problem(
                    count - position > Self.textLimit
                        ? "a text longer than 64 KiB" : "the document ends inside an element")
            }
            position = next
            if byte(next + 1) == UInt8(ascii: "/") { return try closeTag(tag.name) }
            try skip(try openTag(), depth: depth + 1)
        }
    }

    // MARK: Text

    /// Appends that text with its entities resolved.
    @inline(__always)
    func appendText(_ range: Range<Int>, to target: inout [UInt8]) throws(XMLProblem) {
        if memchr(base + range.lowerBound, Int32(UInt8(ascii: "&")), range.count) == nil {
            target.append(contentsOf: bytes(range))
        } else {
            try appendEncoded(range, to: &target)
        }
    }

    private func appendEncoded(_ range: Range<Int>, to target: inout [UInt8]) throws(XMLProblem) {
        var index = range.lowerBound
        while index < range.upperBound {
            let byte = base[index]
            if byte == UInt8(ascii: "&") {
                index = try appendEntity(at: index, end: range.upperBound, to: &target)
            } else {
                target.append(byte)
                index += 1
            }
        }
    }

    /// A number of bytes or keys.
    func integer(_ text: Range<Int>) throws(XMLProblem) -> Int64 {
        var value: Int64 = 0
        guard !text.isEmpty, text.count <= 18 else { throw problem("no number of bytes or keys") }
        for index in text {
            let digit = base[index] &- UInt8(ascii: "0")
            guard digit < 10 else { throw problem("no number of bytes or keys") }
            value = value &* 10 &+ Int64(digit)
        }
        return value
    }

    func decodedText(_ range: Range<Int>) throws(XMLProblem) -> [UInt8] {
        var bytes: [UInt8] = []
        try appendText(range, to: &bytes)
        return bytes
    }

    /// Resolves the entity that starts at `index`, and returns where it ends.
    func appendEntity(at index: Int, end: Int, to target: inout [UInt8]) throws(XMLProblem) -> Int {
        // The longest that is meant: `&#x0010FFFF;`.
        var stop = index + 1
        while stop < min(end, index + 12), base[stop] != UInt8(ascii: ";") { stop += 1 }
        guard stop < end, base[stop] == UInt8(ascii: ";") else {
            throw XMLProblem(what: "an entity without its end", offset: index)
        }
        let name = (index + 1)..<stop
        if named(name, "amp") {
            target.append(UInt8(ascii: "&"))
        } else if named(name, "lt") {
            target.append(UInt8(ascii: "<"))
        } else if named(name, "gt") {
            target.append(UInt8(ascii: ">"))
        } else if named(name, "quot") {
            target.append(UInt8(ascii: "\""))
        } else if named(name, "apos") {
            target.append(UInt8(ascii: "'"))
        } else if let scalar = numericEntity(name) {
            target.append(contentsOf: String(Character(scalar)).utf8)
        } else {
            throw XMLProblem(what: "an entity that XML itself does not define", offset: index)
        }
        return stop + 1
    }

    private func numericEntity(_ name: Range<Int>) -> Unicode.Scalar? {
        guard byte(name.lowerBound) == UInt8(ascii: "#") else { return nil }
        let isHexadecimal = byte(name.lowerBound + 1) == UInt8(ascii: "x")
        let start = name.lowerBound + (isHexadecimal ? 2 : 1)
        let digits = start..<max(start, name.upperBound)
        guard !digits.isEmpty else { return nil }
        var value: UInt32 = 0
        for index in digits {
            guard let digit = URLEncoding.digit(base[index]), isHexadecimal || digit < 10 else { return nil }
            value = value * (isHexadecimal ? 16 : 10) + UInt32(digit)
            guard value <= 0x10FFFF else { return nil }
        }
        return value == 0 ? nil : Unicode.Scalar(value)
    }

    // MARK: Scanning

    @inline(__always)
    func find(_ wanted: UInt8, from start: Int, limit: Int) -> Int? {
        let length = min(count - start, limit)
        guard length > 0, let found = memchr(base + start, Int32(wanted), length) else { return nil }
        return UnsafeRawPointer(found) - UnsafeRawPointer(base)
    }

    private mutating func skipSpace() {
        while Self.isSpace(byte(position)) { position += 1 }
    }

    /// Where the tag's `>` is; quotes may hold a `>`, and no attribute holds a `<`.
    private func endOfAttributes(from start: Int) throws(XMLProblem) -> Int {
        var quote: UInt8 = 0
        var index = start
        let end = min(count, start + Self.textLimit)
        while index < end {
            let byte = base[index]
            if byte == UInt8(ascii: "<") { break }
            if quote != 0 {
                if byte == quote { quote = 0 }
            } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
                quote = byte
            } else if byte == UInt8(ascii: ">") {
                return index
            }
            index += 1
        }
        throw problem("a tag without its end")
    }

    @inline(__always)
    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- UInt8(ascii: "a") < 26 || byte &- UInt8(ascii: "0") < 10 || byte == UInt8(ascii: "_")
            || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: ":")
    }

    @inline(__always)
    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09
    }
}
