import DrillCore
import Foundation

/// One base backup in a directory: what pg_basebackup wrote, plain or as tar archives.
struct BaseBackup: Sendable {
    struct Archive: Sendable {
        var path: String
        func file(_ environment: DrillEnvironment) -> PackedFile {
            PackedFile(folder: LocalFolder(directory: "/"), path: path, environment: environment)
        }
    }

    var name: String
    var directory: String
    /// nil where it is a plain data directory.
    var base: Archive?
    var wal: Archive?
    /// By number.
    var tablespaces: [String: Archive] = [:]
    /// Whether the names there say that a manifest is there.
    var hasManifest: Bool

    /// The directory itself where it is a base backup, else each folder in it that is one.
    static func all(in directory: String) throws -> [BaseBackup] {
        if let backup = try BaseBackup(directory) { return [backup] }
        return try names(in: directory).filter { !$0.hasPrefix(".") }.compactMap {
            try BaseBackup("\(directory)/\($0)")
        }
    }

    private static func names(in directory: String) throws -> [String] {
        var status = stat()
        guard stat(directory, &status) == 0 else {
            throw DrillError(
                .couldNotLook, "there is no such directory", at: directory,
                hints: ["Look at `base` in the drill file, and whether this user may read that place (is it mounted?)."]
            )
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return [] }
        do { return try FileManager.default.contentsOfDirectory(atPath: directory).sorted() } catch {
            throw DrillError(.couldNotLook, "cannot be listed", at: directory, cause: error)
        }
    }

    /// nil where nothing there is of a base backup.
    private init?(_ directory: String) throws {
        self.directory = directory
        name = directory.split(separator: "/").last.map(String.init) ?? directory
        let names = try Self.names(in: directory)
        hasManifest = names.contains("backup_manifest")
        for name in names {
            let stem = Packing.of(name).name
            guard stem.hasSuffix(".tar") else { continue }
            let archive = Archive(path: "\(directory)/\(name)")
            switch String(stem.dropLast(4)) {
            case "base": base = archive
            case "pg_wal": wal = archive
            case let number where !number.isEmpty && number.utf8.allSatisfy({ (0x30...0x39).contains($0) }):
                tablespaces[number] = archive
            default: break
            }
        }
        let signs = ["PG_VERSION", "backup_label", "backup_manifest", "backup_manifest.tmp", "global"]
        guard base != nil || signs.contains(where: names.contains) else { return nil }
    }

    /// What can be told without unpacking all of it.
    func facts(_ environment: DrillEnvironment) async throws -> BaseBackupFacts {
        var facts = BaseBackupFacts()
        if hasManifest { facts.manifest = ManifestFacts(try await manifestText()) }
        if let base {
            let extractor = TarExtractor(
                .memory(names: ["backup_label", "PG_VERSION", "tablespace_map"]), place: base.path)
            try extractor.feed(try await base.file(environment).head(32 << 20))
            facts.label = extractor.files["backup_label"].flatMap(BackupLabel.init)
            facts.major = extractor.files["PG_VERSION"].flatMap { majorVersion(String(decoding: $0, as: UTF8.self)) }
            facts.systemIdentifier = facts.manifest?.systemIdentifier
        } else {
            facts.label = try await content("backup_label", 1 << 16).flatMap(BackupLabel.init)
            facts.major = try await content("PG_VERSION", 64).flatMap {
                majorVersion(String(decoding: $0, as: UTF8.self))
            }
            // src/include/catalog/pg_control.h: the first field.
            facts.systemIdentifier = try await content("global/pg_control", 8).flatMap {
                $0.count == 8 ? littleEndian($0[...]) : nil
            }
        }
        guard let label = facts.label else { return facts }
        let offset = facts.manifest?.labelWrittenAt.flatMap {
            BackupLabel.offsetSeconds(local: label.startTimeText, instant: $0)
        }
        facts.zoneOffsetSeconds = offset
        facts.startedAt = BackupLabel.instant(label.startTimeText, offsetSeconds: offset)
        return facts
    }

    private func content(_ name: String, _ limit: Int) async throws -> [UInt8]? {
        let path = "\(directory)/\(name)"
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        return try await LocalFile(path).next(limit)
    }

    /// Its front and its end: what stands between is a line for each file.
    private func manifestText() async throws -> String {
        let path = "\(directory)/backup_manifest"
        let folder = LocalFolder(directory: directory)
        let size = try await folder.entry("backup_manifest")?.sizeBytes ?? 0
        let front = try await LocalFile(path).next(8 << 20)
        let end = try await folder.read(
            "backup_manifest", offset: max(Int64(front.count), size - (64 << 10)), count: 64 << 10)
        return String(decoding: front + end, as: UTF8.self)
    }

    /// Bytes of its files; the newest change among those directly in it.
    func size() throws -> (bytes: Int64, newest: Date?) {
        let tree = try DataDirectoryCopy.survey(directory)
        var newest: Date?
        for name in try Self.names(in: directory) {
            var status = stat()
            guard lstat("\(directory)/\(name)", &status) == 0 else { continue }
            let changed = Date(timeIntervalSince1970: Double(status.st_mtim.tv_sec))
            newest = max(newest ?? changed, changed)
        }
        return (tree.bytes, newest)
    }
}

struct BaseBackupFacts: Sendable {
    /// nil where `backup_label` is not there or not readable.
    var label: BackupLabel?
    var manifest: ManifestFacts?
    var major: Int?
    var systemIdentifier: UInt64?
    var startedAt: Date?
    /// From the archive's history file; to the second.
    var stoppedAt: Date?
    var stop: LSN?
    var zoneOffsetSeconds: Int?

    /// What the archive knows of this backup.
    mutating func add(_ archive: WALArchive) {
        stop = manifest?.end
        guard let label, let history = archive.backup(startingAt: label.start, timeline: label.timeline) else { return }
        stop = history.stop ?? stop
        stoppedAt = history.stopTimeText.flatMap { BackupLabel.instant($0, offsetSeconds: zoneOffsetSeconds) }
    }
}
