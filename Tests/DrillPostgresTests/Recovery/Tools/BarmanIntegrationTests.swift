import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct BarmanIntegrationTests {
    /// Two backups, each with commits behind it. Barman runs as whoever the server belongs to.
    private func withCatalog(
        _ body: (ToolSource, _ commits: [Date], _ lsn: String, _ labels: [String]) async throws -> Void
    ) async throws {
        try await ToolSource.with("barman", archiving: "cp \"$1\" FOLDER/repo/main/incoming/\"$2\"") { source in
            let account = source.cluster.account
            for name in ["main", "main/incoming", "main/base", "main/wals", "main/streaming", "main/errors"] {
                try account.makeFolder(source.repository + "/" + name)
            }
            let socket = source.cluster.folder
            try source.write(
                "barman.conf",
                """
                [barman]
                barman_user = \(account.user?.name ?? NSUserName())
                barman_home = FOLDER/repo
                log_file = FOLDER/repo/barman.log
                compression = gzip
                pre_recovery_script = touch FOLDER/repo/hook-ran
                [main]
                description = a test
                conninfo = host=\(socket) user=postgres dbname=postgres
                streaming_conninfo = host=\(socket) user=postgres
                backup_method = postgres
                archiver = on
                path_prefix = \(source.cluster.tools.directory)
                immediate_checkpoint = true
                post_recovery_retry_script = touch FOLDER/repo/hook-ran
                [other]
                description = another
                conninfo = host=/nowhere
                archiver = on
                """)
            func barman(_ arguments: String...) async throws {
                try await source.run("barman", ["--config", source.folder + "/barman.conf"] + arguments)
            }
            try await source.placeInTablespace()
            try await source.archive()
            try await barman("archive-wal", "main")
            try await barman("backup", "main", "--wait")
            _ = try await source.cluster.commitRow(1)
            try await barman("backup", "main", "--wait")
            let (commits, lsn) = try await source.history(from: 2)
            try await barman("archive-wal", "main")
            let labels = try FileManager.default.contentsOfDirectory(atPath: source.repository + "/main/base").sorted()
            try await body(source, commits, lsn, labels)
        }
    }

    private func settings(_ source: ToolSource, _ more: [String: String] = [:]) -> [String: String] {
        ["server": "main", "config": source.folder + "/barman.conf"].merging(more) { $1 }
    }

    private func restorer(
        _ source: ToolSource, _ target: RecoveryTarget = .latest, _ more: [String: String] = [:]
    ) throws -> ToolRestorer<Barman> {
        try source.restorer(Barman.self, settings(source, more), target)
    }

    /// Changes lines of a backup's `backup.info`.
    private func change(_ source: ToolSource, _ label: String, _ lines: [String: String]) throws {
        let path = "\(source.repository)/main/base/\(label)/backup.info"
        let text = String(decoding: try #require(FileManager.default.contents(atPath: path)), as: UTF8.self)
        let changed = text.split(separator: "\n").map { line in
            line.split(separator: "=").first.flatMap { name in lines[String(name)].map { "\(name)=\($0)" } }
                ?? String(line)
        }
        try Data(changed.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: path))
    }

    @Test("Barman: T is exact, the catalog only read, no hook of the user's run (P14, P16, P20, P26)")
    func everyTargetIsReachedAndTheCatalogOnlyRead() async throws {
        try await withCatalog { source, commits, lsn, labels in
            let before = try await source.fingerprint(source.repository)
            try await source.reaches(Barman.self, settings(source), commits, lsn: lsn, ["latest", "instant", "name"])
            let sets = try await source.sets(restorer(source))
            #expect(sets.map(\.id) == labels.reversed())
            #expect(sets.map(\.state) == [.usable, .usable])
            let facts = Dictionary(uniqueKeysWithValues: sets[0].facts.map { ($0.name, $0.value) })
            #expect(facts["timeline"] == "1")
            #expect(facts["PostgreSQL"]?.hasPrefix("15.") == true)
            #expect(UInt64(facts["system identifier"] ?? "") != nil)
            let age = Date().timeIntervalSince(try #require(sets[0].time))
            #expect((0..<300).contains(age))
            #expect(try await source.fingerprint(source.repository) == before)
            #expect(source.cluster.fixture.journal.left.isEmpty)
        }
    }

    @Test(
        "Barman: refused in its own words; a file that it does not miss is missed; damage is no end of the archive (P15, V1)"
    )
    func damageIsTold() async throws {
        try await withCatalog { source, commits, _, labels in
            let files = FileManager.default
            let wals = source.repository + "/main/wals/0000000100000000"
            let segments = try files.contentsOfDirectory(atPath: wals).filter { WALSegment($0) != nil }.sorted()

            let victim = try #require(
                try await source.run(
                    "find", ["\(source.repository)/main/base/\(labels[1])/data/base", "-name", "1255"]
                ).split(separator: "\n").last.map(String.init))
            try files.moveItem(atPath: victim, toPath: source.folder + "/withheld")
            let missing = await source.failure(try restorer(source))
            #expect(missing?.code == .backupUnusable)
            #expect(missing?.what.hasPrefix("pg_verifybackup:") == true)
            try files.moveItem(atPath: source.folder + "/withheld", toPath: victim)

            let name = segments[segments.count - 2]
            try files.moveItem(atPath: "\(wals)/\(name)", toPath: source.folder + "/withheld")
            let gap = await source.failure(try restorer(source, .instant(commits[2])), .instant(commits[2]))
            #expect(gap?.code == .backupUnusable)
            #expect(
                gap?.what.hasPrefix("the WAL segment \(name) (timeline 1) is missing; the archive goes on with") == true
            )
            var torn = try #require(files.contents(atPath: source.folder + "/withheld"))
            torn[torn.count / 2] ^= 0xFF
            try torn.write(to: URL(fileURLWithPath: "\(wals)/\(name)"))
            let unreadable = await source.failure(try restorer(source, .instant(commits[2])), .instant(commits[2]))
            #expect(unreadable?.code == .backupUnusable)
            #expect(unreadable?.description.contains(name) == true)

            func state(_ lines: [String: String]) async throws -> BackupSet.State {
                try change(source, labels[1], lines)
                return try await source.sets(restorer(source)).first { $0.id == labels[1] }?.state ?? .usable
            }
            guard case .beingWritten(let young) = try await state(["status": "WAITING_FOR_WALS"]) else {
                Issue.record("a backup that has just ended may still wait for its WAL")
                return
            }
            #expect(young.hasPrefix("Barman says WAITING_FOR_WALS"))
            let old = ["begin_time": "2026-01-02 03:04:05+00:00", "end_time": "2026-01-02 03:05:05+00:00"]
            #expect(
                try await state(old)
                    == .unusable(
                        "Barman says WAITING_FOR_WALS: WAL that it needs to be consistent is not archived yet"))
            #expect(
                try await state(["status": "FAILED", "error": "failure copying files (disk full)"])
                    == .unusable("Barman says FAILED: failure copying files (disk full)"))
            guard case .beingWritten = try await state(["status": "STARTED"]) else {
                Issue.record("a backup that was begun a moment ago is under way")
                return
            }

            try Data("garbage".utf8).write(
                to: URL(fileURLWithPath: "\(source.repository)/main/base/\(labels[0])/backup.info"))
            let catalog = try await source.sets(restorer(source))
            guard catalog.count == 1, case .unusable(let reason) = catalog[0].state else {
                Issue.record("a damaged catalog is no empty one: \(catalog)")
                return
            }
            #expect(reason.contains("Barman says: invalid line garbage"))

            let unknown = #expect(throws: DrillError.self) { _ = try restorer(source, .latest, ["server": "mian"]) }
            #expect(unknown?.code == .usage)
            #expect(unknown?.hints.first == "Did you mean `main`?")
            let absent = await source.failure(try restorer(source, .latest, ["server": "other"]))
            #expect(absent?.code == .couldNotLook)
            try files.moveItem(atPath: source.repository, toPath: source.repository + ".away")
            let away = await source.failure(try restorer(source))
            #expect(away?.code == .couldNotLook)
            #expect(away?.what == "Barman's catalog is not there or cannot be read")
        }
    }
}
