import CLinuxFiles
import DrillCore
import Foundation
import Glibc

/// Object keys as paths below a directory. No path leads out of it: not by `..`, not by a link (pitfall X4).
enum KeyPath {
    /// NAME_MAX of Linux's own file systems.
    static let usualComponentLimit = 255
    /// PATH_MAX without its NUL.
    static let pathLimit = 4095

    /// Why no path can hold that key; nil where one can (S36, S37).
    static func fault(of key: ObjectKey, componentLimit: Int) -> String? {
        let bytes = key.bytes
        if bytes.isEmpty { return "the key is empty" }
        if bytes.contains(0) { return "it holds a NUL byte, which no path can" }
        if bytes.first == UInt8(ascii: "/") { return "it starts with '/', and a path has no empty name" }
        if bytes.last == UInt8(ascii: "/") { return "it ends in '/', and only a directory's path does" }
        if bytes.count > pathLimit { return "it is longer than the \(pathLimit) bytes of a path" }
        for name in bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            if name.isEmpty { return "it holds '//', and a path has no empty name" }
            if name.elementsEqual(".".utf8) || name.elementsEqual("..".utf8) {
                return "it holds the name '\(printable(name))', which means a directory"
            }
            if name.count > componentLimit {
                return "a name in it is \(name.count) bytes long, and the file system's limit is \(componentLimit)"
            }
        }
        return nil
    }

    /// Opens what stands at that key. A link anywhere on the way is `ELOOP` (or `ENOTDIR`).
    static func open(_ key: ObjectKey, below root: Descriptor, flags: Int32) throws(FileFailure) -> Descriptor {
        let path = (key.bytes + [0]).map { CChar(bitPattern: $0) }
        // openat2 refuses flags beside O_PATH that mean nothing there.
        let wanted = flags | O_NOFOLLOW | O_CLOEXEC | (flags & Int32(LF_PATH) == 0 ? O_NONBLOCK : 0)
        let number = lf_open_beneath(root.number, path, wanted)
        if number >= 0 { return Descriptor(owning: number) }
        guard [ENOSYS, EPERM].contains(errno) else { throw FileFailure(number: errno) }
        return try openByComponents(key, below: root, wanted)
    }

    /// For kernels before 5.6, and where a seccomp filter refuses openat2.
    static func openByComponents(
        _ key: ObjectKey, below root: Descriptor, _ flags: Int32
    ) throws(FileFailure) -> Descriptor {
        var directory = root
        let names = key.bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        for (index, name) in names.enumerated() {
            guard !name.isEmpty, !name.elementsEqual(".".utf8), !name.elementsEqual("..".utf8) else {
                throw FileFailure(number: ENOENT)
            }
            let isLast = index == names.count - 1
            let wanted = isLast ? flags : Int32(LF_PATH) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            directory = try openName((name + [0]).map { CChar(bitPattern: $0) }, in: directory, wanted)
        }
        return directory
    }

    private static func openName(
        _ name: [CChar], in directory: Descriptor, _ flags: Int32
    ) throws(FileFailure) -> Descriptor {
        let number = lf_open_at(directory.number, name, flags, 0)
        if number >= 0 { return Descriptor(owning: number) }
        var failure = FileFailure(number: errno)
        // O_DIRECTORY tells a link as what it is not.
        if failure.number == ENOTDIR, try Descriptor.status(at: directory.number, name).kind == .symbolicLink {
            failure.number = ELOOP
        }
        throw failure
    }

    /// Whether each name on that path stands in its directory with exactly these bytes. A file system that folds case or
    /// normalises Unicode finds a file under names that it does not have (S13).
    static func isSpelledExactly(_ key: ObjectKey, below root: Descriptor) throws -> Bool {
        var directory = try Descriptor.open(at: root.number, ".", flags: O_DIRECTORY)
        let names = key.bytes.split(separator: UInt8(ascii: "/"))
        for (index, name) in names.enumerated() {
            var isThere = false
            try DirectoryEntries.forEach(in: directory) { entry, _ in
                if entry.count == name.count, entry.elementsEqual(name) { isThere = true }
            }
            guard isThere else { return false }
            if index < names.count - 1 {
                directory = try Descriptor.open(
                    at: directory.number, (name + [0]).map { CChar(bitPattern: $0) }, flags: O_DIRECTORY)
            }
        }
        return true
    }
}
