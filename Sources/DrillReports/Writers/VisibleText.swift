import DrillCore
import Foundation

/// Text of which nothing is hidden: control characters, bidirectional and zero-width marks, non-characters and
/// unassigned ones become `\xNN`, byte by byte; line feeds and tabs stay. What is left is valid in XML 1.0, and can
/// drive no terminal (J4, J5).
func visible(_ text: String) -> String {
    if text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) || $0 == 0x0A || $0 == 0x09 }) { return text }
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control where scalar == "\n" || scalar == "\t": result.unicodeScalars.append(scalar)
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
            for byte in String(scalar).utf8 { result += "\\x" + hexadecimal([byte]) }
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// The same on one line: a line feed stands as `\n`, a tab as `\t`.
func oneLine(_ text: String) -> String {
    visible(text).replacing("\n", with: "\\n").replacing("\t", with: "\\t")
}

/// Appends text to an XML or HTML document, at most `limit` bytes of it as they stand there; a cut is shown. Scalar by
/// scalar: to Swift, `<` and a combining accent are one `Character`, and an escaper that looks for the character `<`
/// lets it through.
func appendEscaped(_ text: String, limit: Int = .max, to document: inout [UInt8], inAttribute: Bool = false) {
    var room = limit
    for scalar in visible(text).unicodeScalars {
        let escaped: String
        switch scalar {
        case "&": escaped = "&amp;"
        case "<": escaped = "&lt;"
        case ">": escaped = "&gt;"
        case "\"": escaped = "&quot;"
        case "'": escaped = "&#39;"
        case "\n" where inAttribute: escaped = "&#10;"
        case "\t" where inAttribute: escaped = "&#9;"
        default: escaped = String(scalar)
        }
        room -= escaped.utf8.count
        if room < 0 {
            document += "…".utf8
            return
        }
        document += escaped.utf8
    }
}

/// The first bytes of a text that is too long, with how long it was.
func shortened(_ text: String, to limit: Int) -> String {
    guard text.utf8.count > limit else { return text }
    var end = text.utf8.index(text.utf8.startIndex, offsetBy: limit)
    while end > text.startIndex, end.samePosition(in: text.unicodeScalars) == nil { text.utf8.formIndex(before: &end) }
    return String(text.unicodeScalars[..<end]) + "… (\(grouped(Int64(text.utf8.count))) bytes)"
}

/// `1,234,567`, in every locale.
func grouped(_ number: Int64) -> String {
    var digits = String(number.magnitude)
    var groups: [String] = []
    while digits.count > 3 {
        groups.insert(String(digits.suffix(3)), at: 0)
        digits.removeLast(3)
    }
    return (number < 0 ? "-" : "") + ([digits] + groups).joined(separator: ",")
}

/// `1 finding`, `2 findings`.
func counted(_ number: Int64, _ one: String, _ many: String? = nil) -> String {
    "\(grouped(number)) \(number == 1 ? one : many ?? one + "s")"
}

/// Seconds with exactly three decimals, for machines.
func decimalSeconds(_ seconds: Double) -> String {
    let milliseconds = milliseconds(seconds)
    let fraction = String(milliseconds.magnitude % 1000)
    return (milliseconds < 0 ? "-" : "") + "\(milliseconds.magnitude / 1000)."
        + String(repeating: "0", count: 3 - fraction.count) + fraction
}
