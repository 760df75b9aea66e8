import DrillCore
import Foundation

/// One base backup in a directory or below a prefix of a bucket: what pg_basebackup wrote, plain or as tar archives.
struct BaseBackup: Sendable {
    var name: String
    var folder: any BackupFolder
    /// The name of `base.tar`, packed or not; nil where it is a plain data directory.
    var base: String?
    var wal: String?
    /// By number.
    var tablespaces: [String: String] = [:]
    /// Whether the names there say that a manifest is there.
    var hasManifest: Bool

    var place: String { folder.place }
    /// nil where it is in a bucket.
    var directory: String? { (folder as? LocalFolder)?.directory }

    /// The folder itself where it is a base backup, else each folder in it that is one.
    static func all(in folder: any BackupFolder) async throws -> [BaseBackup] {
        guard let entry = try await folder.entry("") else {
            // A bucket that answers has no directories that could be unmounted.
            guard folder is LocalFolder else { return [] }
            throw DrillError(
                .couldNotLook, "there is no such directory", at: folder.place,
                hints: ["Look at `base` in the drill file, and whether this user may read that place (is it mounted?)."]
            )
        }
        guard entry.kind == .directory else {
            throw DrillError(.couldNotLook, "this is not a directory", at: folder.place)
        }
        let names = try await folder.names(in: "")
        let own = folder.place.split(separator: "/").last.map(String.init) ?? folder.place
        if let backup = BaseBackup(own, folder, names) { return [backup] }
        var backups: [BaseBackup] = []
        for name in names where !name.hasPrefix(".") {
            guard try await folder.entry(name)?.kind == .directory else { continue }
            if let backup = BaseBackup(name, folder.folder(name), try await folder.names(in: name)) {
                backups.append(backup)
            }
        }
        return backups
    }

    /// nil where nothing there is of a base backup.
    private init?(_ name: String, _ folder: any BackupFolder, _ names: [String]) {
        self.name = name
        self.folder = folder
        hasManifest = names.contains("backup_manifest")
        for name in names {
            let stem = Packing.of(name).name
            guard stem.hasSuffix(".tar") else { continue }
            switch String(stem.dropLast(4)) {
            case "base": base = name
            case "pg_wal": wal = name
            case let number where Tablespaces.isNumber(number): tablespaces[number] = name
            default: break
            }
        }
        let signs = ["PG_VERSION", "backup_label", "backup_manifest", "backup_manifest.tmp", "global"]
        guard base != nil || signs.contains(where: names.contains) else { return nil }
    }

    func file(_ name: String, _ environment: DrillEnvironment) -> PackedFile {
        PackedFile(folder: folder, path: name, environment: environment)
    }

    /// pg_basebackup puts `backup_label` first; so much of the archive is looked at for the rest.
    private static let headBytes = 32 << 20

    /// What can be told without unpacking all of it.
    func facts(_ environment: DrillEnvironment) async throws -> BaseBackupFacts {
        var facts = BaseBackupFacts()
        if hasManifest { facts.manifest = ManifestFacts(try await manifestText()) }
        if let base {
            let extractor = TarExtractor(
                .memory(names: ["backup_label", "PG_VERSION", "tablespace_map"]), place: "\(place)/\(base)")
            let head = try await file(base, environment).head(Self.headBytes)
            try extractor.feed(head)
            facts.label = extractor.files["backup_label"].flatMap(BackupLabel.init)
            facts.isLabelBehind = facts.label == nil && !extractor.isOver && head.count == Self.headBytes
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
        guard try await folder.entry(name)?.kind == .file else { return nil }
        return try await folder.read(name, offset: 0, count: limit)
    }

    private static let manifestFrontBytes = 8 << 20
    private static let manifestEndBytes = 64 << 10

    /// Its front and its end: what stands between is a line for each file.
    private func manifestText() async throws -> String {
        let size = try await folder.entry("backup_manifest")?.sizeBytes ?? 0
        let front = try await folder.read("backup_manifest", offset: 0, count: Self.manifestFrontBytes)
        let end = max(Int64(front.count), size - Int64(Self.manifestEndBytes))
        guard end < size else { return String(decoding: front, as: UTF8.self) }
        return String(
            decoding: front
                + (try await folder.read("backup_manifest", offset: end, count: Self.manifestEndBytes)), as: UTF8.self)
    }

    /// Bytes of its files, nil where that would cost a listing of all of them; the newest change among those directly in it.
    func size() async throws -> (bytes: Int64?, newest: Date?) {
        var bytes: Int64 = 0
        var newest: Date?
        for name in try await folder.names(in: "") {
            guard let entry = try await folder.entry(name) else { continue }
            bytes += entry.sizeBytes
            if let changed = entry.modifiedAt { newest = max(newest ?? changed, changed) }
        }
        if let directory { return (try DataDirectoryCopy.survey(directory).bytes, newest) }
        return (base == nil ? nil : bytes, newest)
    }
}

struct BaseBackupFacts: Sendable {
    /// nil where `backup_label` is not there or not readable.
    var label: BackupLabel?
    /// It may stand further behind in a tar archive that pg_basebackup did not write.
    var isLabelBehind = false
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
        major = major ?? archive.major
        guard let label, let history = archive.backup(startingAt: label.start, timeline: label.timeline) else { return }
        stop = history.stop ?? stop
        stoppedAt = history.stopTimeText.flatMap { BackupLabel.instant($0, offsetSeconds: zoneOffsetSeconds) }
    }
}
