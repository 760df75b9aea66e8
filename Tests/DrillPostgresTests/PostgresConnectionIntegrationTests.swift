import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres), .timeLimit(.minutes(2)))
struct PostgresConnectionIntegrationTests {
    @Test func answersWithTextAndNull() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        let result = try await connection.query("SELECT $1::int + 1 AS next, NULL AS nothing, $2", ["41", nil])
        #expect(result.rows == [["42", nil, nil]])
        #expect(result.columns.map(\.name) == ["next", "nothing", "?column?"])
        #expect(result.commandTag == "SELECT 1")
    }

    @Test func sessionGoesOnAfterAServersError() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        let error = await #expect(throws: PostgresError.self) { try await connection.query("SELECT nothing_such") }
        #expect(error?.kind == .server)
        #expect(error?.sqlState == PostgresError.undefinedColumn)
        #expect(error?.message == #"column "nothing_such" does not exist"#)
        #expect(error?.position == 8)
        #expect(try await connection.query("SELECT 1").scalar == "1")
    }

    @Test func secondStatementIsRefused() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        await #expect(throws: PostgresError.self) { try await connection.query("SELECT 1; SELECT 2") }
        await #expect(throws: PostgresError.self) { try await connection.columns(of: "SELECT 1; SELECT 2") }
        #expect(try await connection.execute("SELECT 1; SELECT 2").scalar == "2")
    }

    @Test func columnsAreDescribedWithoutRunning() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        let columns = try await connection.columns(of: "SELECT 1/0 AS fails, 'x'::varchar(3) AS word")
        #expect(columns == [ResultColumn(name: "fails", type: 23), ResultColumn(name: "word", type: 1043)])
    }

    @Test("An error after 500 rows is no short result (P12)")
    func lateErrorIsNoShortResult() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        let error = await #expect(throws: PostgresError.self) {
            _ = try await connection.rows(of: "SELECT 1 / (500 - n) FROM generate_series(1, 1000) n", limit: 9)
        }
        #expect(error?.message == "division by zero")
    }

    @Test func cancelledTaskEndsAStatementOnTheServerToo() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        let watcher = try await PostgresConnection.connect(TestServer.parameters())
        let process = try #require(try await connection.query("SELECT pg_backend_pid()").scalar)
        let sleeping = Task { try await connection.query("SELECT pg_sleep(600)") }
        let isActive = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = \(process)"
        while try await watcher.query(isActive).scalar == "0" {}
        sleeping.cancel()
        let error = await #expect(throws: PostgresError.self) { try await sleeping.value }
        #expect(error?.kind == .interrupted)
        while try await watcher.query(isActive).scalar == "1" {}
        let after = await #expect(throws: PostgresError.self) { try await connection.query("SELECT 1") }
        #expect(after?.kind == .connectionLost)
    }

    @Test func endedSessionIsALostConnection() async throws {
        let connection = try await PostgresConnection.connect(TestServer.parameters())
        let error = await #expect(throws: PostgresError.self) {
            try await connection.query("SELECT pg_terminate_backend(pg_backend_pid())")
        }
        #expect(error?.kind == .connectionLost)
    }

    @Test func silentServerIsGivenUpInTime() async throws {
        // A socket that listens, and whose queue nobody empties.
        let listener = try SilentListener()
        defer { listener.close() }
        var parameters = try TestServer.parameters()
        parameters["host"] = "127.0.0.1"
        parameters["port"] = String(listener.port)
        let error = await #expect(throws: PostgresError.self) {
            _ = try await PostgresConnection.connect(parameters, timeout: .milliseconds(200))
        }
        #expect(error?.kind == .cannotConnect)
        #expect(error?.message == "no answer in time")
    }

    @Test("PG variables of the process lead nowhere (V7)")
    func variablesOfTheProcessAreForgotten() async throws {
        await #expect(processExitsWith: .success) {
            for variable in ["PGHOSTADDR", "PGPORT", "PGSERVICE", "PGOPTIONS", "PGTZ", "PGSSLMODE"] {
                setenv(variable, "192.0.2.1", 1)
            }
            _ = try await PostgresConnection.connect(TestServer.parameters(), timeout: .seconds(20))
        }
    }

    @Test("A database name is never another connection string (X6)")
    func databaseNameIsNotExpanded() async throws {
        var parameters = try TestServer.parameters()
        parameters["dbname"] = "host=192.0.2.1 dbname=evil"
        let error = await #expect(throws: PostgresError.self) {
            _ = try await PostgresConnection.connect(parameters, timeout: .seconds(20))
        }
        #expect(error?.message.contains(#"database "host=192.0.2.1 dbname=evil" does not exist"#) == true)
    }
}

/// Takes connections into its queue and never answers.
struct SilentListener {
    let descriptor: Int32
    let port: UInt16

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) + listen(descriptor, 5) + getsockname(descriptor, pointer, &length)
            }
        }
        port = UInt16(bigEndian: address.sin_port)
        try #require(status == 0 && descriptor >= 0)
    }

    func close() { Foundation.close(descriptor) }
}
