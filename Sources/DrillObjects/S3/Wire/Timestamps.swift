/// Instants as S3 writes them, read and written by digits: no formatter and no time zone of this machine takes part.
enum Timestamps {
    /// Microseconds since 1970 UTC of `2009-10-12T17:50:30.000Z`; digits beyond the sixth of a fraction are dropped.
    /// Offsets such as `+00:00` are taken as well. nil for anything else.
    static func microseconds(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard let day = day(text), let time = microsecondsOfDay(text) else { return nil }
        return day * 86_400_000_000 + time
    }

    /// Days since 1970 of an instant that starts with `2009-10-12`; nil for anything else.
    static func day(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard text.count >= 20, text[4] == UInt8(ascii: "-"), text[7] == UInt8(ascii: "-"),
            text[10] == UInt8(ascii: "T") || text[10] == UInt8(ascii: " ")
        else { return nil }
        let century = pair(text, 0), yearOfCentury = pair(text, 2), month = pair(text, 5), day = pair(text, 8)
        guard century >= 0, yearOfCentury >= 0, month >= 1, month <= 12, day >= 1, day <= 31 else { return nil }
        return daysSince1970(year: century * 100 + yearOfCentury, month: month, day: day)
    }

    /// Microseconds from the start of an instant's day in UTC, whatever its day is; negative or more than a day with an offset.
    static func microsecondsOfDay(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard text.count >= 20, text[13] == UInt8(ascii: ":"), text[16] == UInt8(ascii: ":") else { return nil }
        let hour = pair(text, 11), minute = pair(text, 14), second = pair(text, 17)
        guard hour >= 0, hour < 24, minute >= 0, minute < 60, second >= 0, second <= 60 else { return nil }
        var index = 19
        var fraction: Int64 = 0
        if text[index] == UInt8(ascii: ".") {
            index += 1
            var scale: Int64 = 100_000
            let start = index
            while index < text.count, let digit = decimal(text[index]) {
                fraction += digit * scale
                scale /= 10
                index += 1
            }
            guard index > start else { return nil }
        }
        guard let offset = offsetSeconds(text, from: index) else { return nil }
        return (hour * 3600 + minute * 60 + second - offset) * 1_000_000 + fraction
    }

    static func microseconds(_ text: String) -> Int64? { Array(text.utf8).withUnsafeBytes { microseconds($0) } }

    /// Seconds since 1970 UTC of an HTTP `Date`: `Fri, 24 May 2013 00:00:00 GMT` (RFC 9110, the one form that is still
    /// sent).
    static func httpDateSeconds(_ text: String) -> Int64? {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", let day = strict(parts[1]), let year = strict(parts[3]),
            let month = monthNames.firstIndex(of: String(parts[2])), (1...31).contains(day),
            (1970...9999).contains(year)
        else { return nil }
        let clock = parts[4].split(separator: ":", omittingEmptySubsequences: false).map(strict)
        guard clock.count == 3, let hour = clock[0], let minute = clock[1], let second = clock[2], hour < 24,
            minute < 60, second <= 60
        else { return nil }
        return daysSince1970(year: year, month: Int64(month) + 1, day: day) * 86400 + hour * 3600 + minute * 60 + second
    }

    /// `20130524T000000Z`, as requests are signed with.
    static func signingText(seconds: Int64) -> String {
        let days = seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400
        let rest = seconds - days * 86400
        let (year, month, day) = civil(days)
        return padded(year, 4) + padded(month, 2) + padded(day, 2) + "T" + padded(rest / 3600, 2)
            + padded(rest % 3600 / 60, 2) + padded(rest % 60, 2) + "Z"
    }

    /// `2026-11-14T14:30:05.123Z`, for people.
    static func text(microseconds: Int64) -> String {
        let seconds = microseconds >= 0 ? microseconds / 1_000_000 : (microseconds - 999_999) / 1_000_000
        let compact = Array(signingText(seconds: seconds).utf8)
        func part(_ range: Range<Int>) -> String { String(decoding: compact[range], as: UTF8.self) }
        return "\(part(0..<4))-\(part(4..<6))-\(part(6..<8))T\(part(9..<11)):\(part(11..<13)):\(part(13..<15))."
            + padded((microseconds - seconds * 1_000_000) / 1000, 3) + "Z"
    }

    private static let monthNames = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func strict(_ text: Substring) -> Int64? {
        guard !text.isEmpty, text.utf8.count <= 4 else { return nil }
        var value: Int64 = 0
        for byte in text.utf8 {
            guard let digit = decimal(byte) else { return nil }
            value = value * 10 + digit
        }
        return value
    }

    @inline(__always)
    private static func decimal(_ byte: UInt8) -> Int64? {
        byte &- UInt8(ascii: "0") < 10 ? Int64(byte &- UInt8(ascii: "0")) : nil
    }

    /// Two digits at that index; negative where they are none.
    @inline(__always)
    private static func pair(_ text: UnsafeRawBufferPointer, _ index: Int) -> Int64 {
        let (tens, ones) = (text[index] &- UInt8(ascii: "0"), text[index + 1] &- UInt8(ascii: "0"))
        return tens < 10 && ones < 10 ? Int64(tens) * 10 + Int64(ones) : -1
    }

    private static func offsetSeconds(_ text: UnsafeRawBufferPointer, from index: Int) -> Int64? {
        guard index < text.count else { return nil }
        if text[index] == UInt8(ascii: "Z") { return index + 1 == text.count ? 0 : nil }
        guard text[index] == UInt8(ascii: "+") || text[index] == UInt8(ascii: "-"), index + 6 == text.count,
            text[index + 3] == UInt8(ascii: ":")
        else { return nil }
        let hours = pair(text, index + 1), minutes = pair(text, index + 4)
        guard hours >= 0, hours < 24, minutes >= 0, minutes < 60 else { return nil }
        let seconds = hours * 3600 + minutes * 60
        return text[index] == UInt8(ascii: "-") ? -seconds : seconds
    }

    /// Of the proleptic Gregorian calendar, counted in eras of 400 years that start on 1 March.
    private static func daysSince1970(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }

    private static func padded(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
