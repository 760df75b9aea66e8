/// Percent-encoding as S3 signs it: unreserved bytes stay, every other byte is `%XX` with capital digits.
///
/// Dots stay literal, also in `.` and `..` segments: servers decode `%2e` differently (S10).
enum URLEncoding {
    /// An object key as a path: `/` stays as well.
    static func appendPath(_ bytes: some Sequence<UInt8>, to target: inout [UInt8]) {
        for byte in bytes {
            if isUnreserved(byte) || byte == UInt8(ascii: "/") {
                target.append(byte)
            } else {
                appendEscape(byte, to: &target)
            }
        }
    }

    /// A name or value of a query: `/` becomes `%2F`.
    static func appendComponent(_ bytes: some Sequence<UInt8>, to target: inout [UInt8]) {
        for byte in bytes {
            if isUnreserved(byte) { target.append(byte) } else { appendEscape(byte, to: &target) }
        }
    }

    static func component(_ text: String) -> String {
        var bytes: [UInt8] = []
        appendComponent(text.utf8, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// The value of a hexadecimal digit of either case; nil for any other byte.
    static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    private static func appendEscape(_ byte: UInt8, to target: inout [UInt8]) {
        target.append(UInt8(ascii: "%"))
        target.append(capitalDigit(byte >> 4))
        target.append(capitalDigit(byte & 15))
    }

    private static func capitalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
    }
}
