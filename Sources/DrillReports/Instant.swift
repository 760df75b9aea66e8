import Foundation

/// An instant as RFC 3339 UTC text with milliseconds, as the ledger and every report show it:
/// `2026-11-14T14:30:05.123Z`.
func instantText(_ date: Date) -> String {
    let (days, millisecondsOfDay) = milliseconds(sinceEpoch: date).quotientAndFloorRemainder(86_400_000)
    let (year, month, day) = civilDate(daysSinceEpoch: days)
    let seconds = millisecondsOfDay / 1000
    return digits(year, 4) + "-" + digits(month, 2) + "-" + digits(day, 2) + "T" + digits(seconds / 3600, 2) + ":"
        + digits(seconds / 60 % 60, 2) + ":" + digits(seconds % 60, 2) + "." + digits(millisecondsOfDay % 1000, 3) + "Z"
}

/// Reads back what ``instantText(_:)`` wrote, and nothing else.
func parseInstant(_ text: String) -> Date? {
    let bytes = Array(text.utf8)
    let pattern = Array("dddd-dd-ddTdd:dd:dd.dddZ".utf8)
    guard bytes.count == pattern.count else { return nil }
    for (byte, expected) in zip(bytes, pattern) {
        let isDigit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        guard expected == UInt8(ascii: "d") ? isDigit : byte == expected else { return nil }
    }
    func number(_ range: Range<Int>) -> Int64 { bytes[range].reduce(0) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) } }
    let (month, day) = (number(5..<7), number(8..<10))
    guard (1...12).contains(month), (1...31).contains(day) else { return nil }
    let seconds = number(11..<13) * 3600 + number(14..<16) * 60 + number(17..<19)
    let days = daysSinceEpoch(year: number(0..<4), month: month, day: day)
    return Date(timeIntervalSince1970: Double(days * 86_400_000 + seconds * 1000 + number(20..<23)) / 1000)
}

/// Seconds as whole milliseconds, which is how the ledger keeps spans: a whole number reads the same in every language.
func milliseconds(_ seconds: Double) -> Int64 {
    // Beyond this a span is no measurement of ours, and the conversion would trap.
    guard seconds.isFinite else { return 0 }
    return Int64((min(max(seconds, -9e12), 9e12) * 1000).rounded())
}

func milliseconds(_ duration: Duration) -> Int64 {
    let (seconds, attoseconds) = duration.components
    return seconds.multipliedReportingOverflow(by: 1000).partialValue + attoseconds / 1_000_000_000_000_000
}

private func milliseconds(sinceEpoch date: Date) -> Int64 {
    // Years 0001 to 9999, which four digits can show.
    let seconds = min(max(date.timeIntervalSince1970, -62_135_596_800), 253_402_300_799)
    return Int64((seconds * 1000).rounded())
}

private func digits(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
}

/// Days to date in the proleptic Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
private func civilDate(daysSinceEpoch: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = (daysSinceEpoch + 719_468).quotientAndFloorRemainder(146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}

private func daysSinceEpoch(year: Int64, month: Int64, day: Int64) -> Int64 {
    let (era, yearOfEra) = (month <= 2 ? year - 1 : year).quotientAndFloorRemainder(400)
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
}

extension Int64 {
    fileprivate func quotientAndFloorRemainder(_ divisor: Int64) -> (Int64, Int64) {
        let remainder = (self % divisor + divisor) % divisor
        return ((self - remainder) / divisor, remainder)
    }
}
