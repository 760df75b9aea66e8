import CHost
import DrillCore
import Foundation

/// A system call that failed.
struct SystemFailure: Error, CustomStringConvertible {
    var code: Int32
    var description: String { errorText(code) }
}

/// Removes what an open directory holds, whatever hostile restored data may have made of it: never through a link,
/// never into another mount, and however deep it goes.
struct TreeRemoval {
    /// Deeper directories are first moved up into the root, so that open descriptors stay few.
    private static let depthLimit = 60
    /// How often a directory is gone through while something still adds to it.
    private static let passes = 8

    private let root: OwnedDescriptor
    private let place: String
    private let lastName: String
    private var movedCount = 0
    private var failures: [String] = []
    private var failureCount = 0

    /// - Parameter keepingUntilLast: The name in the root that goes when all else is gone, so that an interrupted
    ///   removal can be taken up again.
    init(root: OwnedDescriptor, place: String, keepingUntilLast: String) {
        self.root = root
        self.place = place
        lastName = keepingUntilLast
    }

    /// - Throws: `cleanupFailed` with the first names that could not be removed; all others are gone then.
    mutating func run() throws {
        repeat {
            let moved = movedCount
            empty(root, path: "", depth: 0)
            if movedCount == moved { break }
        } while true
        guard failureCount == 0 else {
            let more = failureCount > failures.count ? ["… and \(failureCount - failures.count) more."] : []
            throw DrillError(
                .cleanupFailed, "\(failureCount) entries could not be removed", at: place, hints: failures + more)
        }
        guard unlinkat(root.number, lastName, 0) == 0 || errno == ENOENT else {
            throw DrillError(.cleanupFailed, "cannot remove the marker: \(errorText(errno))", at: place)
        }
    }

    private mutating func empty(_ directory: OwnedDescriptor, path: String, depth: Int) {
        for _ in 0..<Self.passes {
            let before = failureCount
            var removed = 0
            do {
                try forEachEntry(of: directory) { name in
                    if depth == 0 && strcmp(name, lastName) == 0 { return }
                    removed += 1
                    remove(name, in: directory, path: path, depth: depth)
                }
            } catch {
                note(path, "\(error)")
            }
            // What cannot be removed now will not be in the next pass either.
            if removed == 0 || failureCount > before { return }
        }
    }

    private mutating func remove(_ name: UnsafePointer<CChar>, in directory: OwnedDescriptor, path: String, depth: Int)
    {
        if unlinkat(directory.number, name, 0) == 0 || errno == ENOENT { return }
        let code = errno
        let entry = "\(path)/\(String(cString: name))"
        guard code == EISDIR || code == EPERM || code == EACCES else { return note(entry, errorText(code)) }
        if depth >= Self.depthLimit {
            movedCount += 1
            guard renameat(directory.number, name, root.number, ".muster-deep-\(movedCount)") == 0 else {
                return note(entry, errorText(errno))
            }
            return
        }
        switch OwnedDescriptor.directory(name, in: directory) {
        case .success(let inner):
            empty(inner, path: entry, depth: depth + 1)
            if unlinkat(directory.number, name, AT_REMOVEDIR) != 0 && errno != ENOENT {
                // What stands in it was noted already.
                if errno != ENOTEMPTY || failureCount == 0 { note(entry, errorText(errno)) }
            }
        case .failure(let failure) where failure.code == EXDEV:
            note(entry, "another file system is mounted there; unmount it first")
        case .failure(let failure):
            note(entry, failure.code == ENOTDIR || failure.code == ELOOP ? errorText(code) : "\(failure)")
        }
    }

    private mutating func note(_ path: String, _ reason: String) {
        failureCount += 1
        if failures.count < 10 { failures.append("\(path): \(reason).") }
    }
}

extension OwnedDescriptor {
    /// Opens a directory in another one, neither through a link nor into another mount, and gives its owner back the
    /// right to read, enter and change it where that was taken away.
    static func directory(
        _ name: UnsafePointer<CChar>, in parent: OwnedDescriptor
    ) -> Result<OwnedDescriptor, SystemFailure> {
        var number = host_open_directory_at(parent.number, name)
        if number < 0 && errno == EACCES {
            guard fchmodat(parent.number, name, 0o700, AT_SYMLINK_NOFOLLOW) == 0 else {
                return .failure(SystemFailure(code: errno))
            }
            number = host_open_directory_at(parent.number, name)
        }
        guard number >= 0 else { return .failure(SystemFailure(code: errno)) }
        let directory = OwnedDescriptor(number)
        var information = stat()
        if fstat(directory.number, &information) == 0, information.st_mode & 0o700 != 0o700 {
            guard fchmod(directory.number, 0o700) == 0 else { return .failure(SystemFailure(code: errno)) }
        }
        return .success(directory)
    }
}

/// Hands on each name in a directory but `.` and `..`. The directory may change meanwhile.
private func forEachEntry(of directory: OwnedDescriptor, _ body: (UnsafePointer<CChar>) -> Void) throws {
    let copy = host_open_at(directory.number, ".", O_RDONLY | O_DIRECTORY, 0)
    guard copy >= 0 else { throw SystemFailure(code: errno) }
    guard let stream = fdopendir(copy) else {
        let code = errno
        close(copy)
        throw SystemFailure(code: code)
    }
    defer { closedir(stream) }
    while true {
        errno = 0
        guard let entry = readdir(stream) else {
            if errno != 0 { throw SystemFailure(code: errno) }
            return
        }
        withUnsafePointer(to: &entry.pointee.d_name) { name in
            name.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                if strcmp(name, ".") != 0 && strcmp(name, "..") != 0 { body(name) }
            }
        }
    }
}

/// The names in a directory but `.` and `..`, in no order.
func directoryNames(in directory: OwnedDescriptor, place: String) throws -> [String] {
    var names: [String] = []
    do {
        try forEachEntry(of: directory) { names.append(String(cString: $0)) }
    } catch {
        throw DrillError(.couldNotLook, "cannot read the directory: \(error)", at: place)
    }
    return names
}
