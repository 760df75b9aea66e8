import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct BaseBackupIntegrationTests {
    /// A plain and a packed backup with a tablespace, then five commits, a restore point between the third and the fourth.
    private func withHistory(
        _ body: (SourceCluster, _ commits: [Date], _ lsn: String) async throws -> Void
    ) async throws {
        try await SourceCluster.with(settings: ["max_connections=150", "max_prepared_transactions=5"]) { source in
            let tablespace = source.fixture.folder + "/spc"
            try source.account.makeFolder(tablespace)
            try await source.sql(
                "CREATE TABLE public.log (id int PRIMARY KEY)", "CREATE TABLESPACE spc LOCATION '\(tablespace)'",
                "CREATE TABLE public.placed (id int) TABLESPACE spc", "INSERT INTO public.placed VALUES (1)")
            try await source.baseBackup("plain", ["-X", "none", "-T", "\(tablespace)=\(source.bases)/plain-spc"])
            var commits: [Date] = []
            var lsn = ""
            for id in 1...5 {
                commits.append(try await source.commitRow(id))
                if id == 3 { lsn = try await source.sql("SELECT pg_create_restore_point('third')") ?? "" }
                try await source.archive()
            }
            try await body(source, commits, lsn)
        }
    }

    @Test("T is exact to the microsecond, inclusive and half-open, by LSN and by name (P14, P16, P17, P18)")
    func everyTargetIsReachedExactly() async throws {
        try await withHistory { source, commits, lsn in
            let latest = try await source.rows(.latest)
            #expect(latest.ids == ["1", "2", "3", "4", "5"])
            #expect(latest.point == commits[4])
            #expect(latest.notes.contains { $0.contains("pg_verifybackup found every file") })

            let third = try await source.rows(.instant(commits[2]))
            #expect(third.ids == ["1", "2", "3"])
            #expect(third.point == commits[2])
            #expect(third.log.contains("recovery stopping before commit of transaction"))

            let open = try await source.rows(.instant(commits[2]), ["inclusive": .text("false")])
            #expect(open.ids == ["1", "2"])

            let before = try await source.rows(.instant(Date(microseconds: commits[2].microseconds - 1)))
            #expect(before.ids == ["1", "2"])

            let named = try await source.rows(.name("third"))
            #expect(named.ids == ["1", "2", "3"])
            #expect(named.log.contains("recovery stopping at restore point \"third\""))

            let placed = try await source.rows(.lsn(lsn))
            #expect(placed.ids == ["1", "2", "3"])
            #expect(source.fixture.journal.left.isEmpty)
        }
    }
}
