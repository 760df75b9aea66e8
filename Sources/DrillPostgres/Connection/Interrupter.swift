import Foundation
import Synchronization

/// Wakes a thread that waits in `poll`, once and for good. The thread polls ``readEnd`` beside its socket.
final class Interrupter: Sendable {
    /// Readable for ever once interrupted.
    let readEnd: Int32
    private let writeEnd: Int32
    private let isSet = Mutex(false)

    init() throws(PostgresError) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw PostgresError(
                .cannotConnect, "no file descriptor for another connection: \(String(cString: strerror(errno)))")
        }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        (readEnd, writeEnd) = (ends[0], ends[1])
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// From any thread; the second and later calls do nothing.
    func interrupt() {
        isSet.withLock { isSet in
            guard !isSet else { return }
            isSet = true
            // An empty pipe takes one byte.
            var byte: UInt8 = 1
            _ = write(writeEnd, &byte, 1)
        }
    }

    var isInterrupted: Bool { isSet.withLock { $0 } }
}
