import DrillCore
import Foundation

/// The programs of one PostgreSQL installation.
struct PostgresTools: Sendable, Equatable {
    var directory: String
    /// `15.18 (Debian 15.18-0+deb12u1)`
    var version: String
    var major: Int

    func path(_ tool: String) -> String { directory + "/" + tool }
}

/// Finds installations side by side: the drill file's, pg_config's, those on `PATH` and in the places of packagers.
struct PostgresToolSearch: Sendable {
    var environment: DrillEnvironment
    /// `bin` of the drill file; then no other place is looked at.
    var setting: String?

    /// Installations that have these programs, the oldest version first, each once.
    func installations(having tools: [String]) async throws -> [PostgresTools] {
        var found: [PostgresTools] = []
        var seen: Set<String> = []
        for directory in try await candidates() {
            let real = URL(fileURLWithPath: directory).resolvingSymlinksInPath().path
            guard seen.insert(real).inserted else { continue }
            guard tools.allSatisfy({ FileManager.default.isExecutableFile(atPath: directory + "/" + $0) }) else {
                continue
            }
            if let tools = try await version(in: directory, of: tools[0]) { found.append(tools) }
        }
        return found.sorted { ($0.major, $0.directory) < ($1.major, $1.directory) }
    }

    /// The installation whose version is nearest to the dump's and not older.
    /// - Parameter dumpVersion: Of the pg_dump that made it; nil where the dump does not say.
    func tools(having tools: [String], forDump dumpVersion: String?) async throws -> PostgresTools {
        let installations = try await installations(having: tools)
        guard let newest = installations.last else { throw nothingFound(tools) }
        guard let needed = dumpVersion.flatMap(majorVersion) else { return newest }
        if let nearest = installations.first(where: { $0.major >= needed }) { return nearest }
        throw DrillError(
            .couldNotLook, "the dump was made by pg_dump \(needed), and the newest PostgreSQL here is \(newest.major)",
            at: newest.directory,
            hints: Self.installation(of: "postgresql-\(needed)", or: "PostgreSQL \(needed) or newer"))
    }

    private func nothingFound(_ tools: [String]) -> DrillError {
        DrillError(
            .couldNotLook, "no \(tools.first ?? "PostgreSQL") on this machine", at: setting,
            hints: Self.installation(of: "postgresql", or: "the PostgreSQL server"))
    }

    static func installation(of package: String, or name: String) -> [String] {
        [
            "Install \(name): `apt-get install \(package)` (Debian, Ubuntu; apt.postgresql.org has every version), "
                + "`dnf install postgresql-server` (Fedora, RHEL) or `brew install postgresql`.",
            "Where it is installed elsewhere, name its directory of programs with `bin:`.",
        ]
    }

    private func candidates() async throws -> [String] {
        if let setting { return [setting] }
        var directories: [String] = []
        if let config = environment.processes.find("pg_config") {
            let result = try await environment.processes.run(Command(config, ["--bindir"]))
            if result.succeeded {
                directories.append(result.outputText.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
        for tool in ["postgres", "pg_restore"] {
            guard let path = environment.processes.find(tool) else { continue }
            directories.append(URL(fileURLWithPath: path).resolvingSymlinksInPath().deletingLastPathComponent().path)
        }
        // Debian's and Red Hat's packages, Homebrew's kegs, and what is built from source.
        let folders = [
            ("/usr/lib/postgresql", "", "/bin"), ("/usr", "pgsql-", "/bin"),
            ("/opt/homebrew/opt", "postgresql", "/bin"),
            ("/usr/local/opt", "postgresql", "/bin"), ("/usr/local", "pgsql", "/bin"),
        ]
        for (folder, prefix, suffix) in folders where FileManager.default.fileExists(atPath: folder) {
            let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix(prefix) }
            directories += names.sorted().map { "\(folder)/\($0)\(suffix)" }
        }
        return directories.filter { FileManager.default.fileExists(atPath: $0) }
    }

    /// What a program says of itself: `postgres (PostgreSQL) 15.18 (Debian …)`.
    private func version(in directory: String, of tool: String) async throws -> PostgresTools? {
        let result = try await environment.processes.run(Command(directory + "/" + tool, ["--version"]))
        let text = result.outputText.trimmingCharacters(in: .whitespacesAndNewlines)
        guard result.succeeded, let end = text.range(of: "(PostgreSQL) "),
            let major = majorVersion(String(text[end.upperBound...]))
        else { return nil }
        return PostgresTools(directory: directory, version: String(text[end.upperBound...]), major: major)
    }
}
