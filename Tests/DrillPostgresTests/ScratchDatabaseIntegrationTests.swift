import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// `scratch.database: { kind: database }` on the test server.
@Suite(.needs(.postgres), .serialized) struct ScratchDatabaseIntegrationTests {
    private func exists(_ relation: String, _ column: String, _ name: String) async throws -> Bool {
        let server = try await PostgresConnection.connect(TestServer.parameters())
        let found = try await server.query("SELECT 1 FROM \(relation) WHERE \(column) = $1", [name]).scalar != nil
        await server.close()
        return found
    }

    private func execute(_ sql: String) async throws {
        let server = try await PostgresConnection.connect(TestServer.parameters())
        try await server.execute(sql)
        await server.close()
    }

    private func restorer(_ fixture: RestoreFixture, user: String? = nil) throws -> PgDumpRestorer {
        try fixture.restorer(
            scratchKind: "database", scratchSettings: ["server": TestServer.parameters(user: user).conninfo])
    }

    /// A plain dump of one table that belongs to a role which no server knows.
    private func writeDump(_ fixture: RestoreFixture, owner: String) throws {
        try fixture.write(
            """
            --
            -- PostgreSQL database dump
            --
            -- Dumped from database version 13.1
            -- Dumped by pg_dump version 13.1
            SET client_encoding = 'UTF8';
            CREATE TABLE public.t (a int);
            ALTER TABLE public.t OWNER TO "\(owner)";
            GRANT SELECT ON TABLE public.t TO "\(owner) reader";
            COPY public.t (a) FROM stdin;
            1
            2
            \\.
            --
            -- PostgreSQL database dump complete
            --

            """.utf8)
    }

    @Test func databaseAndRolesAreMadeMarkedAndGoneAgain() async throws {
        try await RestoreFixture.with { fixture in
            let owner = "owner " + fixture.scratch.runID
            try writeDump(fixture, owner: owner)
            let name = ScratchDatabase.name(ofRun: fixture.scratch.runID)
            try await fixture.restored(restorer(fixture)) { restored async throws in
                #expect(restored.rowCounts.map(\.rows) == [2])
                #expect(try await exists("pg_database", "datname", name))
                #expect(try await exists("pg_roles", "rolname", owner))
                #expect(restored.notes.contains { $0.contains("Muster cannot seal off") })
                #expect(fixture.journal.left.map(\.kind) == ["role", "role", "database"])
            }
            #expect(try await !exists("pg_database", "datname", name))
            #expect(try await !exists("pg_roles", "rolname", owner))
            #expect(try await !exists("pg_roles", "rolname", owner + " reader"))
            #expect(fixture.journal.left.isEmpty)
        }
    }

    @Test func aFailedRestoreLeavesNothingOnTheServer() async throws {
        try await RestoreFixture.with { fixture in
            try writeDump(fixture, owner: "owner " + fixture.scratch.runID)
            let text = String(decoding: try fixture.bytes(), as: UTF8.self)
            try fixture.write(text.replacing("\n2\n", with: "\ntwo\n").utf8)
            let failure = await fixture.failure(try restorer(fixture))
            #expect(failure?.code == .backupUnusable)
            #expect(try await !exists("pg_database", "datname", ScratchDatabase.name(ofRun: fixture.scratch.runID)))
            #expect(try await !exists("pg_roles", "rolname", "owner " + fixture.scratch.runID))
            #expect(fixture.journal.left.isEmpty)
        }
    }

    @Test("A database that was there before is refused and stays (P28)")
    func aDatabaseThatWasThereIsRefusedAndStays() async throws {
        try await RestoreFixture.with { fixture in
            try writeDump(fixture, owner: "postgres")
            let name = ScratchDatabase.name(ofRun: fixture.scratch.runID)
            try await execute("CREATE DATABASE \(name)")
            let failure = await fixture.failure(try restorer(fixture))
            #expect(failure?.what == "a database `\(name)` is there already and is not ours to use")
            // Nor does the sweeper take it: it bears the name, but not the mark.
            let database = try ScratchDatabase.Locator(
                server: TestServer.parameters().conninfo, passwordFile: nil, name: name)
            let item = ScratchItem(kind: "database", locator: try database.text)
            await #expect(throws: DrillError.self) {
                try await DatabaseRemover(environment: fixture.environment).remove(item, ofRun: fixture.scratch.runID)
            }
            #expect(try await exists("pg_database", "datname", name))
            try await execute("DROP DATABASE \(name)")
        }
    }

    @Test func aKeptDatabaseStays() async throws {
        try await RestoreFixture.with { fixture in
            try writeDump(fixture, owner: "postgres")
            let name = ScratchDatabase.name(ofRun: fixture.scratch.runID)
            fixture.scratch.keeping.decide(isKept: true)
            try await fixture.restored(restorer(fixture)) { _ in }
            #expect(try await exists("pg_database", "datname", name))
            #expect(fixture.journal.left.isEmpty)
            try await execute("DROP DATABASE \(name)")
            try await execute("DROP ROLE \"postgres reader\"")
        }
    }

    @Test("A role without rights to make roles restores without owners and grants, and says so")
    func anOrdinaryRoleRestoresWithoutOwners() async throws {
        let user = "drill_" + hexadecimal((0..<4).map { _ in UInt8.random(in: 0...255) })
        try await execute("CREATE ROLE \(user) LOGIN CREATEDB")
        try await RestoreFixture.with { fixture in
            try writeDump(fixture, owner: "owner " + fixture.scratch.runID)
            try await fixture.restored(restorer(fixture, user: user)) { restored async throws in
                #expect(restored.rowCounts.map(\.rows) == [2])
                #expect(restored.notes.contains { $0.contains("Owners and grants of the dump were not restored") })
            }
            #expect(fixture.journal.left.isEmpty)
        }
        try await execute("DROP ROLE \(user)")
    }
}
