import DrillCore
import Foundation
import GRDB
import Testing

@testable import DrillReports

/// Q4, G13: what was changed afterwards shows.
@Suite struct LedgerChainTests {
    let directory: TemporaryDirectory
    var reports: String { directory.path + "/reports" }
    var path: String { reports + "/ledger.sqlite" }

    init() throws { directory = try TemporaryDirectory() }

    /// Four finished runs, of which each head is returned, and one that did not finish.
    private func fill(reasons: String = "fine") async throws -> [String] {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        var heads: [String] = []
        for number in 1...4 {
            let journal = try await ledger.begin(header("20261114T120000Z-00000\(number)"))
            try await journal.record(PhaseRecord(name: "restore", startedAt: noon, seconds: 1, detail: "naïve\0"))
            var odd = missing(number)
            odd.objectKey = Array(0...255)
            try await journal.record([missing(number), odd])
            try await journal.record([missing(number + 1, cause: .notCopied)])
            try await journal.record(probeResult("avatars", .fail, failed: 3))
            heads.append(try #require(try await journal.finish(outcome(.fail, reason: reasons)).chainHead))
        }
        _ = try await ledger.begin(header("20261114T120000Z-000005"))
        return heads
    }

    private func change(_ sql: String) throws {
        try DatabaseQueue(path: path).inDatabase { try $0.execute(sql: sql) }
    }

    private func problems(anchor: String? = nil) async throws -> [LedgerVerification.Problem] {
        try await SQLiteLedger(reading: reports).verify(anchor: anchor).problems
    }

    private func python(_ arguments: String...) throws -> (status: Int32, output: String) {
        try run("python3", [try resource("verify.py"), path] + arguments)
    }

    @Test func aSoundLedgerVerifiesWithEveryEarlierHeadAsAnchor() async throws {
        let heads = try await fill()
        let result = try await SQLiteLedger(reading: reports).verify()
        #expect(result.isSound, "\(result.problems)")
        #expect(result.head == heads.last)
        #expect(result.chainedRuns == 4)
        #expect(result.unfinishedRuns == ["20261114T120000Z-000005"])
        for (number, head) in zip(1..., heads) {
            let anchored = try await SQLiteLedger(reading: reports).verify(anchor: head.uppercased())
            #expect(anchored.isSound)
            #expect(anchored.anchoredRun == "20261114T120000Z-00000\(number)")
        }
    }

    @Test("G13: a second implementation agrees")
    func pythonAgrees() async throws {
        let heads = try await fill()
        let whole = try python(heads[1])
        #expect(whole.output == heads[3] + "\n")
        try change("UPDATE recorded_finding SET row_id = '9' WHERE run_number = 2 AND ordinal = 2")
        #expect(try python().output == "the findings of run 2 are not those recorded\n")
    }

    @Test(arguments: [
        "UPDATE recorded_run SET verdict = 'pass' WHERE run_number = 3",
        "UPDATE recorded_run SET finished_at = '2026-11-14T12:00:01.000Z' WHERE run_number = 3",
        "UPDATE run_note SET text = text || ' ' WHERE run_number = 3", "DELETE FROM run_stage WHERE run_number = 3",
        "UPDATE recorded_probe SET failed = 0, passed = 1000 WHERE run_number = 3",
        "DELETE FROM recorded_finding WHERE run_number = 3 AND ordinal = 3",
        "UPDATE recorded_finding SET object_key = x'00' WHERE run_number = 3 AND ordinal = 1",
        "UPDATE recorded_finding SET evidence = evidence || char(0) || 'x' WHERE run_number = 3 AND ordinal = 1",
        "UPDATE recorded_phase SET milliseconds = 2 WHERE run_number = 3",
        "DELETE FROM probe_relaxation WHERE run_number = 3",
        "UPDATE restored_table SET rows = 0 WHERE run_number = 3",
    ])
    func aChangedRowShowsAtItsRun(_ sql: String) async throws {
        _ = try await fill()
        try change(sql)
        #expect(try await problems().map(\.runID) == ["20261114T120000Z-000003"])
    }

    @Test func aRunTakenOutOfTheMiddleShows() async throws {
        _ = try await fill()
        try change("DELETE FROM recorded_run WHERE run_number = 2")
        let found = try await problems()
        #expect(found.contains(.init(runID: "20261114T120000Z-000003", what: "before it 1 runs are missing")))
        #expect(found.contains(.init(what: "3 rows of recorded_finding belong to no run")))
    }

    @Test func aCutTailShowsAgainstAnAnchor() async throws {
        let heads = try await fill()
        for table in (LedgerTable.partsOfRun + [.findings, .run]).map(\.name) {
            try change("DELETE FROM \(table) WHERE run_number >= 4")
        }
        #expect(try await problems().isEmpty)
        #expect(try await problems(anchor: heads[2]).isEmpty)
        #expect(
            try await problems(anchor: heads[3]).map(\.what) == [
                "the anchor is no head of this chain: its end was cut off, or the chain was built anew"
            ])
    }

    @Test func aRunHiddenAsUnfinishedShows() async throws {
        let heads = try await fill()
        try change("UPDATE recorded_run SET chain_number = NULL WHERE run_number = 4")
        #expect(try await problems().map(\.what) == ["it is shown as finished and is not in the chain"])
        #expect(try await problems(anchor: heads[3]).count == 2)
    }

    @Test func aChainBuiltAnewShowsAgainstAnAnchor() async throws {
        let heads = try await fill()
        try FileManager.default.removeItem(atPath: path)
        _ = try await fill(reasons: "better")
        #expect(try await problems().isEmpty)
        #expect(try await problems(anchor: heads[0]).count == 1)
    }

    @Test func aChangedViewShows() async throws {
        _ = try await fill()
        try change("DROP VIEW finding")
        try change("CREATE VIEW finding AS SELECT 1 AS run_id")
        #expect(try await problems().map(\.what) == ["tables or views are not defined as this version defines them"])
    }

    @Test func anAnchorIsSixtyFourDigits() async throws {
        _ = try await fill()
        let error = await #expect(throws: DrillError.self) { try await problems(anchor: "cafe") }
        #expect(error?.code == .usage)
    }

    @Test("G13: a changed byte anywhere in the file is told, or changes nothing that can be read")
    func flippedBytesShow() async throws {
        let heads = try await fill()
        let sound = try Data(contentsOf: URL(filePath: path))
        let shown = try contents(path)
        var random = SeededGenerator(seed: 13)
        var told = 0
        for _ in 0..<400 {
            var bytes = sound
            let offset = Int.random(in: 0..<bytes.count, using: &random)
            bytes[offset] ^= UInt8(1) << UInt8.random(in: 0..<8, using: &random)
            try bytes.write(to: URL(filePath: path))
            do {
                if try await problems(anchor: heads[3]).isEmpty {
                    #expect(try contents(path) == shown, "byte \(offset) was changed unnoticed")
                } else {
                    told += 1
                }
            } catch let error as DrillError {
                #expect(error.code == .ledgerUnusable)
                told += 1
            }
        }
        #expect(told > 40)
    }

    /// All that can be read through the views.
    private func contents(_ path: String) throws -> [String] {
        try DatabaseQueue(path: path).inDatabase { database in
            try ["run", "phase", "probe_result", "finding"].flatMap { view in
                try Row.fetchAll(database, sql: "SELECT * FROM \(view)").map(\.description).sorted()
            }
        }
    }
}
