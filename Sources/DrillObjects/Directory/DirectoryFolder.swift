import CLinuxFiles
import DrillCore
import Foundation

/// A folder of this machine, only ever read. Its own path may lead through symbolic links; below it none is followed.
struct DirectoryFolder: BackupFolder {
    /// Absolute, without a trailing slash.
    let path: String

    init(path: String) { self.path = path }

    var place: String { path }

    func folder(_ path: String) -> any BackupFolder { DirectoryFolder(path: absolute(path)) }

    private func absolute(_ relative: String) -> String {
        relative.isEmpty ? path : (path == "/" ? "" : path) + "/" + relative
    }

    func entry(_ path: String) async throws -> FolderEntry? {
        let whole = absolute(path)
        return try await BlockingCalls.run { _ in
            do throws(FileFailure) {
                let status =
                    path.isEmpty ? try Self.openRoot(whole).status() : try Descriptor.status(at: AT_FDCWD, whole)
                return FolderEntry(
                    kind: status.kind, sizeBytes: status.size, modifiedAt: Date(microseconds: status.modified))
            } catch {
                if error.number == ENOENT || error.number == ENOTDIR { return nil }
                throw error.couldNotLook("look at it", at: whole)
            }
        }
    }

    /// The folder itself may be a link; `O_PATH` so that even one that may not be listed can be looked at.
    private static func openRoot(_ path: String) throws(FileFailure) -> Descriptor {
        let number = lf_open_at(AT_FDCWD, path, Int32(LF_PATH) | O_CLOEXEC, 0)
        guard number >= 0 else { throw FileFailure(number: errno) }
        return Descriptor(owning: number)
    }

    func names(in path: String) async throws -> [String] {
        let whole = absolute(path)
        return try await BlockingCalls.run { _ in
            do {
                // The slash lets the folder itself be a link.
                let directory = try Descriptor.open(whole + (path.isEmpty ? "/" : ""), flags: O_DIRECTORY)
                var names: [[UInt8]] = []
                try DirectoryEntries.forEach(in: directory) { name, _ in names.append(Array(name)) }
                return names.sorted { $0.lexicographicallyPrecedes($1) }.map { String(decoding: $0, as: UTF8.self) }
            } catch let failure as FileFailure {
                throw failure.couldNotLook("list the directory", at: whole)
            }
        }
    }

    func read(_ path: String, offset: Int64, count: Int) async throws -> [UInt8] {
        let whole = absolute(path)
        return try await BlockingCalls.run { _ in
            do {
                let file = try Descriptor.open(whole)
                guard try file.status().kind == .file else {
                    throw DrillError(.couldNotLook, "this is not a file", at: whole)
                }
                return try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
                    filled = try file.read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
                }
            } catch let failure as FileFailure {
                throw failure.couldNotLook("read the file", at: whole)
            }
        }
    }

    func localPath(_ path: String, in scratch: Scratch, progress: @Sendable (Int64) -> Void) async throws -> String {
        absolute(path)
    }

    /// Counts files and the directories below, whose time moves when a file is made in them: `aws s3 sync` gives its files the
    /// times of the objects. Directories are looked through level by level. The folder's own time where it is empty.
    func newestModification(limit: Int) async throws -> Date? {
        let whole = path
        return try await BlockingCalls.run { flag in
            var newest = Int64.min, seen = 0
            var level = [""]
            while !level.isEmpty, seen < limit {
                var below: [String] = []
                for directory in level where seen < limit {
                    let place = directory.isEmpty ? whole : whole + "/" + directory
                    do {
                        let open = try Descriptor.open(place + (directory.isEmpty ? "/" : ""), flags: O_DIRECTORY)
                        var names: [[UInt8]] = []
                        try DirectoryEntries.forEach(in: open) { name, _ in
                            if names.count < limit { names.append(Array(name)) }
                        }
                        for name in names where seen < limit {
                            seen += 1
                            let status: lf_status
                            do throws(FileFailure) {
                                status = try Descriptor.status(
                                    at: open.number, name.map { CChar(bitPattern: $0) } + [0])
                            } catch {
                                // The set may be being written: temporary files come and go.
                                if error.number == ENOENT { continue }
                                throw error
                            }
                            newest = max(newest, status.modified)
                            if status.kind == .directory {
                                let name = String(decoding: name, as: UTF8.self)
                                below.append(directory.isEmpty ? name : directory + "/" + name)
                            }
                        }
                        if directory.isEmpty, names.isEmpty { newest = try open.status().modified }
                    } catch let failure as FileFailure {
                        if failure.number == ENOENT { continue }
                        throw failure.couldNotLook("list the directory", at: place)
                    }
                    try flag.check()
                }
                level = below
            }
            return newest == .min ? nil : Date(microseconds: newest)
        }
    }
}

/// `backup.sets` as a path.
enum DirectoryFolderKind: BackupFolderKind {
    static let scheme = "file"

    static func open(
        _ location: String, settings: SettingsReader?, environment: DrillEnvironment
    ) throws -> any BackupFolder {
        var path = location[...]
        while path.count > 1, path.last == "/" { path = path.dropLast() }
        return DirectoryFolder(path: String(path))
    }
}
