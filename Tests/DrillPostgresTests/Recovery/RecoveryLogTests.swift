import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite struct RecoveryLogTests {
    /// As PostgreSQL 15 writes it.
    static let stopped = """
        2026-11-26 05:00:01.001 UTC [10] LOG:  starting PostgreSQL 15.18 on x86_64-pc-linux-gnu
        2026-11-26 05:00:01.003 UTC [13] LOG:  database system was interrupted; last known up at 2026-11-26 04:00:00 UTC
        2026-11-26 05:00:01.010 UTC [14] FATAL:  the database system is starting up
        2026-11-26 05:00:01.020 UTC [13] LOG:  starting point-in-time recovery to 2026-11-26 04:30:00.123456+00
        2026-11-26 05:00:01.030 UTC [13] LOG:  restored log file "000000010000000000000003" from archive
        2026-11-26 05:00:01.040 UTC [13] LOG:  redo starts at 0/300028
        2026-11-26 05:00:01.050 UTC [13] LOG:  consistent recovery state reached at 0/300100
        2026-11-26 05:00:01.060 UTC [15] FATAL:  the database system is not accepting connections
        2026-11-26 05:00:01.060 UTC [15] DETAIL:  Hot standby mode is disabled.
        2026-11-26 05:00:01.070 UTC [13] LOG:  recovery stopping before commit of transaction 747, time 2026-11-26 04:30:00.5+00
        2026-11-26 05:00:01.080 UTC [13] LOG:  redo done at 0/3FFF98 system usage: CPU: user: 0.00 s, system: 0.00 s, elapsed: 0.01 s
        2026-11-26 05:00:01.080 UTC [13] LOG:  last completed transaction was at log time 2026-11-26 04:29:59.000042+00
        2026-11-26 05:00:01.090 UTC [13] LOG:  selected new timeline ID: 2
        2026-11-26 05:00:01.100 UTC [13] LOG:  archive recovery complete
        2026-11-26 05:00:01.110 UTC [10] LOG:  database system is ready to accept connections
        """

    @Test func aRecoveryThatStoppedAtItsTarget() {
        let log = RecoveryLog(Self.stopped)
        #expect(log.redoStart == LSN(0x30_0028))
        #expect(log.redoEnd == LSN(0x3F_FF98))
        #expect(log.consistentAt == LSN(0x30_0100))
        #expect(log.stop == "recovery stopping before commit of transaction 747, time 2026-11-26 04:30:00.5+00")
        #expect(log.lastCommit == parseInstant("2026-11-26T04:29:59.000042Z"))
        #expect(!log.endedBeforeTarget)
        #expect(log.fatal == nil, "what was said to those who came too early is no end of the server")
        #expect(log.evidence.contains("selected new timeline ID: 2"))
    }

    @Test func aRecoveryThatEndedBeforeItsTarget() {
        let log = RecoveryLog(
            """
            2026-11-26 05:00:01.040 UTC [13] LOG:  redo starts at 0/300028
            2026-11-26 05:00:01.080 UTC [13] LOG:  redo done at 0/4000A0 system usage: CPU: user: 0.00 s
            2026-11-26 05:00:01.090 UTC [13] FATAL:  recovery ended before configured recovery target was reached
            """)
        #expect(log.endedBeforeTarget)
        #expect(log.stop == nil)
        #expect(log.lastCommit == nil)
        #expect(log.fatal == "recovery ended before configured recovery target was reached")
    }

    @Test func whyReadingStopped() {
        func error(_ line: String) -> String? { RecoveryLog("2026-11-26 05:00:01 UTC [1] LOG:  \(line)").readError }
        for line in [
            "invalid record length at 0/4000A0: wanted 24, got 0",
            "incorrect resource manager data checksum in record at 0/4000A0",
            "unexpected pageaddr 0/1000000 in log segment 000000010000000000000004, offset 0",
            "invalid magic number 0000 in log segment 000000010000000000000004, offset 8192",
        ] { #expect(error(line) == line) }
        #expect(error("restored log file \"000000010000000000000003\" from archive") == nil)
    }

    @Test func aLogOfNothingTellsNothing() {
        let log = RecoveryLog("")
        #expect(log.redoEnd == nil)
        #expect(log.stop == nil)
        #expect(log.fatal == nil)
        #expect(log.evidence == [])
    }

    @Test("a log that was cut or mixed up never traps, and never claims a stop that its text has not")
    func seededMutations() {
        var random = RepeatableRandom(seed: 7)
        let bytes = Array(Self.stopped.utf8)
        for _ in 0..<300 {
            var mutated = bytes
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let index = Int.random(in: 0..<mutated.count, using: &random)
                if Bool.random(using: &random) {
                    mutated[index] = UInt8.random(in: 0...255, using: &random)
                } else {
                    mutated.removeSubrange(index..<min(mutated.count, index + 40))
                }
            }
            let log = RecoveryLog(String(decoding: mutated, as: UTF8.self))
            if log.stop != nil { #expect(log.text.contains("recovery stopping ")) }
            _ = (log.redoEnd, log.lastCommit, log.readError, log.fatal, log.evidence)
        }
    }
}
