import DrillCore
import Foundation

/// What a tool restored, taken over as the data directory of a server of ours. No link in it leaves scratch (P20).
struct RestoredDirectory: Sendable {
    var folder: ToolFolder
    /// Of the server.
    var account: ServerAccount
    var scratch: Scratch
    var environment: DrillEnvironment

    private var copier: DataDirectoryCopy { DataDirectoryCopy(environment: environment, account: account) }
    private var server: String { scratch.directory + "/server" }
    private var dataDirectory: String { server + "/pgdata" }

    /// Moves it to where the server expects it, which belongs to the server then.
    /// - Throws: `backupUnusable` for a link out of scratch, and where `backup_label` is missing (P19).
    func takeOver(at place: String) async throws {
        let tablespaces = try tablespaces(at: place)
        try move(folder.data, to: dataDirectory)
        for (number, directory) in tablespaces {
            let own = "\(server)/tablespaces/\(number)"
            try move(directory, to: own)
            try copier.link("\(dataDirectory)/pg_tblspc/\(number)", to: own)
        }
        try await copier.give(server + "/tablespaces")
        try await copier.give(dataDirectory)
        guard FileManager.default.fileExists(atPath: dataDirectory + "/backup_label") else {
            throw DrillError(
                .backupUnusable,
                "backup_label is missing: without it a server would recover from the wrong checkpoint and come up corrupt",
                at: place)
        }
    }

    /// Tablespaces by number, and where below the tool's folder each was restored to.
    private func tablespaces(at place: String) throws -> [(number: String, directory: String)] {
        try DataDirectoryCopy.survey(folder.data).links.map { path, target in
            let parts = path.split(separator: "/")
            let real = URL(fileURLWithPath: target).standardizedFileURL.resolvingSymlinksInPath().path
            let top = URL(fileURLWithPath: folder.tablespaces).resolvingSymlinksInPath().path
            guard parts.count == 2, parts[0] == "pg_tblspc", parts[1].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                real.hasPrefix(top + "/")
            else {
                throw DrillError(
                    .backupUnusable, "`\(path)` was restored as a link to `\(target)`, out of scratch", at: place)
            }
            if let link = try DataDirectoryCopy.survey(real).links.first {
                throw DrillError(.backupUnusable, "tablespace \(parts[1]) holds a link `\(link.path)`", at: place)
            }
            return (String(parts[1]), real)
        }
    }

    private func move(_ source: String, to destination: String) throws {
        // Only an empty directory of ours is replaced.
        guard rename(source, destination) == 0 else {
            throw DrillError(
                .couldNotLook, "cannot be moved to \(destination): \(String(cString: strerror(errno)))", at: source)
        }
    }

    /// Has pg_verifybackup look at it, before anything of it is changed. It reads no WAL; recovery does that.
    func verify(
        _ manifest: (path: String, ignored: [String]), _ tools: PostgresTools, at place: String
    ) async throws
        -> String
    {
        let tool = tools.path("pg_verifybackup")
        guard FileManager.default.isExecutableFile(atPath: tool) else {
            return "There is no pg_verifybackup in \(tools.directory), so the manifest was not looked at."
        }
        let command = Command(
            tool,
            ["--no-parse-wal", "--quiet", "--manifest-path", manifest.path]
                + manifest.ignored.flatMap { ["--ignore", $0] } + [dataDirectory], environment: ["LC_ALL": "C"])
        let result = try await environment.processes.run(command)
        guard result.succeeded else {
            let words = result.errorText.split(whereSeparator: \.isNewline).map(String.init)
            throw DrillError(
                .backupUnusable, "pg_verifybackup: \(words.first ?? result.endingText)", at: place,
                hints: Array(words.dropFirst().prefix(10)))
        }
        return
            "pg_verifybackup found every file as the manifest has it, but for \(manifest.ignored.count) that the tool writes itself."
    }
}
