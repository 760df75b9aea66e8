import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// Dumps that are bad, and machines that are.
@Suite(.needs(.postgres)) struct PgDumpFaultIntegrationTests {
    static let users = """
        CREATE TABLE public.users (id int PRIMARY KEY, key text);
        INSERT INTO public.users SELECT n, md5(n::text) FROM generate_series(1, 20000) n;
        """

    @Test func anAbsentOrEmptyDumpIsIncomplete() async throws {
        try await RestoreFixture.with { fixture in
            let restorer = try fixture.restorer()
            #expect(try await restorer.examine(fixture.set()).state == .incomplete("there is no dump `db.dump`"))
            try fixture.write([])
            #expect(try await restorer.examine(fixture.set()).state == .incomplete("the dump is empty (0 bytes)"))
            let failure = try #require(await fixture.failure(restorer))
            #expect(failure.code == .backupUnusable)
            try fixture.write("not a dump\n".utf8)
            let state = try await restorer.examine(fixture.set()).state
            #expect(state == .unusable("`db.dump` is neither an archive nor plain SQL of pg_dump"))
        }
    }

    @Test("A dump whose contents list but whose data are cut does not pass (V11)")
    func cutDataAreFoundThoughTheContentsList() async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                let path = try await fixture.dump(source, ["-Fc"])
                let whole = try fixture.bytes()
                try fixture.write(whole.prefix(whole.count * 3 / 4))
                #expect(try await fixture.run("pg_restore", ["--list", path]).contains("TABLE DATA public users"))
                let failure = try #require(await fixture.failure(fixture.restorer()))
                #expect(failure.code == .backupUnusable)
                #expect(failure.what.hasPrefix("pg_restore exited with status 1: pg_restore: error: could not "))
                #expect(failure.hints.contains { $0.hasPrefix("restore.log: ") })
                #expect(try fixture.serverProcesses().isEmpty)
                #expect(fixture.journal.left.isEmpty)
            }
        }
    }

    @Test(arguments: ["-Fc", "-Ft", "-Fp", "gzip"], [0.01, 0.5, 0.95])
    func aTruncatedDumpNeverRestores(format: String, share: Double) async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                let path = try await fixture.dump(source, [format == "gzip" ? "-Fp" : format])
                if format == "gzip" {
                    try await fixture.run("gzip", [path])
                    try FileManager.default.moveItem(atPath: path + ".gz", toPath: path)
                }
                let whole = try fixture.bytes()
                try fixture.write(whole.prefix(Int(Double(whole.count) * share)))
                let failure = try #require(await fixture.failure(fixture.restorer()))
                #expect(failure.code == .backupUnusable, "\(failure)")
            }
        }
    }

    @Test func aDirectoryDumpThatLacksAFileIsUnusable() async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                let path = try await fixture.dump(source, ["-Fd"])
                let data = try #require(
                    try FileManager.default.contentsOfDirectory(atPath: path).first { $0.hasSuffix(".dat.gz") })
                try FileManager.default.removeItem(atPath: path + "/" + data)
                let state = try await fixture.restorer().examine(fixture.set()).state
                let name = data.dropLast(3)
                #expect(state == .unusable("the dump lacks `\(name)` with the data of TABLE DATA public.users"))
            }
        }
    }

    @Test("psql commands in a plain dump do not run (P5)", arguments: ["\\! touch ", "\\unrestrict x\n\\! touch "])
    func pitfallP5CommandsDoNotRun(_ command: String) async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fp"])
                let text = String(decoding: try fixture.bytes(), as: UTF8.self)
                let canary = fixture.folder + "/pwn"
                try fixture.write(
                    text.replacing("CREATE TABLE public.users", with: "\(command)\(canary)\nCREATE TABLE public.users")
                        .utf8)
                let failure = try #require(await fixture.failure(fixture.restorer()))
                #expect(failure.code == .backupUnusable)
                #expect("\(failure)".contains("touch \(canary)` is refused"))
                #expect(!FileManager.default.fileExists(atPath: canary))
                #expect(fixture.journal.made.isEmpty)
            }
        }
    }

    @Test("A table whose name holds a psql command restores without harm (P5)", arguments: ["-Fp", "-Fc"])
    func pitfallP5NamesAreNames(format: String) async throws {
        try await RestoreFixture.with { fixture in
            let name = "x\n\\! touch \(fixture.folder)/p"
            try await TestServer.withDatabase("CREATE TABLE public.\"\(name)\" (a int)") { source in
                try await fixture.dump(source, [format])
                let tables = try await fixture.restored(fixture.restorer()) { $0.rowCounts.map(\.table) }
                #expect(tables == ["public." + name])
                #expect(!FileManager.default.fileExists(atPath: fixture.folder + "/p"))
            }
        }
    }

    @Test(
        "What a dump contains writes nowhere but in scratch (P6)", .enabled(if: geteuid() == 0, "seals files as root"))
    func pitfallP6ProgramsOfADumpWriteNowhereElse() async throws {
        try await RestoreFixture.with { fixture in
            // World-writable, as /tmp is: the server's user could write there but for the seal.
            let open = fixture.folder + "/open"
            try FileManager.default.createDirectory(atPath: open, withIntermediateDirectories: true)
            chmod(open, 0o777)
            let schema = """
                CREATE FUNCTION public.f() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                    BEGIN COPY (SELECT 1) TO PROGRAM 'cat > \(open)/pwn'; EXCEPTION WHEN OTHERS THEN RETURN SQLERRM; END;
                    RETURN 'written';
                END $$;
                CREATE TABLE public.t (a int); INSERT INTO public.t VALUES (1);
                """
            try await TestServer.withDatabase(schema) { source in
                try await fixture.dump(source, ["-Fp"])
                let text = String(decoding: try fixture.bytes(), as: UTF8.self)
                let end = "--\n-- PostgreSQL database dump complete"
                try fixture.write(
                    text.replacing(end, with: "ALTER TABLE public.t ADD b text DEFAULT public.f();\n" + end).utf8)
                try await fixture.restored(fixture.restorer()) { restored async throws in
                    let said = try await restored.database.rows("SELECT b FROM public.t", searchPath: [], limit: 1)
                    #expect(said.rows.first?[0]?.contains("failed") == true, "\(said.rows)")
                    #expect(!restored.notes.contains { $0.contains("outside scratch") })
                }
                #expect(!FileManager.default.fileExists(atPath: open + "/pwn"))
            }
        }
    }

    @Test func aMissingExtensionIsNamedBeforeAnythingRestores() async throws {
        try await TestServer.withDatabase("CREATE EXTENSION pgcrypto; " + Self.users) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fp"])
                let text = String(decoding: try fixture.bytes(), as: UTF8.self)
                try fixture.write(text.replacing("pgcrypto", with: "no_such_thing").utf8)
                let failure = try #require(await fixture.failure(fixture.restorer()))
                #expect(failure.code == .couldNotLook)
                #expect(failure.what.hasSuffix("does not have here: no_such_thing"))
            }
        }
    }

    @Test func aNewerDumpIsNamedBeforeAnythingIsMade() async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fp"])
                let text = String(decoding: try fixture.bytes(), as: UTF8.self)
                try fixture.write(
                    text.replacing("Dumped by pg_dump version 1", with: "Dumped by pg_dump version 991").utf8)
                let failure = try #require(await fixture.failure(fixture.restorer()))
                #expect(failure.code == .couldNotLook)
                #expect(failure.what.hasPrefix("the dump was made by pg_dump 991"))
                #expect(failure.hints.first?.contains("apt-get install postgresql-991") == true)
                #expect(fixture.journal.made.isEmpty)
            }
        }
    }

    @Test func aMachineWithoutInitdbIsTold() async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                let failure = try #require(await fixture.failure(fixture.restorer(["bin": fixture.folder])))
                #expect(failure.code == .couldNotLook)
                #expect(failure.what == "no initdb on this machine")
                #expect(failure.hints.first?.contains("apt-get install") == true)
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "mounts a small file system"))
    func aFullDiskIsNoFaultOfTheBackup() async throws {
        let schema = """
            CREATE TABLE public.big (a text); INSERT INTO public.big SELECT repeat(n::text, 100) FROM generate_series(1, 150000) n;
            """
        try await TestServer.withDatabase(schema) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                try await fixture.run(
                    "mount", ["-t", "tmpfs", "-o", "size=70m,mode=0700", "tmpfs", fixture.scratch.directory])
                let failure = await fixture.failure(try fixture.restorer())
                try await fixture.run("umount", [fixture.scratch.directory])
                #expect(failure?.code == .couldNotLook)
                #expect(failure?.what == "the disk of the scratch server is full")
                #expect(try fixture.serverProcesses().isEmpty)
            }
        }
    }

    @Test func aBadRowFailsTheRestore() async throws {
        try await TestServer.withDatabase(Self.users) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fp"])
                let text = String(decoding: try fixture.bytes(), as: UTF8.self)
                try fixture.write(text.replacing("\n77\t", with: "\nseventy\t").utf8)
                let failure = try #require(await fixture.failure(fixture.restorer()))
                #expect(failure.code == .backupUnusable)
                #expect(failure.what.contains("invalid input syntax for type integer"))
            }
        }
    }
}
