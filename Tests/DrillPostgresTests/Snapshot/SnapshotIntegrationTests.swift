import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct SnapshotIntegrationTests {
    /// Names, bytes and times of all files below a directory.
    private func fingerprint(_ directory: String, _ fixture: RestoreFixture) async throws -> String {
        let script = """
            cd "$1" && find . -printf '%p %y %s %T@ %C@ %A@ %m %u %l\\n' | sort && find . -type f -print0 | sort -z |
                xargs -0 sha256sum && find . -printf '%p %T@ %C@ %A@\\n' | sort | sha256sum
            """
        // sha256sum itself reads; what it may touch is laid down first.
        let result = try await fixture.environment.processes.run(Command("sh", ["-c", script, "sh", directory]))
        return result.outputText
    }

    private func places(_ directory: String, _ fixture: RestoreFixture) async throws -> String {
        let result = try await fixture.environment.processes.run(
            Command("find", [directory, "-printf", "%p %y %s %T@ %C@ %A@ %m %u %l\\n"]))
        return result.outputText.split(separator: "\n").sorted().joined(separator: "\n")
    }

    @Test("P25, P26: a snapshot under way recovers as after a crash, to its last commit, and is only read")
    func aSnapshotRecoversAndIsOnlyRead() async throws {
        try await SourceCluster.with(settings: ["max_prepared_transactions=5", "max_connections=150"]) { source in
            let tablespace = source.fixture.folder + "/spc"
            try source.account.makeFolder(tablespace)
            try await source.sql(
                "CREATE TABLE public.log (id int PRIMARY KEY)", "CREATE TABLESPACE spc LOCATION '\(tablespace)'",
                "CREATE TABLE public.placed (id int) TABLESPACE spc", "INSERT INTO public.placed VALUES (7)",
                "ALTER ROLE postgres SET session_preload_libraries = 'auto_explain'", "CHECKPOINT")
            let commit = try await source.commitRow(1)
            try await source.sql("BEGIN; INSERT INTO public.log VALUES (2); PREPARE TRANSACTION 'two'")
            try await source.frozen {
                try await source.copy(source.dataDirectory, to: "set/pgdata")
                try await source.copy(tablespace, to: "set/volumes/spc")
            }
            await source.crash()
            try FileManager.default.createSymbolicLink(
                atPath: source.snapshots + "/set/pgdata/log", withDestinationPath: "/var/log")
            let number = try #require(
                FileManager.default.contentsOfDirectory(atPath: source.dataDirectory + "/pg_tblspc").first)
            let declared = ["tablespaces": SourceCluster.Value.map([number: source.snapshots + "/set/volumes/spc"])]
            let content = try await fingerprint(source.snapshots, source.fixture)
            let before = try await places(source.snapshots, source.fixture)

            let found = try await source.asked(
                "set/pgdata", "SELECT (SELECT count(*) FROM public.log) + (SELECT sum(id) FROM public.placed)", declared
            )
            #expect(found.answer == "8")
            #expect(found.point == commit)
            #expect(found.notes.contains("Crash recovery ran (control file `in production`"))
            #expect(found.notes.contains("1 prepared transactions came back"))
            #expect(found.notes.contains("left out of the copy: log."))
            #expect(found.notes.contains("taken out of the scratch copy: session_preload_libraries."))
            for part in ["redo starts at", "redo done at", "control file after recovery:", "pg_waldump ended:"] {
                #expect(found.log.contains(part), "\(part)")
            }
            #expect(try await places(source.snapshots, source.fixture) == before)
            #expect(
                try await fingerprint(source.snapshots, source.fixture).split(separator: "\n").filter {
                    $0.contains("  ./")
                } == content.split(separator: "\n").filter { $0.contains("  ./") })
            #expect(source.fixture.journal.left.isEmpty)
        }
    }

    @Test("P19, P20, P22: what is no sound snapshot is told apart before a server starts")
    func whatIsNoSnapshotIsToldApart() async throws {
        try await SourceCluster.with { source in
            try await source.sql("CREATE TABLE public.log (id int)", "CHECKPOINT")
            await #expect(source.refusalOfLive()?.what.contains("a server runs on this very directory") == true)
            source.process.send(signal: SIGINT)
            _ = await source.process.ended()
            try await source.copy(source.dataDirectory, to: "cold")
            let cold = try await source.asked("cold", "SELECT count(*) FROM public.log")
            #expect(cold.answer == "0")
            #expect(cold.notes.contains("a cold copy, nothing was replayed"))

            for (name, fault) in Self.faults {
                try await source.copy(source.dataDirectory, to: name)
                let folder = source.snapshots + "/" + name
                try fault.damage(folder)
                let error = await source.refusal(name)
                #expect(error?.code == fault.code, "\(name): \(String(describing: error))")
                #expect("\(String(describing: error))".contains(fault.words), "\(name): \(String(describing: error))")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: "/etc").contains("passwd"))
        }
    }

    private struct Fault: Sendable {
        var code: DrillError.Code
        var words: String
        var damage: @Sendable (String) throws -> Void
    }

    private static func replace(_ path: String, by content: String) throws {
        try Data(content.utf8).write(to: URL(fileURLWithPath: path))
    }

    private static func link(_ path: String, to target: String) throws {
        try? FileManager.default.removeItem(atPath: path)
        try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: target)
    }

    private static let faults: [(String, Fault)] = [
        (
            "other",
            Fault(code: .backupUnusable, words: "it has no PG_VERSION") {
                try FileManager.default.removeItem(atPath: $0 + "/PG_VERSION")
            }
        ),
        ("newer", Fault(code: .couldNotLook, words: "postgresql-99") { try replace($0 + "/PG_VERSION", by: "99\n") }),
        (
            "uncontrolled",
            Fault(code: .backupUnusable, words: "the control file, is missing") {
                try FileManager.default.removeItem(atPath: $0 + "/global/pg_control")
            }
        ),
        (
            "flipped",
            Fault(code: .backupUnusable, words: "the control file cannot be read") {
                let path = $0 + "/global/pg_control"
                var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
                bytes[80] ^= 0x10
                try bytes.write(to: URL(fileURLWithPath: path))
            }
        ),
        (
            "walless",
            Fault(code: .backupUnusable, words: "pg_wal is missing") {
                try FileManager.default.removeItem(atPath: $0 + "/pg_wal")
            }
        ),
        (
            "emptied",
            Fault(code: .backupUnusable, words: "holds no WAL") {
                for name in try FileManager.default.contentsOfDirectory(atPath: $0 + "/pg_wal") {
                    try FileManager.default.removeItem(atPath: $0 + "/pg_wal/" + name)
                }
            }
        ),
        (
            "production-wal",
            Fault(code: .backupUnusable, words: "pg_wal is a symbolic link to `/etc`") {
                try link($0 + "/pg_wal", to: "/etc")
            }
        ),
        (
            "etc",
            Fault(code: .backupUnusable, words: "the tablespace 16500 is a link to `/etc`") {
                try link($0 + "/pg_tblspc/16500", to: "/etc")
            }
        ),
        (
            "moved",
            Fault(code: .backupUnusable, words: "what lies there is not in the snapshot") {
                try link($0 + "/base/99", to: "/srv/base/99")
            }
        ),
        (
            "labelled",
            Fault(code: .couldNotLook, words: "kind: base_backup") {
                try replace($0 + "/backup_label", by: "START WAL LOCATION: 0/2000028\n")
            }
        ),
    ]

    @Test("A snapshot of a standby recovers from the WAL that it holds, as a server of its own")
    func aStandbysSnapshotRecovers() async throws {
        try await SourceCluster.with { source in
            try await source.sql("CREATE TABLE public.log (id int)")
            try await source.baseBackup("standby", ["-X", "stream", "-R"])
            let standby = source.bases + "/standby"
            let socket = source.fixture.folder + "/s"
            try source.account.makeFolder(socket)
            let settings = [
                "listen_addresses=", "unix_socket_directories=\(socket)", "fsync=off", "hot_standby=on",
                "archive_mode=off", "shared_buffers=16MB", "dynamic_shared_memory_type=mmap",
            ]
            var command = Command(source.tools.path("postgres"), ["-D", standby] + settings.flatMap { ["-c", $0] })
            command.user = source.account.user
            command.workingDirectory = socket
            command.errors = .file(path: source.fixture.folder + "/standby.log")
            let server = try await source.fixture.environment.processes.start(command)
            let outcome: Result<Void, any Error>
            do {
                try await source.wait(for: "pg_is_in_recovery()", at: socket)
                try await source.sql("INSERT INTO public.log VALUES (1)", "CHECKPOINT")
                let lsn = try await source.sql("SELECT pg_current_wal_lsn()") ?? ""
                try await source.wait(for: "pg_last_wal_replay_lsn() >= '\(lsn)'", at: socket)
                _ = try await source.sql(at: socket, "CHECKPOINT")
                try await source.sql("INSERT INTO public.log VALUES (2)")
                let last = try await source.sql("SELECT pg_current_wal_lsn()") ?? ""
                try await source.wait(for: "pg_last_wal_replay_lsn() >= '\(last)'", at: socket)
                outcome = .success(())
            } catch { outcome = .failure(error) }
            server.send(signal: SIGQUIT)
            _ = await server.ended()
            try outcome.get()
            try await source.copy(standby, to: "standby")
            let found = try await source.asked("standby", "SELECT count(*) FROM public.log")
            #expect(found.answer == "2")
            #expect(found.notes.contains("The snapshot is of a standby"))
        }
    }

    @Test("P20: declared places and links are looked for in the set alone")
    func placesOutsideTheSetAreRefused() throws {
        let fixture = NSTemporaryDirectory() + "muster-layout-\(UUID().uuidString)"
        func folder(_ path: String) throws {
            try FileManager.default.createDirectory(
                atPath: "\(fixture)/\(path)", withIntermediateDirectories: true)
        }
        defer { try? FileManager.default.removeItem(atPath: fixture) }
        for path in ["set/pgdata/pg_tblspc", "set/wal", "set/fast/ts/PG_15_1", "away/PG_15_1"] { try folder(path) }
        try Data().write(to: URL(fileURLWithPath: fixture + "/set/wal/000000010000000000000001"))
        try Self.link(fixture + "/set/pgdata/pg_wal", to: "/srv/pg/wal")
        try Self.link(fixture + "/set/pgdata/pg_tblspc/16400", to: "/mnt/fast/ts")
        var places = SnapshotPlaces(data: "pgdata", isPerSet: true)
        let layout = try SnapshotLayout(places, in: fixture + "/set")
        #expect(layout.wal?.hasSuffix("/set/wal") == true)
        #expect(layout.tablespaces.map(\.number) == ["16400"])
        #expect(layout.tablespaces.first?.directory.hasSuffix("/set/fast/ts") == true)

        try Self.link(fixture + "/set/away", to: fixture + "/away")
        places.tablespaces = ["16400": "away"]
        #expect(throws: DrillError.self) { try SnapshotLayout(places, in: fixture + "/set") }
        places.tablespaces = [:]
        try Self.link(fixture + "/set/pgdata/pg_tblspc/16401", to: "/mnt/slow/ts")
        try folder("set/ts/PG_15_1")
        #expect(try SnapshotLayout(places, in: fixture + "/set").tablespaces.count == 2)
        try FileManager.default.removeItem(atPath: fixture + "/set/fast")
        #expect(throws: DrillError.self) { try SnapshotLayout(places, in: fixture + "/set") }
    }
}

extension SourceCluster {
    /// What the directory of the running server itself is refused with.
    func refusalOfLive() async -> DrillError? {
        await refusal("live", ["path": .text(dataDirectory)])
    }
}
