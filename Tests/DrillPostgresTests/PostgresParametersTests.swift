import DrillCore
import Foundation
import Testing

@testable import DrillPostgres

struct PostgresParametersTests {
    @Test func readsPairsAndAddresses() throws {
        let pairs = try PostgresParameters.parse("host=db port=5433 dbname=app user=drill", variables: [:])
        let address = try PostgresParameters.parse("postgresql://drill@db:5433/app", variables: [:])
        #expect(pairs.values == ["host": "db", "port": "5433", "dbname": "app", "user": "drill"])
        #expect(address.values == pairs.values)
        #expect(pairs.place == "postgres(host=db port=5433 dbname=app user=drill)")
    }

    @Test(
        "A password in the drill file is refused and not repeated (X1, X2)",
        arguments: [
            "host=db password=hunter2", "postgresql://drill:hunter2@db/app", "host=db sslpassword=hunter2",
            "host=db password hunter2", "host=db password='hunter2",
        ])
    func passwordIsRefused(_ server: String) throws {
        let error = #expect(throws: DrillError.self) { try PostgresParameters.parse(server, variables: [:]) }
        #expect(error?.code == .usage)
        #expect(error.map { "\($0)".contains("hunter2") } == false)
    }

    @Test(arguments: ["service=production", "host=db options='-c search_path=evil'", "host=db replication=database"])
    func whatLeadsElsewhereIsRefused(_ server: String) throws {
        let error = #expect(throws: DrillError.self) { try PostgresParameters.parse(server, variables: [:]) }
        #expect(error?.code == .usage)
    }

    @Test func passwordFileGivesItsFirstLine() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try Data("hunter2\r\nmore\n".utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let parameters = try PostgresParameters.parse("host=db", variables: [:], passwordFile: file.path)
        #expect(parameters.password?.reveal() == "hunter2")
        #expect(!"\(parameters)".contains("hunter2"))
        #expect(parameters.values["password"] == nil)
    }

    @Test func passwordFileOfTheEnvironmentIsHonoured() throws {
        let variables = ["PGPASSFILE": "/secrets/pgpass", "PGHOST": "production"]
        #expect(
            try PostgresParameters.parse("dbname=app", variables: variables).values
                == ["dbname": "app", "passfile": "/secrets/pgpass"])
    }

    @Test("Every keyword with a default is set explicitly (V7)")
    func keywordsAreSetExplicitly() {
        let explicit = Dictionary(uniqueKeysWithValues: PostgresParameters(["host": "h"]).explicit().map { ($0, $1) })
        #expect(explicit["host"] == "h")
        #expect(explicit["port"] == "5432")
        #expect(explicit["sslmode"] == "prefer")
        #expect(explicit["service"] == nil)
    }
}
