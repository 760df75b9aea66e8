import DrillCore
import Foundation

/// An advisory lock (`flock`) on a file beside the ledger: one writer at a time, in this process and in others. The
/// kernel drops it with the process that holds it, so a killed run blocks nobody.
final class FileLock: Sendable {
    private let descriptor: Int32
    private let path: String

    init(path: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        self.path = path
        guard descriptor >= 0 else { throw ledgerError(errno, "the ledger's lock could not be opened", at: path) }
    }

    deinit { close(descriptor) }

    /// Waits at most `patience` for the lock: a holder that was stopped must not hang every other drill.
    func whileHeld<Result>(patience: Duration, _ body: () throws -> Result) throws -> Result {
        let deadline = ContinuousClock.now + patience
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else {
                throw ledgerError(errno, "the ledger could not be locked", at: path)
            }
            guard ContinuousClock.now < deadline else {
                throw DrillError(
                    .ledgerUnusable, "another process has held the ledger for \(patience.components.seconds) seconds",
                    at: path,
                    hints: ["See which with `fuser \(path)`; end it, or use another --reports directory."])
            }
            usleep(UInt32.random(in: 1000...8000))
        }
        defer { flock(descriptor, LOCK_UN) }
        return try body()
    }
}

/// An error number of the operating system as ours.
func ledgerError(_ number: Int32, _ what: String, at path: String) -> DrillError {
    let hint: String? =
        switch number {
        case ENOSPC, EDQUOT: "The disk is full: make room, or name another reports directory with --reports."
        case EACCES, EPERM, EROFS: "Give this user the right to write there, or name another directory with --reports."
        default: nil
        }
    return DrillError(
        .ledgerUnusable, "\(what): \(String(cString: strerror(number)))", at: path, hints: hint.map { [$0] } ?? [])
}
