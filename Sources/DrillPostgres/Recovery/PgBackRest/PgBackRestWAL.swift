import DrillCore
import Foundation

/// The archive that goes with a backup: listed by `repo-ls`, fetched by `archive-get`.
struct PgBackRestWAL: ToolArchive {
    let tool: PgBackRest
    let backup: ToolBackup
    /// Where `archive-get` may keep its locks; and a data directory whose control file tells it which archive is meant.
    var working: (folder: ToolFolder, dataDirectory: String)?

    init(tool: PgBackRest, backup: ToolBackup, working: (folder: ToolFolder, dataDirectory: String)? = nil) {
        self.tool = tool
        self.backup = backup
        self.working = working
    }

    private var folder: String { "archive/\(tool.stanza)/\(backup.archive ?? "")" }
    var place: String { "\(tool.place) \(folder)" }

    func names() async throws -> [String] {
        guard backup.archive != nil else { return [] }
        let result = try await tool.run(
            tool.options(nil, repository: backup.repository) + ["--output=json", "--recurse", "repo-ls", folder])
        guard result.succeeded else { throw tool.refused(result) }
        return try result.decoded([String: Entry].self, at: place).filter { $0.value.type == "file" }.keys
            .compactMap(Self.name)
    }

    private struct Entry: Decodable {
        var type: String
    }

    /// A segment is stored as its name, `-`, its content's SHA-1, and a suffix where it is packed.
    static func name(_ path: String) -> String? {
        guard let name = path.split(separator: "/").last.map(String.init) else { return nil }
        if let match = name.wholeMatch(of: /([0-9A-F]{24}(?:\.partial)?)-[0-9a-f]{40}(?:\.[a-z0-9]+)?/) {
            return String(match.1)
        }
        return name.hasSuffix(".history") || name.hasSuffix(".backup") ? name : nil
    }

    /// What a primary left unfinished at its promotion is there under another name.
    func fetch(_ name: String, to path: String) async throws -> WALFetch {
        let fetch = try await get(name, to: path)
        guard fetch == .absent, WALSegment(name) != nil else { return fetch }
        return try await get(name + ".partial", to: path) == .found ? .foundUnfinished : .absent
    }

    private func get(_ name: String, to path: String) async throws -> WALFetch {
        guard let working else { throw DrillError(.couldNotLook, "no folder to fetch WAL into", at: place) }
        // The courier's own folder is not the tool's to write in.
        let own = working.folder.fetchPath()
        let result = try await tool.run(
            tool.options(working.folder, repository: backup.repository) + [
                "--stanza=\(tool.stanza)", "--pg1-path=\(working.dataDirectory)", "--reset-pg1-host",
                "--no-archive-async", "archive-get", name, own,
            ])
        // (pgBackRest manual, Archive Get Command: 0 is found, 1 is not found, all else is an error.)
        switch result.status {
        case 0:
            try working.folder.handOver(own, to: path)
            return .found
        case 1: return .absent
        default:
            let isDamage =
                PgBackRestFault.isOfBackup(message: result.errors)
                && !result.errors.contains("archive.info")
            throw result.failure(
                isDamage ? .backupUnusable : .couldNotLook, "pgbackrest archive-get \(name): \(result.firstWords)",
                at: place)
        }
    }
}
