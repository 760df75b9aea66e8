import DrillCore
import Foundation
import Testing

@testable import DrillPostgres

struct FreshnessProbeTests {
    private let point = Date(microseconds: 1_794_659_405_000_000)
    private var start: Date { point.addingTimeInterval(7200) }

    private func judge(
        _ offset: TimeInterval?, hasPoint: Bool = true
    ) throws -> (outcome: ProbeOutcome, finding: Finding?) {
        let settings = try reader(FreshnessProbe.shape, [("query", scalar("select now()")), ("within", scalar("1h"))])
        let probe = try FreshnessProbe(name: "fresh", settings, probeContext)
        return probe.judge(
            newest: offset.map { (hasPoint ? point : start).addingTimeInterval($0) },
            recoveryPoint: hasPoint ? point : nil, startedAt: start)
    }

    @Test func withinPasses() throws {
        for offset in [-3600, -1, 0, 299] {
            let judged = try judge(Double(offset))
            #expect(judged.outcome.verdict == .pass)
            #expect(judged.finding == nil)
        }
    }

    @Test("Old data behind a new file are stale (V4)")
    func olderIsStale() throws {
        let judged = try judge(-3601)
        #expect(judged.outcome.verdict == .fail)
        #expect(judged.finding?.kind == .staleData)
        #expect(
            judged.finding?.observed
                == "2026-11-14T11:30:04.000Z, 1h 1s before the recovery point 2026-11-14T12:30:05.000Z")
        #expect(judged.finding?.expected == "within 1h before the recovery point 2026-11-14T12:30:05.000Z")
    }

    @Test func futureIsAFindingBeyondFiveMinutes() throws {
        #expect(try judge(301).finding?.kind == .staleData)
        #expect(try judge(300).outcome.verdict == .pass)
    }

    @Test func nothingToJudgeIsInconclusive() throws {
        #expect(try judge(nil).outcome.verdict == .inconclusive)
    }

    @Test func withoutRecoveryPointTheStartOfTheRunCounts() throws {
        let judged = try judge(-3601, hasPoint: false)
        #expect(judged.outcome.verdict == .fail)
        #expect(judged.outcome.summary.contains("before the start of the run"))
        #expect(try judge(-3600, hasPoint: false).outcome.verdict == .pass)
    }
}
