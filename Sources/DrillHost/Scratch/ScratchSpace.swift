import CHost
import DrillCore
import Foundation

/// Scratch directories of this machine's file system.
package struct ScratchSpace: ScratchDirectories {
    private static let prefix = "muster-"
    /// An empty directory without a marker may be one that another run is just making.
    private static let settleSeconds = 3600.0

    private let clock: any DrillClock

    package init(clock: any DrillClock) { self.clock = clock }

    package func path(in directory: String, runID: String) throws -> String {
        let allowed = runID.utf8.allSatisfy {
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0 & ~0x20)
        }
        guard !runID.isEmpty, allowed else { throw DrillError(.couldNotLook, "\"\(runID)\" is no run id") }
        guard directory.hasPrefix("/") else {
            throw DrillError(.usage, "the scratch directory's path is not absolute", at: directory)
        }
        let place = Self.canonical(directory)
        return (place.hasSuffix("/") ? place : place + "/") + Self.prefix + runID
    }

    /// The directory itself, without `..` and links: whoever climbs from here to `/` must get there. As given where it is not
    /// there.
    private static func canonical(_ directory: String) -> String {
        guard let resolved = realpath(directory, nil) else { return directory }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    package func make(in directory: String, runID: String) throws -> String {
        let path = try path(in: directory, runID: runID)
        let parent = try parentForScratch(directory)
        let name = Self.prefix + runID
        guard mkdirat(parent.number, name, 0o700) == 0 else {
            let reason = errno == EEXIST ? "it exists already, and scratch is never used twice" : errorText(errno)
            throw DrillError(.couldNotLook, "cannot make the scratch directory: \(reason)", at: path)
        }
        do {
            var information = stat()
            guard let made = try open(name, in: parent, place: path), fstat(made.number, &information) == 0,
                information.st_uid == geteuid()
            else {
                throw DrillError(.couldNotLook, "the scratch directory just made is another user's", at: path)
            }
            try ScratchMarker.ofThisProcess(run: runID, at: clock.now()).write(in: made, place: path)
        } catch {
            // Only an empty one goes; what else stands there is not ours.
            unlinkat(parent.number, name, AT_REMOVEDIR)
            throw error
        }
        return path
    }

    package func markKept(_ path: String, runID: String) throws {
        guard let found = try openScratch(path, runID: runID), var marker = found.marker else {
            throw DrillError(.cleanupFailed, "there is no scratch directory of this run to keep", at: path)
        }
        marker.kept = true
        try marker.write(in: found.directory, place: path)
    }

    package func remove(_ path: String, runID: String) throws {
        guard let found = try openScratch(path, runID: runID) else { return }
        var removal = TreeRemoval(root: found.directory, place: path, keepingUntilLast: ScratchMarker.fileName)
        try removal.run()
        guard unlinkat(found.parent.number, found.name, AT_REMOVEDIR) == 0 || errno == ENOENT else {
            throw DrillError(.cleanupFailed, "cannot remove: \(errorText(errno))", at: path)
        }
    }

    /// The scratch directories below `directory` that no living process owns and that nobody kept on purpose, by path.
    package func leftovers(in directory: String) throws -> [ScratchLeftover] {
        guard let parent = try openDirectory(directory) else { return [] }
        var leftovers: [ScratchLeftover] = []
        for name in try directoryNames(in: parent, place: directory) where name.hasPrefix(Self.prefix) {
            let path = directory + (directory.hasSuffix("/") ? "" : "/") + name
            let number = host_open_directory_at(parent.number, name)
            guard number >= 0 else { continue }  // a file, a link or another user's
            let found = OwnedDescriptor(number)
            var information = stat()
            guard fstat(found.number, &information) == 0 else { continue }
            if let marker = ScratchMarker.read(in: found) {
                guard !marker.kept, marker.ownerIsGone, name == Self.prefix + marker.run else { continue }
                leftovers.append(ScratchLeftover(path: path, runID: marker.run, createdAt: marker.created))
            } else {
                let changed = Date(timeIntervalSince1970: Double(information.st_mtim.tv_sec))
                guard try directoryNames(in: found, place: path).isEmpty,
                    clock.now().timeIntervalSince(changed) > Self.settleSeconds,
                    information.st_uid == geteuid()
                else { continue }
                leftovers.append(
                    ScratchLeftover(path: path, runID: String(name.dropFirst(Self.prefix.count)), createdAt: changed))
            }
        }
        return leftovers.sorted { $0.path < $1.path }
    }

    private struct Found {
        var parent: OwnedDescriptor
        var name: String
        var directory: OwnedDescriptor
        /// nil in an empty directory, which a run that was killed while it made it leaves behind.
        var marker: ScratchMarker?
    }

    /// - Returns: nil where nothing is there.
    /// - Throws: `cleanupFailed` where what is there is not that run's.
    private func openScratch(_ path: String, runID: String) throws -> Found? {
        guard path.hasPrefix("/"), let slash = path.lastIndex(of: "/") else {
            throw DrillError(.cleanupFailed, "the path of the scratch directory is not absolute", at: path)
        }
        let name = String(path[path.index(after: slash)...])
        guard name == Self.prefix + runID else {
            throw DrillError(.cleanupFailed, "this is not the scratch directory of run \(runID)", at: path)
        }
        let above = slash == path.startIndex ? "/" : String(path[..<slash])
        guard let parent = try openDirectory(above), let directory = try open(name, in: parent, place: path) else {
            return nil
        }
        let marker = ScratchMarker.read(in: directory)
        let isOurs = try marker.map { $0.run == runID } ?? directoryNames(in: directory, place: path).isEmpty
        guard isOurs else {
            throw DrillError(
                .cleanupFailed, "it bears no marker of run \(runID), so it was left as it is", at: path,
                hints: ["Look into it, and remove it by hand if nothing needs it."])
        }
        return Found(parent: parent, name: name, directory: directory, marker: marker)
    }

    /// - Returns: nil where nothing is there.
    private func open(_ name: String, in parent: OwnedDescriptor, place: String) throws -> OwnedDescriptor? {
        switch OwnedDescriptor.directory(name, in: parent) {
        case .success(let directory): return directory
        case .failure(let failure) where failure.code == ENOENT: return nil
        case .failure(let failure):
            let isOther = failure.code == ELOOP || failure.code == ENOTDIR
            let reason = isOther ? "it is a link or a file, not a directory" : "\(failure)"
            throw DrillError(.cleanupFailed, "cannot open the scratch directory: \(reason)", at: place)
        }
    }

    /// - Returns: nil where nothing is there.
    private func openDirectory(_ path: String) throws -> OwnedDescriptor? {
        let number = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if number >= 0 { return OwnedDescriptor(number) }
        if errno == ENOENT { return nil }
        throw DrillError(.couldNotLook, "cannot open the directory: \(errorText(errno))", at: path)
    }

    /// The directory that scratch directories are made in. It may be shared, as `/var/tmp` is, but then sticky (X9).
    private func parentForScratch(_ directory: String) throws -> OwnedDescriptor {
        guard let parent = try openDirectory(directory) else {
            throw DrillError(
                .couldNotLook, "the directory for scratch is not there", at: directory,
                hints: ["Make it, or name another one under scratch.directory."])
        }
        var information = stat()
        guard fstat(parent.number, &information) == 0 else {
            throw DrillError(.couldNotLook, "cannot look: \(errorText(errno))", at: directory)
        }
        let othersWrite = information.st_mode & 0o022 != 0
        guard !othersWrite || information.st_mode & S_ISVTX != 0 else {
            throw DrillError(
                .couldNotLook, "others can write to the directory for scratch, and it is not sticky", at: directory,
                hints: ["Take their right away, or name another directory under scratch.directory."])
        }
        return parent
    }
}
