import DrillCore
import Foundation

/// Drill files, and what they name, on this machine.
package struct HostFiles: DrillFiles {
    package init() {}

    package func contents(of path: String, limitBytes: Int) throws -> [UInt8] {
        // O_NONBLOCK: a FIFO named by mistake must not hang us.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.unreadable(path, errno) }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw Self.unreadable(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw DrillError(.usage, "this is not a file", at: path, hints: ["Name a drill file."])
        }
        guard status.st_size <= limitBytes else {
            throw DrillError(
                .usage, "the drill file has \(status.st_size) bytes; \(limitBytes) are the limit", at: path,
                hints: ["Is this really a drill file?"])
        }
        do {
            return Array(try file.read(upToCount: limitBytes + 1) ?? Data())
        } catch {
            throw DrillError(.usage, "cannot read the drill file: \(error.localizedDescription)", at: path)
        }
    }

    package func directory(of path: String) -> String {
        let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        return ((absolute as NSString).standardizingPath as NSString).deletingLastPathComponent
    }

    package func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    package func isFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    package func isExecutable(_ path: String) -> Bool { faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0 }

    private static func unreadable(_ path: String, _ code: Int32) -> DrillError {
        DrillError(
            .usage, "cannot read the drill file: \(String(cString: strerror(code)))", at: path,
            hints: code == ENOENT ? ["`muster init \(path)` writes one to start from."] : [])
    }
}
