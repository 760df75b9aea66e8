/// An object key: bytes from end to end, ordered and compared as bytes.
///
/// Never a `String`: Swift compares strings by Unicode equivalence, so NFC and NFD spellings of one word would be one key
/// (pitfall S1). Amazon S3 keys are at most 1,024 bytes of UTF-8; a row may hold anything.
package struct ObjectKey: Hashable, Comparable, Sendable {
    package let bytes: [UInt8]

    package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
    package init(_ text: String) { self.bytes = Array(text.utf8) }

    package static func < (left: ObjectKey, right: ObjectKey) -> Bool {
        left.bytes.lexicographicallyPrecedes(right.bytes)
    }
}

extension ObjectKey: CustomStringConvertible {
    /// For people: see ``printable(_:)``.
    package var description: String { printable(bytes) }
}

/// An S3 version ID, or `null` for the version that was written without versioning.
package struct VersionID: Hashable, Sendable, CustomStringConvertible {
    package let text: String
    package init(_ text: String) { self.text = text }
    package var description: String { text }
}

/// Bytes as text that no terminal, log or XML reader can trip over, and that reads back to exactly these bytes: UTF-8 stays as
/// it is, a backslash becomes `\\`, and each byte of a control character, of a bidirectional or zero-width mark, of a
/// non-character or of anything that is not UTF-8 becomes `\xNN`.
package func printable(_ bytes: some Collection<UInt8>) -> String {
    var text = ""
    text.reserveCapacity(bytes.count)
    var pending = Array(bytes)[...]
    while let first = pending.first {
        if first == UInt8(ascii: "\\") {
            text += "\\\\"
            pending.removeFirst()
        } else if first >= 0x20, first < 0x7F {
            text.unicodeScalars.append(Unicode.Scalar(first))
            pending.removeFirst()
        } else if let (scalar, length) = decodeScalar(pending), isPlain(scalar) {
            text.unicodeScalars.append(scalar)
            pending.removeFirst(length)
        } else {
            text += "\\x" + hexadecimal([first])
            pending.removeFirst()
        }
    }
    return text
}

/// Lower-case hexadecimal digits, two a byte.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// The scalar that well-formed UTF-8 of two to four bytes starts with, and how many bytes it took; nil where there is none.
private func decodeScalar(_ bytes: ArraySlice<UInt8>) -> (Unicode.Scalar, Int)? {
    var decoder = UTF8()
    var iterator = bytes.prefix(4).makeIterator()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
    return (scalar, UTF8.width(scalar))
}

private func isPlain(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    default: true
    }
}
