import DrillCore

/// Turns the text of a `<Key>` into the key's bytes.
struct KeyDecoder {
    /// Whether keys are URL-encoded; settled by the echoed `EncodingType` (S6).
    let decodesURL: Bool
    /// What a literal `+` in a URL-encoded key stands for (S5).
    let plusIsSpace: Bool

    /// Appends a key: as it is where nothing in it needs decoding.
    /// - Returns: Whether a literal `+` was met in a URL-encoded key.
    @inline(__always)
    func append(
        _ scanner: XMLScanner, _ text: Range<Int>, to target: inout ByteColumnBuilder
    ) throws(XMLProblem) -> Bool {
        let bytes = scanner.bytes(text)
        if Self.needsDecoding(bytes) {
            let key = try decoded(scanner, text)
            target.append(key.bytes)
            return key.sawPlus
        }
        target.append(bytes)
        return false
    }

    /// Whether there is a `%`, `&`, `+` or control character; eight bytes at a time.
    @inline(__always)
    private static func needsDecoding(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var index = 0
        while index + 8 <= bytes.count {
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            // The high bit of a byte is set where a subtraction of one byte from it borrowed: there, or above where it did, is one of
            // those characters.
            let percent = word ^ (ones &* 0x25), ampersand = word ^ (ones &* 0x26), plus = word ^ (ones &* 0x2B)
            let special =
                ((percent &- ones) & ~percent) | ((ampersand &- ones) & ~ampersand) | ((plus &- ones) & ~plus)
                | ((word &- (ones &* 0x20)) & ~word)
            if special & (ones &* 0x80) != 0 { return true }
            index += 8
        }
        while index < bytes.count {
            let byte = bytes[index]
            if byte == UInt8(ascii: "%") || byte == UInt8(ascii: "&") || byte == UInt8(ascii: "+") || byte < 0x20 {
                return true
            }
            index += 1
        }
        return false
    }

    /// A key, and whether a literal `+` was met where it was URL-encoded.
    func decoded(_ scanner: XMLScanner, _ text: Range<Int>) throws(XMLProblem) -> (bytes: [UInt8], sawPlus: Bool) {
        var target: [UInt8] = []
        var sawPlus = false
        var index = text.lowerBound
        while index < text.upperBound {
            let byte = scanner.byte(index)
            switch byte {
            case UInt8(ascii: "&"):
                let length = target.count
                index = try scanner.appendEntity(at: index, end: text.upperBound, to: &target)
                // No server spells `%` and `+` so; what they would mean inside a URL encoding, nobody knows.
                if decodesURL, target.count == length + 1,
                    target[length] == UInt8(ascii: "%") || target[length] == UInt8(ascii: "+")
                {
                    throw XMLProblem(what: "a key with a percent or plus sign as an entity", offset: index)
                }
            case UInt8(ascii: "%") where decodesURL:
                guard index + 2 < text.upperBound, let high = URLEncoding.digit(scanner.byte(index + 1)),
                    let low = URLEncoding.digit(scanner.byte(index + 2))
                else { throw XMLProblem(what: "a key with a % that no two hexadecimal digits follow", offset: index) }
                target.append(high << 4 | low)
                index += 3
            case UInt8(ascii: "+") where decodesURL:
                sawPlus = true
                target.append(plusIsSpace ? UInt8(ascii: " ") : byte)
                index += 1
            case 0..<0x20:
                // XML readers turn a CR into LF and refuse the others: what the key really is cannot be told.
                throw XMLProblem(what: "a key with a raw control character", offset: index)
            default:
                target.append(byte)
                index += 1
            }
        }
        return (target, sawPlus)
    }
}
