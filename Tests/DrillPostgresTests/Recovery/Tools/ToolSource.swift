import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// A source cluster whose WAL goes to a backup tool's repository.
struct ToolSource: Sendable {
    let cluster: SourceCluster
    var folder: String { cluster.fixture.folder }
    var repository: String { folder + "/repo" }

    /// - Parameters:
    ///   - tool: pgBackRest wants to see its name in the server's settings.
    ///   - archiving: A line of shell that archives `$1` (the path) under the name `$2`; `FOLDER` is the fixture's folder.
    static func with<Value>(
        _ tool: String, archiving: String, _ body: (ToolSource) async throws -> Value
    ) async throws -> Value {
        // The server runs it in its data directory.
        try await SourceCluster.with(settings: ["archive_command=sh ../../archive-to-\(tool) %p %f"]) { cluster in
            let source = ToolSource(cluster: cluster)
            try cluster.account.makeFolder(source.repository)
            try source.write(
                "archive-to-\(tool)", archiving.replacing("FOLDER", with: source.folder) + "\n", mode: 0o755)
            try await cluster.sql(
                "CREATE TABLE public.log (id int PRIMARY KEY)",
                "CREATE TABLE public.placed (id int)", "INSERT INTO public.placed VALUES (1)")
            return try await body(source)
        }
    }

    @discardableResult
    func write(_ name: String, _ text: String, mode: mode_t = 0o644) throws -> String {
        let path = folder + "/" + name
        try Data(text.replacing("FOLDER", with: folder).utf8).write(to: URL(fileURLWithPath: path))
        chmod(path, mode)
        return path
    }

    /// Puts the one table into a tablespace.
    func placeInTablespace() async throws {
        let directory = folder + "/spc"
        try cluster.account.makeFolder(directory)
        try await cluster.sql(
            "CREATE TABLESPACE spc LOCATION '\(directory)'", "ALTER TABLE public.placed SET TABLESPACE spc")
    }

    /// Runs a tool as the user whom the server belongs to.
    @discardableResult
    func run(_ tool: String, _ arguments: [String], variables: [String: String] = [:]) async throws -> String {
        var command = Command(tool, arguments, environment: variables)
        command.user = cluster.account.user
        command.workingDirectory = folder
        let result = try await cluster.fixture.environment.processes.run(command)
        guard result.succeeded else {
            throw DrillError(
                .couldNotLook, "\(tool) \(arguments) \(result.endingText): \(result.errorText) \(result.outputText)")
        }
        return result.outputText
    }

    /// Ends the segment under way and waits until it is archived.
    @discardableResult
    func archive() async throws -> String {
        let name = try await cluster.sql("SELECT pg_walfile_name(pg_switch_wal())") ?? ""
        for _ in 0..<800 {
            if try await cluster.sql("SELECT last_archived_wal >= '\(name)' FROM pg_stat_archiver") == "t" {
                return name
            }
            try await cluster.fixture.environment.clock.sleep(for: .milliseconds(25))
        }
        throw DrillError(.couldNotLook, "\(name) is not archived", at: cluster.folder + "/log")
    }

    /// Three commits with a restore point behind the second, each in a segment of its own.
    func history(from first: Int) async throws -> (commits: [Date], lsn: String) {
        var commits: [Date] = []
        var lsn = ""
        for id in first..<first + 3 {
            commits.append(try await cluster.commitRow(id))
            if id == first + 1 { lsn = try await cluster.sql("SELECT pg_create_restore_point('second')") ?? "" }
            try await archive()
        }
        return (commits, lsn)
    }

    // MARK: - Restoring

    func restorer<Tool: BackupTool>(
        _ tool: Tool.Type, _ settings: [String: String], _ target: RecoveryTarget = .latest,
        variables: [String: String]? = nil
    ) throws -> ToolRestorer<Tool> {
        var context = cluster.context(target)
        if let variables { context.environment.variables.merge(variables) { $1 } }
        return try ToolRestorer<Tool>(
            cluster.reader(settings.mapValues { .text($0) }, ToolRestorer<Tool>.shape), context)
    }

    func rows<Tool: BackupTool>(
        _ restorer: ToolRestorer<Tool>, _ target: RecoveryTarget = .latest, set id: String? = nil
    ) async throws -> RestoredRows {
        try await cluster.restored(restorer, target, set: id) { restored in
            let found = try await restored.database.rows(
                "SELECT id FROM public.log ORDER BY id", searchPath: [], limit: 1000)
            let placed = try await restored.database.rows("SELECT id FROM public.placed", searchPath: [], limit: 10)
            return RestoredRows(
                ids: found.rows.map { $0[0] ?? "" }, placed: placed.rows.count, point: restored.recoveryPoint,
                notes: restored.notes, logs: restored.logs)
        }
    }

    /// The error that restoring ends with; nil where there is none.
    func failure<Tool: BackupTool>(
        _ restorer: ToolRestorer<Tool>, _ target: RecoveryTarget = .latest, set id: String? = nil
    ) async -> DrillError? {
        do {
            _ = try await rows(restorer, target, set: id)
            return nil
        } catch {
            return DrillError(wrapping: error)
        }
    }

    func sets<Tool: BackupTool>(_ restorer: ToolRestorer<Tool>) async throws -> [BackupSet] {
        try await restorer.catalog()?.sets() ?? []
    }

    /// Paths, sizes and change times of everything below a directory.
    func fingerprint(_ directory: String) async throws -> String {
        try await run("find", [directory, "-printf", "%p %s %T@ %C@\\n"]).split(separator: "\n").sorted()
            .joined(separator: "\n")
    }

    /// Those targets, over the three commits of ``history(from:)`` that began with row 2: each is reached exactly.
    func reaches<Tool: BackupTool>(
        _ tool: Tool.Type, _ settings: [String: String], _ commits: [Date], lsn: String,
        _ names: [String] = ["latest", "instant", "before", "lsn", "name"]
    ) async throws {
        let targets: [String: (RecoveryTarget, [String])] = [
            "latest": (.latest, ["1", "2", "3", "4"]), "instant": (.instant(commits[1]), ["1", "2", "3"]),
            "before": (.instant(Date(microseconds: commits[1].microseconds - 1)), ["1", "2"]),
            "lsn": (.lsn(lsn), ["1", "2", "3"]), "name": (.name("second"), ["1", "2", "3"]),
        ]
        for name in names {
            let (target, expected) = try #require(targets[name])
            let rows = try await rows(restorer(tool, settings, target), target)
            #expect(rows.ids == expected, "\(name)")
            #expect(rows.placed == 1)
            if name == "instant" { #expect(rows.point == commits[1]) }
            if name == "latest" { #expect(rows.point == commits[2]) }
        }
    }
}

struct RestoredRows: Sendable {
    var ids: [String]
    var placed: Int
    var point: Date?
    var notes: [String]
    var logs: [String: String]
}
