import DrillCore
import Foundation
import GRDB
import Testing

@testable import DrillReports

private let workerVariable = "MUSTER_LEDGER_WORKER"

/// G4, G12: several processes on one ledger, and processes that are killed.
@Suite struct LedgerProcessTests {
    let directory: TemporaryDirectory
    var reports: String { directory.path + "/reports" }

    init() throws { directory = try TemporaryDirectory() }

    /// Not a test of its own: what the processes below do. `reports|drill|runs`.
    @Test(.enabled(if: ProcessInfo.processInfo.environment[workerVariable] != nil))
    func worker() async throws {
        let words = try #require(ProcessInfo.processInfo.environment[workerVariable]).split(separator: "|").map(
            String.init)
        let ledger = try SQLiteLedger(reportsDirectory: words[0])
        for number in 0..<(try #require(Int(words[2]))) {
            let journal = try await ledger.begin(header("\(words[1])-\(getpid())-\(number)", drill: words[1]))
            try await journal.willCreate(ScratchItem(kind: "directory", locator: "/var/tmp/\(number)"))
            try await journal.record((0..<20).map { missing($0) })
            try await journal.record(probeResult("avatars", .pass))
            try await journal.didRemove(ScratchItem(kind: "directory", locator: "/var/tmp/\(number)"))
            try await ledger.writeReports(try await journal.finish(outcome(.pass)))
        }
    }

    private func startWorker(drill: String, runs: Int) throws -> Process {
        let process = Process()
        process.executableURL = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = ["--testing-library", "swift-testing", "--filter", "LedgerProcessTests/worker"]
        process.environment = ProcessInfo.processInfo.environment.merging(
            [workerVariable: "\(reports)|\(drill)|\(runs)"]) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    @Test("G12: eight processes at once lose no run")
    func eightProcessesLoseNothing() async throws {
        let workers = try (0..<8).map { try startWorker(drill: "drill-\($0)", runs: 10) }
        for worker in workers {
            worker.waitUntilExit()
            #expect(worker.terminationStatus == 0)
        }
        let ledger = try SQLiteLedger(reading: reports)
        let runs = try await ledger.runs()
        #expect(runs.count == 80)
        #expect(runs.allSatisfy { $0.verdict == .pass && $0.findings == 20 })
        let result = try await ledger.verify()
        #expect(result.isSound, "\(result.problems)")
        #expect(result.chainedRuns == 80)
        #expect(try await ledger.leftovers().isEmpty)
    }

    @Test("V5, G4: killed at any moment, the ledger is sound and no report is greener than the ledger")
    func killedRunsLeaveNoGreenReport() async throws {
        var random = SeededGenerator(seed: 4)
        let junit = reports + "/killed/junit.xml"
        for _ in 0..<12 {
            let worker = try startWorker(drill: "killed", runs: 10_000)
            while !FileManager.default.fileExists(atPath: junit), worker.isRunning {
                try await Task.sleep(for: .milliseconds(5))
            }
            try await Task.sleep(for: .milliseconds(Int.random(in: 100...400, using: &random)))
            kill(worker.processIdentifier, SIGKILL)
            worker.waitUntilExit()
            let ledger = try SQLiteLedger(reportsDirectory: reports)
            let result = try await ledger.verify()
            #expect(result.isSound, "\(result.problems)")
            let shown = try XMLOutline(junit)
            let newest = try #require(try await ledger.runs(limit: 1).first)
            // Killed between the run's verdict and its report, the report may still say that it did not finish.
            #expect(shown.errorMessages == ["did not finish"] || newest.verdict == .pass)
            #expect(try String(contentsOfFile: junit, encoding: .utf8).contains(newest.runID) || shown.errors == 1)
        }
    }

    @Test("V5: an old green report is gone from the first moment, also where the ledger cannot be opened")
    func staleReportsAreReplaced() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header("20261107T120000Z-aaaaaa"))
        try await journal.record(probeResult("avatars", .pass))
        try await ledger.writeReports(try await journal.finish(outcome(.pass)))
        let junit = reports + "/user-profiles/junit.xml"
        #expect(try XMLOutline(junit).errors == 0)
        _ = try await ledger.begin(header())
        #expect(try XMLOutline(junit).errorMessages == ["did not finish"])
        // The older run's own report stays as it was.
        #expect(try XMLOutline(reports + "/user-profiles/20261107T120000Z-aaaaaa/junit.xml").errors == 0)
        let damaged = directory.path + "/damaged"
        try FileManager.default.createDirectory(atPath: damaged + "/user-profiles", withIntermediateDirectories: true)
        try writeWhole(junitReport([.run(passedRecord())]), to: damaged + "/user-profiles/junit.xml")
        try writeWhole(Array(repeating: 0x41, count: 4096), to: damaged + "/ledger.sqlite")
        try SQLiteLedger.showUnfinished(header(), reportsDirectory: damaged)
        #expect(throws: DrillError.self) { try SQLiteLedger(reportsDirectory: damaged) }
        #expect(try XMLOutline(damaged + "/user-profiles/junit.xml").errors == 1)
    }

    @Test("an older run that ends after a newer one began leaves the newer one's reports alone")
    func currentReportsAreTheNewestRuns() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let older = try await ledger.begin(header("20261107T120000Z-aaaaaa"))
        _ = try await ledger.begin(header())
        try await ledger.writeReports(try await older.finish(outcome(.pass)))
        #expect(try XMLOutline(reports + "/user-profiles/junit.xml").errorMessages == ["did not finish"])
    }

    @Test("Q2: a full disk is an error in clear words, and no old green report outlives it")
    func fullDiskIsTold() async throws {
        guard geteuid() == 0 else { return }
        let mount = directory.path + "/small"
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        let mounted = try run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", mount])
        try #require(mounted.status == 0, "\(mounted.output)")
        do {
            try await fillDisk(mount)
        } catch {
            Issue.record(error)
        }
        let unmounted = try run("umount", ["--lazy", mount])
        #expect(unmounted.status == 0, "\(unmounted.output)")
    }

    private func fillDisk(_ mount: String) async throws {
        let ledger = try SQLiteLedger(reportsDirectory: mount)
        let first = try await ledger.begin(header("20261107T120000Z-aaaaaa"))
        try await ledger.writeReports(try await first.finish(outcome(.pass)))
        let journal = try await ledger.begin(header())
        let error = await #expect(throws: DrillError.self) {
            for batch in 0..<100 { try await journal.record((0..<500).map { missing(batch * 500 + $0) }) }
        }
        #expect(error?.code == .ledgerUnusable)
        #expect(error?.what == "SQLite says: database or disk is full")
        #expect(error?.hints.first == "The disk is full: make room, or name another reports directory with --reports.")
        let junit = mount + "/user-profiles/junit.xml"
        #expect(try XMLOutline(junit).errorMessages == ["did not finish"])
        // Now with a green report in place and not a byte left.
        try writeWhole(junitReport([.run(passedRecord())]), to: junit)
        let filler = open(mount + "/filler", O_WRONLY | O_CREAT, 0o600)
        let zeros = [UInt8](repeating: 0, count: 4096)
        while Foundation.write(filler, zeros, zeros.count) > 0 {}
        close(filler)
        await #expect(throws: DrillError.self) { try await ledger.begin(header("20261114T130000Z-bbbbbb")) }
        #expect(!FileManager.default.fileExists(atPath: junit))
        unlink(mount + "/filler")
        #expect(try await ledger.verify().isSound)
        #expect(try await journal.finish(outcome(.inconclusive)).chainHead?.count == 64)
    }

    @Test("G8, J8: two hundred thousand findings are groups in small reports, and all in the ledger")
    func manyFindingsStaySmall() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: reports)
        let journal = try await ledger.begin(header())
        let causes = Cause.allCases.prefix(7)
        for batch in 0..<100 {
            try await journal.record((0..<2000).map { missing(batch * 2000 + $0, cause: causes[$0 % 7]) })
        }
        try await journal.record(probeResult("avatars", .fail, failed: 200_000))
        let record = try await journal.finish(outcome(.fail))
        #expect(record.groups.count == 7)
        #expect(record.groups.reduce(0) { $0 + $1.count } == 200_000)
        #expect(record.groups.reduce(0) { $0 + $1.examples.count } == 100)
        #expect(record.groups.contains { $0.last.rowID == "199999" })
        #expect(junitReport([.run(record)]).count < 100_000)
        #expect(try htmlReport(record).count < 200_000)
        #expect(jsonReport(record).count < 200_000)
        #expect(try await ledger.verify().isSound)
    }
}
