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
        var label: BackupLabel
        var notes: [String]
    }

    private var folder: String { scratch.directory + "/server" }
    private var dataDirectory: String { folder + "/pgdata" }
    private var copier: DataDirectoryCopy { DataDirectoryCopy(environment: environment, account: account) }
    private func tablespace(_ number: String) -> String { folder + "/tablespaces/" + number }

    /// - Parameter major: Of the backup; nil where only the whole archive tells.
    func copy(major: Int?, progress: any ProgressSink) async throws -> Copied {
        var tools: PostgresTools?
        if let major { tools = try await self.tools(major) }
        let tablespaces: [String]
        if backup.base != nil {
            tablespaces = try await unpack()
        } else if let directory = backup.directory {
            tablespaces = try await copyPlain(directory)
        } else {
            tablespaces = try await download(progress)
        }
        guard let major = try versionOfCopy() ?? major else {
            throw DrillError(.backupUnusable, "PG_VERSION is missing", at: backup.place)
        }
        let found: PostgresTools
        if let tools, tools.major == major { found = tools } else { found = try await self.tools(major) }
        let labelBytes = FileManager.default.contents(atPath: dataDirectory + "/backup_label")
        guard let label = labelBytes.flatMap({ BackupLabel(Array($0)) }) else {
            throw DrillError(.backupUnusable, "backup_label is missing or not readable", at: backup.place)
        }
        for number in tablespaces {
            try copier.link("\(dataDirectory)/pg_tblspc/\(number)", to: tablespace(number))
        }
        try await copier.give(folder + "/tablespaces")
        try await copier.give(dataDirectory)
        let notes = try await verify(found)
        try copier.removeForeignState(dataDirectory)
        return Copied(
            tools: found, control: try await ControlData.read(dataDirectory, found, environment), label: label,
            notes: notes)
    }

    private func tools(_ major: Int) async throws -> PostgresTools {
        try await RecoveredCluster.tools(major: major, bin: settings.bin, at: backup.place, environment)
    }

    private func versionOfCopy() throws -> Int? {
        guard let bytes = FileManager.default.contents(atPath: dataDirectory + "/PG_VERSION") else { return nil }
        return majorVersion(String(decoding: bytes, as: UTF8.self))
    }

    // MARK: - Plain

    /// - Returns: Numbers of the tablespaces that were copied.
    private func copyPlain(_ directory: String) async throws -> [String] {
        let tree = try DataDirectoryCopy.survey(directory)
        let root = URL(fileURLWithPath: directory).deletingLastPathComponent().path
        let sources = try Tablespaces(declared: settings.tablespaces, root: root).sources(tree.links, of: directory)
        guard !tree.links.contains(where: { $0.path == "pg_wal" }) else {
            throw DrillError(
                .backupUnusable, "pg_wal is a symbolic link out of the backup", at: backup.place,
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
        try await copier.copy(directory, to: dataDirectory)
        for source in sources {
            try account.makeFolder(tablespace(source.number))
            try await copier.copy(source.directory, to: tablespace(source.number))
        }
        return sources.map(\.number)
    }

    // MARK: - Plain, in a bucket

    /// Directories that a server needs and a bucket does not keep, since they may be empty. (PostgreSQL manual, Database File
    /// Layout.)
    private static let emptyDirectories = [
        "pg_commit_ts", "pg_dynshmem", "pg_logical", "pg_logical/mappings", "pg_logical/snapshots", "pg_notify",
        "pg_replslot", "pg_serial", "pg_snapshots", "pg_stat", "pg_stat_tmp", "pg_subtrans", "pg_tblspc", "pg_twophase",
        "pg_wal", "pg_wal/archive_status",
    ]

    /// What stood behind a link in `pg_tblspc` is a folder of keys in a bucket.
    /// - Returns: Numbers of the tablespaces that came along.
    private func download(_ progress: any ProgressSink) async throws -> [String] {
        let local = try await backup.folder.localPath("", in: scratch) { progress.advance(to: $0) }
        let files = FileManager.default
        guard rmdir(dataDirectory) == 0, rename(local, dataDirectory) == 0 else {
            throw DrillError(.couldNotLook, "cannot be moved: \(String(cString: strerror(errno)))", at: local)
        }
        for name in Self.emptyDirectories where !files.fileExists(atPath: "\(dataDirectory)/\(name)") {
            try account.makeFolder("\(dataDirectory)/\(name)")
        }
        do {
            let numbers = try files.contentsOfDirectory(atPath: dataDirectory + "/pg_tblspc")
                .filter(Tablespaces.isNumber).sorted()
            for number in numbers {
                try files.moveItem(atPath: "\(dataDirectory)/pg_tblspc/\(number)", toPath: tablespace(number))
            }
            return numbers
        } catch {
            throw DrillError(.couldNotLook, "cannot be moved", at: dataDirectory + "/pg_tblspc", cause: error)
        }
    }

    // MARK: - Tar

    private func unpack() async throws -> [String] {
        guard let base = backup.base else { return [] }
        let links = try await unpack(base, into: dataDirectory)
        for number in backup.tablespaces.keys.sorted() {
            guard let archive = backup.tablespaces[number] else { continue }
            try account.makeFolder(tablespace(number))
            try await unpack(archive, into: tablespace(number))
        }
        let wanted = Set(links.compactMap { $0.path.split(separator: "/").last.map(String.init) } + (try mapped()))
        let missing = wanted.subtracting(backup.tablespaces.keys).sorted()
        guard missing.isEmpty else {
            throw DrillError(
                .backupUnusable, "the archive of tablespace \(missing.joined(separator: ", ")) is missing",
                at: backup.place)
        }
        if let wal = backup.wal {
            let folder = dataDirectory + "/pg_wal"
            if !FileManager.default.fileExists(atPath: folder) { try account.makeFolder(folder) }
            try await unpack(wal, into: folder)
        }
        return backup.tablespaces.keys.sorted()
    }

    @discardableResult
    private func unpack(_ name: String, into directory: String) async throws -> [(path: String, target: String)] {
        let file = backup.file(name, environment)
        let extractor = TarExtractor(
            .directory(directory), place: file.place,
            limitBytes: try DataDirectoryCopy.freeBytes(scratch.directory))
        try await file.read(in: scratch) { try extractor.feed($0) }
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
        var manifest = dataDirectory + "/backup_manifest"
        if !FileManager.default.fileExists(atPath: manifest) {
            manifest = try await backup.folder.localPath("backup_manifest", in: scratch) { _ in }
        }
        let tool = tools.path("pg_verifybackup")
        guard FileManager.default.isExecutableFile(atPath: tool) else {
            return ["There is no pg_verifybackup in \(tools.directory), so the manifest was not looked at."]
        }
        let result = try await environment.processes.run(
            Command(
                tool, ["--no-parse-wal", "--quiet", "--manifest-path", manifest, dataDirectory],
                environment: ["LC_ALL": "C"]))
        guard result.succeeded else {
            let words = result.errorText.split(whereSeparator: \.isNewline)
                .map { String($0.replacing("pg_verifybackup: error: ", with: "")) }
            throw DrillError(
                .backupUnusable, "pg_verifybackup: \(words.first ?? result.endingText)", at: backup.place,
                hints: Array(words.dropFirst().prefix(10)))
        }
        return ["pg_verifybackup found every file as the manifest has it."]
    }
}
