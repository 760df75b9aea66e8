import DrillCore

/// Archived WAL as files in a folder: a directory, or a prefix of a bucket.
struct ArchiveSource: WALSource {
    let folder: any BackupFolder
    let archive: WALArchive
    let scratch: Scratch
    let environment: DrillEnvironment

    var place: String { folder.place }

    /// What the archive had when it was listed: what comes later would not fit to what was judged.
    func fetch(_ name: String, to path: String) async throws -> WALFetch {
        if let file = archive.path(of: name) {
            try await unpack(file, to: path)
            return .found
        }
        // What a receiver was still writing, and what a primary left behind at its promotion.
        guard WALSegment(name) != nil, let file = archive.path(of: name + ".partial") else { return .absent }
        try await unpack(file, to: path)
        return .foundUnfinished
    }

    private func unpack(_ file: String, to path: String) async throws {
        do {
            try await PackedFile(folder: folder, path: file, environment: environment)
                .write(to: path, in: scratch)
        } catch {
            var error = DrillError(wrapping: error)
            let name = Packing.of(file).name.split(separator: "/").last.map(String.init) ?? file
            if error.code == .backupUnusable, let segment = WALSegment(name.prefix(24)) {
                error.what = "the WAL segment \(segment.name) (timeline \(segment.timeline)) \(error.what)"
            }
            throw error
        }
    }
}

/// No archive: a server then has only the WAL in its base backup.
struct NoArchive: WALSource {
    let place = "the base backup's own WAL"
    func fetch(_ name: String, to path: String) async throws -> WALFetch { .absent }
}
