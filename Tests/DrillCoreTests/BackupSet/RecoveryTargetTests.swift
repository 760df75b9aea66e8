import Foundation
import Testing

@testable import DrillCore

@Suite struct RecoveryTargetTests {
    @Test func asTheCommandLineTakesIt() {
        #expect(RecoveryTarget(argument: "latest") == .latest)
        #expect(RecoveryTarget(argument: "lsn:0/1A2B3C4D") == .lsn("0/1A2B3C4D"))
        #expect(RecoveryTarget(argument: "name:before upgrade") == .name("before upgrade"))
        let micros = RecoveryTarget(argument: "2026-11-14T15:30:05.123456+01:00")
        #expect(micros == .instant(Date(microseconds: 1_794_666_605_123_456)))
    }

    @Test(
        "an instant without an offset, and what is no place in the log, are nothing (P17)",
        arguments: [
            "", "2026-11-14T14:30:05", "2026-11-14", "14:30:05Z", "now", "yesterday", "LATEST", "lsn:", "lsn:0",
            "lsn:0/",
            "lsn:/0", "lsn:0/123456789", "lsn:0/G", "lsn:0/0/0", "lsn:-1/0", "lsn:٣/0", "name:", "2026-02-30T00:00:00Z",
        ])
    func whatIsNoTarget(text: String) { #expect(RecoveryTarget(argument: text) == nil) }
}
