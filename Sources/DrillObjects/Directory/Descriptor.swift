import CLinuxFiles
import DrillCore
import Foundation
import Glibc

/// An open file or directory, closed with its last user. Never opened for writing.
final class Descriptor: Sendable {
    let number: Int32

    init(owning number: Int32) { self.number = number }
    deinit { close(number) }

    /// Opens for reading. Neither follows a last symbolic link nor waits for a FIFO's writer, and leaves access times alone where
    /// the kernel allows that (to the owner and to root).
    /// - Parameter name: Relative to `directory`; the bytes end in NUL.
    static func open(
        at directory: Int32 = AT_FDCWD, _ name: UnsafePointer<CChar>, flags: Int32 = 0
    ) throws(FileFailure) -> Descriptor {
        let wanted = O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | flags
        var number = lf_open_at(directory, name, wanted | Int32(LF_NOATIME), 0)
        if number < 0, errno == EPERM { number = lf_open_at(directory, name, wanted, 0) }
        guard number >= 0 else { throw FileFailure(number: errno) }
        return Descriptor(owning: number)
    }

    func status() throws(FileFailure) -> lf_status { try Self.status(at: number, "") }

    /// What stands there; a symbolic link is not followed. An empty name is the directory itself.
    static func status(at directory: Int32, _ name: UnsafePointer<CChar>) throws(FileFailure) -> lf_status {
        var status = lf_status()
        guard lf_status_at(directory, name, &status) == 0 else { throw FileFailure(number: errno) }
        return status
    }

    /// Reads from an offset on until the buffer is full or the file ends.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileFailure) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(number, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + done)
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFailure(number: errno)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }
}

/// What the kernel answered to a call on a file.
struct FileFailure: Error {
    var number: Int32

    /// `permission denied`
    var text: String {
        let text = String(cString: strerror(number))
        return text.prefix(1).lowercased() + text.dropFirst()
    }

    /// That this file could not be looked at.
    func couldNotLook(_ action: String, at place: String) -> DrillError {
        var hints: [String] = []
        switch number {
        case EACCES, EPERM:
            hints = ["Run as a user who may read the whole backup: this process has user id \(geteuid())."]
        case EMFILE, ENFILE: hints = ["Raise the limit of open files (ulimit -n)."]
        case ESTALE, EIO: hints = ["Look at the disk or the network mount that holds the backup."]
        default: break
        }
        return DrillError(.couldNotLook, "cannot \(action): \(text)", at: place, hints: hints)
    }
}

extension lf_status {
    var kind: FolderEntry.Kind {
        switch mode & UInt32(Glibc.S_IFMT) {
        case UInt32(Glibc.S_IFREG): .file
        case UInt32(Glibc.S_IFDIR): .directory
        case UInt32(Glibc.S_IFLNK): .symbolicLink
        default: .other
        }
    }

    /// `a symbolic link`, for a person.
    var kindText: String {
        switch mode & UInt32(Glibc.S_IFMT) {
        case UInt32(Glibc.S_IFREG): "a file"
        case UInt32(Glibc.S_IFDIR): "a directory"
        case UInt32(Glibc.S_IFLNK): "a symbolic link"
        case UInt32(Glibc.S_IFIFO): "a FIFO"
        case UInt32(Glibc.S_IFSOCK): "a socket"
        default: "a device"
        }
    }
}
