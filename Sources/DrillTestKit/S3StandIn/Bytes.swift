import Foundation

/// Byte strings as S3 compares and writes them. Nothing here goes through `String` comparison (S1).
enum Bytes {
    /// Below zero when `left` sorts first in byte order, zero when both are the same bytes.
    static func compare(_ left: [UInt8], _ right: [UInt8]) -> Int {
        left.withUnsafeBytes { left in
            right.withUnsafeBytes { right in
                guard let leftStart = left.baseAddress, let rightStart = right.baseAddress else {
                    return left.count - right.count
                }
                let order = memcmp(leftStart, rightStart, min(left.count, right.count))
                return order == 0 ? left.count - right.count : Int(order)
            }
        }
    }

    static func hasPrefix(_ bytes: [UInt8], _ prefix: [UInt8]) -> Bool {
        bytes.count >= prefix.count && isEqual(prefix, bytes, at: 0)
    }

    /// Whether `needle` stands in `bytes` at `position`; there must be room for it.
    private static func isEqual(_ needle: [UInt8], _ bytes: [UInt8], at position: Int) -> Bool {
        bytes.withUnsafeBytes { bytes in
            needle.withUnsafeBytes { needle in
                guard let start = bytes.baseAddress, let wanted = needle.baseAddress else { return needle.isEmpty }
                return memcmp(start + position, wanted, needle.count) == 0
            }
        }
    }

    /// The smallest byte string that sorts after everything starting with `prefix`; `nil` when there is none.
    static func successor(ofPrefix prefix: [UInt8]) -> [UInt8]? {
        var result = prefix
        while let last = result.last {
            if last < 0xFF {
                result[result.count - 1] = last + 1
                return result
            }
            result.removeLast()
        }
        return nil
    }

    /// Where `needle` first stands in `bytes` at or after `start`.
    static func firstIndex(of needle: [UInt8], in bytes: [UInt8], from start: Int = 0) -> Int? {
        guard let first = needle.first else { return nil }
        var position = start
        while position + needle.count <= bytes.count {
            let candidate = bytes.withUnsafeBytes { bytes -> Int? in
                guard let base = bytes.baseAddress,
                    let found = memchr(base + position, Int32(first), bytes.count - position)
                else { return nil }
                return UnsafeRawPointer(found) - base
            }
            guard let candidate, candidate + needle.count <= bytes.count else { return nil }
            if isEqual(needle, bytes, at: candidate) { return candidate }
            position = candidate + 1
        }
        return nil
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.flatMap { [hexDigits[Int($0 >> 4)], hexDigits[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func base64(_ bytes: some Sequence<UInt8>) -> String { Data(bytes).base64EncodedString() }

    static func fromBase64(_ text: String) -> [UInt8]? { Data(base64Encoded: text).map { [UInt8]($0) } }

    /// Undoes `%XX`; a `%` that no two hex digits follow stays as it is.
    static func percentDecoded(_ bytes: some Collection<UInt8>, plusIsSpace: Bool) -> [UInt8] {
        let source = [UInt8](bytes)
        var result: [UInt8] = []
        result.reserveCapacity(source.count)
        var index = 0
        while index < source.count {
            let byte = source[index]
            if byte == UInt8(ascii: "%"), index + 2 < source.count, let high = hexValue(source[index + 1]),
                let low = hexValue(source[index + 2])
            {
                result.append(high << 4 | low)
                index += 3
            } else {
                result.append(plusIsSpace && byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
                index += 1
            }
        }
        return result
    }

    /// RFC 3986 as Signature Version 4 wants it: all but unreserved characters, in capitals.
    static func uriEncoded(_ bytes: [UInt8], keepingSlash: Bool) -> [UInt8] {
        encoded(bytes) { isUnreserved($0) || (keepingSlash && $0 == UInt8(ascii: "/")) }
    }

    /// What Amazon S3 makes of a key under `encoding-type=url`: a form encoding that leaves `-_.*/` and writes a space
    /// as `+`.
    static func listingEncoded(_ bytes: [UInt8]) -> [UInt8] {
        var result = encoded(bytes) { byte in
            byte == UInt8(ascii: " ") || byte == UInt8(ascii: "*") || byte == UInt8(ascii: "/")
                || (isUnreserved(byte) && byte != UInt8(ascii: "~"))
        }
        for index in result.indices where result[index] == UInt8(ascii: " ") { result[index] = UInt8(ascii: "+") }
        return result
    }

    private static let hexDigits = [UInt8]("0123456789abcdef".utf8)
    private static let upperHexDigits = [UInt8]("0123456789ABCDEF".utf8)

    private static func encoded(_ bytes: [UInt8], keeping isSafe: (UInt8) -> Bool) -> [UInt8] {
        if bytes.allSatisfy(isSafe) { return bytes }
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count * 2)
        for byte in bytes {
            if isSafe(byte) {
                result.append(byte)
            } else {
                result += [UInt8(ascii: "%"), upperHexDigits[Int(byte >> 4)], upperHexDigits[Int(byte & 15)]]
            }
        }
        return result
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// A repeatable sequence of pseudo-random numbers (SplitMix64), for faults that a seed must reproduce.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
