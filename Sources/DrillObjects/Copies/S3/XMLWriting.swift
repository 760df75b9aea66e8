/// The little XML that requests to S3 have in their bodies.
enum XMLWriting {
    /// Whether XML 1.0 can write these bytes as text: UTF-8 without most control characters. (XML 1.0, production 2.)
    static func canHold(_ bytes: [UInt8]) -> Bool {
        guard let text = String(validating: bytes, as: UTF8.self) else { return false }
        return text.unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 0x9, 0xA, 0xD, 0x20...0xD7FF, 0xE000...0xFFFD, 0x10000...0x10FFFF: true
            default: false
            }
        }
    }

    static func append(_ name: String, _ value: some Sequence<UInt8>, to body: inout [UInt8]) {
        body += Array("<\(name)>".utf8)
        for byte in value {
            switch byte {
            case UInt8(ascii: "&"): body += Array("&amp;".utf8)
            case UInt8(ascii: "<"): body += Array("&lt;".utf8)
            case UInt8(ascii: ">"): body += Array("&gt;".utf8)
            // As they are, readers would make other characters of them.
            case 0x9, 0xA, 0xD: body += Array("&#\(byte);".utf8)
            default: body.append(byte)
            }
        }
        body += Array("</\(name)>".utf8)
    }
}
