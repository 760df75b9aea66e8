import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct ScratchClusterIntegrationTests {
    private static let table = "CREATE TABLE public.t (a int); INSERT INTO public.t VALUES (1);"

    private func value(_ sql: String, _ restored: Restored) async throws -> String? {
        try await restored.database.rows(sql, searchPath: [], limit: 1).rows.first?.first ?? nil
    }

    @Test("Roles that the dump names are made without login (P3)")
    func missingRolesAreMadeWithoutLogin() async throws {
        let owner = "owner_" + hexadecimal((0..<4).map { _ in UInt8.random(in: 0...255) })
        let schema = """
            CREATE ROLE \(owner) SUPERUSER LOGIN; \(Self.table) ALTER TABLE public.t OWNER TO \(owner);
            CREATE FUNCTION public.e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
            CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION public.e(); ALTER EVENT TRIGGER e OWNER TO \(owner);
            """
        try await TestServer.withDatabase(schema) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                try await fixture.restored(fixture.restorer()) { restored async throws in
                    let login = try await value("SELECT rolcanlogin FROM pg_roles WHERE rolname = '\(owner)'", restored)
                    #expect(login == "f")
                    #expect(restored.notes.contains { $0.contains("without login") && $0.contains(owner) })
                    #expect(
                        try await value("SELECT tableowner FROM pg_tables WHERE tablename = 't'", restored) == owner)
                }
            }
        }
        let server = try await PostgresConnection.connect(TestServer.parameters())
        try await server.execute("DROP ROLE \(owner)")
        await server.close()
    }

    @Test("Probes read as a role that is no superuser and that no row-level security stops (P7, P8)")
    func probesAreNoSuperuser() async throws {
        let schema =
            Self.table
            + "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY; ALTER TABLE public.t FORCE ROW LEVEL SECURITY;"
        try await TestServer.withDatabase(schema) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc", "--create"])
                try await fixture.restored(fixture.restorer()) { restored async throws in
                    #expect(try await value("SELECT current_user", restored) == "muster_probe")
                    #expect(try await value("SELECT current_setting('is_superuser')", restored) == "off")
                    #expect(try await value("SELECT count(*) FROM public.t", restored) == "1")
                    #expect(try await restored.database.commandEnvironment["PGUSER"] == "postgres")
                }
            }
        }
    }

    @Test(arguments: ["-Fc", "-Fp"])
    func theDumpsEncodingIsTheDatabases(format: String) async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE public.\"caf\u{e9}\" AS SELECT 'caf\u{e9}'::text AS a",
            options: "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        ) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, [format])
                try await fixture.restored(fixture.restorer()) { restored async throws in
                    #expect(try await value("SELECT current_setting('server_encoding')", restored) == "LATIN1")
                    #expect(try await value("SELECT a FROM public.\"caf\u{e9}\"", restored) == "caf\u{e9}")
                    #expect(restored.rowCounts.map(\.table) == ["public.caf\u{e9}"])
                }
            }
        }
    }

    @Test func aLocaleThatIsNotHereIsReplacedAndTold() async throws {
        try await TestServer.withDatabase(Self.table) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fp", "--create"])
                let text = String(decoding: try fixture.bytes(), as: UTF8.self)
                try fixture.write(text.replacing("LOCALE = 'C.UTF-8'", with: "LOCALE = 'tlh_QO.UTF-8'").utf8)
                try await fixture.restored(fixture.restorer()) { restored async throws in
                    #expect(
                        try await value(
                            "SELECT datcollate FROM pg_database WHERE datname = current_database()", restored)
                            == "C.UTF-8")
                    #expect(restored.notes.contains { $0.contains("the locale tlh_QO.UTF-8, which this server lacks") })
                }
            }
        }
    }

    @Test("The server listens nowhere but on its socket, in a folder of its own (P27, X9)")
    func theServerIsSealedOff() async throws {
        try await TestServer.withDatabase(Self.table) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                try await fixture.restored(fixture.restorer(scratchSettings: [:])) { restored async throws in
                    for (name, expected) in [
                        ("listen_addresses", ""), ("archive_mode", "off"), ("fsync", "off"), ("autovacuum", "off"),
                        ("shared_preload_libraries", ""), ("wal_level", "minimal"),
                    ] {
                        #expect(try await value("SELECT current_setting('\(name)')", restored) == expected)
                    }
                    let host = try await restored.database.commandEnvironment["PGHOST"] ?? ""
                    #expect(host.hasPrefix(fixture.scratch.directory))
                    let mode = try FileManager.default.attributesOfItem(atPath: host)[.posixPermissions] as? Int
                    #expect(mode == 0o700)
                }
            }
        }
    }

    @Test func aLongScratchPathStillHasASocket() async throws {
        try await TestServer.withDatabase(Self.table) { source in
            let parent = "/var/tmp/muster-test-" + UUID().uuidString + String(repeating: "/long-folder", count: 6)
            try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
            try await RestoreFixture.with(in: parent) { fixture in
                try await fixture.dump(source, ["-Fc"])
                let short = SocketDirectoryRemover.path(ofRun: fixture.scratch.runID)
                try await fixture.restored(fixture.restorer()) { restored async throws in
                    #expect(try await restored.database.commandEnvironment["PGHOST"] == short)
                    #expect(fixture.journal.left.map(\.kind) == ["socket_directory", "server"])
                }
                #expect(!FileManager.default.fileExists(atPath: short))
                #expect(fixture.journal.left.isEmpty)
            }
            try FileManager.default.removeItem(atPath: parent.components(separatedBy: "/long-folder")[0])
        }
    }

    @Test func aFailingProbeLeavesNothingRunning() async throws {
        try await TestServer.withDatabase(Self.table) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                await #expect(throws: DrillError.self) {
                    try await fixture.restored(fixture.restorer()) { _ in throw DrillError(.ledgerUnusable, "first") }
                }
                #expect(try fixture.serverProcesses().isEmpty)
                #expect(fixture.journal.left.isEmpty)
                #expect(fixture.journal.made.map(\.kind) == ["server"])
            }
        }
    }

    @Test func aCancelledRunLeavesNothingRunning() async throws {
        try await TestServer.withDatabase(Self.table) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                let restorer = try fixture.restorer()
                let run = Task {
                    try await fixture.restored(restorer) { _ in
                        withUnsafeCurrentTask { $0?.cancel() }
                        try Task.checkCancellation()
                    }
                }
                await #expect(throws: CancellationError.self) { try await run.value }
                #expect(try fixture.serverProcesses().isEmpty)
                #expect(fixture.journal.left.isEmpty)
            }
        }
    }

    @Test func aServerThatDiesUnderProbesIsNoPass() async throws {
        try await TestServer.withDatabase(Self.table) { source in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(source, ["-Fc"])
                let failure = await #expect(throws: DrillError.self) {
                    try await fixture.restored(fixture.restorer()) { _ in
                        let item = try #require(fixture.journal.left.first { $0.kind == "server" })
                        // What `muster gc` does with the server of a killed run.
                        try await ServerRemover(environment: fixture.environment).remove(
                            item, ofRun: fixture.scratch.runID)
                    }
                }
                #expect(failure?.code == .couldNotLook)
                #expect(failure?.what == "the scratch server has ended on its own")
                #expect(try fixture.serverProcesses().isEmpty)
            }
        }
    }

    @Test("A server of another run is left alone (P28)")
    func theServerOfAnotherRunIsLeftAlone() async throws {
        try await RestoreFixture.with { fixture in
            let item = ScratchItem(kind: "server", locator: "/var/lib/postgresql/15/main")
            await #expect(throws: DrillError.self) {
                try await ServerRemover(environment: fixture.environment).remove(item, ofRun: fixture.scratch.runID)
            }
        }
    }
}
