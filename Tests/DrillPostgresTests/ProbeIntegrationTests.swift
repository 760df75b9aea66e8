import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres), .timeLimit(.minutes(2)))
struct ProbeIntegrationTests {
    private func sql(_ query: String, _ expect: SettingsNode) throws -> SQLProbe {
        try SQLProbe(name: "sql", reader(SQLProbe.shape, [("query", scalar(query)), ("expect", expect)]), probeContext)
    }

    private func freshness(_ query: String) throws -> FreshnessProbe {
        let settings = try reader(FreshnessProbe.shape, [("query", scalar(query)), ("within", scalar("1h"))])
        return try FreshnessProbe(name: "fresh", settings, probeContext)
    }

    @Test func moreThanAThousandRowsAreCountedAndAThousandRecorded() async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE orders AS SELECT n AS id, -n AS total FROM generate_series(1, 2500) n"
        ) { parameters in
            let set = try await restoredSet(parameters)
            let probe = try sql(
                "select id from public.orders where total < 0 order by id; -- all of them", scalar("no_rows"))
            let outcome = try await probe.run(against: set.set)
            #expect(outcome.failed == 2500)
            #expect(outcome.examined == 2500)
            #expect(set.sink.findings.count == 1000)
            #expect(set.sink.findings.last?.rowID == "1000")
        }
    }

    @Test func valuesAreJudgedAsTheServerPrintsThem() async throws {
        try await TestServer.withDatabase("CREATE TABLE t (n numeric); INSERT INTO t VALUES (1000.50)") { parameters in
            let set = try await restoredSet(parameters)
            let min = mapping([("min", scalar("1000.5"))])
            #expect(try await sql("select sum(n) from public.t", min).run(against: set.set).verdict == .pass)
            #expect(try await sql("select count(*) from public.t", min).run(against: set.set).verdict == .fail)
            #expect(
                try await sql("select max(n) from public.t where n < 0", min).run(against: set.set).verdict
                    == .inconclusive)
            await #expect(throws: DrillError.self) {
                try await sql("delete from public.t returning 1", min).run(against: set.set)
            }
            await #expect(throws: DrillError.self) { try await sql("select 1; select 2", min).run(against: set.set) }
            let error = await #expect(throws: DrillError.self) {
                try await sql("select count(*) from publc.t", min).run(against: set.set)
            }
            #expect(error?.hints == ["Did you mean public.t?"])
        }
    }

    @Test(arguments: ["select timestamptz 'infinity'", "select date '-infinity'", "select null::timestamptz"])
    func whatIsNoInstantIsInconclusive(query: String) async throws {
        try await TestServer.withDatabase("") { parameters in
            let outcome = try await freshness(query).run(against: restoredSet(parameters).set)
            #expect(outcome.verdict == .inconclusive)
            #expect(outcome.summary == "there is no instant to judge: the query yields NULL, infinity or no row")
        }
    }

    @Test(
        "Instants of every type are read; without a zone they are UTC",
        arguments: [
            ("select timestamptz '2026-11-14 14:30:00+02'", Verdict.pass),
            ("select timestamp '2026-11-14 12:30:00'", .pass),
            ("select '2026-11-14 12:30:00'::text -- words", .pass),
            ("select date '2026-11-14';", .fail),
            ("select timestamp '2026-11-14 12:36:00'", .fail),
            ("select null::timestamptz", .inconclusive),
            ("select now() where false", .inconclusive),
        ])
    func instantsOfEveryType(_ query: String, _ verdict: Verdict) async throws {
        try await TestServer.withDatabase { parameters in
            let set = try await restoredSet(parameters)
            #expect(try await freshness(query).run(against: set.set).verdict == verdict)
            #expect(set.sink.findings.map(\.kind) == (verdict == .fail ? [.staleData] : []))
        }
    }

    @Test(arguments: ["select 17", "select now() union all select now() - interval '1 s'"])
    func whatIsNoInstantIsAnError(_ query: String) async throws {
        let set = try await restoredSet(TestServer.parameters())
        await #expect(throws: DrillError.self) { try await freshness(query).run(against: set.set) }
    }
}

