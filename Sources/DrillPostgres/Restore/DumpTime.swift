import DrillCore
import Foundation

/// When a dump says it was made. Its header bears no zone: UTC, unless the drill file names one.
struct DumpTime: Sendable {
    /// `time_zone` of the drill file.
    var zone: TimeZone?

    func instant(_ reading: ClockReading) -> Date? { reading.instant(in: zone ?? utc) }

    /// - Parameter startedOn: `2026-11-14 02:00:00 CET`. A zone's name there is believed only where it can be but one.
    func instant(startedOn text: String) -> (instant: Date, note: String?)? {
        let words = text.split(separator: " ", maxSplits: 2).map(String.init)
        guard words.count >= 2, let reading = ClockReading(date: words[0], time: words[1]) else { return nil }
        let name = words.count > 2 ? words[2] : ""
        if let zone { return reading.instant(in: zone).map { ($0, nil) } }
        let isUTC = ["UTC", "GMT", "Etc/UTC", "Z"].contains(name)
        return reading.instant(in: utc).map { instant in
            (instant, isUTC ? nil : "The dump's time is in the zone `\(name)`, which was read as UTC; set `time_zone`.")
        }
    }

    private var utc: TimeZone { TimeZone(secondsFromGMT: 0) ?? .gmt }
}

extension ClockReading {
    /// `2026-11-14` and `02:00:00`.
    init?(date: String, time: String) {
        let numbers = [date.split(separator: "-"), time.split(separator: ":")].flatMap { fields in
            fields.map { strictInteger(String($0)).flatMap { Int(exactly: $0) } }
        }
        guard numbers.count == 6, let year = numbers[0], let month = numbers[1], let day = numbers[2],
            let hour = numbers[3], let minute = numbers[4], let second = numbers[5]
        else { return nil }
        self.init(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
    }
}
