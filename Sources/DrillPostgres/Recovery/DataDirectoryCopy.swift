import DrillCore
import Foundation

/// Copies data directories into scratch. The source is only read (P26), and no link is followed out of it (P20).
struct DataDirectoryCopy: Sendable {
    var environment: DrillEnvironment
    var account: ServerAccount

    /// What is below a directory, without following a link.
    /// - Throws: `backupUnusable` for a device or a pipe.
    static func survey(_ root: String) throws -> FileTree { try FileTree(of: root) }

    /// Copies directories and files into another directory that exists; they are the server's there.
    func copy(_ source: String, to destination: String) async throws {
        try await TreeCopy(tree: FileTree(of: source), source: source, destination: destination, account: account).run()
    }

    /// Gives the whole tree to the server.
    func give(_ root: String) async throws {
        chmod(root, 0o700)
        guard let user = account.user else { return }
        let result = try await environment.processes.run(
            Command("chown", ["-R", "--no-dereference", "\(user.userID):\(user.groupID)", "--", root]))
        guard result.succeeded else {
            throw DrillError(.couldNotLook, "cannot be given to \(user.name): \(result.errorText)", at: root)
        }
    }

    /// Throws where scratch has less room than 1.2 times that.
    static func requireSpace(_ bytes: Int64, in directory: String) throws {
        let free = try freeBytes(directory)
        let needed = bytes / 5 * 6
        guard free < needed else { return }
        throw DrillError(
            .couldNotLook, "scratch has \(free) bytes free, and the backup of \(bytes) bytes needs \(needed) at least",
            at: directory, hints: ["Set `scratch.directory` to a place with more room."])
    }

    static func freeBytes(_ directory: String) throws -> Int64 {
        var status = statvfs()
        guard statvfs(directory, &status) == 0 else {
            throw DrillError(.couldNotLook, "its free space cannot be told", at: directory)
        }
        return Int64(clamping: UInt64(status.f_bavail) * UInt64(status.f_frsize))
    }

    /// What a copy must not bring along: another server's lock, its settings, its wish to follow a primary, its slots (P19,
    /// P22, P27). Throws where one cannot be removed.
    func removeForeignState(_ dataDirectory: String) throws {
        let files = FileManager.default
        for name in [
            "postmaster.pid", "postmaster.opts", "recovery.signal", "standby.signal", "recovery.conf", "tablespace_map",
            "postgresql.auto.conf", "postgresql.auto.conf.tmp", "current_logfiles",
        ] {
            try remove(dataDirectory + "/" + name)
        }
        for folder in ["pg_replslot", "pg_stat_tmp", "pg_dynshmem", "pg_notify"] {
            let path = dataDirectory + "/" + folder
            guard files.fileExists(atPath: path) else { continue }
            do {
                for name in try files.contentsOfDirectory(atPath: path) { try remove(path + "/" + name) }
            } catch let error as DrillError {
                throw error
            } catch {
                throw DrillError(.couldNotLook, "cannot be listed", at: path, cause: error)
            }
        }
        for (name, content) in [("postgresql.auto.conf", "")] {
            try writeOwnFile(dataDirectory + "/" + name, content)
            try account.give(dataDirectory + "/" + name)
        }
    }

    func remove(_ path: String) throws {
        var status = stat()
        guard lstat(path, &status) == 0 else { return }
        do { try FileManager.default.removeItem(atPath: path) } catch {
            throw DrillError(.couldNotLook, "cannot be removed from the copy", at: path, cause: error)
        }
    }

    /// Makes a link of ours in place of whatever is there.
    func link(_ path: String, to target: String) throws {
        try remove(path)
        guard symlink(target, path) == 0, try gave(path) else {
            throw DrillError(.couldNotLook, "cannot be linked: \(String(cString: strerror(errno)))", at: path)
        }
    }

    private func gave(_ path: String) throws -> Bool {
        try account.give(path)
        return true
    }
}
