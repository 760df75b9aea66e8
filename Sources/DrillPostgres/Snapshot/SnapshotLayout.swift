import DrillCore
import Foundation

/// Where the drill file says the parts of a snapshot are.
struct SnapshotPlaces: Sendable {
    /// Below the set's folder where ``isPerSet``, else absolute; so are the others.
    var data: String
    var wal: String?
    /// By the tablespace's number, or by where it was on the server.
    var tablespaces: [String: String]
    var isPerSet: Bool

    init(data: String, wal: String? = nil, tablespaces: [String: String] = [:], isPerSet: Bool) {
        self.data = data
        self.wal = wal
        self.tablespaces = tablespaces
        self.isPerSet = isPerSet
    }

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        isPerSet = context.hasSets
        func place(_ key: String, _ text: String) throws -> String {
            guard context.hasSets else { return settings.source.absolute(text) }
            guard !text.hasPrefix("/") else {
                throw settings.error(
                    key, "`\(text)` is absolute, but each set has its own",
                    hints: ["Write it relative to the set's folder."])
            }
            guard !text.split(separator: "/").contains("..") else {
                throw settings.error(key, "`\(text)` leads out of the set's folder")
            }
            return text
        }
        data = try place("path", settings.requiredString("path"))
        wal = try settings.string("wal").map { try place("wal", $0) }
        tablespaces = [:]
        for (name, node) in try settings.map("tablespaces") ?? [] {
            guard let text = try settings.source.text(node) else {
                throw settings.error("tablespaces", "`\(printable(name.utf8))` must name a directory")
            }
            tablespaces[name] = try place("tablespaces", text)
        }
    }
}

/// Where the parts of one snapshot are on this machine, every link resolved and shown to stay inside the set (P20).
struct SnapshotLayout: Sendable {
    /// There is nothing (yet) where the snapshot should be.
    struct Absent: Error {
        var what: String
    }

    let data: String
    /// nil where it is `pg_wal` in the data directory.
    let wal: String?
    let tablespaces: [Tablespaces.Source]
    /// Links in the data directory that no data lie behind: configuration, certificates, server logs.
    let leftOut: [String]
    let tree: FileTree

    var walDirectory: String { wal ?? data + "/pg_wal" }

    /// What lies in these is the database itself.
    private static let essential: Set<String> = [
        "PG_VERSION", "base", "global", "pg_commit_ts", "pg_logical", "pg_multixact", "pg_tblspc", "pg_twophase",
        "pg_wal", "pg_xact",
    ]

    /// - Parameter folder: The set's.
    /// - Throws: ``Absent``; `backupUnusable` for links that lead out of the set and for parts that are missing.
    init(_ places: SnapshotPlaces, in folder: String) throws {
        let finder = PlaceFinder(root: places.isPerSet ? folder : nil)
        guard let data = try finder.directory(places.data) else {
            throw Absent(what: "`\(places.data)` is not there")
        }
        self.data = data
        let tree = try FileTree(of: data)
        guard !tree.files.isEmpty || !tree.directories.isEmpty else {
            throw Absent(what: "`\(places.data)` is empty")
        }
        self.tree = tree
        var links = tree.links
        let walLink = links.firstIndex { $0.path == "pg_wal" }.map { links.remove(at: $0).target }
        wal = try finder.wal(places.wal, link: walLink, of: data, hasOwn: tree.directories.contains("pg_wal"))
        var others: [String] = []
        var sources: [Tablespaces.Source] = []
        for (path, target) in links {
            let parts = path.split(separator: "/").map(String.init)
            if parts.count == 2, parts[0] == "pg_tblspc", UInt32(parts[1]) != nil {
                let declared = places.tablespaces[parts[1]] ?? places.tablespaces[target]
                sources.append(
                    .init(
                        number: parts[1],
                        directory: try finder.tablespace(parts[1], declared: declared, link: target, of: data)))
            } else if Self.essential.contains(parts[0]) {
                throw DrillError(
                    .backupUnusable, "is a symbolic link to `\(target)`: what lies there is not in the snapshot",
                    at: "\(data)/\(path)")
            } else {
                others.append(path)
            }
        }
        tablespaces = sources.sorted { $0.number < $1.number }
        leftOut = others.sorted()
        if let twice = Dictionary(grouping: sources, by: \.directory).first(where: { $0.value.count > 1 }) {
            let numbers = twice.value.map(\.number).sorted().joined(separator: ", ")
            throw DrillError(
                .backupUnusable, "the tablespaces \(numbers) would all come from `\(twice.key)`", at: data,
                hints: ["Say which is where: `tablespaces: { NUMBER: DIRECTORY }`."])
        }
    }

