import DrillCore
import DrillTestKit
import Foundation

@testable import DrillPostgres

/// The throw-away server of Tests/services/postgres.sh.
enum TestServer {
    static func parameters(database: String? = nil, user: String? = nil) throws -> PostgresParameters {
        guard let location = Service.postgres.location else { throw ServiceAbsent(service: .postgres) }
        var parameters = try PostgresParameters.parse(location, variables: [:])
        if let database { parameters["dbname"] = database }
        if let user { parameters["user"] = user }
        return parameters
    }

    /// Makes a database of its own for one test, and drops it afterwards.
    /// - Parameter options: Of CREATE DATABASE, such as an encoding.
    static func withDatabase<Value>(
        _ setup: String = "", options: String = "", _ body: (PostgresParameters) async throws -> Value
    ) async throws -> Value {
        let name = "muster_test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        let server = try await PostgresConnection.connect(parameters())
        try await server.execute("CREATE DATABASE \(name) \(options)")
        let outcome: Result<Value, any Error>
        do {
            let own = try parameters(database: name)
            if !setup.isEmpty {
                let connection = try await PostgresConnection.connect(own)
                try await connection.execute(setup)
                await connection.close()
            }
            outcome = .success(try await body(own))
        } catch {
            outcome = .failure(error)
        }
        try await server.execute("DROP DATABASE \(name) WITH (FORCE)")
        await server.close()
        return try outcome.get()
    }
}
