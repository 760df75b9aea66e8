import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// What must never end as a short count that passes.
@Suite(.needs(.postgres), .timeLimit(.minutes(3)))
struct ReferenceFaultIntegrationTests {
    private static let manyRows =
        "CREATE TABLE files AS SELECT n AS id, repeat(md5(n::text), 4) AS key FROM generate_series(1, 300000) n"

    @Test("A key that fails at row 500,000 ends in an error (P12)")
    func keyThatFailsLate() async throws {
        try await TestServer.withDatabase("CREATE TABLE files AS SELECT n AS id FROM generate_series(1, 500001) n") {
            parameters in
            let database = try await PostgresDatabase.open(parameters)
            let error = await #expect(throws: DrillError.self) {
                try await database.all(table("public.files", key: "(1 / (500000 - id))::text"))
            }
            #expect(error?.code == .couldNotLook)
            #expect(error?.what == "the rows did not stream to their end: division by zero (SQLSTATE 22012)")
            #expect(error?.place == "public.files")
        }
    }

    @Test("A size that fails while rows are under way ends in an error (P12)")
    func columnThatFailsAfterRowsCame() async throws {
        try await TestServer.withDatabase(Self.manyRows) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            // An ordered subquery with OFFSET 0 streams as it is computed, after the sort.
            let source =
                "SELECT key, 1 / (n - 250000) AS size FROM (SELECT key, row_number() OVER (ORDER BY key COLLATE \"C\") AS n FROM public.files) s"
            var query = ReferenceQuery(source: .query(source), key: "key")
            query.size = "size"
            await #expect(throws: DrillError.self) { try await database.all(query) }
        }
    }

    @Test("A session ended by the server in mid-stream ends in an error (P12)")
    func sessionEndedInMidStream() async throws {
        try await TestServer.withDatabase(Self.manyRows) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            let stream = try await database.references(table("public.files"), sorter: nil)
            let first = try await stream.next()
            #expect(first != nil)
            let killer = try await PostgresConnection.connect(parameters)
            let ended = try await killer.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = current_database()"
            )
            #expect(ended.rows == [["t"]])
            let error = await #expect(throws: DrillError.self) {
                while try await stream.next() != nil {}
            }
            #expect(error?.code == .couldNotLook)
            await #expect(throws: DrillError.self, "and at each further call") { try await stream.next() }
        }
    }

    @Test func cancelledStreamLeavesNothingRunning() async throws {
        try await TestServer.withDatabase(Self.manyRows) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            let stream = try await database.references(table("public.files"), sorter: nil)
            _ = try await stream.next()
            await stream.cancel()
            await #expect(throws: CancellationError.self) { try await stream.next() }
            let watcher = try await PostgresConnection.connect(parameters)
            let copies =
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = current_database() AND state = 'active'"
            while try await watcher.query(copies).scalar != "0" {}
        }
    }

    @Test func cancelledTaskEndsTheWait() async throws {
        try await TestServer.withDatabase("CREATE TABLE files (key text); INSERT INTO files VALUES ('a')") {
            parameters in
            let database = try await PostgresDatabase.open(parameters)
            let stream = try await database.references(table("public.files", key: "key || pg_sleep(600)::text"))
            let reading = Task { try await stream.next() }
            reading.cancel()
            await #expect(throws: CancellationError.self) { try await reading.value }
        }
    }

    @Test func missingTableIsToldWithTheNearest() async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE user_profiles (key text); CREATE SCHEMA app; CREATE TABLE app.orders (key text)"
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            func hints(_ name: String) async -> [String] {
                let error = await #expect(throws: DrillError.self) { try await database.all(table(name)) }
                #expect(error?.code == .couldNotLook)
                #expect(error?.what == "the restored database has no table \(name)")
                return error?.hints ?? []
            }
            #expect(await hints("public.user_profile") == ["Did you mean public.user_profiles?"])
            #expect(await hints("user_profiles") == ["Did you mean public.user_profiles?"])
            #expect(await hints("public.orders") == ["Did you mean app.orders?"])
            #expect(await hints("nothing.like_it") == [])
        }
    }

    @Test func missingColumnIsToldWithTheNearest() async throws {
        try await TestServer.withDatabase("CREATE TABLE files (avatar_key text, avatar_bytes int)") { parameters in
            let database = try await PostgresDatabase.open(parameters)
            var query = table("public.files", key: "avatr_key")
            var error = await #expect(throws: DrillError.self) { try await database.all(query) }
            #expect(error?.what == #"key: avatr_key: column "avatr_key" does not exist (SQLSTATE 42703)"#)
            #expect(error?.hints.prefix(2) == ["Did you mean avatar_key?", "Columns here: avatar_key, avatar_bytes."])
            query.key = "lower(avatar_key)"
            query.size = "avatar_byte + 1"
            error = await #expect(throws: DrillError.self) { try await database.all(query) }
            #expect(error?.what.hasPrefix("size: avatar_byte + 1: ") == true)
            #expect(error?.hints.first == "Did you mean avatar_bytes?")
            query.size = nil
            query.condition = "deleted_at is null"
            error = await #expect(throws: DrillError.self) { try await database.all(query) }
            #expect(error?.what.hasPrefix("where: deleted_at is null: ") == true)
        }
    }

    @Test("A table with row-level security is an error for who may not bypass it, not fewer rows (P8)")
    func rowSecurityIsAnError() async throws {
        let role = "muster_reader_" + UUID().uuidString.prefix(8).lowercased()
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (key text, tenant text); INSERT INTO files VALUES ('a', 'x'), ('b', 'y');
            ALTER TABLE files ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON files USING (tenant = 'x');
            CREATE ROLE \(role) LOGIN; GRANT SELECT ON files TO \(role);
            """
        ) { parameters in
            var restricted = parameters
            restricted["user"] = role
            let database = try await PostgresDatabase.open(restricted)
            let error = await #expect(throws: DrillError.self) { try await database.all(table("public.files")) }
            #expect(error?.what.contains("row-level security") == true)
            let owner = try await PostgresConnection.connect(parameters)
            try await owner.execute("ALTER ROLE \(role) BYPASSRLS")
            #expect(try await PostgresDatabase.open(restricted).all(table("public.files")).count == 2)
            try await owner.execute("DROP OWNED BY \(role); DROP ROLE \(role)")
        }
    }

    @Test("What the backup put into search paths changes nothing (P7)")
    func searchPathOfTheBackupDoesNotCount() async throws {
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (key text); INSERT INTO files VALUES ('a'), ('b');
            CREATE SCHEMA evil;
            CREATE VIEW evil.files AS SELECT key FROM public.files WHERE key = 'a';
            CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'shadowed' $$;
            CREATE VIEW evil.pg_class AS SELECT 1 AS oid;
            DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = evil, public, pg_catalog', current_database()); END $$;
            """
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            #expect(try await database.all(table("public.files", key: "lower(key)")).map(\.key) == ["a", "b"])
            await #expect(throws: DrillError.self) { try await database.all(table("files")) }
            #expect(
                try await database.rows("SELECT current_setting('search_path')", searchPath: [], limit: 1).rows == [
                    ["pg_catalog"]
                ])
        }
    }

    @Test("All sessions see one snapshot")
    func allSessionsSeeOneSnapshot() async throws {
        try await TestServer.withDatabase("CREATE TABLE files (key text); INSERT INTO files VALUES ('a')") {
            parameters in
            let database = try await PostgresDatabase.open(parameters)
            let writer = try await PostgresConnection.connect(parameters)
            try await writer.execute("INSERT INTO public.files VALUES ('b')")
            #expect(try await database.all(table("public.files")).map(\.key) == ["a"])
            #expect(
                try await database.rows("SELECT count(*) FROM public.files", searchPath: [], limit: 9).rows == [["1"]])
            #expect(try await PostgresDatabase.open(parameters).all(table("public.files")).count == 2)
        }
    }

    @Test(
        "Probe SQL cannot write",
        arguments: [
            "INSERT INTO public.files VALUES ('x') RETURNING key", "SELECT nextval('public.n')",
            "CREATE TABLE public.t (n int)",
            "SELECT set_config('transaction_read_only', 'off', false)", "COMMIT", "SELECT 1; SELECT 2",
            "COPY public.files TO STDOUT",
        ])
    func probeSQLCannotWrite(_ sql: String) async throws {
        try await TestServer.withDatabase("CREATE TABLE files (key text); CREATE SEQUENCE n") { parameters in
            let database = try await PostgresDatabase.open(parameters)
            let error = await #expect(throws: DrillError.self) {
                try await database.rows(sql, searchPath: [], limit: 9)
            }
            #expect(error?.code == .couldNotLook)
        }
    }
}
