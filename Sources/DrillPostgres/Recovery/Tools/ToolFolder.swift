import DrillCore
import Foundation

/// A folder of its own for a tool: its locks, logs and spool, and where it restores to. It belongs to the tool's user, mode 0700.
struct ToolFolder: Sendable {
    let directory: String
    let account: ServerAccount

    /// Where the data directory comes to.
    var data: String { directory + "/pgdata" }
    /// Below it one folder a tablespace.
    var tablespaces: String { directory + "/tablespaces" }
    var locks: String { directory + "/locks" }
    var logs: String { directory + "/logs" }
    var spool: String { directory + "/spool" }

    /// Makes it in a run's scratch.
    static func make(in scratch: Scratch, user: OSUser?) throws -> ToolFolder {
        let folder = ToolFolder(directory: scratch.directory + "/tool", account: ServerAccount(user: user))
        if user != nil, user != (try ServerAccount.current()).user {
            // What is in it stays closed to others; they may only pass.
            guard chmod(scratch.directory, 0o711) == 0 else {
                throw DrillError(
                    .couldNotLook, "cannot be opened: \(String(cString: strerror(errno)))", at: scratch.directory)
            }
        }
        try folder.makeAll([folder.directory, folder.data, folder.tablespaces, folder.locks, folder.logs, folder.spool])
        return folder
    }

    /// One that is gone when `body` ends: for a tool that cannot list without taking a lock.
    static func withTemporary<Result>(
        in directory: String, user: OSUser?, _ body: (ToolFolder) async throws -> Result
    ) async throws -> Result {
        let random = hexadecimal((0..<6).map { _ in UInt8.random(in: 0...255) })
        let folder = ToolFolder(directory: "\(directory)/muster-tool-\(random)", account: ServerAccount(user: user))
        try folder.makeAll([folder.directory, folder.locks, folder.logs])
        let outcome: Swift.Result<Result, any Error>
        do { outcome = .success(try await body(folder)) } catch { outcome = .failure(error) }
        do { try FileManager.default.removeItem(atPath: folder.directory) } catch {
            if case .failure(let first) = outcome { throw first }
            throw DrillError(.cleanupFailed, "cannot be removed", at: folder.directory, cause: error)
        }
        return try outcome.get()
    }

    private func makeAll(_ paths: [String]) throws {
        for path in paths { try account.makeFolder(path) }
    }

    /// A new file of the tool's own, mode 0600.
    func write(_ name: String, _ content: String) throws -> String {
        let path = directory + "/" + name
        try writeOwnFile(path, content)
        try account.give(path)
        return path
    }

    /// A place for one file that the tool fetches, which nobody else uses.
    func fetchPath() -> String { "\(spool)/\(hexadecimal((0..<6).map { _ in UInt8.random(in: 0...255) }))" }

    func handOver(_ fetched: String, to path: String) throws {
        guard rename(fetched, path) == 0 else {
            throw DrillError(.couldNotLook, "cannot be moved: \(String(cString: strerror(errno)))", at: fetched)
        }
    }
}
