import DrillCore
import DrillTestKit
import Testing

@testable import DrillPostgres

/// Defects that statements can make, on the test server.
@Suite(.needs(.postgres), .timeLimit(.minutes(3)))
struct IntegrityIntegrationTests {
    @Test("G2: a sound database of everything passes at every level, and nothing is left in it")
    func soundDatabasePasses() async throws {
        let unlogged = ["CREATE UNLOGGED TABLE public.cache (id int)", "INSERT INTO public.cache VALUES (1)"]
        for level in IntegrityLevel.allCases {
            let looked = try await look(integrity(level), after: soundStatements + unlogged)
            #expect(looked.verdict == .pass, "\(level) \(looked.text)")
            #expect(looked.findings.isEmpty)
            #expect(looked.outcome.examined > 60)
            #expect(looked.outcome.summary.contains("1 foreign tables were skipped"))
            #expect((level == .catalog) != looked.outcome.summary.contains("3 CHECK constraints call functions"))
        }
    }

    @Test(
        "P10: a sequence behind its column is found, whatever way it is tied to it",
        arguments: IntegrityLevel.allCases.prefix(1))
    func sequencesBehind(_ level: IntegrityLevel) async throws {
        let looked = try await look(
            integrity(level),
            after: [
                "CREATE TABLE public.a (id serial PRIMARY KEY)",
                "INSERT INTO public.a SELECT n FROM generate_series(1, 9) n",
                "CREATE TABLE public.b (id bigint GENERATED ALWAYS AS IDENTITY)",
                "INSERT INTO public.b OVERRIDING SYSTEM VALUE VALUES (1)",
                "CREATE SEQUENCE public.shared", "CREATE TABLE public.c (id numeric DEFAULT nextval('public.shared'))",
                "INSERT INTO public.c VALUES (5)", "SELECT setval('public.shared', 4)",
                "CREATE SEQUENCE public.down INCREMENT -1",
                "CREATE TABLE public.d (id int DEFAULT nextval('public.down'))",
                "INSERT INTO public.d VALUES (-7)", "SELECT setval('public.down', -6)",
                "CREATE SEQUENCE public.odd INCREMENT 2",
                "CREATE TABLE public.e (id int DEFAULT nextval('public.odd'))",
                "INSERT INTO public.e VALUES (11)",
                "CREATE TABLE public.f (id int)", "CREATE SEQUENCE public.owned OWNED BY public.f.id",
                "INSERT INTO public.f VALUES (1)",
                // Not behind: even values beside odd ones, an exact end, a default that is more than nextval.
                "CREATE SEQUENCE public.even INCREMENT 2",
                "CREATE TABLE public.g (id int DEFAULT nextval('public.even'))",
                "INSERT INTO public.g VALUES (12)",
                "CREATE SEQUENCE public.full_stop",
                "CREATE TABLE public.h (id int DEFAULT nextval('public.full_stop'))",
                "INSERT INTO public.h VALUES (5)", "SELECT setval('public.full_stop', 5)",
                "CREATE SEQUENCE public.more", "CREATE TABLE public.i (id int DEFAULT nextval('public.more') * 1000)",
                "INSERT INTO public.i VALUES (9000)",
            ])
        #expect(looked.verdict == .fail)
        #expect(
            looked.counted.sorted() == [
                "public.a_id_seq: the next value is 1, and column id of public.a goes to 9",
                "public.b_id_seq: the next value is 1, and column id of public.b goes to 1",
                "public.down: the next value is -7, and column id of public.d goes to -7",
                "public.odd: the next value is 1, and column id of public.e goes to 11",
                "public.owned: the next value is 1, and column id of public.f goes to 1",
                "public.shared: the next value is 5, and column id of public.c goes to 5",
            ], "\(looked.text)")
        #expect(looked.outcome.failed == 6)
    }

    @Test("P9, P10: what the catalogs confess is found; what may be meant so is only reported")
    func catalogs() async throws {
        let looked = try await look(
            integrity(.catalog),
            after: [
                "CREATE TABLE public.t (id int)", "INSERT INTO public.t VALUES (1), (1)",
                "CREATE MATERIALIZED VIEW public.v AS SELECT * FROM public.t WITH NO DATA",
                "ALTER TABLE public.t ADD CONSTRAINT positive CHECK (id > 0) NOT VALID",
                "CREATE INDEX half ON public.t (id)",
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.half'::regclass",
                "CREATE UNLOGGED TABLE public.gone (id int)",
                "UPDATE pg_class SET reltuples = 40 WHERE relname = 'gone'",
                "CREATE UNLOGGED TABLE public.meant (id int)", "ANALYZE public.meant",
                "CREATE TABLE public.p (id int) PARTITION BY LIST (id)",
                "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES IN (1)",
                "UPDATE pg_inherits SET inhdetachpending = true WHERE inhrelid = 'public.p1'::regclass",
            ])
        #expect(looked.verdict == .fail)
        #expect(
            looked.counted.sorted() == [
                "public.gone: the table is unlogged, and came back empty", "public.half: the index is not valid",
                "public.p1: DETACH PARTITION CONCURRENTLY was begun and not ended: its rows no longer show in the parent",
                "public.v: it is not populated: every query of it is an error",
            ], "\(looked.text)")
        #expect(
            looked.reported.sorted() == [
                "public.meant: the table is unlogged, and came back empty",
                "public.t: the CHECK constraint positive is not validated: rows from before it were never held against it",
            ])
    }

    @Test func waiversAreNamedAndWhatTheyDoNotCoverCounts() async throws {
        let statements = [
            "CREATE TABLE public.t (id serial)", "INSERT INTO public.t VALUES (7)",
            "CREATE MATERIALIZED VIEW public.v AS SELECT * FROM public.t WITH NO DATA",
            "ALTER TABLE public.t ADD CHECK (id > 0) NOT VALID",
        ]
        let waived = try await look(
            integrity(
                .catalog,
                [
                    ("ignore", words("public.t.id", "public.u")),
                    ("report", words("materialized_views", "unvalidated_constraints")),
                ]),
            after: statements)
        #expect(waived.verdict == .pass, "\(waived.text)")
        #expect(waived.reported.count == 3)
        #expect(
            waived.outcome.relaxations == [
                "Findings on public.t.id do not count, as `ignore` says: there was 1.",
                "`ignore` names public.u, which is not there.",
                "Findings of materialized_views do not count, as `report` says.",
            ])
        let strict = try await look(integrity(.catalog, [("report", words())]), after: statements)
        #expect(strict.counted.count == 3)
    }

    @Test("P10: rows that came in with triggers off are held against their foreign keys")
    func orphans() async throws {
        let statements = [
            "CREATE TABLE public.customers (id int PRIMARY KEY)", "INSERT INTO public.customers VALUES (1)",
            "CREATE TABLE public.orders (id int PRIMARY KEY, customer int REFERENCES public.customers)",
            "SET session_replication_role = replica",
            "INSERT INTO public.orders SELECT n, 1 + n % 2 FROM generate_series(1, 5) n",
            "CREATE TABLE public.tags (a int, b int, UNIQUE (a, b))",
            "CREATE TABLE public.tagged (x int, y text, a int, b int, PRIMARY KEY (x, y), FOREIGN KEY (a, b) REFERENCES public.tags (a, b))",
            "INSERT INTO public.tagged VALUES (1, 'q', 1, NULL), (2, 'r', 1, 1)",
        ]
        let looked = try await look(integrity(.read), after: statements)
        #expect(looked.verdict == .fail)
        #expect(
            looked.findings.map { "\($0.relation ?? "") \($0.rowID ?? "")" }.sorted() == [
                "public.orders 1", "public.orders 3", "public.orders 5", "public.tagged [2, \"r\"]",
            ], "\(looked.text)")
        #expect(looked.outcome.failed == 2)
        #expect(
            try await look(integrity(.catalog), after: statements).verdict == .pass,
            "the level before does not look at rows")
    }

    @Test func rowsThatBreakTheirTablesPromisesAreFound() async throws {
        let looked = try await look(
            integrity(.read),
            after: [
                "CREATE TABLE public.t (id int PRIMARY KEY, total int CONSTRAINT positive CHECK (total > 0), name text)",
                "INSERT INTO public.t VALUES (1, 1, 'a'), (2, 5, NULL)",
                // As a damaged page would have it.
                "UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'public.t'::regclass AND attname = 'name'",
                "CREATE TABLE public.p (id int) PARTITION BY RANGE (id)", "CREATE TABLE public.p1 (id int)",
                "INSERT INTO public.p1 VALUES (1), (99)",
                "ALTER TABLE public.p ATTACH PARTITION public.p1 FOR VALUES FROM (0) TO (100)",
                "ALTER TABLE public.p DETACH PARTITION public.p1", "DELETE FROM public.p1 WHERE id = 99",
                "ALTER TABLE public.p ATTACH PARTITION public.p1 FOR VALUES FROM (0) TO (50)",
            ])
        #expect(looked.counted == ["public.t: it does not"], "\(looked.text)")
        #expect(looked.findings.map(\.rowID) == ["2"])
        #expect(looked.findings.first?.expected == "a row that keeps NOT NULL of its columns")
    }

    @Test("P23: an index that misses a row, or is out of order, is found by its B-tree at level deep")
    func treesOutOfStep() async throws {
        let statements = [
            "CREATE TABLE public.t (id int, v text)",
            "INSERT INTO public.t SELECT n, n::text FROM generate_series(1, 500) n",
            "CREATE INDEX misses ON public.t (id)", "CREATE INDEX sound ON public.t (v)",
            "UPDATE pg_index SET indisready = false WHERE indexrelid = 'public.misses'::regclass",
            "INSERT INTO public.t VALUES (501, 'late')",
            "UPDATE pg_index SET indisready = true WHERE indexrelid = 'public.misses'::regclass",
            "CREATE TABLE public.u (id int)", "INSERT INTO public.u SELECT generate_series(1, 500)",
            "CREATE FUNCTION public.turn(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'",
            "CREATE INDEX turned ON public.u (public.turn(id))",
            "CREATE OR REPLACE FUNCTION public.turn(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT -$1'",
        ]
        let looked = try await look(integrity(.deep), after: statements)
        #expect(looked.verdict == .fail)
        #expect(Set(looked.findings.map(\.relation)) == ["public.misses", "public.turned"], "\(looked.text)")
        #expect(looked.counted.contains { $0.contains("lacks matching index tuple") })
        #expect(looked.findings.allSatisfy { $0.evidence?.contains("an index of public.") == true })
        #expect(try await look(integrity(.read), after: statements).verdict == .pass)
    }

    @Test("P23: another collation version counts where text indexes depend on it and are not proven to be in order")
    func collationVersion() async throws {
        let options = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C.UTF-8'"
        let bogus = "UPDATE pg_database SET datcollversion = '1.2' WHERE datname = current_database()"
        let table = ["CREATE TABLE public.t (id int PRIMARY KEY, name text)", "INSERT INTO public.t VALUES (1, 'a')"]
        let index = "CREATE INDEX by_name ON public.t (name)"
        let catalog = try await look(integrity(.catalog), after: table + [index, bogus], options: options)
        #expect(catalog.verdict == .fail)
        #expect(catalog.findings.first?.evidence?.contains("public.by_name") == true, "\(catalog.text)")
        let proven = try await look(integrity(.deep), after: table + [index, bogus], options: options)
        #expect(proven.verdict == .pass, "\(proven.text)")
        #expect(proven.reported.count == 1)
        let unproven = try await look(
            integrity(.deep), after: table + ["CREATE INDEX by_block ON public.t USING brin (name)", bogus],
            options: options)
        #expect(unproven.verdict == .fail)
        // A version that this machine's library does not tell is another one, too.
        let untold = try await look(
            integrity(.catalog), after: table + [index, bogus], options: "TEMPLATE template0 LOCALE 'C.UTF-8'")
        #expect(untold.counted.first?.hasSuffix("has version none here") == true, "\(untold.text)")
        let harmless = try await look(integrity(.catalog), after: table + [bogus], options: options)
        #expect(harmless.verdict == .pass)
        #expect(harmless.reported.count == 1)
        #expect(try await look(integrity(.catalog), after: table + [index], options: options).findings.isEmpty)
    }

    @Test("V2: an empty database is inconclusive unless it is said to be")
    func emptyDatabase() async throws {
        let looked = try await look(integrity(.deep), after: [])
        #expect(looked.verdict == .inconclusive)
        #expect(looked.outcome.examined == 0)
        #expect(try await look(integrity(.deep, [("min_relations", scalar("0"))]), after: []).verdict == .pass)
    }

    @Test("V1: a database that is only to be read gets nothing put in, and what cannot be looked at is no pass")
    func onlyRead() async throws {
        let statements = ["CREATE TABLE public.t (id int PRIMARY KEY)", "INSERT INTO public.t VALUES (1)"]
        let bare = try await look(integrity(.deep), after: statements, owned: false)
        #expect(bare.verdict == .inconclusive)
        #expect(bare.outcome.doubt?.contains("pg_prewarm is not installed in the database") == true, "\(bare.text)")
        #expect(bare.outcome.doubt?.contains("amcheck is not installed in the database") == true)
        #expect(try await look(integrity(.catalog), after: statements, owned: false).verdict == .pass)
        let equipped = ["CREATE EXTENSION amcheck", "CREATE SCHEMA tools", "CREATE EXTENSION pg_prewarm SCHEMA tools"]
        let deep = try await look(integrity(.deep), after: statements + equipped, owned: false)
        #expect(deep.verdict == .pass, "\(deep.text)")
    }

    @Test("A function of the backup's own that is named like amcheck's is no witness")
    func impostors() async throws {
        let looked = try await look(
            integrity(.deep),
            after: [
                "CREATE TABLE public.t (id int PRIMARY KEY)", "INSERT INTO public.t VALUES (1)",
                "CREATE FUNCTION public.bt_index_check(regclass, bool) RETURNS void LANGUAGE sql AS ''",
                "CREATE FUNCTION public.bt_index_parent_check(regclass, bool, bool) RETURNS void LANGUAGE sql AS ''",
            ], owned: false)
        #expect(looked.verdict == .inconclusive)
        #expect(looked.outcome.doubt?.contains("B-trees: amcheck is not installed") == true, "\(looked.text)")
    }

    @Test func expressionsThatCountOnThePublicSchemaAreNoObstacle() async throws {
        let looked = try await look(
            integrity(.deep),
            after: [
                "CREATE FUNCTION public.inner_one(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'",
                "CREATE FUNCTION public.outer_one(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_one($1); END'",
                "CREATE TABLE public.t (id int)", "INSERT INTO public.t VALUES (1)",
                "CREATE INDEX ON public.t (public.outer_one(id))",
            ])
        #expect(looked.verdict == .pass, "\(looked.text)")
    }

    @Test(
        "P23: values that stand more than once in a unique index are found at level deep, on servers whose amcheck does not look"
    )
    func duplicates() async throws {
        let statements = [
            "CREATE TABLE public.t (id int, mail text, tenant int)", "CREATE INDEX once ON public.t (mail, tenant)",
            "INSERT INTO public.t VALUES (1, 'a', 1), (2, 'a', 2), (3, NULL, 1), (4, NULL, 1)",
            "CREATE TABLE public.u (id int)", "CREATE INDEX twice ON public.u (id)",
            "INSERT INTO public.u VALUES (1), (7), (7)",
            "UPDATE pg_index SET indisunique = true WHERE indexrelid IN ('public.once'::regclass, 'public.twice'::regclass)",
        ]
        let looked = try await look(integrity(.deep), after: statements)
        #expect(looked.counted == ["public.twice: 1 values stand more than once"], "\(looked.text)")
        #expect(looked.findings.first?.evidence?.contains("(0,2) and (0,3)") == true)
    }

    @Test("P8, V1: a role from which row-level security hides rows, or that may not read, passes nothing")
    func hiddenRows() async throws {
        let role = "muster_reader_\(UInt32.random(in: 0...UInt32.max))"
        let server = try await PostgresConnection.connect(TestServer.parameters())
        try await server.execute("CREATE ROLE \(role) LOGIN")
        let statements = [
            "CREATE TABLE public.secret (id int, tenant text)", "INSERT INTO public.secret VALUES (1, 'x')",
            "ALTER TABLE public.secret ENABLE ROW LEVEL SECURITY", "GRANT SELECT ON public.secret TO \(role)",
            "CREATE TABLE public.closed (id int)", "INSERT INTO public.closed VALUES (1)",
        ]
        let looked: Result<Looked, any Error>
        do {
            looked = .success(try await look(integrity(.read), after: statements, owned: false, user: role))
        } catch { looked = .failure(error) }
        try await server.execute("DROP ROLE \(role)")
        await server.close()
        let text = try looked.get().text
        #expect(try looked.get().verdict == .inconclusive)
        #expect(text.contains("query would be affected by row-level security policy for table"), "\(text)")
        #expect(text.contains("permission denied for table closed"))
    }
}
