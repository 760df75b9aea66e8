import CDataFiles
import DrillCore
import Foundation

/// What is below a directory, found without following a link and without a trace in access times (P26).
struct FileTree: Sendable {
    struct File: Sendable {
        var path: String
        var sizeBytes: Int64
        /// Fewer where it has holes.
        var storedBytes: Int64
    }

    /// Relative paths, each behind the one that holds it.
    var directories: [String] = []
    var files: [File] = []
    /// Relative paths and what they point to.
    var links: [(path: String, target: String)] = []
    /// Relative paths of sockets, which are no part of a backup.
    var sockets: [String] = []

    var bytes: Int64 { files.reduce(0) { $0 + $1.sizeBytes } }

    /// What file systems keep beside the user's files at the top of a volume.
    private static let foreign: Set<String> = ["lost+found", ".zfs", ".snapshot", ".snapshots"]

    /// - Throws: `backupUnusable` for a device or a pipe, `couldNotLook` for what cannot be read.
    init(of root: String) throws {
        var pending = [""]
        while let folder = pending.popLast() {
            try Task.checkCancellation()
            let descriptor = try Self.open(folder.isEmpty ? root : "\(root)/\(folder)")
            defer { close(descriptor) }
            for name in try Self.names(in: descriptor, place: "\(root)/\(folder)") {
                if folder.isEmpty, Self.foreign.contains(name) { continue }
                let path = folder.isEmpty ? name : "\(folder)/\(name)"
                if try add(path, name, in: descriptor, place: "\(root)/\(path)") { pending.append(path) }
            }
        }
    }

    /// - Returns: Whether it is a directory, to be gone through.
    private mutating func add(_ path: String, _ name: String, in folder: Int32, place: String) throws -> Bool {
        var status = stat()
        guard fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw Self.unreadable(place)
        }
        switch status.st_mode & S_IFMT {
        case S_IFREG:
            files.append(
                File(path: path, sizeBytes: Int64(status.st_size), storedBytes: Int64(status.st_blocks) * 512))
        case S_IFDIR:
            directories.append(path)
            return true
        case S_IFSOCK: sockets.append(path)
        case S_IFLNK:
            do { links.append((path, try FileManager.default.destinationOfSymbolicLink(atPath: place))) } catch {
                throw DrillError(.couldNotLook, "cannot be read", at: place, cause: error)
            }
        default: throw DrillError(.backupUnusable, "is a device or a pipe", at: place)
        }
        return false
    }

    private static func open(_ path: String) throws -> Int32 {
        // The slash lets the directory itself be a link.
        let descriptor = df_open_source(path + "/", O_DIRECTORY)
        guard descriptor >= 0 else { throw unreadable(path) }
        return descriptor
    }

    private static func names(in descriptor: Int32, place: String) throws -> [String] {
        guard let stream = fdopendir(dup(descriptor)) else { throw unreadable(place) }
        defer { closedir(stream) }
        var names: [String] = []
        errno = 0
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
            }
            guard let name else {
                throw DrillError(.couldNotLook, "holds a file whose name is no UTF-8", at: place)
            }
            if name != ".", name != ".." { names.append(name) }
            errno = 0
        }
        guard errno == 0 else { throw unreadable(place) }
        return names
    }

    static func unreadable(_ path: String) -> DrillError {
        let code = errno
        return DrillError(
            .couldNotLook, "cannot be read: \(String(cString: strerror(code)))", at: path,
            hints: code == EACCES ? ["Run as a user who may read the backup, or as root."] : [])
    }
}
