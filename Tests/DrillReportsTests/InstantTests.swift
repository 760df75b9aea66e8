import Foundation
import Testing

@testable import DrillReports

@Suite struct InstantTests {
    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (1_794_657_600.123, "2026-11-14T12:00:00.123Z"),
            (951_782_399.999, "2000-02-28T23:59:59.999Z"), (951_868_799, "2000-02-29T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.000Z"),
        ] as [(Double, String)])
    func instantsAreUTCWithMilliseconds(_ seconds: Double, _ text: String) {
        #expect(instantText(Date(timeIntervalSince1970: seconds)) == text)
        #expect(parseInstant(text) == Date(timeIntervalSince1970: seconds))
    }

    @Test(arguments: ["", "2026-11-14", "2026-11-14T12:00:00Z", "2026-13-14T12:00:00.000Z", "2026-11-14T12:00:00.000z"])
    func otherFormsAreRefused(_ text: String) {
        #expect(parseInstant(text) == nil)
    }
}
