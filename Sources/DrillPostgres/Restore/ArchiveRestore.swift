import DrillCore
import Foundation

/// Restores a custom, directory or tar archive by pg_restore.
struct ArchiveRestore: Sendable {
    var environment: DrillEnvironment
    var tools: PostgresTools
    /// A path on this machine.
    var path: String
    var format: DumpFormat
    var toc: ArchiveTOC
    var jobs: Int
    var target: RestoreTarget

    /// - Throws: `backupUnusable` with pg_restore's own words; `couldNotLook` where the machine is at fault.
    func run(log: RestoreLog, progress: any ProgressSink) async throws {
        let tables = toc.entries.count { $0.kind == "TABLE DATA" }
        progress.step("restore tables", total: Int64(tables), unit: .tables)
        var command = Command(tools.path("pg_restore"), arguments)
        command.environment = target.owner.commandVariables.filter { $0.key == "PGPASSFILE" }
        if let home = environment.variables["HOME"] { command.environment["HOME"] = home }
        // A sealed child connects to nothing, not even to our server's socket; pg_restore itself runs nothing of the dump.
        command.network = .shared
        command.errors = .chunks { log.append($0) }
        let result = try await environment.processes.run(command)
        if result.succeeded { return }
        try target.requireRunning()
        let lines = log.errorLines
        if case .signalled = result.ending {
            throw DrillError(.couldNotLook, "pg_restore \(result.endingText)", at: path, hints: lines)
        }
        if let obstacle = RestoreFailure(isSuperuser: target.isSuperuser).obstacle(in: lines) {
            throw DrillError(.couldNotLook, obstacle, at: target.place, hints: lines)
        }
        let words = lines.first { $0.contains("error:") || $0.contains("ERROR:") } ?? lines.last ?? "no message"
        throw DrillError(
            .backupUnusable, "pg_restore \(result.endingText): \(words)", at: path,
            hints: lines.map { "restore.log: \($0)" })
    }

    private var arguments: [String] {
        var arguments = [
            "--exit-on-error", "--no-publications", "--no-subscriptions", "--no-tablespaces", "--no-security-labels",
            "--verbose",
        ]
        if !target.setsOwners { arguments.append("--no-owner") }
        if !target.setsGrants { arguments.append("--no-acl") }
        // pg_restore reads a tar archive with one process only.
        if format != .tar, jobs > 1 { arguments += ["--jobs", String(jobs)] }
        return arguments + ["--dbname", target.owner.conninfo, "--", path]
    }
}
