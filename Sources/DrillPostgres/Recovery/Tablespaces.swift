import DrillCore
import Foundation

/// Where the tablespaces of a copied data directory come from. Only places inside the backup, or named in the drill file, are
/// believed: a link in a backup may point anywhere (P20).
struct Tablespaces: Sendable {
    /// By the tablespace's number, or by where it was on the server.
    var declared: [String: String]
    /// A link that points inside it needs no declaration.
    var root: String

    struct Source: Sendable, Equatable {
        var number: String
        var directory: String
    }

    static func isNumber(_ text: some StringProtocol) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
    }

    /// The tablespaces that links below `pg_tblspc` stand for.
    /// - Throws: `backupUnusable` for any other link, and for one that leaves the backup undeclared.
    func sources(_ links: [(path: String, target: String)], of dataDirectory: String) throws -> [Source] {
        try links.compactMap { path, target in
            if path == "pg_wal" { return nil }
            let parts = path.split(separator: "/")
            guard parts.count == 2, parts[0] == "pg_tblspc", Self.isNumber(parts[1]) else {
                throw DrillError(
                    .backupUnusable, "is a symbolic link to `\(target)`, which no backup of PostgreSQL has there",
                    at: "\(dataDirectory)/\(path)")
            }
            let number = String(parts[1])
            return Source(number: number, directory: try directory(number, target: target, of: dataDirectory))
        }
    }

    private func directory(_ number: String, target: String, of dataDirectory: String) throws -> String {
        let place = "\(dataDirectory)/pg_tblspc/\(number)"
        let absolute = target.hasPrefix("/") ? target : "\(dataDirectory)/pg_tblspc/\(target)"
        let chosen: String
        if let path = declared[number] ?? declared[target] {
            chosen = path
        } else {
            chosen = URL(fileURLWithPath: absolute).standardizedFileURL.resolvingSymlinksInPath().path
            let top = URL(fileURLWithPath: root).resolvingSymlinksInPath().path
            guard chosen.hasPrefix(top + "/") else {
                throw DrillError(
                    .backupUnusable, "the tablespace \(number) is a link to `\(target)`, outside the backup", at: place,
                    hints: ["Where its files are in the backup, say so: `tablespaces: { \(number): DIRECTORY }`."])
            }
        }
        try Self.requireTablespace(chosen, place: place)
        return chosen
    }

    /// A tablespace holds folders named by version and catalog, and nothing else.
    private static func requireTablespace(_ directory: String, place: String) throws {
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: directory) } catch {
            throw DrillError(
                .backupUnusable, "its tablespace cannot be listed at `\(directory)`", at: place, cause: error)
        }
        guard names.contains(where: { $0.hasPrefix("PG_") }),
            names.allSatisfy({ $0.hasPrefix("PG_") || $0 == "lost+found" })
        else { throw DrillError(.backupUnusable, "`\(directory)` holds no tablespace of PostgreSQL", at: place) }
    }
}
