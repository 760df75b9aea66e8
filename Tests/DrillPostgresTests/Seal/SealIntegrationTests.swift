import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// P27: a backup full of live wires, all of which lead to one sink. Where nothing seals them they reach it; restored by Muster they
/// must not.
@Suite(.needs(.postgres)) struct SealIntegrationTests {
    /// Statements that make the wires in a database, each a server's own way out.
    private func wires(_ sink: ConnectionSink) -> [String] {
        let tcp = "host=127.0.0.1 port=\(sink.port) connect_timeout=3"
        let unix = "host=\(sink.folder) port=\(sink.port) connect_timeout=3"
        return [
            "CREATE EXTENSION dblink", "CREATE EXTENSION postgres_fdw",
            "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '\(sink.port)', connect_timeout '3')",
            "CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (user 'canary', password 'canary', password_required 'false')",
            "CREATE FOREIGN TABLE public.far (a int) SERVER far",
            "CREATE FUNCTION public.by_tcp() RETURNS void LANGUAGE sql AS $$ SELECT public.dblink_connect('a', '\(tcp)') $$",
            "CREATE FUNCTION public.by_unix() RETURNS void LANGUAGE sql AS $$ SELECT public.dblink_connect('b', '\(unix)') $$",
            """
            CREATE FUNCTION public.by_program() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            COPY (SELECT 1) TO PROGRAM 'bash -c "exec 3<>/dev/tcp/127.0.0.1/\(sink.port)"'; END $$
            """,
            """
            CREATE FUNCTION public.by_tool() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
            COPY (SELECT 1) TO PROGRAM 'psql -X -h \(sink.folder) -p \(sink.port) -c "SELECT 1" postgres'; END $$
            """,
            "CREATE TABLE public.log (a int)",
            """
            CREATE FUNCTION public.fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM public.by_tcp(); RETURN NEW; END $$
            """,
            "CREATE TRIGGER fired AFTER INSERT ON public.log FOR EACH ROW EXECUTE FUNCTION public.fired()",
            """
            CREATE FUNCTION public.watched() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM public.by_tcp(); END $$
            """,
            "CREATE EVENT TRIGGER watched ON ddl_command_start EXECUTE FUNCTION public.watched()",
        ]
    }

    /// What sets each wire off.
    private static let pulls = [
        "SELECT * FROM public.far", "SELECT public.by_tcp()", "SELECT public.by_unix()", "SELECT public.by_program()",
        "SELECT public.by_tool()", "INSERT INTO public.log VALUES (1)", "CREATE TABLE public.made (a int)",
    ]

    private func pullAll(_ parameters: PostgresParameters) async throws -> [String] {
        let connection = try await PostgresConnection.connect(parameters)
        var refusals: [String] = []
        for pull in Self.pulls {
            do throws(PostgresError) { try await connection.execute(pull) } catch { refusals.append(error.message) }
        }
        await connection.close()
        return refusals
    }

    private func superuser(_ restored: Restored) async throws -> PostgresParameters {
        let variables = try await restored.database.commandEnvironment
        return PostgresParameters([
            "host": variables["PGHOST"] ?? "", "port": variables["PGPORT"] ?? "", "user": variables["PGUSER"] ?? "",
            "dbname": variables["PGDATABASE"] ?? "",
        ])
    }

    private func folder(_ fixture: RestoreFixture) throws -> String {
        let path = fixture.folder + "/sink"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        chmod(path, 0o755)
        return path
    }

    @Test("P27: nothing in a physical copy reaches the sink, and all of it does where nothing seals it")
    func aPhysicalCopyReachesNothing() async throws {
        try await SourceCluster.with(settings: [
            "shared_preload_libraries=pg_cron", "cron.database_name=postgres", "wal_level=logical",
        ]) { source in
            let sink = try ConnectionSink(in: folder(source.fixture))
            let wire = "host=127.0.0.1 port=\(sink.port) user=canary dbname=canary connect_timeout=3"
            for statement in wires(sink) {
                try await source.sql("SET session_replication_role = replica; \(statement)")
            }
            try await source.sql(
                "SET session_replication_role = replica", "CREATE EXTENSION pg_cron",
                "SELECT cron.schedule('* * * * *', 'SELECT public.by_tcp()')",
                "CREATE SUBSCRIPTION sub CONNECTION '\(wire)' PUBLICATION pub WITH (connect = false, slot_name = 'sub')",
                "ALTER SUBSCRIPTION sub ENABLE",
                "ALTER DATABASE postgres SET session_preload_libraries = 'auto_explain'")
            let script = "bash -c \"exec 3<>/dev/tcp/127.0.0.1/\(sink.port)\""
            for (name, value) in [
                ("archive_command", script), ("restore_command", script), ("primary_conninfo", wire),
                ("synchronous_standby_names", "*"), ("recovery_end_command", script),
                ("session_preload_libraries", "auto_explain"),
            ] {
                try await source.sql("ALTER SYSTEM SET \(name) = \(quotedLiteral(value))")
            }
            // Unsealed: the subscription's worker comes by itself, the others when they are pulled.
            for _ in 0..<400 {
                if sink.taken().tcp > 0 { break }
                try await Task.sleep(for: .milliseconds(25))
            }
            _ = try await pullAll(source.parameters)
            let reached = sink.taken()
            #expect(reached.tcp >= 5 && reached.unix >= 2, "\(reached)")
            try await source.wait(for: "EXISTS (SELECT FROM pg_stat_activity WHERE backend_type LIKE 'pg_cron%')")
            try await source.snapshot("wired")
            await source.crash()
            try Data().write(to: URL(fileURLWithPath: source.snapshots + "/wired/standby.signal"))
            _ = sink.taken()

            try await source.restored(source.snapshotRestorer("wired"), .latest) { restored in
                let refusals = try await pullAll(superuser(restored))
                #expect(refusals.count == Self.pulls.count)
                let shown = try await restored.database.rows(
                    """
                    SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'cron|logical|walreceiver|archiver'),
                        current_setting('session_preload_libraries'), current_setting('archive_mode'),
                        current_setting('primary_conninfo'), current_setting('restore_command'),
                        current_setting('synchronous_standby_names')
                    """, searchPath: [], limit: 1)
                #expect(shown.rows.first == ["0", "", "off", "", "", ""])
                #expect(!restored.notes.contains { $0.contains("could not be sealed") }, "\(restored.notes)")
            }
            let (tcp, unix) = sink.taken()
            #expect(tcp == 0 && unix == 0)
        }
    }

    @Test("P27: nothing in a dump reaches the sink, and all of it does where nothing seals it")
    func aDumpReachesNothing() async throws {
        try await TestServer.withDatabase { database in
            try await RestoreFixture.with { fixture in
                let sink = try ConnectionSink(in: folder(fixture))
                let connection = try await PostgresConnection.connect(database)
                for statement in wires(sink) {
                    try await connection.execute("SET session_replication_role = replica; \(statement)")
                }
                await connection.close()
                _ = try await pullAll(database)
                let reached = sink.taken()
                #expect(reached.tcp >= 5 && reached.unix >= 2, "\(reached)")
                try await fixture.dump(database, ["-Fc"])
                try await fixture.restored(fixture.restorer()) { restored in
                    let refusals = try await pullAll(superuser(restored))
                    #expect(refusals.count == Self.pulls.count)
                    #expect(!restored.notes.contains { $0.contains("could not be sealed") }, "\(restored.notes)")
                }
                let (tcp, unix) = sink.taken()
                #expect(tcp == 0 && unix == 0)
            }
        }
    }

    @Test("P27: a function of the backup finds no passwords, no other process and no way to write (P6)")
    func aFunctionFindsNothingOfTheMachine() async throws {
        try await TestServer.withDatabase { database in
            try await RestoreFixture.with { fixture in
                try await fixture.dump(database, ["-Fc"])
                // A process of the very OS user that the scratch server runs as.
                var command = Command("sleep", ["600"])
                command.user = try ServerAccount.current().user
                command.workingDirectory = "/"
                let bystander = try await fixture.environment.processes.start(command)
                try await fixture.restored(fixture.restorer()) { restored in
                    let connection = try await PostgresConnection.connect(superuser(restored))
                    for (script, answer) in [
                        ("kill -9 \(bystander.processID) 2>/dev/null && echo killed || echo refused", "refused"),
                        ("echo $PGPASSFILE $PGSERVICEFILE", "/dev/null /dev/null"),
                        ("echo x 2>/dev/null >/var/tmp/muster-canary && echo written || echo refused", "refused"),
                        ("env | grep -c MUSTER", "0"),
                    ] {
                        try await connection.execute("CREATE TEMP TABLE said (line text)")
                        try await connection.execute(
                            "COPY said FROM PROGRAM \(quotedLiteral("sh -c \(quotedLiteral("\(script); true"))"))")
                        #expect(try await connection.query("SELECT line FROM said").scalar == answer, "\(script)")
                        try await connection.execute("DROP TABLE said")
                    }
                    await connection.close()
                }
                // Where the kernel cannot keep signals in, only the sealed files and connections can be promised.
                #expect(bystander.isRunning)
                bystander.send(signal: SIGKILL)
                _ = await bystander.ended()
            }
        }
    }

    @Test(arguments: [
        ("zero_damaged_pages", "on", "or would hide damage"),
        ("ignore_invalid_pages", "on", "or would hide damage"),
        ("shared_preload_libraries", "auto_explain, pg_cron", "`pg_cron` acts on its own"),
        ("archive_command", "true", "it keeps the scratch server sealed off"),
        ("event_triggers", "on", "it keeps the scratch server sealed off"),
    ]) func settingsThatUnsealOrHideAreRefused(name: String, value: String, words: String) async throws {
        try await RestoreFixture.with { fixture in
            let error = #expect(throws: DrillError.self) {
                try fixture.clusterSettings([name: value])
            }
            #expect(error?.code == .usage)
            #expect(error?.what.contains(words) == true, "\(String(describing: error))")
        }
    }
}

extension RestoreFixture {
    /// Reads these as `scratch.database.settings` of a drill file.
    func clusterSettings(_ settings: [String: String]) throws -> [(name: String, value: String)] {
        func scalar(_ text: String) -> SettingsNode { SettingsNode(.scalar(text, isPlain: false), line: 1) }
        let map = SettingsNode(.mapping(settings.map { ($0.key, 1, scalar($0.value)) }), line: 1)
        let source = DrillFileSource(path: "drill.yaml", directory: folder, variables: [:])
        return try ServerSettings.extra(
            SettingsReader(
                SettingsNode(.mapping([("settings", 1, map)]), line: 1), shape: ScratchCluster.shape,
                path: "scratch.database", source: source))
    }
}
