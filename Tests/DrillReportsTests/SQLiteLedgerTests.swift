import DrillCore
import Foundation
import GRDB
import Testing

@testable import DrillReports

@Suite struct SQLiteLedgerTests {
    let directory: TemporaryDirectory
    var reports: String { directory.path + "/reports" }

    init() throws { directory = try TemporaryDirectory() }

    private func runOnce(
        _ ledger: SQLiteLedger, _ header: RunHeader, _ verdict: Verdict, findings: Int = 0
    ) async throws -> RunRecord {
        let journal = try await ledger.begin(header)
        try await journal.record(
            PhaseRecord(name: "restore", startedAt: noon + 1, seconds: 41.5, detail: "db_dump.sqlc"))
        try await journal.record((0..<findings).map { missing($0) })
        try await journal.record(probeResult("avatars", findings > 0 ? .fail : .pass, failed: Int64(findings)))
        return try await journal.finish(outcome(verdict))
    }

    @Test("V5, G12: a run that has begun and not finished is inconclusive, and says so")
    func unfinishedRunIsInconclusive() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        _ = try await ledger.begin(header())
        let runs = try await SQLiteLedger(reading: reports).runs()
        #expect(runs.count == 1)
        #expect(runs.first?.verdict == .inconclusive)
        #expect(runs.first?.reason == "did not finish")
        #expect(runs.first?.finishedAt == nil)
        #expect(try await ledger.newestFinishedRun(of: "user-profiles") == nil)
    }

    @Test func whatWasRecordedReadsBack() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let finished = try await runOnce(ledger, header(), .fail, findings: 3)
        let record = try await SQLiteLedger(reading: reports).record(of: header().runID)
        #expect(record.chainHead == finished.chainHead)
        #expect(record.chainHead?.count == 64)
        #expect(record.header.objectives.rto == .seconds(1800))
        #expect(record.outcome?.recoveryPoint == noon - 46_800.5)
        #expect(record.outcome?.rtoSeconds == 42.125)
        #expect(record.outcome?.notes == outcome(.fail).notes)
        #expect(record.outcome?.stages == outcome(.fail).stages)
        #expect(record.outcome?.rowCounts.first?.rows == 1204)
        #expect(record.probes.first?.relaxations == ["1 % of the objects were read."])
        #expect(record.phases.first?.detail == "db_dump.sqlc")
        let group = try #require(record.groups.first)
        #expect(group.count == 3)
        #expect(group.first.rowID == "0")
        #expect(group.last.rowID == "2")
        #expect(group.examples.map(\.rowID) == ["0", "1", "2"])
    }

    @Test("the four views have the columns and forms that others query")
    func viewsHoldTheirPromise() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        var odd = missing(1)
        odd.objectKey = [0x61, 0x00, 0xFF, 0x5C]
        try await journal.record([odd, missing(2)])
        _ = try await journal.finish(outcome(.fail))
        try DatabaseQueue(path: reports + "/ledger.sqlite").inDatabase { database in
            let expected = [
                "run": """
                run_id drill verdict started_at finished_at backup_set recovery_target recovery_point rpo_seconds rto_seconds \
                rpo_objective_seconds rto_objective_seconds strategy drill_digest tool_version host reason
                """,
                "phase": "run_id ordinal name started_at seconds detail",
                "probe_result": "run_id probe kind verdict examined passed failed unknown seconds summary",
                "finding": """
                run_id probe kind cause relation row_id bucket object_key object_key_text expected observed evidence repair
                """,
            ]
            for (view, columns) in expected {
                let names = try database.columns(in: view).map(\.name)
                let promised = columns.split(separator: " ").map(String.init)
                #expect(Array(names.prefix(promised.count)) == promised)
            }
            let run = try #require(try Row.fetchOne(database, sql: "SELECT * FROM run"))
            #expect(run["started_at"] == "2026-11-14T12:00:00.000Z")
            #expect(run["rpo_seconds"] == 46_800.5)
            #expect(run["rto_objective_seconds"] == 1800.0)
            let findings = try Row.fetchAll(database, sql: "SELECT * FROM finding ORDER BY ordinal")
            #expect(findings[0]["object_key"] == Data([0x61, 0x00, 0xFF, 0x5C]))
            #expect(findings[0]["object_key_text"] == #"a\x00\xff\\"#)
            #expect(findings[1]["object_key_text"] == "avatars/2.png")
        }
    }

    @Test("X3: the ledger is its owner's alone")
    func ledgerIsPrivate() async throws {
        _ = try SQLiteLedger(reportsDirectory: reports)
        let attributes = try FileManager.default.attributesOfItem(atPath: reports + "/ledger.sqlite")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test("Q3: a newer ledger is refused and left as it is")
    func newerLedgerIsRefused() async throws {
        _ = try SQLiteLedger(reportsDirectory: reports)
        let path = reports + "/ledger.sqlite"
        try DatabaseQueue(path: path).inDatabase { try $0.execute(sql: "PRAGMA user_version = 2") }
        let before = try Data(contentsOf: URL(filePath: path))
        let error = #expect(throws: DrillError.self) { try SQLiteLedger(reportsDirectory: reports) }
        #expect(error?.code == .ledgerUnusable)
        #expect(error?.what == "the ledger has schema 2, and this build knows only up to 1")
        #expect(throws: DrillError.self) { try SQLiteLedger(reading: reports) }
        #expect(try Data(contentsOf: URL(filePath: path)) == before)
    }

    @Test func otherFilesAreRefused() async throws {
        try FileManager.default.createDirectory(atPath: reports, withIntermediateDirectories: true)
        let path = reports + "/ledger.sqlite"
        try DatabaseQueue(path: path).inDatabase { try $0.execute(sql: "CREATE TABLE mine (x)") }
        let error = #expect(throws: DrillError.self) { try SQLiteLedger(reportsDirectory: reports) }
        #expect(error?.what == "this SQLite file is not a ledger of ours")
        try Data(
            "this is text, and long enough to have a header of a hundred bytes. ".utf8
                + Array(repeating: 0x20, count: 200)
        )
        .write(to: URL(filePath: path))
        let other = #expect(throws: DrillError.self) { try SQLiteLedger(reportsDirectory: reports) }
        #expect(other?.what == "SQLite says: file is not a database")
    }

    @Test func aLedgerThatIsNotThereCannotBeRead() {
        let error = #expect(throws: DrillError.self) { try SQLiteLedger(reading: reports) }
        #expect(error?.what == "there is no ledger here")
        #expect(!FileManager.default.fileExists(atPath: reports))
    }

    @Test("J8: groups stand probe by probe, what counts before what is only reported, a hundred examples a probe")
    func findingsAreGrouped() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        let orphans = (0..<150).map { number in
            Finding(
                probe: "avatars", kind: .orphan, bucket: "uploads", objectKey: Array("o\(number)".utf8), counts: false)
        }
        try await journal.record(orphans)
        try await journal.record((0..<30).map { missing($0, cause: .notCopied) } + (30..<90).map { missing($0) })
        try await journal.record([missing(7, probe: "documents")])
        try await journal.record(probeResult("documents", .fail, failed: 1))
        try await journal.record(probeResult("avatars", .fail, failed: 90))
        let groups = try await journal.finish(outcome(.fail)).groups
        #expect(groups.map(\.probe) == ["documents", "avatars", "avatars", "avatars"])
        #expect(groups.map(\.cause) == [.uploadedAfterCopy, .uploadedAfterCopy, .notCopied, .unknown])
        #expect(groups.map(\.count) == [1, 60, 30, 150])
        #expect(groups.map(\.examples.count) == [1, 60, 30, 10])
        #expect(groups.last?.counts == false)
        #expect(groups.last?.last.objectKey == Array("o149".utf8))
    }

    @Test("a run that a task's cancellation ends is still recorded")
    func cancelledTaskStillRecords() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return try await journal.finish(outcome(.inconclusive, reason: "ended by a signal"))
        }
        #expect(try await task.value.outcome?.reason == "ended by a signal")
    }

    @Test func aFinishedRunTakesNothingMore() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        _ = try await journal.finish(outcome(.pass))
        await #expect(throws: DrillError.self) { try await journal.record([missing(1)]) }
        await #expect(throws: DrillError.self) { try await journal.finish(outcome(.pass)) }
        #expect(try await ledger.verify().isSound)
    }

    @Test("P29: what a run made and did not remove is known")
    func leftoversAreKnown() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        let database = ScratchItem(kind: "database", locator: "muster_x")
        let folder = ScratchItem(kind: "directory", locator: "/var/tmp/muster-x")
        for item in [folder, database, database] { try await journal.willCreate(item) }
        try await journal.didRemove(database)
        let left = try await SQLiteLedger(reading: reports).leftovers()
        #expect(left.map(\.item) == [folder, database])
        #expect(left.allSatisfy { $0.runID == header().runID && !$0.runFinished })
        for item in left { try await ledger.markRemoved(item) }
        #expect(try await ledger.leftovers().isEmpty)
    }

    @Test func everyFindingStreamsInOrder() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        for batch in 0..<5 { try await journal.record((0..<1000).map { missing(batch * 1000 + $0) }) }
        let seen = Collected()
        try await ledger.forEachFinding(ofRun: header().runID) { page in await seen.append(page.compactMap(\.rowID)) }
        #expect(await seen.ids == (0..<5000).map { "\($0)" })
    }

    @Test func unknownRunsAreNamedWithTheNearest() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        _ = try await ledger.begin(header())
        let error = await #expect(throws: DrillError.self) { try await ledger.record(of: "20261114T120000Z-0a1b2d") }
        #expect(error?.code == .usage)
        #expect(error?.hints.first == "Did you mean `20261114T120000Z-0a1b2c`?")
    }

    @Test func historyIsNewestFirst() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let passed = try await runOnce(ledger, header("20261114T120000Z-000001"), .pass)
        _ = try await runOnce(ledger, header("20261114T120000Z-000002"), .fail, findings: 2)
        _ = try await runOnce(ledger, header("20261114T120000Z-000003", drill: "orders"), .pass)
        _ = try await ledger.begin(header("20261114T120000Z-000004"))
        #expect(try await ledger.runs().map(\.runID.last) == ["4", "3", "2", "1"])
        #expect(try await ledger.runs(of: "user-profiles", limit: 2).map(\.runID.last) == ["4", "2"])
        #expect(try await ledger.newestFinishedRun(of: "user-profiles")?.findings == 2)
        #expect(try await ledger.lastPassedRun(of: "user-profiles")?.header.runID == passed.header.runID)
        #expect(try await ledger.lastPassedRun(of: "nothing") == nil)
        #expect(try await ledger.drills() == ["orders", "user-profiles"])
    }
}

private actor Collected {
    var ids: [String] = []
    func append(_ more: [String]) { ids += more }
}
