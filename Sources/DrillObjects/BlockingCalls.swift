import Dispatch
import Synchronization

/// Threads for calls that block (file systems, hashing), apart from the few threads that Swift's tasks share. The caller bounds
/// how many run side by side.
enum BlockingCalls {
    private static let queue = DispatchQueue(label: "muster.blocking-calls", attributes: .concurrent)

    /// Runs `body` there. It gets a flag that is set when the calling task is cancelled, to look at now and then.
    static func run<Result: Sendable>(
        _ body: @escaping @Sendable (CancellationFlag) throws -> Result
    ) async throws -> Result {
        let flag = CancellationFlag()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                queue.async { continuation.resume(with: Swift.Result { try body(flag) }) }
            }
        } onCancel: {
            flag.set()
        }
    }
}

final class CancellationFlag: Sendable {
    private let isSet = Atomic(false)
    func set() { isSet.store(true, ordering: .relaxed) }
    /// Throws `CancellationError` once the task is cancelled.
    func check() throws {
        if isSet.load(ordering: .relaxed) { throw CancellationError() }
    }
}
