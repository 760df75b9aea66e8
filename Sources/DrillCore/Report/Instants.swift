import Foundation

/// RFC 3339 in UTC with milliseconds: the only form in which Muster writes an instant.
package func rfc3339(_ date: Date) -> String {
    let milliseconds = Int64((date.timeIntervalSince1970 * 1000).rounded(.down))
    let (days, ofDay) = flooredDivision(milliseconds, 86_400_000)
    let (year, month, day) = civil(fromDays: days)
    func pad(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(pad(year, 4))-\(pad(month, 2))-\(pad(day, 2))T\(pad(ofDay / 3_600_000, 2)):"
        + "\(pad(ofDay / 60_000 % 60, 2)):\(pad(ofDay / 1000 % 60, 2)).\(pad(ofDay % 1000, 3))Z"
}

/// An instant with an offset (`Z` or `±hh:mm`), to the microsecond; nil where the text is anything else, such as a time without
/// an offset, a date alone, or an impossible date.
package func parseInstant(_ text: String) -> Date? {
    let bytes = Array(text.utf8)
    func digits(_ range: Range<Int>) -> Int64? {
        guard range.upperBound <= bytes.count else { return nil }
        var value: Int64 = 0
        for byte in bytes[range] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            value = value * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        return value
    }
    func character(_ index: Int) -> UInt8? { index < bytes.count ? bytes[index] : nil }
    guard let year = digits(0..<4), character(4) == UInt8(ascii: "-"), let month = digits(5..<7),
        character(7) == UInt8(ascii: "-"), let day = digits(8..<10),
        let separator = character(10), [UInt8(ascii: "T"), UInt8(ascii: "t"), UInt8(ascii: " ")].contains(separator),
        let hour = digits(11..<13), character(13) == UInt8(ascii: ":"), let minute = digits(14..<16),
        character(16) == UInt8(ascii: ":"), let second = digits(17..<19),
        let days = daysFromCivil(year: year, month: month, day: day), hour < 24, minute < 60, second < 60
    else { return nil }
    var index = 19
    var microseconds: Int64 = 0
    if character(index) == UInt8(ascii: ".") {
        var scale: Int64 = 100_000
        index += 1
        let start = index
        while let byte = character(index), (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            microseconds += Int64(byte - UInt8(ascii: "0")) * scale
            scale /= 10
            index += 1
        }
        guard index > start, index - start <= 6 else { return nil }
    }
    var offset: Int64 = 0
    switch character(index) {
    case UInt8(ascii: "Z"), UInt8(ascii: "z"):
        index += 1
    case UInt8(ascii: "+"), UInt8(ascii: "-"):
        let sign: Int64 = character(index) == UInt8(ascii: "-") ? -1 : 1
        guard let hours = digits(index + 1..<index + 3), character(index + 3) == UInt8(ascii: ":"),
            let minutes = digits(index + 4..<index + 6), hours < 24, minutes < 60
        else { return nil }
        offset = sign * (hours * 3600 + minutes * 60)
        index += 6
    default:
        return nil
    }
    guard index == bytes.count else { return nil }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset
    return Date(microseconds: seconds * 1_000_000 + microseconds)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; nil where there is no such day.
package func daysFromCivil(year: Int64, month: Int64, day: Int64) -> Int64? {
    guard (0...9999).contains(year), (1...12).contains(month), day >= 1 else { return nil }
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let lengths: [Int64] = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    guard day <= lengths[Int(month) - 1] else { return nil }
    let shifted = month <= 2 ? year - 1 : year
    let (era, yearOfEra) = flooredDivision(shifted, 400)
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

private func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = flooredDivision(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted + (shifted < 10 ? 3 : -9)
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shifted + 2) / 5 + 1)
}

private func flooredDivision(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let remainder = ((value % divisor) + divisor) % divisor
    return ((value - remainder) / divisor, remainder)
}

/// `2h 5m`, `4m 12s`, `12.3 s`, `84 ms`: a span for people.
package func spanText(_ seconds: Double) -> String {
    // Beyond this it is no span of ours, and the conversion would trap.
    let milliseconds = seconds.isFinite ? Int64((min(max(seconds, -9e12), 9e12) * 1000).rounded()) : 0
    let magnitude = Int64(milliseconds.magnitude)
    let sign = milliseconds < 0 ? "-" : ""
    if magnitude < 1000 { return "\(sign)\(magnitude)ms" }
    if magnitude < 9950 { return "\(sign)\((magnitude + 50) / 1000).\((magnitude + 50) / 100 % 10)s" }
    let whole = (magnitude + 500) / 1000
    let parts = [(whole / 86_400, "d"), (whole / 3600 % 24, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")]
    let first = parts.firstIndex { $0.0 > 0 } ?? 3
    return sign + parts[first...].filter { $0.0 > 0 }.map { "\($0.0)\($0.1)" }.joined(separator: " ")
}

package func spanText(_ duration: Duration) -> String { spanText(duration.seconds) }

/// With that many decimals and a point, in every locale.
package func fixed(_ value: Double, _ decimals: Int) -> String {
    String(format: "%.\(decimals)f", locale: Locale(identifier: "en_US_POSIX"), value)
}

/// `1,234,567`.
package func grouped(_ value: Int64) -> String {
    var digits = Array(String(value.magnitude))
    var index = digits.count - 3
    while index > 0 {
        digits.insert(",", at: index)
        index -= 3
    }
    return (value < 0 ? "-" : "") + String(digits)
}

extension Duration {
    package var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
