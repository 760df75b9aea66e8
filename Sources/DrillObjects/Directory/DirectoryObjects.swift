import CLinuxFiles
import DrillCore
import Foundation
import Glibc

/// An object backup that is a directory tree, one file an object, as `aws s3 sync` writes it.
struct DirectoryObjects: ObjectBackup {
    static let kind = "directory"
    static let shape = SettingsShape(
        "A directory tree that holds one file for each object, as `aws s3 sync` writes it.",
        [
            SettingsField(
                "path", .text, required: true,
                "The directory. A relative path starts at the set's folder where `backup.sets` is given, else at the drill file."
            )
        ])

    let bucket: String
    private let path: String
    private let context: PartContext

    init(bucket: String, _ settings: SettingsReader, _ context: PartContext) throws {
        self.bucket = bucket
        self.context = context
        var path = try settings.requiredString("path")[...]
        while path.count > 1, path.last == "/" { path = path.dropLast() }
        if path.isEmpty { throw settings.error("path", "is empty", hints: ["Write \".\" for the folder itself."]) }
        if path.utf8.contains(0) { throw settings.error("path", "holds a NUL byte") }
        if context.setsAreRemote, !path.hasPrefix("/") {
            throw settings.error(
                "kind", "a tree in a set is a directory of this machine, not a bucket's as `backup.sets` says",
                hints: ["Use `kind: s3` with `path` for objects that lie in the set, or give an absolute `path`."])
        }
        self.path = String(path)
    }

    var isKeptPerSet: Bool { context.hasSets && !path.hasPrefix("/") }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let tree = try await self.tree(of: set, in: nil)
        return try await BlockingCalls.run { _ in
            do {
                let place = try tree.open(flags: Int32(LF_PATH))
                let status = try place.status()
                guard status.kind == .directory else {
                    return ComponentState(
                        .unusable("\(printable(path.utf8)) is \(status.kindText), and an object tree is a directory"))
                }
                let directory = try Descriptor.open(at: place.number, ".", flags: O_DIRECTORY)
                let isEmpty = try DirectoryEntries.isEmpty(directory)
                return ComponentState(
                    .usable, notes: isEmpty ? ["The object tree \(tree.place) of bucket \(bucket) is empty."] : [])
            } catch let failure as FileFailure {
                switch failure.number {
                case ENOENT, ENOTDIR:
                    return ComponentState(.incomplete("there is no object tree \(printable(path.utf8))"))
                case ELOOP:
                    return ComponentState(
                        .unusable(
                            "\(printable(path.utf8)) leads through a symbolic link, which may lead out of the set"))
                default: throw failure.couldNotLook("open the object tree", at: tree.place)
                }
            }
        }
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        [
            "List the directory tree \(try await tree(of: set, in: nil).place) as bucket \(bucket); bytes are read only for probes "
                + "with `content`."
        ]
    }

    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore {
        let tree = try await self.tree(of: set, in: scratch)
        let root = try await BlockingCalls.run { _ in
            do throws(FileFailure) {
                return try tree.open(flags: O_RDONLY | O_DIRECTORY)
            } catch {
                throw error.couldNotLook("open the object tree", at: tree.place)
            }
        }
        return DirectoryStore(
            bucket: bucket, place: tree.place, root: root,
            spillDirectory: scratch?.directory ?? context.scratch.directory)
    }

    /// Where the tree is. Only a path below a set's folder must not lead through links: a set must not borrow what is elsewhere.
    private func tree(of set: BackupSet, in scratch: Scratch?) async throws -> ObjectTree {
        guard context.hasSets, !path.hasPrefix("/") else {
            return ObjectTree(
                base: path.hasPrefix("/") ? "/" : context.drillFileDirectory, path: path, mayUseLinks: true)
        }
        guard let folder = set.folder as? DirectoryFolder else {
            throw DrillError(
                .usage, "objects of kind `directory` are in no directory here: the sets are in \(set.place)",
                hints: ["Use `kind: s3` for objects that lie in a bucket."])
        }
        // `..` leads out of the set because the drill file says so.
        let mayUseLinks = path.split(separator: "/").contains { $0 == "." || $0 == ".." }
        return ObjectTree(base: folder.path, path: path, mayUseLinks: mayUseLinks)
    }
}

private struct ObjectTree: Sendable {
    var base: String
    var path: String
    var mayUseLinks: Bool

    var place: String {
        if path.hasPrefix("/") { return path }
        return path == "." ? base : (base == "/" ? "" : base) + "/" + path
    }

    func open(flags: Int32) throws(FileFailure) -> Descriptor {
        guard mayUseLinks else {
            let number = lf_open_at(AT_FDCWD, base, Int32(LF_PATH) | O_DIRECTORY | O_CLOEXEC, 0)
            guard number >= 0 else { throw FileFailure(number: errno) }
            let names = path.split(separator: "/").joined(separator: "/")
            return try KeyPath.open(ObjectKey(names), below: Descriptor(owning: number), flags: flags)
        }
        let number = lf_open_at(AT_FDCWD, place, flags | O_CLOEXEC, 0)
        guard number >= 0 else { throw FileFailure(number: errno) }
        return Descriptor(owning: number)
    }
}
