import DrillCore
import Foundation

/// The OS user that a scratch server runs as. PostgreSQL refuses to run as root: then it is `postgres`, or where there is none
/// `nobody`; else it is whoever runs this process.
struct ServerAccount: Sendable {
    /// nil: this process's own user.
    let user: OSUser?

    static func current() throws -> Self {
        guard geteuid() == 0 else { return Self(user: nil) }
        for name in ["postgres", "nobody"] {
            if let entry = getpwnam(name)?.pointee, entry.pw_uid != 0 {
                return Self(user: OSUser(name: name, userID: entry.pw_uid, groupID: entry.pw_gid))
            }
        }
        throw DrillError(
            .couldNotLook, "PostgreSQL does not run as root, and there is no OS user `postgres` or `nobody`",
            hints: ["Make one (`useradd --system postgres`), or run as an ordinary user."])
    }

    /// Makes a folder of mode 0700 that belongs to the server. It must not be there yet (X9).
    func makeFolder(_ path: String) throws {
        guard mkdir(path, 0o700) == 0 else { throw failed("make", path) }
        try give(path)
    }

    func give(_ path: String) throws {
        guard let user else { return }
        guard lchown(path, user.userID, user.groupID) == 0 else { throw failed("give to \(user.name)", path) }
    }

    /// Lets the server pass through a run's scratch directory, which stays ours, but not list it.
    func letThrough(_ directory: String) throws {
        guard let user else { return }
        guard chown(directory, uid_t.max, user.groupID) == 0, chmod(directory, 0o710) == 0 else {
            throw failed("open for \(user.name)", directory)
        }
        var folder = URL(fileURLWithPath: directory).deletingLastPathComponent().path
        while folder != "/" {
            var status = stat()
            guard stat(folder, &status) == 0 else { throw failed("look at", folder) }
            let mayPass =
                status.st_mode & S_IXOTH != 0 || (status.st_uid == user.userID && status.st_mode & S_IXUSR != 0)
                || (status.st_gid == user.groupID && status.st_mode & S_IXGRP != 0)
            guard mayPass else {
                throw DrillError(
                    .couldNotLook, "the OS user \(user.name), who runs the scratch server, may not pass through",
                    at: folder,
                    hints: ["Set `scratch.directory` to a place that every user can reach, such as /var/tmp."])
            }
            folder = URL(fileURLWithPath: folder).deletingLastPathComponent().path
        }
    }

    private func failed(_ verb: String, _ path: String) -> DrillError {
        let reason = String(cString: strerror(errno))
        return DrillError(.couldNotLook, "could not \(verb): \(reason)", at: path)
    }
}
