import DrillCore
import DrillHost
import DrillTestKit
import Foundation

@testable import DrillPostgres

/// Snapshots of a running server's files: its processes stand still while they are copied, as under an atomic snapshot.
extension SourceCluster {
    var snapshots: String { fixture.folder + "/snapshots" }

    /// The server's own processes; its children are in sessions of their own.
    private func processes() throws -> [pid_t] {
        let own = process.processID
        let children = try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { name -> pid_t? in
            guard let number = pid_t(name), let stat = FileManager.default.contents(atPath: "/proc/\(name)/stat") else {
                return nil
            }
            let fields = String(decoding: stat, as: UTF8.self).split(separator: ")").last?.split(separator: " ")
            return fields?.dropFirst().first.flatMap { pid_t($0) } == own ? number : nil
        }
        return [own] + children
    }

    func frozen<Value>(_ body: () async throws -> Value) async throws -> Value {
        // The first stops alone, so that no child is born meanwhile.
        kill(process.processID, SIGSTOP)
        let all = try processes()
        for number in all { kill(number, SIGSTOP) }
        let outcome: Result<Value, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        for number in all.reversed() { kill(number, SIGCONT) }
        return try outcome.get()
    }

    /// Copies a directory into the snapshots' folder, with everything that `cp -a` keeps.
    func copy(_ directory: String, to name: String) async throws {
        let target = "\(snapshots)/\(name)"
        try FileManager.default.createDirectory(
            atPath: (target as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        let result = try await fixture.environment.processes.run(Command("cp", ["-a", directory, target]))
        guard result.succeeded else { throw DrillError(.couldNotLook, result.errorText) }
    }

    /// The whole data directory at one instant.
    func snapshot(_ name: String) async throws {
        try await frozen { try await copy(dataDirectory, to: name) }
    }

    func snapshotRestorer(_ name: String, _ settings: [String: Value] = [:]) throws -> SnapshotRestorer {
        let all = ["path": Value.text("\(snapshots)/\(name)")].merging(settings) { $1 }
        return try SnapshotRestorer(reader(all, SnapshotRestorer.shape), context(.latest))
    }

    /// What one query yields in a restored snapshot, with what the restorer says of it.
    func asked(
        _ name: String, _ sql: String, _ settings: [String: Value] = [:]
    ) async throws -> (answer: String?, point: Date?, notes: String, log: String) {
        try await restored(snapshotRestorer(name, settings), .latest) { restored in
            let rows = try await restored.database.rows(sql, searchPath: [], limit: 1)
            return (
                rows.rows.first?.first ?? nil, restored.recoveryPoint,
                (restored.notes + (await restored.database.notes)).joined(separator: "\n"),
                restored.logs["recovery.log"] ?? ""
            )
        }
    }

    /// The error that restoring a snapshot ends with; nil where there is none.
    func refusal(_ name: String, _ settings: [String: Value] = [:]) async -> DrillError? {
        do {
            _ = try await asked(name, "SELECT 1", settings)
            return nil
        } catch { return DrillError(wrapping: error) }
    }

    /// Ends the server without a checkpoint, as a crash does.
    func crash() async {
        process.send(signal: SIGQUIT)
        _ = await process.ended()
    }

    func sql(at folder: String, _ statement: String) async throws -> String? {
        var parameters = self.parameters
        parameters["host"] = folder
        let connection = try await PostgresConnection.connect(parameters)
        let answer = try await connection.execute(statement).scalar
        await connection.close()
        return answer
    }

    /// Waits until a query answers `t`.
    func wait(for condition: String, at folder: String? = nil) async throws {
        for _ in 0..<1200 {
            do {
                if try await sql(at: folder ?? self.folder, "SELECT (\(condition))::text") == "true" { return }
            } catch  where folder != nil {
                // It may still be starting.
            }
            try await Task.sleep(for: .milliseconds(25))
        }
        throw DrillError(.couldNotLook, "never came true: \(condition)", at: self.folder + "/log")
    }
}
