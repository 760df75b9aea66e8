import DrillCore
import Foundation

/// A file of this machine, read from front to back on a queue of its own.
actor LocalFile {
    private let executor = QueueExecutor(label: "muster.dump")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    nonisolated let path: String
    private var descriptor: Int32

    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw unreadable(path) }
    }

    deinit { close(descriptor) }

    /// The next bytes; empty at the end.
    func next(_ count: Int = 1 << 20) throws -> [UInt8] {
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            var got = read(descriptor, buffer.baseAddress, count)
            while got < 0, errno == EINTR { got = read(descriptor, buffer.baseAddress, count) }
            failed = got < 0
            filled = max(0, got)
        }
        if failed { throw unreadable(path) }
        return bytes
    }
}

private func unreadable(_ path: String) -> DrillError {
    DrillError(.couldNotLook, "cannot be read: \(String(cString: strerror(errno)))", at: path)
}

/// A folder of this machine, for a dump that the drill file names by its path.
struct LocalFolder: BackupFolder {
    let directory: String

    var place: String { directory }

    private func path(_ relative: String) -> String {
        if relative.isEmpty { return directory }
        return relative.hasPrefix("/") ? relative : directory + "/" + relative
    }

    func entry(_ path: String) async throws -> FolderEntry? {
        var status = stat()
        // A link is followed: the drill file's author put its name there.
        guard stat(self.path(path), &status) == 0 else {
            if errno == ENOENT || errno == ENOTDIR { return nil }
            throw unreadable(self.path(path))
        }
        let kind: FolderEntry.Kind =
            switch status.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            default: .other
            }
        return FolderEntry(
            kind: kind, sizeBytes: Int64(status.st_size),
            modifiedAt: Date(timeIntervalSince1970: Double(status.st_mtim.tv_sec)))
    }

    func names(in path: String) async throws -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: self.path(path))
                .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        } catch {
            throw DrillError(.couldNotLook, "cannot be listed", at: self.path(path), cause: error)
        }
    }

    func read(_ path: String, offset: Int64, count: Int) async throws -> [UInt8] {
        do {
            let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: self.path(path)))
            try file.seek(toOffset: UInt64(max(0, offset)))
            return Array(try file.read(upToCount: count) ?? Data())
        } catch {
            throw DrillError(.couldNotLook, "cannot be read", at: self.path(path), cause: error)
        }
    }

    func localPath(
        _ path: String, in scratch: Scratch, progress: @Sendable (Int64) -> Void
    ) async throws -> String { self.path(path) }

    func newestModification(limit: Int) async throws -> Date? { try await entry("")?.modifiedAt }

    func folder(_ path: String) -> any BackupFolder { LocalFolder(directory: self.path(path)) }
}
