import DrillCore
import Foundation
import GRDB

/// The SQLite file: opened, locked, read and written. Rollback journal and full syncs, no memory map: the SQLite of
/// many hosts still has the WAL-reset bug (Q1), and a verdict must be on disk before it is told (Q2).
final class LedgerFile: Sendable {
    enum Access { case reading, writing }

    let path: String
    private let queue: DatabaseQueue
    /// nil where this user may only read.
    private let lock: FileLock?
    private static let patience = Duration.seconds(60)
    /// Above this a check of every page at each start would be felt.
    private static let quickCheckLimitBytes = 32 << 20

    /// - Parameter access: `.reading` never changes what is recorded; it still rolls back what a killed writer left
    /// half done,
    ///   where this user may write to the file.
    init(reportsDirectory: String, _ access: Access) throws {
        let path = reportsDirectory + "/ledger.sqlite"
        self.path = path
        let exists = FileManager.default.fileExists(atPath: path)
        if access == .reading, !exists {
            throw DrillError(
                .ledgerUnusable, "there is no ledger here", at: path,
                hints: ["Run a drill first, or name the directory of its reports with --reports."])
        }
        let isReadOnly = access == .reading && Foundation.access(path, W_OK) != 0
        if access == .writing { try makeDirectories(reportsDirectory) }
        let lock = isReadOnly ? nil : try FileLock(path: reportsDirectory + "/.ledger.lock")
        self.lock = lock
        queue = try translating(at: path) {
            try Self.whileHeld(lock) {
                if access == .writing { try Self.createPrivately(path) }
                let queue = try DatabaseQueue(
                    path: path, configuration: Self.configuration(access, isReadOnly: isReadOnly))
                try queue.inDatabase { database in
                    if access == .writing {
                        try LedgerSchema.migrate(database, at: path)
                        try Self.quickCheck(database, at: path)
                    } else {
                        try LedgerSchema.check(database, at: path)
                        guard try LedgerSchema.userVersion(database) == LedgerSchema.version else {
                            throw DrillError(
                                .ledgerUnusable, "the ledger has no schema of this version yet", at: path,
                                hints: ["The next `muster run` brings it up to date."])
                        }
                    }
                }
                return queue
            }
        }
    }

    /// One read transaction: everything in it is of one moment. Keep it short; it holds writers back.
    func read<Result: Sendable>(_ body: @escaping @Sendable (Database) throws -> Result) async throws -> Result {
        try await perform { database in
            var result: Result?
            try database.inTransaction(.deferred) {
                result = try body(database)
                return .commit
            }
            return result
        }
    }

    /// One write transaction, synced to disk when this returns. A cancelled task does not stop it: a run that is being
    /// ended must still be recorded.
    func write<Result: Sendable>(_ body: @escaping @Sendable (Database) throws -> Result) async throws -> Result {
        try await perform { [lock] database in
            try Self.whileHeld(lock) {
                var result: Result?
                try database.inTransaction(.immediate) {
                    result = try body(database)
                    return .commit
                }
                return result
            }
        }
    }

    /// While no other process or thread begins or ends a run.
    func whileLocked<Result: Sendable>(_ body: @escaping @Sendable (Database) throws -> Result) async throws -> Result {
        try await perform { [lock] database in
            try Self.whileHeld(lock) { try body(database) }
        }
    }

    private func perform<Result: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Result?
    ) async throws -> Result {
        let path = path
        return try await withCheckedThrowingContinuation { continuation in
            queue.asyncWriteWithoutTransaction { database in
                do {
                    guard let result = try translating(at: path, { try body(database) }) else {
                        throw DrillError(.ledgerUnusable, "a transaction ended without a result", at: path)
                    }
                    continuation.resume(returning: result)
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    private static func whileHeld<Result>(_ lock: FileLock?, _ body: () throws -> Result) throws -> Result {
        guard let lock else { return try body() }
        return try lock.whileHeld(patience: patience, body)
    }

    private static func configuration(_ access: Access, isReadOnly: Bool) -> Configuration {
        var configuration = Configuration()
        configuration.readonly = isReadOnly
        configuration.busyMode = .timeout(60)
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA mmap_size = 0")
            try database.execute(sql: "PRAGMA trusted_schema = OFF")
            try database.execute(sql: "PRAGMA cache_size = -8192")
            if access == .reading {
                try database.execute(sql: "PRAGMA query_only = ON")
            } else {
                try database.execute(sql: "PRAGMA journal_mode = DELETE")
                try database.execute(sql: "PRAGMA synchronous = EXTRA")
            }
        }
        return configuration
    }

    /// Keys may name people, so the ledger is its owner's alone (X3); SQLite gives its journal the same mode. A file
    /// that is there is not opened: closing it would drop the locks that SQLite holds on it in this process.
    private static func createPrivately(_ path: String) throws {
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        if descriptor >= 0 {
            close(descriptor)
            return
        }
        guard errno == EEXIST else { throw ledgerError(errno, "the ledger could not be created", at: path) }
    }

    private static func quickCheck(_ database: Database, at path: String) throws {
        let pageSize = try Int.fetchOne(database, sql: "PRAGMA page_size") ?? 0
        let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
        guard pageSize * pages <= quickCheckLimitBytes else { return }
        let problems = try String.fetchAll(database, sql: "PRAGMA quick_check(3)")
        guard problems == ["ok"] else {
            throw DrillError(
                .ledgerUnusable, "the ledger is damaged: \(problems.joined(separator: "; "))", at: path,
                hints: ["Keep it as evidence under another name and restore it from its backup, or begin a new one."])
        }
    }
}

/// Runs that, and makes every error of SQLite one of ours, with what to do.
private func translating<Result>(at path: String, _ body: () throws -> Result) throws -> Result {
    do {
        return try body()
    } catch let error as DrillError {
        throw error
    } catch let error as DatabaseError {
        let hint: String? =
            switch error.resultCode {
            case .SQLITE_FULL: "The disk is full: make room, or name another reports directory with --reports."
            case .SQLITE_READONLY, .SQLITE_CANTOPEN, .SQLITE_PERM:
                "Give this user the right to write to it and to its directory, or name another with --reports."
            case .SQLITE_NOTADB, .SQLITE_CORRUPT:
                "Keep it as evidence under another name and restore it from its backup, or begin a new one."
            case .SQLITE_BUSY: "Something else reads or writes it without end; see which with `fuser`."
            default: nil
            }
        throw DrillError(
            .ledgerUnusable, "SQLite says: \(error.message ?? "error \(error.extendedResultCode.rawValue)")", at: path,
            hints: hint.map { [$0] } ?? [], cause: error)
    } catch {
        throw DrillError(.ledgerUnusable, "the ledger could not be read: \(error)", at: path, cause: error)
    }
}
