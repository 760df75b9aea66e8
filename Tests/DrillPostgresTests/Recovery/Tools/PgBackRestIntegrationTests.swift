import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct PgBackRestIntegrationTests {
    private static let configuration = """
        [global]
        repo1-path=FOLDER/repo
        log-level-file=off
        lock-path=FOLDER/locks
        start-fast=y
        job-retry=0
        MORE
        [main]
        pg1-path=FOLDER/source/pgdata
        pg1-socket-path=FOLDER/source
        pg1-user=postgres
        [global:restore]
        delta=y
        link-all=y
        link-map=pg_wal=FOLDER/elsewhere
        db-include=template1
        recovery-option=recovery_end_command=touch FOLDER/ran
        """

    /// A full and an incremental backup, each with commits behind it.
    private func withRepository(
        more: String = "",
        _ body: (ToolSource, _ commits: [Date], _ lsn: String, _ labels: [String]) async throws -> Void
    ) async throws {
        try await ToolSource.with(
            "pgbackrest", archiving: "pgbackrest --config=FOLDER/pgbackrest.conf --stanza=main archive-push \"$1\""
        ) { source in
            try source.cluster.account.makeFolder(source.folder + "/locks")
            try source.write("pgbackrest.conf", Self.configuration.replacing("MORE", with: more))
            let options = ["--config=\(source.folder)/pgbackrest.conf", "--stanza=main", "--log-level-console=off"]
            try await source.run("pgbackrest", options + ["stanza-create"])
            try await source.placeInTablespace()
            try await source.run("pgbackrest", options + ["--type=full", "--repo1-retention-full=9", "backup"])
            _ = try await source.cluster.commitRow(1)
            try await source.run("pgbackrest", options + ["--type=incr", "--repo1-retention-full=9", "backup"])
            let (commits, lsn) = try await source.history(from: 2)
            let labels = try FileManager.default.contentsOfDirectory(atPath: source.repository + "/backup/main")
                .filter { $0.hasPrefix("20") }.sorted()
            try await body(source, commits, lsn, labels)
        }
    }

    private func settings(_ source: ToolSource, _ more: [String: String] = [:]) -> [String: String] {
        ["stanza": "main", "config": source.folder + "/pgbackrest.conf"].merging(more) { $1 }
    }

    private func restorer(
        _ source: ToolSource, _ target: RecoveryTarget = .latest, _ more: [String: String] = [:]
    ) throws -> ToolRestorer<PgBackRest> {
        try source.restorer(PgBackRest.self, settings(source, more), target)
    }

    @Test(
        "pgBackRest: T is exact, the repository only read, its own wishes for a restore ignored (P14, P16, P20, P26, P27)"
    )
    func everyTargetIsReachedAndTheRepositoryOnlyRead() async throws {
        try await withRepository { source, commits, lsn, labels in
            let before = try await source.fingerprint(source.repository)
            try await source.reaches(PgBackRest.self, settings(source), commits, lsn: lsn)
            let older = try await source.rows(restorer(source), set: labels[0])
            #expect(older.ids == ["1", "2", "3", "4"])
            #expect(older.placed == 1)
            #expect(older.logs["pgbackrest.log"]?.contains("restore backup set \(labels[0])") == true)
            #expect(try await source.fingerprint(source.repository) == before)
            for name in ["elsewhere", "ran"] {
                #expect(!FileManager.default.fileExists(atPath: "\(source.folder)/\(name)"))
            }
            #expect(source.cluster.fixture.journal.left.isEmpty)

            let sets = try await source.sets(restorer(source))
            #expect(sets.count == 2)
            #expect(sets.map(\.state) == [.usable, .usable])
            let facts = Dictionary(uniqueKeysWithValues: sets[0].facts.map { ($0.name, $0.value) })
            #expect(facts["type"] == "incr")
            #expect(facts["timeline"] == "1")
            #expect(facts["PostgreSQL"] == "15")
            #expect(facts["start LSN"]?.hasPrefix("0/") == true)
            #expect((sets[0].sizeBytes ?? 0) > 10_000_000)
            let age = Date().timeIntervalSince(try #require(sets[0].time))
            #expect((0..<300).contains(age))

            // T before the end of the newest backup: the older one is taken.
            let stopped = try #require(sets[0].time)
            let early = try await restorer(source, .instant(stopped)).catalog()?.candidates() ?? []
            #expect(
                early[0].state
                    == .passedOver(
                        "It ended at \(rfc3339(stopped)), not before the recovery target \(rfc3339(stopped))."))
            #expect(early[1].state == .usable)
        }
    }

    @Test(
        "pgBackRest: each kind of damage is told, none passes, and what cannot be looked at is no fault of the backup (P15, V1)"
    )
    func damageIsTold() async throws {
        try await withRepository { source, commits, _, labels in
            let files = FileManager.default
            let wal = source.repository + "/archive/main/15-1/0000000100000000"
            let segments = try files.contentsOfDirectory(atPath: wal).filter {
                WALSegment($0.prefix(24)) != nil && $0.contains("-")
            }
            .sorted()

            // Of another cluster than the catalog says; nothing restored is believed.
            let unknown = await source.failure(try restorer(source, .latest, ["stanza": "mian"]))
            #expect(unknown?.code == .couldNotLook)
            #expect(unknown?.what == "the repository has no stanza `mian`")
            #expect(unknown?.hints.first == "Did you mean `main`?")

            // A byte of the base backup.
            let relation = try await source.run(
                "find", ["\(source.repository)/backup/main/\(labels[0])", "-name", "1255.gz"]
            ).split(separator: "\n").map(String.init)
            let victim = try #require(relation.last)
            let whole = try #require(files.contents(atPath: victim))
            var flipped = whole
            flipped[flipped.count / 2] ^= 0xFF
            try flipped.write(to: URL(fileURLWithPath: victim))
            let damaged = await source.failure(try restorer(source), set: labels[1])
            #expect(damaged?.code == .backupUnusable)
            #expect(damaged?.what.contains("pgbackrest restore: ERROR: [029]") == true)
            try whole.write(to: URL(fileURLWithPath: victim))

            // A segment behind the backup is withheld.
            let last = segments.count - 2
            let name = String(segments[last].prefix(24))
            try files.moveItem(atPath: "\(wal)/\(segments[last])", toPath: source.folder + "/withheld")
            let gap = await source.failure(try restorer(source, .instant(commits[2])), .instant(commits[2]))
            #expect(gap?.code == .backupUnusable)
            #expect(
                gap?.what.hasPrefix("the WAL segment \(name) (timeline 1) is missing; the archive goes on with") == true
            )
            try files.moveItem(atPath: source.folder + "/withheld", toPath: "\(wal)/\(segments[last])")

            // A byte of that segment.
            let packed = "\(wal)/\(segments[last])"
            let segment = try #require(files.contents(atPath: packed))
            var torn = segment
            torn[torn.count / 2] ^= 0xFF
            try torn.write(to: URL(fileURLWithPath: packed))
            let unreadable = await source.failure(try restorer(source, .instant(commits[2])), .instant(commits[2]))
            #expect(unreadable?.code == .backupUnusable)
            #expect(unreadable?.description.contains(name) == true)
            try segment.write(to: URL(fileURLWithPath: packed))

            // One that the backup needs to be consistent.
            let sets = try await source.sets(restorer(source))
            let start = try #require(sets[0].facts.first { $0.name == "start LSN" }.flatMap { LSN($0.value) })
            let needed = WALSegment(timeline: 1, number: start.segmentNumber(1 << 20), segmentBytes: 1 << 20).name
            let stored = try #require(segments.first { $0.hasPrefix(needed) })
            try files.removeItem(atPath: "\(wal)/\(stored)")
            let refused = try await source.sets(restorer(source))[0]
            guard case .unusable(let reason) = refused.state else {
                Issue.record("\(refused.state)")
                return
            }
            #expect(
                reason.hasPrefix("the WAL segment \(needed) (timeline 1), which it needs to be consistent, is missing"))

            // Not mounted.
            try files.moveItem(atPath: source.repository, toPath: source.repository + ".away")
            let absent = await source.failure(try restorer(source))
            #expect(absent?.code == .couldNotLook)
            #expect(absent?.what == "the repository is empty or not there")

            let missing = await source.failure(try restorer(source, .latest, ["program": "pgbackrest-of-nobody"]))
            #expect(missing?.code == .couldNotLook)
            #expect(missing?.hints.first?.contains("apt-get install pgbackrest") == true)
        }
    }

    @Test(
        "pgBackRest: an encrypted repository opens by its passphrase file alone; scratch inside production is refused (X1, P28)"
    )
    func secretsAndProduction() async throws {
        try await ToolSource.with(
            "pgbackrest",
            archiving:
                "PGBACKREST_REPO1_CIPHER_PASS=canary-passphrase pgbackrest --config=FOLDER/pgbackrest.conf --stanza=main "
                + "archive-push \"$1\""
        ) { source in
            try source.cluster.account.makeFolder(source.folder + "/locks")
            try source.write(
                "pgbackrest.conf", Self.configuration.replacing("MORE", with: "repo1-cipher-type=aes-256-cbc"))
            let options = ["--config=\(source.folder)/pgbackrest.conf", "--stanza=main", "--log-level-console=off"]
            let secret = ["PGBACKREST_REPO1_CIPHER_PASS": "canary-passphrase"]
            try await source.run("pgbackrest", options + ["stanza-create"], variables: secret)
            try await source.run(
                "pgbackrest", options + ["--type=full", "--repo1-retention-full=9", "backup"], variables: secret)
            _ = try await source.cluster.commitRow(1)
            try await source.archive()

            let without = await source.failure(try restorer(source))
            #expect(without?.code == .couldNotLook)
            #expect(without?.what == "the repository is encrypted, and no passphrase is given")
            let file = try source.write("wrong", "canary-of-another\n", mode: 0o600)
            let wrong = await source.failure(try restorer(source, .latest, ["cipher_pass_file": file]))
            #expect(wrong?.code == .couldNotLook)
            #expect(wrong?.what.hasPrefix("the encrypted repository cannot be read: the passphrase is wrong") == true)
            #expect(wrong?.description.contains("canary") == false)
            let right = try source.write("right", "canary-passphrase\n", mode: 0o600)
            let rows = try await source.rows(restorer(source, .latest, ["cipher_pass_file": right]))
            #expect(rows.ids == ["1"])
            #expect(!rows.logs.values.contains { $0.contains("canary") })

            var context = source.cluster.context(.latest)
            context.scratch.directory = source.cluster.dataDirectory + "/base"
            let reader = try source.cluster.reader(
                settings(source).mapValues { .text($0) }, ToolRestorer<PgBackRest>.shape)
            let error = #expect(throws: DrillError.self) { _ = try ToolRestorer<PgBackRest>(reader, context) }
            #expect(error?.code == .usage)
            #expect(error?.what.contains("lies in pgBackRest's pg1-path") == true)
            #expect(error?.what.contains("where a server runs (process ") == true)
        }
    }
}