@Suite(.needs(.postgres), .timeLimit(.minutes(2)))
struct RestoredRestorerIntegrationTests {
    private func restorer(_ server: String) throws -> RestoredRestorer {
        try RestoredRestorer(reader(RestoredRestorer.shape, [("server", scalar(server))]), partContext)
    }

    @Test func isReadAndLeftAsItWas() async throws {
        try await TestServer.withDatabase("CREATE TABLE files (key text); INSERT INTO files VALUES ('a')") {
            parameters in
            let server = parameters.values.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
            let restorer = try restorer(server)
            let set = BackupSet(id: "fixed", time: nil, place: "here")
            #expect(try restorer.catalog() == nil)
            #expect(try await restorer.examine(set).state == .usable)
            let keys = try await restorer.withRestored(set, to: .latest, in: nil, progress: NoProgress()) {
                restored in
                #expect(restored.recoveryPoint == nil)
                #expect(restored.notes.contains { $0.hasPrefix("Muster did not restore this database") })
                let notes = await restored.database.notes
                #expect(notes.contains { $0.hasPrefix("Probes ran as a superuser") })
                await #expect(throws: DrillError.self) { try await restored.database.commandEnvironment }
                return try await restored.database.rows("select key from public.files", searchPath: [], limit: 9).rows
            }
            #expect(keys == [["a"]])
            let watcher = try await PostgresConnection.connect(TestServer.parameters())
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = '\(parameters["dbname"] ?? "")'"
            while try await watcher.query(sessions).scalar != "0" {}
        }
    }

    @Test func anotherTargetIsRefusedWhenTheDrillFileIsRead() throws {
        let settings = try reader(RestoredRestorer.shape, [("server", scalar(#require(Service.postgres.location)))])
        var context = partContext
        context.target = .name("x")
        let error = #expect(throws: DrillError.self) { try RestoredRestorer(settings, context) }
        #expect(error?.code == .usage)
    }

    @Test(
        "A place that is left to defaults, or a password, is refused (V7, X1)",
        arguments: [
            "dbname=app", "host=db", "host=db dbname=app password=hunter2", "service=production",
        ])
    func vaguePlaceIsRefused(_ server: String) throws {
        let error = #expect(throws: DrillError.self) { try restorer(server) }
        #expect(error?.code == .usage)
        #expect(error?.place == "drill.yaml:1")
        #expect(error.map { "\($0)".contains("hunter2") } == false)
    }

    @Test func silentServerIsCouldNotLook() async throws {
        let listener = try SilentListener()
        listener.close()
        let set = BackupSet(id: "restored", time: nil, place: "here")
        let error = await #expect(throws: DrillError.self) {
            _ = try await restorer("host=127.0.0.1 port=\(listener.port) dbname=app").examine(set)
        }
        #expect(error?.code == .couldNotLook)
        #expect(error?.what.hasPrefix("cannot read the restored database: ") == true)
    }
}

private let partContext = PartContext(
    environment: .fake(), drillFileDirectory: "/drills", hasSets: false,
    scratch: ScratchSettings(directory: "/nowhere", keep: .never))

/// What a probe is run against, and where its findings go.
private func restoredSet(_ parameters: PostgresParameters) async throws -> (set: RestoredSet, sink: CollectingSink) {
    let sink = CollectingSink()
    let set = RestoredSet(
        runID: "20261114T143000Z-0a1b2c", backupSet: "restored", database: try await PostgresDatabase.open(parameters),
        objects: [:], recoveryPoint: Date(microseconds: 1_794_659_405_000_000), startedAt: Date(),
        scratchDirectory: nil,
        objectsDirectory: nil, evidenceDirectory: "/nowhere", environment: .fake(), findings: sink,
        progress: NoProgress(), seed: 1, siblings: [])
    return (set, sink)
}

private final class CollectingSink: FindingSink {
    private let collected = Mutex<[Finding]>([])
    var findings: [Finding] { collected.withLock { $0 } }
    func record(_ findings: [Finding]) async throws { collected.withLock { $0 += findings } }
}
