import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// Bytes that change in a physical backup, in a database of everything.
@Suite(.needs(.postgres), .timeLimit(.minutes(4)))
struct DamagedBackupIntegrationTests {
    /// A backup without manifest, so that nothing but the probe can notice what is done to its files.
    private struct Backup {
        var source: SourceCluster
        var pageBytes: Int { 8192 }

        func take() async throws {
            try await source.sql("CHECKPOINT")
            try await source.baseBackup("one", ["-X", "fetch", "--no-manifest"])
            // Without a manifest it is the history file that says that the backup has ended, and nobody waits for its archiving.
            let deadline = ContinuousClock.now + .seconds(60)
            while try !FileManager.default.contentsOfDirectory(atPath: source.wal).contains(where: {
                $0.hasSuffix(".backup")
            }) {
                try #require(ContinuousClock.now < deadline, "the backup's history file is not archived")
                try await Task.sleep(for: .milliseconds(10))
            }
        }

        func path(_ relation: String) async throws -> String {
            let path = try await source.sql("SELECT pg_relation_filepath('\(relation)')") ?? ""
            return source.bases + "/one/" + path
        }

        /// Turns bits of the bytes at that place of a page.
        func flip(_ relation: String, page: Int, at offset: Int, mask: UInt8 = 0x55, count: Int = 1) async throws {
            let file = try await path(relation)
            let handle = try FileHandle(forUpdating: URL(fileURLWithPath: file))
            try handle.seek(toOffset: UInt64(page * pageBytes + offset))
            let bytes = try handle.read(upToCount: count) ?? Data()
            try handle.seek(toOffset: UInt64(page * pageBytes + offset))
            try handle.write(contentsOf: Data(bytes.map { $0 ^ mask }))
            try handle.close()
        }

        func change(_ relation: String, _ body: (inout Data) -> Void) async throws {
            let url = URL(fileURLWithPath: try await path(relation))
            var bytes = try Data(contentsOf: url)
            body(&bytes)
            // In place: the file's owner stays.
            let handle = try FileHandle(forUpdating: url)
            try handle.write(contentsOf: bytes)
            try handle.truncate(atOffset: UInt64(bytes.count))
            try handle.close()
        }

        /// Where the first tuple of a page begins in it. (Its line pointer follows the header of 24 bytes; 15 bits are the offset.)
        func firstTuple(of relation: String, page: Int) async throws -> Int {
            let file = try Data(contentsOf: URL(fileURLWithPath: try await path(relation)))
            let start = page * pageBytes + 24
            return Int(file[start]) + Int(file[start + 1] & 0x7F) << 8
        }

        func look(_ probe: IntegrityProbe, dbname: String = "postgres") async throws -> Looked {
            let restorer = try source.restorer(.latest, ["dbname": .text(dbname)])
            return try await source.restored(restorer, .latest) { restored in
                try await DrillPostgresTests.look(probe, at: restored.database)
            }
        }
    }

    private func withBackup(
        checksums: Bool = true, _ statements: [String], _ body: (Backup) async throws -> Void
    ) async throws {
        try await SourceCluster.with(checksums: checksums) { source in
            for statement in statements { try await source.sql(statement) }
            let backup = Backup(source: source)
            try await backup.take()
            try await body(backup)
        }
    }

    private let tables = [
        "CREATE TABLE public.rows (id int PRIMARY KEY, v text)",
        "INSERT INTO public.rows SELECT n, repeat('x', 100) || n FROM generate_series(1, 2000) n",
        "CREATE TABLE public.docs (id int PRIMARY KEY, body text)",
        "ALTER TABLE public.docs ALTER body SET STORAGE EXTERNAL",
        "INSERT INTO public.docs SELECT n, repeat(md5(n::text), 500) FROM generate_series(1, 40) n",
        "CREATE TABLE public.fine (id int PRIMARY KEY)", "INSERT INTO public.fine SELECT generate_series(1, 100)",
        // Sets the bits that say which transactions are over.
        "SELECT count(v) FROM public.rows",
    ]

    @Test("G2: a sound physical backup with more than one database passes, and both are looked at")
    func soundBackupPasses() async throws {
        try await withBackup(soundStatements + ["CREATE DATABASE other"]) { backup in
            let looked = try await backup.look(integrity(.deep))
            #expect(looked.verdict == .pass, "\(looked.text)")
            #expect(looked.findings.isEmpty)
            #expect(looked.outcome.summary.contains("in 3 databases"), "other, postgres, template1")
            #expect(looked.outcome.summary.contains("template0 allows no connections"))
            #expect(looked.outcome.summary.contains("data checksums are on"))
        }
    }

