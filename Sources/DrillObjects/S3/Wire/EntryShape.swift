import Foundation

/// How one entry of a listing is written: what stands between the values that differ from entry to entry.
///
/// A server writes all entries alike. One that is written exactly so can be taken by comparing what lies between its values, without
/// looking at tags; any other is for the reader that knows XML. Offsets are those of the body that the entry was met in.
struct EntryShape {
    enum Value { case key, lastModified, etag, size, version, isLatest }

    /// A value of an entry, and where it stood.
    struct Field {
        let value: Value
        let text: Range<Int>

        init(_ value: Value, _ text: Range<Int>) {
            self.value = value
            self.text = text
        }
    }

    /// An entry that was taken.
    struct Entry {
        /// Not decoded.
        var key = 0..<0
        var etag = 0..<0
        var version = 0..<0
        var size: Int64 = 0
        /// Microseconds since 1970 UTC.
        var modified: Int64 = 0
        var isLatest = false
        /// Behind the entry.
        var end = 0
    }

    /// `2009-10-12T`.
    private static let dayBytes = 11

    let flags: EntryFlags
    /// When the entry's day began, in microseconds since 1970 UTC.
    private var day: Int64 = 0
    private let fields: [Field]
    /// What stands before each field, and behind the last one.
    private let between: [Range<Int>]

    /// - Parameters:
    ///   - fields: In the order in which they stand, each at most once, the key among them.
    ///   - entry: With the white space before it.
    init(_ fields: [Field], flags: EntryFlags, _ entry: Range<Int>, _ scanner: XMLScanner) {
        self.fields = fields
        self.flags = flags
        var between: [Range<Int>] = []
        var start = entry.lowerBound
        for field in fields {
            between.append(start..<field.text.lowerBound)
            start = field.text.upperBound
            if field.value == .lastModified { day = (Timestamps.day(scanner.bytes(field.text)) ?? 0) * 86_400_000_000 }
        }
        between.append(start..<entry.upperBound)
        self.between = between
    }

    /// The entry at `start`; nil where anything about it is different.
    func match(_ scanner: XMLScanner, at start: Int) -> Entry? {
        var entry = Entry()
        var position = start
        for index in fields.indices {
            guard let valueStart = scanner.end(of: between[index], repeatedAt: position) else { return nil }
            let field = fields[index]
            switch field.value {
            case .key:
                guard let end = scanner.endOfText(from: valueStart) else { return nil }
                entry.key = valueStart..<end
                position = end
            case .size:
                position = valueStart
                while let digit = scanner.digit(position) {
                    entry.size = entry.size &* 10 &+ digit
                    position += 1
                }
                guard position > valueStart, position - valueStart <= 18 else { return nil }
            case .lastModified:
                position = valueStart + field.text.count
                guard position <= scanner.count, let instant = instant(scanner, valueStart..<position, like: field.text)
                else { return nil }
                entry.modified = instant
            case .etag:
                position = valueStart + field.text.count
                guard scanner.isPlain(valueStart..<position) else { return nil }
                entry.etag = valueStart..<position
            case .version:
                position = valueStart + field.text.count
                guard scanner.isPlain(valueStart..<position) else { return nil }
                entry.version = valueStart..<position
            case .isLatest:
                entry.isLatest = scanner.byte(valueStart) == UInt8(ascii: "t")
                position = valueStart + (entry.isLatest ? 4 : 5)
                guard position <= scanner.count, scanner.named(valueStart..<position, entry.isLatest ? "true" : "false")
                else { return nil }
            }
        }
        guard let end = scanner.end(of: between[fields.count], repeatedAt: position) else { return nil }
        entry.end = end
        return entry
    }

    /// Microseconds since 1970 UTC; days are mostly those of the entry that the shape is from.
    private func instant(_ scanner: XMLScanner, _ text: Range<Int>, like known: Range<Int>) -> Int64? {
        let bytes = scanner.bytes(text)
        guard bytes.count > Self.dayBytes,
            scanner.end(of: known.prefix(Self.dayBytes), repeatedAt: text.lowerBound) != nil,
            let time = Timestamps.microsecondsOfDay(bytes)
        else { return Timestamps.microseconds(bytes) }
        return day + time
    }
}

extension XMLScanner {
    /// Where those bytes end where they stand once more at `position`; nil if they do not.
    @inline(__always)
    fileprivate func end(of range: Range<Int>, repeatedAt position: Int) -> Int? {
        let end = position + range.count
        guard end <= count else { return nil }
        let (left, right) = (bytes(range), bytes(position..<end))
        // Eight bytes at a time, the last eight once more in part: what stands between values is short.
        guard range.count >= 8 else { return left.elementsEqual(right) ? end : nil }
        var index = 0
        while index + 8 < range.count {
            guard left.word(index) == right.word(index) else { return nil }
            index += 8
        }
        return left.word(range.count - 8) == right.word(range.count - 8) ? end : nil
    }

    /// Whether nothing in that text of fixed length ends it or stands for something else.
    @inline(__always)
    fileprivate func isPlain(_ range: Range<Int>) -> Bool {
        guard range.upperBound <= count else { return false }
        let text = bytes(range)
        let ones: UInt64 = 0x0101_0101_0101_0101
        var index = 0
        while index + 8 <= text.count {
            let word = text.word(index)
            // As in ``KeyDecoder/needsDecoding(_:)``: a borrow into a high bit shows one of those characters, or one behind it.
            let opening = word ^ (ones &* 0x3C), ampersand = word ^ (ones &* 0x26)
            if (((opening &- ones) & ~opening) | ((ampersand &- ones) & ~ampersand)) & (ones &* 0x80) != 0 {
                return false
            }
            index += 8
        }
        while index < text.count {
            if text[index] == UInt8(ascii: "<") || text[index] == UInt8(ascii: "&") { return false }
            index += 1
        }
        return true
    }

    /// Where a text from `start` ends; nil where that cannot be seen.
    @inline(__always)
    fileprivate func endOfText(from start: Int) -> Int? { find(UInt8(ascii: "<"), from: start, limit: Self.textLimit) }

    @inline(__always)
    fileprivate func digit(_ index: Int) -> Int64? {
        let digit = byte(index) &- UInt8(ascii: "0")
        return digit < 10 ? Int64(digit) : nil
    }
}

extension UnsafeRawBufferPointer {
    /// The eight bytes there, which there must be.
    @inline(__always)
    fileprivate func word(_ index: Int) -> UInt64 { loadUnaligned(fromByteOffset: index, as: UInt64.self) }
}
