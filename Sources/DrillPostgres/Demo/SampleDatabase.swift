import DrillCore
import Foundation

/// A live PostgreSQL server for the sample application of `muster demo`: a throw-away cluster like those that drills restore
/// into, but one that is written to, and dumped by the real `pg_dump`.
package struct SampleDatabase: Sendable {
    private let parameters: PostgresParameters
    private let tools: PostgresTools
    private let environment: DrillEnvironment

    /// Starts a server in scratch, hands it to `body` and ends it whatever happens.
    package static func withServer<Result: Sendable>(
        in scratch: Scratch, environment: DrillEnvironment, _ body: @Sendable (SampleDatabase) async throws -> Result
    ) async throws -> Result {
        let tools = try await PostgresToolSearch(environment: environment)
            .tools(having: ["initdb", "postgres", "pg_dump", "pg_restore"], forDump: nil)
        return try await ScratchCluster(environment: environment, tools: tools).withServer(in: scratch) { server in
            var parameters = server.parameters
            parameters["dbname"] = "postgres"
            return try await body(
                SampleDatabase(parameters: parameters, tools: tools, environment: environment))
        }
    }

    /// Runs one statement on a connection of its own session.
    package func session() async throws -> SampleSession {
        do {
            return SampleSession(connection: try await PostgresConnection.connect(parameters), place: parameters.place)
        } catch {
            throw DrillError(.couldNotLook, "\(error)", at: parameters.place)
        }
    }

    /// What a nightly script does: `pg_dump --format=custom`.
    package func dump(to path: String) async throws {
        var arguments = ["--format=custom", "--file", path]
        for (keyword, option) in [("host", "host"), ("port", "port"), ("user", "username"), ("dbname", "dbname")] {
            if let value = parameters[keyword] { arguments.append("--\(option)=\(value)") }
        }
        let result = try await environment.processes.run(Command(tools.path("pg_dump"), arguments))
        guard result.succeeded else {
            throw DrillError(
                .couldNotLook, "pg_dump \(result.endingText)", at: path,
                hints: result.errorText.split(separator: "\n").suffix(5).map(String.init))
        }
    }
}

package struct SampleSession: Sendable {
    let connection: PostgresConnection
    let place: String

    /// Runs one statement with text parameters and returns its rows.
    @discardableResult
    package func run(_ sql: String, _ parameters: [String?] = []) async throws -> [[String?]] {
        do {
            return try await connection.query(sql, parameters).rows
        } catch {
            throw DrillError(.couldNotLook, "\(error)", at: place)
        }
    }

    package func close() async { await connection.close() }
}
