import DrillCore
import DrillTestKit
import Foundation
import Testing

@Suite struct SetNameTests {
    @Test(arguments: [
        ("%Y-%m-%d-%H-%M", "2026-11-14-02-05", "2026-11-14T02:05:00.000Z"),
        ("%Y%m%dT%H%M%SZ", "20261114T143005Z", "2026-11-14T14:30:05.000Z"),
        ("backup %e %b %y", "backup  4 Nov 26", "2026-11-04T00:00:00.000Z"),
        ("%d.%m.%Y %I:%M %p", "29.02.2024 12:07 AM", "2024-02-29T00:07:00.000Z"),
        ("%Y-%m-%d_%I%p", "2026-11-14_12PM", "2026-11-14T12:00:00.000Z"),
        ("%Y.%j", "2024.366", "2024-12-31T00:00:00.000Z"),
        ("%s", "1700000000", "2023-11-14T22:13:20.000Z"),
        ("100%% %Y%m%d", "100% 19690101", "1969-01-01T00:00:00.000Z"),
        ("%y%m%d", "690101", "1969-01-01T00:00:00.000Z"),
        ("%y%m%d", "680101", "2068-01-01T00:00:00.000Z"),
        ("%F", "2026-11-14", "2026-11-14T00:00:00.000Z"),
        ("%FT%TZ", "2026-11-14T14:30:05Z", "2026-11-14T14:30:05.000Z"),
        ("%F_%R", "2026-11-14_14:30", "2026-11-14T14:30:00.000Z"),
        ("%FT%T%z", "2026-11-14T14:30:05+0200", "2026-11-14T12:30:05.000Z"),
        ("%FT%T%z", "2026-11-14T14:30:05-03:30", "2026-11-14T18:00:05.000Z"),
        ("%FT%T%z", "2026-11-14T14:30:05Z", "2026-11-14T14:30:05.000Z"),
        ("%z %F %H", "+1400 2026-11-14 01", "2026-11-13T11:00:00.000Z"),
        ("%F%z", "2026-11-14+0100", "2026-11-13T23:00:00.000Z"),
        ("nächtlich-%Y-%m-%d", "nächtlich-2026-01-02", "2026-01-02T00:00:00.000Z"),
    ])
    func readsNamesInUTC(pattern: String, name: String, expected: String) throws {
        #expect(try SetName(pattern).instant(of: name).map(rfc3339) == expected)
    }

    @Test(arguments: [
        ("%Y-%m-%d", "2026-02-30"), ("%Y-%m-%d", "2025-02-29"), ("%Y-%m-%d", "2026-13-01"), ("%Y-%m-%d", "2026-00-10"),
        ("%Y-%m-%d", "2026-1-02"), ("%Y-%m-%d", "2026-01-02 "), ("%Y-%m-%d", " 2026-01-02"),
        ("%Y-%m-%d", "2026-01-02.old"),
        ("%Y-%m-%d", "+026-01-02"), ("%Y-%m-%d", "２０２６-01-02"), ("%Y-%m-%d", "2026-01"), ("%Y-%m-%d", ""),
        ("%Y%m%d%H", "2026010224"), ("%Y%m%d%H%M", "202601020260"), ("%Y%m%d%H%M%S", "20260102030460"),
        ("%Y.%j", "2025.366"), ("%Y.%j", "2025.000"), ("%b%d%Y", "nov142026"), ("%e%b%Y", "04Nov2026"),
        ("%Y%m%d%I%p", "2026010213PM"), ("%Y%m%d%I%p", "2026010200AM"), ("%Y%m%d%I%p", "2026010201pm"),
        ("%s", "01"), ("%s", "-1"), ("%s", "1700000000000"), ("caf\u{E9}%s", "cafe\u{301}1"),
        ("%F%z", "2026-11-14"), ("%F%z", "2026-11-140200"), ("%F%z", "2026-11-14+02"), ("%F%z", "2026-11-14+2400"),
        ("%F%z", "2026-11-14+0260"), ("%F%z", "2026-11-14+02:0"), ("%F%z", "2026-11-14z"), ("%F%z", "2026-11-14Z0"),
        ("%F", "2026-1-14"), ("%F %T", "2026-11-14 14:30"), ("%F %R", "2026-11-14 14:30:05"),
    ])
    func refusesWhatDoesNotMatchExactly(pattern: String, name: String) throws {
        #expect(try SetName(pattern).instant(of: name) == nil)
    }

    @Test(arguments: [
        ("", "the pattern is empty"),
        ("%Y-%m-%d%", "the pattern ends in a lone %"),
        ("%Y-%m-%q", "%q in '%Y-%m-%q' is not known"),
        ("%Y-%m-%d-%Y", "%Y stands twice in '%Y-%m-%d-%Y'"),
        ("%Y/%m/%d", "a name of a folder holds no '/': sets are folders directly below backup.sets"),
        ("nightly", "'nightly' must have one of %Y and %y"),
        ("%Y-%m", "'%Y-%m' must have one of %m and %b and one of %d and %e, or %j"),
        ("%Y-%j-%d", "'%Y-%j-%d' has %j beside a month or a day of the month"),
        ("%Y%m%d%I", "'%Y%m%d%I' has one of %I and %p without the other"),
        ("%Y%m%d%H%I%p", "'%Y%m%d%H%I%p' has both %H and %I"),
        ("%Y%m%d%M", "'%Y%m%d%M' has %M without an hour"),
        ("%Y%m%d%H%S", "'%Y%m%d%H%S' has %S without %M"),
        ("%F-%Y", "%Y stands twice in '%F-%Y'"),
        ("%F %T:%M", "%M stands twice in '%F %T:%M'"),
        ("%T", "'%T' must have one of %Y and %y"),
        ("%s%z", "'%s%z' has %s, which says all, beside other fields"),
        ("%s-%Y", "'%s-%Y' has %s, which says all, beside other fields"),
    ])
    func patternsWithoutMeaningAreUsageErrors(pattern: String, what: String) {
        let error = #expect(throws: DrillError.self) { try SetName(pattern) }
        #expect(error?.code == .usage)
        #expect(error?.what == what)
        #expect(error?.hints.isEmpty == false)
    }

    /// Every minute pattern of strftime reads back, over random instants.
    @Test func readsBackWhatStrftimeWrites() throws {
        var generator = RepeatableRandom(seed: 5)
        let patterns = [
            "%Y-%m-%dT%H:%M:%S", "%s", "%y%m%d-%H%M%S", "%e %b %Y %I.%M.%S %p", "%Y %j %H %M %S", "%d%m%Y%S%M%H",
            "%FT%T%z", "%z%F %R.%S",
        ]
        for pattern in patterns {
            let name = try SetName(pattern)
            for _ in 0..<200 {
                // 1970 to 2068: what %y can tell.
                let instant = Int.random(in: 0...3_092_000_000, using: &generator)
                var seconds = time_t(instant), parts = tm()
                gmtime_r(&seconds, &parts)
                var buffer = [CChar](repeating: 0, count: 100)
                let count = strftime(&buffer, buffer.count, pattern, &parts)
                let text = String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
                #expect(name.instant(of: text)?.timeIntervalSince1970 == Double(instant), "\(pattern): \(text)")
            }
        }
    }
}
