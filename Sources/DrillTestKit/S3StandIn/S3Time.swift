import Foundation

/// Instants as S3 writes and reads them, always UTC, without a formatter's locale.
enum S3Time {
    struct Fields {
        var year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0, millisecond = 0
        /// Sunday is 0.
        var weekday = 4
    }

    static func fields(_ instant: Date) -> Fields {
        let milliseconds = floorDivide(Int((instant.timeIntervalSince1970 * 1_000_000).rounded()), 1000)
        let seconds = floorDivide(milliseconds, 1000)
        let days = floorDivide(seconds, 86400)
        let secondOfDay = seconds - days * 86400
        var fields = Fields()
        (fields.year, fields.month, fields.day) = civil(fromDays: days)
        fields.hour = secondOfDay / 3600
        fields.minute = secondOfDay / 60 % 60
        fields.second = secondOfDay % 60
        fields.millisecond = milliseconds - seconds * 1000
        fields.weekday = ((days + 4) % 7 + 7) % 7
        return fields
    }

    /// `LastModified` in XML: whole seconds with a constant `.000Z` as on AWS, or real milliseconds as on Ceph.
    static func xml(_ instant: Date, milliseconds: Bool) -> String {
        let at = fields(instant)
        return "\(pad(at.year, 4))-\(pad(at.month))-\(pad(at.day))T\(pad(at.hour)):\(pad(at.minute)):\(pad(at.second))"
            + ".\(milliseconds ? pad(at.millisecond, 3) : "000")Z"
    }

    /// `Date` and `Last-Modified` headers (RFC 9110, IMF-fixdate).
    static func http(_ instant: Date) -> String {
        let at = fields(instant)
        return "\(weekdays[at.weekday]), \(pad(at.day)) \(months[at.month - 1]) \(pad(at.year, 4)) "
            + "\(pad(at.hour)):\(pad(at.minute)):\(pad(at.second)) GMT"
    }

    /// `x-amz-date`, such as `20261121T102130Z`.
    static func parseBasic(_ text: String) -> Date? {
        let bytes = [UInt8](text.utf8)
        guard bytes.count == 16, bytes[8] == UInt8(ascii: "T"), bytes[15] == UInt8(ascii: "Z"),
            let day = number(bytes[0..<8]), let time = number(bytes[9..<15])
        else { return nil }
        return instant(year: day / 10000, month: day / 100 % 100, day: day % 100, secondOfDay: secondOfDay(time))
    }

    /// An IMF-fixdate, the one form that S3 clients send.
    static func parseHTTP(_ text: String) -> Date? {
        let words = text.split(separator: " ")
        guard words.count == 6, let day = number(words[1].utf8), let month = months.firstIndex(of: String(words[2])),
            let year = number(words[3].utf8), let time = number(words[4].utf8.filter { $0 != UInt8(ascii: ":") })
        else { return nil }
        return instant(year: year, month: month + 1, day: day, secondOfDay: secondOfDay(time))
    }

    static func pad(_ value: Int, _ width: Int = 2) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }

    private static let weekdays = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func secondOfDay(_ hhmmss: Int) -> Int {
        hhmmss / 10000 * 3600 + hhmmss / 100 % 100 * 60 + hhmmss % 100
    }

    private static func number(_ digits: some Sequence<UInt8>) -> Int? {
        var value = 0
        for digit in digits {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit), value < 1_000_000_000 else { return nil }
            value = value * 10 + Int(digit - UInt8(ascii: "0"))
        }
        return value
    }

    private static func instant(year: Int, month: Int, day: Int, secondOfDay: Int) -> Date? {
        guard (1...12).contains(month), (1...31).contains(day), (0..<86400).contains(secondOfDay) else { return nil }
        let shifted = month <= 2 ? year - 1 : year
        let era = floorDivide(shifted, 400)
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let days = era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468
        return Date(timeIntervalSince1970: Double(days * 86400 + secondOfDay))
    }

    /// Howard Hinnant's `civil_from_days`, the proleptic Gregorian calendar.
    private static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719468
        let era = floorDivide(shifted, 146097)
        let dayOfEra = shifted - era * 146097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthIndex + 2) / 5 + 1)
    }

    private static func floorDivide(_ value: Int, _ divisor: Int) -> Int {
        value >= 0 ? value / divisor : -((-value + divisor - 1) / divisor)
    }
}
