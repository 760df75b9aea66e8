import DrillCore
import Foundation
import Testing

@testable import DrillPostgres

@Suite struct RDSWindowTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func window(latest: Double?, earliest: Double? = -86_400, retention: Int64 = 7) -> RDSWindow {
        var production = RDSProduction(source: .instance("prod"), engine: "postgres", engineVersion: "15")
        production.latest = latest.map { now + $0 }
        production.earliest = earliest.map { now + $0 }
        production.backupRetentionDays = retention
        return RDSWindow(production: production, now: now)
    }

    private func fault(_ window: RDSWindow, _ seconds: Double) throws -> String? {
        try window.fault(.instant(now + seconds), at: "rds")
    }

    @Test func everythingBetweenEarliestAndLatestCanBeRestored() throws {
        for seconds in [-86_400.0, -3600, -300] { #expect(try fault(window(latest: -300), seconds) == nil) }
        #expect(try window(latest: -300).fault(.latest, at: "rds") == nil)
        #expect(try fault(window(latest: -300, earliest: nil), -864_000) == nil)
    }

    @Test("P15: before the earliest, behind a late archive, not yet and in the future are told apart")
    func outsideOfTheWindow() throws {
        #expect(try fault(window(latest: -300), -86_401)?.contains("before the earliest restorable time") ?? false)
        #expect(try fault(window(latest: -7200), -60)?.contains("2h behind") ?? false)
        for (seconds, words) in [(-60.0, "not restorable yet"), (60, "in the future")] {
            let error = #expect(throws: DrillError.self) { try fault(window(latest: -300), seconds) }
            #expect(error?.code == .couldNotLook)
            #expect(error?.what.contains(words) ?? false)
        }
    }

    @Test func withoutAutomatedBackupsThereIsNothingToRestore() throws {
        #expect(
            try window(latest: -300, retention: 0).fault(.latest, at: "rds")?.contains("retention of 0 days") ?? false)
        #expect(try window(latest: nil).fault(.latest, at: "rds")?.contains("no latest restorable time") ?? false)
    }

    @Test("the latest instant that is named to RDS lies before its latest restorable time")
    func latestIsTheSecondBefore() {
        #expect(window(latest: -299.5).instant(of: .latest) == now - 301)
        #expect(window(latest: -300).instant(of: .latest) == now - 301)
        #expect(window(latest: -300).instant(of: .instant(now - 400)) == now - 400)
    }

    @Test("names are valid identifiers of RDS and bear the run's id")
    func names() {
        let name = RDSNames.cluster(ofRun: "20261114T023000Z-a1b2c3")
        #expect(name == "muster-20261114t023000z-a1b2c3-cluster")
        #expect(name.utf8.count <= 63)
    }
}