    /// Bytes of all parts; links in the WAL or a tablespace are refused on the way.
    func trees() throws -> (wal: FileTree?, tablespaces: [(source: Tablespaces.Source, tree: FileTree)]) {
        func part(_ directory: String) throws -> FileTree {
            let tree = try FileTree(of: directory)
            if let link = tree.links.first {
                throw DrillError(
                    .backupUnusable, "is a symbolic link to `\(link.target)`", at: "\(directory)/\(link.path)")
            }
            return tree
        }
        return (try wal.map(part), try tablespaces.map { ($0, try part($0.directory)) })
    }
}

/// Finds directories of a set and proves that they are in it.
private struct PlaceFinder {
    /// The set's folder; nil where the drill file names every place itself.
    var root: String?

    /// A place that the drill file names, every link resolved; nil where nothing is there.
    func directory(_ place: String) throws -> String? {
        guard let root else { return Self.real(place) }
        guard let top = Self.real(root), let found = Self.real("\(root)/\(place)") else { return nil }
        guard found == top || found.hasPrefix(top + "/") else {
            throw DrillError(
                .backupUnusable, "`\(place)` leads out of the set, to `\(found)`", at: root,
                hints: ["What a drill restores must lie in the set's own folder."])
        }
        return found
    }

    func wal(_ declared: String?, link: String?, of data: String, hasOwn: Bool) throws -> String? {
        if let declared {
            guard let found = try directory(declared) else {
                throw DrillError(.backupUnusable, "the WAL directory `\(declared)` is not there", at: root ?? data)
            }
            return found
        }
        guard let link else {
            guard hasOwn else {
                throw DrillError(.backupUnusable, "pg_wal is missing", at: data, hints: [Self.walHint])
            }
            return nil
        }
        guard let found = inside(link, of: data, folder: data, where: Self.holdsWAL) else {
            throw DrillError(
                .backupUnusable, "pg_wal is a symbolic link to `\(link)`, and that is not in the snapshot", at: data,
                hints: [Self.walHint])
        }
        return found
    }

    private static let walHint = "Where its files are in the snapshot, say so: `wal: DIRECTORY`."

    func tablespace(_ number: String, declared: String?, link: String, of data: String) throws -> String {
        let place = "\(data)/pg_tblspc/\(number)"
        if let declared {
            guard let found = try directory(declared) else {
                throw DrillError(.backupUnusable, "the tablespace's directory `\(declared)` is not there", at: place)
            }
            guard Self.holdsTablespace(found) else {
                throw DrillError(.backupUnusable, "`\(found)` holds no tablespace of PostgreSQL", at: place)
            }
            return found
        }
        guard let found = inside(link, of: data, folder: "\(data)/pg_tblspc", where: Self.holdsTablespace) else {
            throw DrillError(
                .backupUnusable, "the tablespace \(number) is a link to `\(link)`, and that is not in the snapshot",
                at: place, hints: ["Where its files are, say so: `tablespaces: { \(number): DIRECTORY }`."])
        }
        return found
    }

    /// Where a link of the server's leads inside the set: to where it points, or to the longest tail of that path which the set
    /// has, since a snapshot is mounted elsewhere than the volume was.
    private func inside(
        _ link: String, of data: String, folder: String, where fits: (String) -> Bool
    ) -> String? {
        guard let top = Self.real(root ?? data) else { return nil }
        func accepted(_ path: String) -> String? {
            Self.real(path).flatMap { $0.hasPrefix(top + "/") && $0 != data && fits($0) ? $0 : nil }
        }
        if let found = accepted(link.hasPrefix("/") ? link : "\(folder)/\(link)") { return found }
        let parts = link.split(separator: "/").filter { $0 != "." && $0 != ".." }
        for start in parts.indices {
            if let found = accepted(top + "/" + parts[start...].joined(separator: "/")) { return found }
        }
        return nil
    }

    private static func names(_ directory: String) -> [String] {
        // What cannot be listed does not fit; the copy would say why.
        (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    }

    private static func holdsWAL(_ directory: String) -> Bool { names(directory).contains { WALSegment($0) != nil } }

    /// Folders named by version and catalog, and nothing else.
    private static func holdsTablespace(_ directory: String) -> Bool {
        let names = names(directory).filter { $0 != "lost+found" }
        return !names.isEmpty && names.allSatisfy { $0.hasPrefix("PG_") }
    }

    private static func real(_ path: String) -> String? {
        guard let found = realpath(path, nil) else { return nil }
        defer { free(found) }
        var status = stat()
        guard stat(found, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { return nil }
        return String(cString: found)
    }
}
