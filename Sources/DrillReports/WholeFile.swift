import DrillCore
import Foundation
import Synchronization

/// Writes a file whole: a temporary file in the same directory, synced, renamed over the old one, the directory synced.
/// A reader sees the old bytes or the new ones, after a crash too.
package func writeWhole(_ bytes: [UInt8], to path: String) throws {
    let (directory, name) = splitPath(path)
    try writeWhole([(name, bytes)], in: directory)
}

/// The same for several files of one directory, one after the other.
func writeWhole(_ files: [(name: String, bytes: [UInt8])], in directory: String) throws {
    for (name, bytes) in files { try replace(name, in: directory, with: bytes) }
    try syncDirectory(directory)
}

private func replace(_ name: String, in directory: String, with bytes: [UInt8]) throws {
    let path = "\(directory)/\(name)"
    let temporary = "\(directory)/.\(name).\(getpid())-\(temporaryNumber.add(1, ordering: .relaxed).newValue)"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw ledgerError(errno, "the report could not be created", at: path) }
    do {
        defer { close(descriptor) }
        try write(bytes, to: descriptor, path: path)
        guard fsync(descriptor) == 0 else { throw ledgerError(errno, "the report could not be synced", at: path) }
        guard rename(temporary, path) == 0 else {
            throw ledgerError(errno, "the report could not be put in place", at: path)
        }
    } catch {
        unlink(temporary)
        throw error
    }
}

/// All of the bytes, however many calls that takes.
package func write(_ bytes: [UInt8], to descriptor: Int32, path: String) throws {
    try bytes.withUnsafeBytes { buffer in
        var written = 0
        while written < buffer.count {
            let count = Foundation.write(descriptor, buffer.baseAddress! + written, buffer.count - written)
            if count < 0 {
                guard errno == EINTR else { throw ledgerError(errno, "the report could not be written", at: path) }
            } else {
                written += count
            }
        }
    }
}

/// That directory and those above it, as the umask says.
func makeDirectories(_ path: String) throws {
    do {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    } catch let error as CocoaError {
        let number = (error.userInfo[NSUnderlyingErrorKey] as? POSIXError)?.code.rawValue ?? EIO
        throw ledgerError(number, "the directory could not be made", at: path)
    }
}

func syncDirectory(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ledgerError(errno, "the directory could not be opened", at: path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw ledgerError(errno, "the directory could not be synced", at: path) }
}

private func splitPath(_ path: String) -> (directory: String, name: String) {
    guard let slash = path.lastIndex(of: "/") else { return (".", path) }
    let directory = path[..<slash]
    return (directory.isEmpty ? "/" : String(directory), String(path[path.index(after: slash)...]))
}

private let temporaryNumber = Atomic<Int>(0)
