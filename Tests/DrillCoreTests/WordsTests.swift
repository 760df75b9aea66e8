import DrillCore
import Foundation
import Testing

struct WordsTests {
    @Test(arguments: [
        ("90s", 90_000), ("10m", 600_000), ("24h", 86_400_000), ("8d", 691_200_000), ("1h30m", 5_400_000),
        ("250ms", 250),
        ("2w", 1_209_600_000), ("0s", 0),
    ])
    func durations(text: String, milliseconds: Int64) {
        #expect(parseDuration(text) == .milliseconds(milliseconds))
    }

    @Test(arguments: [
        "", "10", "h", "1.5h", "-1h", "1h 30m", "30m1h", "1h1h", "９s", "1H", "99999999999999999999d",
        "9223372036854775807w",
    ])
    func whatIsNoDuration(text: String) { #expect(parseDuration(text) == nil) }

    @Test(arguments: ["", "+5", "٣", " 1", "1 ", "1e3", "0x10", "9223372036854775808", "--1"])
    func whatIsNoInteger(text: String) { #expect(strictInteger(text) == nil) }

    @Test func integersReachTheirLimits() {
        #expect(strictInteger("9223372036854775807") == .max)
        #expect(strictInteger("-9223372036854775808") == .min)
        #expect(strictInteger("007") == 7)
    }

    @Test func sizes() {
        #expect(parseByteCount("128MiB") == 134_217_728)
        #expect(parseByteCount("10GB") == 10_000_000_000)
        #expect(parseByteCount("4096") == 4096)
        #expect(parseByteCount("1.5GB") == nil)
        #expect(parseByteCount("99999999999TiB") == nil)
        #expect(parsePercent("0.5%") == 0.005)
        #expect(parsePercent("101%") == nil)
        #expect(parsePercent("5") == nil)
    }

    @Test func nearestWords() {
        #expect(nearestWord(to: "prefx", among: ["prefix", "probes", "keep"]) == "prefix")
        #expect(nearestWord(to: "tabel", among: ["query", "table"]) == "table")
        #expect(nearestWord(to: "zzzzzz", among: ["table", "query"]) == nil)
    }

    @Test(arguments: [
        ("2026-11-14T14:30:05Z", "2026-11-14T14:30:05.000Z"),
        ("2026-11-14T14:30:05.25+02:00", "2026-11-14T12:30:05.250Z"),
        ("2024-02-29 23:59:59-00:30", "2024-03-01T00:29:59.000Z"), ("1969-12-31T23:59:59Z", "1969-12-31T23:59:59.000Z"),
    ])
    func instantsReadAndWritten(text: String, written: String) throws {
        #expect(rfc3339(try #require(parseInstant(text))) == written)
    }

    @Test(
        "P17: an instant needs its offset and must exist",
        arguments: [
            "2026-11-14T14:30:05", "2026-11-14", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-14T24:00:00Z",
            "2026-11-14T14:30:05+0200", "2026-11-14T14:30:05 Europe/Berlin", "2026-11-14T14:30:05.1234567Z", "now", "",
            "2026-11-14T14:30:05Zx", "٢026-11-14T14:30:05Z",
        ])
    func whatIsNoInstant(text: String) { #expect(parseInstant(text) == nil) }

    @Test func instantsKeepMicroseconds() throws {
        #expect(try #require(parseInstant("2026-11-14T14:30:05.123456Z")).microseconds == 1_794_666_605_123_456)
    }

    @Test func printableIsReversibleAndHarmless() {
        #expect(printable(Array("a/é\\".utf8)) == "a/é\\\\")
        #expect(printable([0x1B, 0x5B, 0x0A, 0xFF]) == "\\x1b[\\x0a\\xff")
        #expect(printable(Array("\u{202E}x".utf8)) == "\\xe2\\x80\\xaex")
    }
}
