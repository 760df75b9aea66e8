import DrillCore
import Foundation

/// Brings a base backup into scratch as a data directory that a server of ours may recover.
struct BaseBackupCopy: Sendable {
    var backup: BaseBackup
    var environment: DrillEnvironment
    var account: ServerAccount
    var settings: ClusterSettings
    var scratch: Scratch

    struct Copied: Sendable {
        var tools: PostgresTools
        var control: ControlData
        var notes: [String]
    }

    private var folder: String { scratch.directory + "/server" }
    private var dataDirectory: String { folder + "/pgdata" }
    private var copier: DataDirectoryCopy { DataDirectoryCopy(environment: environment, account: account) }
    private func tablespace(_ number: String) -> String { folder + "/tablespaces/" + number }

    /// - Parameter major: Of the backup; nil where only the whole archive tells.
    func copy(major: Int?) async throws -> Copied {
        var tools: PostgresTools?
        if let major { tools = try await self.tools(major) }
        let tablespaces = backup.base == nil ? try await copyPlain() : try await unpack()
        guard let major = try major ?? versionOfCopy() else {
            throw DrillError(.backupUnusable, "PG_VERSION is missing", at: backup.directory)
        }
        let found: PostgresTools
        if let tools { found = tools } else { found = try await self.tools(major) }
        guard FileManager.default.fileExists(atPath: dataDirectory + "/backup_label") else {
            throw DrillError(.backupUnusable, "backup_label is missing", at: backup.directory)
        }
        for number in tablespaces {
            try copier.link("\(dataDirectory)/pg_tblspc/\(number)", to: tablespace(number))
        }
        try await copier.give(folder + "/tablespaces")
        try await copier.give(dataDirectory)
        let notes = try await verify(found)
        try copier.removeForeignState(dataDirectory)
        return Copied(
            tools: found, control: try await ControlData.read(dataDirectory, found, environment), notes: notes)
    }

    private func tools(_ major: Int) async throws -> PostgresTools {
        try await RecoveredCluster.tools(major: major, bin: settings.bin, at: backup.directory, environment)
    }

    private func versionOfCopy() throws -> Int? {
        guard let bytes = FileManager.default.contents(atPath: dataDirectory + "/PG_VERSION") else { return nil }
        return majorVersion(String(decoding: bytes, as: UTF8.self))
    }

    // MARK: - Plain

    /// - Returns: Numbers of the tablespaces that were copied.
    private func copyPlain() async throws -> [String] {
        let tree = try DataDirectoryCopy.survey(backup.directory)
        let root = URL(fileURLWithPath: backup.directory).deletingLastPathComponent().path
        let sources = try Tablespaces(declared: settings.tablespaces, root: root)
            .sources(tree.links, of: backup.directory)
        guard !tree.links.contains(where: { $0.path == "pg_wal" }) else {
            throw DrillError(
                .backupUnusable, "pg_wal is a symbolic link out of the backup", at: backup.directory,
                hints: ["Copy the files it points to into the backup."])
        }
        var bytes = tree.bytes
        for source in sources {
            let tree = try DataDirectoryCopy.survey(source.directory)
            if let link = tree.links.first {
                throw DrillError(
                    .backupUnusable, "is a symbolic link in a tablespace", at: "\(source.directory)/\(link.path)")
            }
            bytes += tree.bytes
        }
        try DataDirectoryCopy.requireSpace(bytes, in: scratch.directory)
        try await copier.copy(backup.directory, to: dataDirectory)
        for socket in tree.sockets { try copier.remove("\(dataDirectory)/\(socket)") }
        for source in sources {
            try account.makeFolder(tablespace(source.number))
            try await copier.copy(source.directory, to: tablespace(source.number))
        }
        return sources.map(\.number)
    }

    // MARK: - Tar

    private func unpack() async throws -> [String] {
        let free = try DataDirectoryCopy.freeBytes(scratch.directory)
        guard let base = backup.base else { return [] }
        let links = try await unpack(base, into: dataDirectory, limitBytes: free)
        for number in backup.tablespaces.keys.sorted() {
            guard let archive = backup.tablespaces[number] else { continue }
            try account.makeFolder(tablespace(number))
            try await unpack(archive, into: tablespace(number), limitBytes: free)
        }
        let wanted = Set(links.compactMap { $0.path.split(separator: "/").last.map(String.init) } + (try mapped()))
        let missing = wanted.subtracting(backup.tablespaces.keys).sorted()
        guard missing.isEmpty else {
            throw DrillError(
                .backupUnusable, "the archive of tablespace \(missing.joined(separator: ", ")) is missing",
                at: backup.directory)
        }
        if let wal = backup.wal {
            let folder = dataDirectory + "/pg_wal"
            if !FileManager.default.fileExists(atPath: folder) { try account.makeFolder(folder) }
            try await unpack(wal, into: folder, limitBytes: free)
        }
        return backup.tablespaces.keys.sorted()
    }

    @discardableResult
    private func unpack(
        _ archive: BaseBackup.Archive, into directory: String, limitBytes: Int64
    ) async throws -> [(path: String, target: String)] {
        let extractor = TarExtractor(.directory(directory), place: archive.path, limitBytes: limitBytes)
        try await archive.file(environment).read(in: scratch) { try extractor.feed($0) }
        try extractor.finish()
        return extractor.links
    }

    /// Numbers of the tablespaces that `tablespace_map` names.
    private func mapped() throws -> [String] {
        guard let bytes = FileManager.default.contents(atPath: dataDirectory + "/tablespace_map") else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline)
            .compactMap { $0.split(separator: " ").first.map(String.init) }
    }

    // MARK: - Manifest

    /// Has pg_verifybackup look at the copy. It reads no WAL; recovery does that.
    private func verify(_ tools: PostgresTools) async throws -> [String] {
        guard backup.hasManifest else {
            return ["The base backup has no manifest, so pg_verifybackup could not look at its files."]
        }
        let manifest = backup.directory + "/backup_manifest"
        let tool = tools.path("pg_verifybackup")
        guard FileManager.default.isExecutableFile(atPath: tool) else {
            return ["There is no pg_verifybackup in \(tools.directory), so the manifest was not looked at."]
        }
        let result = try await environment.processes.run(
            Command(
                tool, ["--no-parse-wal", "--quiet", "--manifest-path", manifest, dataDirectory],
                environment: ["LC_ALL": "C"]))
        guard result.succeeded else {
            let words = result.errorText.split(whereSeparator: \.isNewline).map(String.init)
            throw DrillError(
                .backupUnusable, "pg_verifybackup: \(words.first ?? result.endingText)", at: backup.directory,
                hints: Array(words.dropFirst().prefix(10)))
        }
        return ["pg_verifybackup found every file as the manifest has it."]
    }
}