    @Test(
        "P24: with checksums every flipped byte is found by reading, in heap, index and TOAST, with relation and block")
    func checksumsFindEveryFlip() async throws {
        // What the backup brings along to hide damage is of no effect.
        let blinds = [
            "ALTER SYSTEM SET ignore_checksum_failure = on", "ALTER DATABASE postgres SET zero_damaged_pages = on",
            "ALTER ROLE postgres SET ignore_checksum_failure = on",
        ]
        try await withBackup(tables + blinds) { backup in
            try await backup.flip("public.rows", page: 3, at: 4000)
            try await backup.flip("public.rows", page: 5, at: 8000)
            try await backup.flip("public.rows_pkey", page: 2, at: 4000)
            let toast = try await backup.source.sql(
                "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'docs'")
            try await backup.flip(toast ?? "", page: 7, at: 4000)
            try FileManager.default.removeItem(atPath: try await backup.path("public.fine_pkey"))
            let looked = try await backup.look(integrity(.read))
            #expect(looked.verdict == .fail)
            let found = Set(
                looked.counted.map { $0.replacing(#/ of relation .*/#, with: "").replacing(#/ file .*/#, with: "") })
            #expect(
                found == [
                    "public.rows: invalid page in block 3", "public.rows: invalid page in block 5",
                    "public.rows_pkey: invalid page in block 2", "public.docs: invalid page in block 7",
                    "public.fine_pkey: could not open",
                ], "\(looked.text)")
            #expect(looked.counted.count == 5, "each is found once")
            #expect(looked.findings.contains { $0.evidence?.contains("its TOAST table pg_toast.pg_toast_") == true })
            #expect(looked.outcome.failed == 4, "a table, a TOAST table and two indexes")
        }
    }

    @Test(
        "P24: without checksums amcheck finds what breaks structure; a changed letter is a letter, and no tool can know"
    )
    func amcheckFindsBrokenStructure() async throws {
        try await withBackup(checksums: false, tables) { backup in
            // The high byte of the transaction that made the tuple, and a letter in another one.
            try await backup.flip("public.rows", page: 4, at: backup.firstTuple(of: "public.rows", page: 4) + 3)
            try await backup.flip(
                "public.rows", page: 6, at: backup.firstTuple(of: "public.rows", page: 6) + 60, mask: 1)
            let read = try await backup.look(integrity(.read))
            #expect(
                read.verdict == .pass, "the server knows the transaction as committed, and asks no more: \(read.text)")
            let deep = try await backup.look(integrity(.deep))
            #expect(deep.verdict == .fail)
            #expect(deep.counted.contains { $0.hasPrefix("public.rows: block 4, offset 1: ") }, "\(deep.text)")
            #expect(!deep.counted.contains { $0.contains("block 6") }, "the changed letter is not known as such")
            #expect(deep.outcome.summary.contains("data checksums are off"))
        }
    }

    @Test(
        "P24: pages of zeros and a file cut off are found by what indexes point to; a page that never held a row is no fault"
    )
    func lostPages() async throws {
        let statements =
            tables + [
                "CREATE TABLE public.cut (id int PRIMARY KEY, v text)",
                "INSERT INTO public.cut SELECT n, repeat('y', 100) FROM generate_series(1, 1000) n", "ANALYZE",
            ]
        try await withBackup(statements) { backup in
            try await backup.change("public.rows") { bytes in
                bytes.replaceSubrange(4 * 8192..<6 * 8192, with: Data(count: 2 * 8192))
            }
            try await backup.change("public.cut") { $0.removeLast(3 * 8192) }
            try await backup.change("public.fine") { $0.append(Data(count: 8192)) }
            let deep = try await backup.look(integrity(.deep))
            #expect(deep.verdict == .fail)
            #expect(
                deep.counted.sorted() == [
                    "public.cut: the table ends before block 15, and its rows there are gone",
                    "public.rows: block 4 holds nothing but zeros, and its rows are gone",
                ], "\(deep.text)")
            #expect(deep.findings.contains { $0.evidence?.contains("in 2 such blocks") == true })
        }
    }

    @Test("P24: a tuple that takes the server down is found, and the other relations are looked at all the same")
    func crashIsAFinding() async throws {
        try await withBackup(checksums: false, tables) { backup in
            // Where the tuple's data begin: the length of its text is then read out of the text.
            try await backup.flip("public.rows", page: 4, at: backup.firstTuple(of: "public.rows", page: 4) + 22)
            let looked = try await backup.look(integrity(.deep))
            #expect(looked.verdict == .fail, "\(looked.text)")
            #expect(looked.counted.contains { $0.hasPrefix("public.rows: block 4, offset 1: ") }, "\(looked.text)")
            #expect(Set(looked.findings.map(\.relation)) == ["public.rows"])
            #expect(looked.outcome.doubt?.contains("public.rows_pkey: held against no rows") == true, "\(looked.text)")
        }
    }
}
