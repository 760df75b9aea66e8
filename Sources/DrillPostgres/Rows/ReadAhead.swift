import Dispatch
import Synchronization

/// Hands elements from one thread that may block to one task that must not, a few ahead of it.
final class ReadAhead<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        /// nil while more may come; then how it ended.
        var end: Result<Void, any Error>?
        var reader: CheckedContinuation<Element?, any Error>?
    }

    private let state = Mutex(State())
    /// Places that are free.
    private let space: DispatchSemaphore

    init(capacity: Int) {
        // Made with 0 and raised: libdispatch traps where a semaphore goes below the value it was made with and is let go.
        space = DispatchSemaphore(value: 0)
        for _ in 0..<capacity { space.signal() }
    }

    /// Waits for a free place, on the calling thread.
    /// - Returns: False when nobody reads any more.
    func put(_ element: Element) -> Bool {
        space.wait()
        return state.withLock { state in
            if state.end != nil { return false }
            if let reader = state.reader.take() {
                space.signal()
                reader.resume(returning: element)
            } else {
                state.elements.append(element)
            }
            return true
        }
    }

    /// No more will come. Only the first call counts.
    func finish(_ end: Result<Void, any Error>) {
        state.withLock { state in
            guard state.end == nil else { return }
            state.end = end
            state.reader.take()?.resume(with: end.map { nil })
        }
        // Whoever waits for a place learns that there is no reader.
        space.signal()
    }

    /// Ends it from the reader's side: what was put is dropped.
    func close() {
        finish(.failure(CancellationError()))
        state.withLock { $0.elements.removeAll() }
    }

    /// The next element, after the last one nil or the error that it ended with. For one reader.
    func next() async throws -> Element? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                state.withLock { state in
                    if !state.elements.isEmpty {
                        let element = state.elements.removeFirst()
                        space.signal()
                        continuation.resume(returning: element)
                    } else if let end = state.end {
                        continuation.resume(with: end.map { nil })
                    } else {
                        state.reader = continuation
                    }
                }
            }
        } onCancel: {
            close()
        }
    }
}
