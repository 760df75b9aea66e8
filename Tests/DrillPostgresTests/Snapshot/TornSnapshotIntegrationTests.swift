import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// P25: volumes of one server that were not copied at the same instant.
@Suite(.needs(.postgres)) struct TornSnapshotIntegrationTests {
    private static let settings = ["min_wal_size=2MB", "max_wal_size=400MB", "checkpoint_timeout=1h"]

    /// A server that pgbench writes to, more than its buffers hold.
    private func underLoad(_ body: (SourceCluster) async throws -> Void) async throws {
        try await SourceCluster.with(settings: Self.settings) { source in
            let place = source.fixture.folder + "/spc"
            try source.account.makeFolder(place)
            try await source.sql("CREATE TABLESPACE spc LOCATION '\(place)'")
            let common = ["-h", source.folder, "-U", "postgres", "postgres"]
            try await source.tool("pgbench", ["-i", "-q", "-s", "3", "--tablespace=spc"] + common)
            try await source.sql(
                "CREATE TABLE public.plain AS SELECT i AS id, repeat('x', 500) AS filler FROM generate_series(1, 20000) i"
            )
            try await source.sql("CHECKPOINT")
            var command = Command(source.tools.path("pgbench"), ["-n", "-c", "2", "-T", "300"] + common)
            command.user = source.account.user
            command.workingDirectory = source.fixture.folder
            let load = try await source.fixture.environment.processes.start(command)
            let outcome: Result<Void, any Error>
            do { outcome = .success(try await body(source)) } catch { outcome = .failure(error) }
            load.send(signal: SIGKILL)
            _ = await load.ended()
            try outcome.get()
        }
    }

    /// Waits until more was written than the server's buffers hold, so that new pages of both volumes are in files.
    private func moreIsWritten(_ source: SourceCluster) async throws {
        let from = try await source.sql("SELECT pg_current_wal_lsn()") ?? ""
        try await source.sql("UPDATE public.plain SET filler = filler || 'y'")
        try await source.wait(for: "pg_current_wal_lsn() - '\(from)'::pg_lsn > 24000000")
    }

    @Test("P25: WAL or a tablespace of another instant is found under load, and WAL that goes on further is fine")
    func volumesOfOtherInstantsAreFound() async throws {
        try await underLoad { source in
            let place = source.fixture.folder + "/spc"
            let number = try await source.sql("SELECT oid FROM pg_tablespace WHERE spcname = 'spc'") ?? ""
            func parts(_ wal: String, _ tablespace: String) -> [String: SourceCluster.Value] {
                [
                    "wal": .text("\(source.snapshots)/\(wal)"),
                    "tablespaces": .map([number: "\(source.snapshots)/\(tablespace)"]),
                ]
            }
            try await source.frozen {
                try await source.copy(source.dataDirectory + "/pg_wal", to: "wal-1")
                try await source.copy(source.dataDirectory, to: "data-1")
                try await source.copy(place, to: "spc-1")
            }
            try await moreIsWritten(source)
            try await source.frozen {
                try await source.copy(source.dataDirectory + "/pg_wal", to: "wal-2")
                try await source.copy(source.dataDirectory, to: "data-2")
                try await source.copy(place, to: "spc-2")
            }
            let whole = try await source.asked("data-2", "SELECT count(*) FROM public.plain", parts("wal-2", "spc-2"))
            #expect(whole.answer == "20000")
            #expect(whole.point != nil)

            let older = await source.refusal("data-2", parts("wal-1", "spc-2"))
            #expect(older?.code == .backupUnusable, "\(String(describing: older))")
            #expect(
                older?.what.contains("the volumes were not taken at the same instant") == true,
                "\(String(describing: older))")

            let tablespace = await source.refusal("data-1", parts("wal-1", "spc-2"))
            #expect(tablespace?.code == .backupUnusable, "\(String(describing: tablespace))")
            #expect(tablespace?.what.contains("a tablespace has pages") == true, "\(String(describing: tablespace))")

            let longer = try await source.asked(
                "data-1", "SELECT count(*) FROM public.plain WHERE filler LIKE '%y'", parts("wal-2", "spc-1"))
            #expect(longer.answer == "20000")

            // A checkpoint apart: the control file then names a place that the other WAL has not, or has no more.
            try await source.sql("CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT")
            try await source.wait(
                for: "NOT EXISTS (SELECT FROM pg_ls_waldir() WHERE name = '\(try first(source, "wal-1"))')")
            try await source.frozen {
                try await source.copy(source.dataDirectory + "/pg_wal", to: "wal-3")
                try await source.copy(source.dataDirectory, to: "data-3")
                try await source.copy(place, to: "spc-3")
            }
            let before = await source.refusal("data-3", parts("wal-2", "spc-3"))
            #expect(before?.code == .backupUnusable)
            #expect(before?.what.contains("taken before the data directory") == true, "\(String(describing: before))")
            let after = await source.refusal("data-1", parts("wal-3", "spc-1"))
            #expect(after?.code == .backupUnusable)
            #expect(after?.what.contains("taken after the data directory") == true, "\(String(describing: after))")
        }
    }

    /// The segment that the first snapshot's redo begins in.
    private func first(_ source: SourceCluster, _ wal: String) throws -> String {
        try FileManager.default.contentsOfDirectory(atPath: "\(source.snapshots)/\(wal)").filter {
            WALSegment($0) != nil
        }
        .min() ?? ""
    }

    @Test("P25: WAL of another cluster is told by its system identifier")
    func walOfAnotherClusterIsTold() async throws {
        try await SourceCluster.with { source in
            try await source.sql("CREATE TABLE public.log (id int)")
            try await source.snapshot("one")
            for name in try FileManager.default.contentsOfDirectory(atPath: source.snapshots + "/one/pg_wal") {
                let path = source.snapshots + "/one/pg_wal/" + name
                guard WALSegment(name) != nil else { continue }
                var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
                bytes[24] ^= 1
                try bytes.write(to: URL(fileURLWithPath: path))
            }
            let error = await source.refusal("one")
            #expect(error?.code == .backupUnusable)
            #expect(error?.what.contains("the WAL is of the cluster with system identifier") == true)
        }
    }

    @Test func commitsAreReadFromLinesThatComeInPieces() {
        var last = LastCommit()
        last.add(Array("rmgr: Transaction … desc: COMMIT 2026-11-14 14:30:05.123456 UTC; inval msgs".utf8))
        #expect(last.instant == nil)
        last.add(Array("\nrmgr: Transaction … desc: ABORT 2026-11-14 15:00:00.000000 UTC\nrmgr: Tra".utf8))
        #expect(last.instant == parseInstant("2026-11-14T14:30:05.123456Z"))
        last.add(Array("nsaction … desc: COMMIT_PREPARED 733: 2026-11-14 16:00:00.5 UTC\n".utf8))
        #expect(last.instant == parseInstant("2026-11-14T16:00:00.5Z"))
    }

    @Test(arguments: [
        ("pgdata/base/5/16384", true), ("pgdata/base/5/16384.1", true), ("pgdata/base/5/16384_fsm", true),
        ("tablespaces/16500/PG_15_202209061/5/16385", true), ("pgdata/global/1262", true),
        ("pgdata/base/5/t3_16384", false), ("pgdata/base/5/pg_filenode.map", false), ("pgdata/pg_xact/0000", false),
        ("pgdata/pg_wal/000000010000000000000001", false), ("pgdata/base/5/PG_VERSION", false),
    ]) func pagesAreLookedForInRelations(path: String, isRelation: Bool) {
        #expect(PageLSNs.isRelation(path) == isRelation)
    }
}
