import Foundation

/// How the folders of backup sets are named: the strftime pattern of `backup.named`, read in UTC unless `%z` tells the offset.
///
/// It matches exactly or not at all: every field has the width that strftime gives it, names of months and half days are those
/// of the C locale, nothing may stand before or behind, and a date that no calendar has is no match.
package struct SetName: Sendable {
    private enum Part: Sendable {
        case literal([UInt8])
        case field(UInt8)
    }

    /// As the drill file says it.
    package let pattern: String
    private let parts: [Part]

    /// Whether names tell the hour; without it a set's time is midnight.
    package let tellsHour: Bool

    private static let known = "%Y %m %d %H %M %S %j %s %y %b %e %I %p %z %F %T %R %%"
    /// What strftime writes for one letter as for several.
    private static let shorthands: [UInt8: String] = [
        UInt8(ascii: "F"): "%Y-%m-%d", UInt8(ascii: "T"): "%H:%M:%S", UInt8(ascii: "R"): "%H:%M",
    ]
    private static let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

    /// Throws `usage` for a pattern with no meaning: the error says what, and not yet where.
    package init(_ pattern: String) throws {
        func refused(_ what: String) -> DrillError {
            DrillError(
                .usage, what,
                hints: ["Write a pattern such as \"%Y-%m-%d-%H-%M\"; known: \(Self.known)."])
        }
        var parts: [Part] = []
        var literal: [UInt8] = []
        var fields = Set<UInt8>()
        var rest = Array(pattern.utf8)[...]
        guard !rest.isEmpty else { throw refused("the pattern is empty") }
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                guard byte != UInt8(ascii: "/"), byte != 0 else {
                    throw refused("a name of a folder holds no '/': sets are folders directly below backup.sets")
                }
                literal.append(byte)
                continue
            }
            guard let field = rest.popFirst() else { throw refused("the pattern ends in a lone %") }
            if field == UInt8(ascii: "%") {
                literal.append(field)
                continue
            }
            if let shorthand = Self.shorthands[field] {
                rest = (Array(shorthand.utf8) + rest)[...]
                continue
            }
            guard "YmdHMSjsybeIpz".utf8.contains(field) else {
                throw refused("%\(printable([field])) in '\(printable(pattern.utf8))' is not known")
            }
            guard fields.insert(field).inserted else {
                throw refused("%\(printable([field])) stands twice in '\(printable(pattern.utf8))'")
            }
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = []
            parts.append(.field(field))
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        if let fault = Self.fault(of: String(decoding: fields.sorted(), as: UTF8.self)) {
            throw refused("'\(printable(pattern.utf8))' \(fault)")
        }
        self.pattern = pattern
        self.parts = parts
        tellsHour = fields.contains { "HIs".utf8.contains($0) }
    }

    /// Why these fields do not make up one instant; nil where they do.
    private static func fault(of fields: String) -> String? {
        func has(_ field: Character) -> Bool { fields.contains(field) }
        func count(_ alternatives: String) -> Int { alternatives.count { has($0) } }
        if has("s") { return fields.count == 1 ? nil : "has %s, which says all, beside other fields" }
        if count("Yy") != 1 { return "must have one of %Y and %y" }
        if has("j") {
            if count("mbde") > 0 { return "has %j beside a month or a day of the month" }
        } else if count("mb") != 1 || count("de") != 1 {
            return "must have one of %m and %b and one of %d and %e, or %j"
        }
        if count("HI") > 1 { return "has both %H and %I" }
        if has("I") != has("p") { return "has one of %I and %p without the other" }
        if has("M"), count("HI") == 0 { return "has %M without an hour" }
        if has("S"), !has("M") { return "has %S without %M" }
        return nil
    }

    /// The instant that a folder's name states; nil where the name does not match the pattern or states no real date.
    package func instant(of name: String) -> Date? {
        var rest = Array(name.utf8)[...]
        var values: [UInt8: Int64] = [:]
        for part in parts {
            switch part {
            case .literal(let bytes):
                guard rest.starts(with: bytes) else { return nil }
                rest = rest.dropFirst(bytes.count)
            case .field(let field):
                guard let value = Self.read(field, from: &rest) else { return nil }
                values[field] = value
            }
        }
        guard rest.isEmpty else { return nil }
        if let seconds = values[UInt8(ascii: "s")] { return Date(timeIntervalSince1970: Double(seconds)) }
        return Self.instant(values)
    }

    private static func instant(_ values: [UInt8: Int64]) -> Date? {
        func value(_ field: Character) -> Int64? { field.asciiValue.flatMap { values[$0] } }
        // POSIX strptime: 69 to 99 are of the last century.
        guard let year = value("Y") ?? value("y").map({ $0 < 69 ? 2000 + $0 : 1900 + $0 }) else { return nil }
        var days: Int64
        if let ofYear = value("j") {
            guard let first = daysFromCivil(year: year, month: 1, day: 1),
                let last = daysFromCivil(year: year, month: 12, day: 31), (1...last - first + 1).contains(ofYear)
            else { return nil }
            days = first + ofYear - 1
        } else {
            guard let month = value("m") ?? value("b"), let day = value("d") ?? value("e"),
                let civil = daysFromCivil(year: year, month: month, day: day)
            else { return nil }
            days = civil
        }
        var hour = value("H") ?? 0
        if let twelve = value("I"), let half = value("p") {
            guard (1...12).contains(twelve) else { return nil }
            hour = twelve % 12 + 12 * half
        }
        let minute = value("M") ?? 0, second = value("S") ?? 0
        guard hour < 24, minute < 60, second < 60 else { return nil }
        let local = days * 86_400 + hour * 3600 + minute * 60 + second
        return Date(timeIntervalSince1970: Double(local - (value("z") ?? 0)))
    }

    /// Takes one field off the front.
    private static func read(_ field: UInt8, from rest: inout ArraySlice<UInt8>) -> Int64? {
        func digits(_ width: Int) -> Int64? {
            let taken = rest.prefix(width)
            guard taken.count == width, taken.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            rest = rest.dropFirst(width)
            return taken.reduce(0) { $0 * 10 + Int64($1 - 0x30) }
        }
        func word(_ words: [String]) -> Int64? {
            guard let index = words.firstIndex(where: { rest.starts(with: $0.utf8) }) else { return nil }
            rest = rest.dropFirst(words[index].utf8.count)
            return Int64(index)
        }
        /// Seconds east of Greenwich: `+hhmm` as strftime writes it, also `+hh:mm` and `Z`.
        func offset() -> Int64? {
            guard let sign = rest.popFirst() else { return nil }
            if sign == UInt8(ascii: "Z") { return 0 }
            guard sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-"), let hours = digits(2) else { return nil }
            if rest.first == UInt8(ascii: ":") { rest = rest.dropFirst() }
            guard let minutes = digits(2), hours < 24, minutes < 60 else { return nil }
            return (hours * 3600 + minutes * 60) * (sign == UInt8(ascii: "-") ? -1 : 1)
        }
        switch field {
        case UInt8(ascii: "z"): return offset()
        case UInt8(ascii: "Y"): return digits(4)
        case UInt8(ascii: "j"): return digits(3)
        case UInt8(ascii: "b"): return word(months).map { $0 + 1 }
        case UInt8(ascii: "p"): return word(["AM", "PM"])
        case UInt8(ascii: "s"):
            let width = rest.prefix { (0x30...0x39).contains($0) }.count
            // Twelve digits reach beyond the year 9999; a leading zero is not how strftime writes it.
            guard (1...12).contains(width), width == 1 || rest.first != 0x30 else { return nil }
            return digits(width)
        case UInt8(ascii: "e"):
            if rest.first == 0x20 {
                rest = rest.dropFirst()
                return digits(1)
            }
            return rest.first == 0x30 ? nil : digits(2)
        default: return digits(2)
        }
    }
}
