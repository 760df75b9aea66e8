import Dispatch
import Foundation
import Synchronization

/// Work that blocks, done for each element on threads apart from those that Swift's tasks share.
enum SideBySide {
    private static let queue = DispatchQueue(label: "muster.side-by-side", attributes: .concurrent)

    /// Runs `body` for every element, a few at a time, in no order. The first error ends it, and so does cancellation.
    static func forEach<Element: Sendable>(
        _ elements: [Element], _ body: @escaping @Sendable (Element) throws -> Void
    ) async throws {
        let work = Work(elements, body)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                queue.async {
                    // Some wait for the disk while others copy.
                    let threads = min(max(elements.count, 1), ProcessInfo.processInfo.activeProcessorCount + 2)
                    DispatchQueue.concurrentPerform(iterations: threads) { _ in work.run() }
                    continuation.resume(with: work.outcome)
                }
            }
        } onCancel: {
            work.fail(CancellationError())
        }
    }

    private final class Work<Element: Sendable>: Sendable {
        private let elements: [Element]
        private let body: @Sendable (Element) throws -> Void
        private let next = Atomic(0)
        private let failure = Mutex<(any Error)?>(nil)

        init(_ elements: [Element], _ body: @escaping @Sendable (Element) throws -> Void) {
            self.elements = elements
            self.body = body
        }

        func run() {
            while failure.withLock({ $0 == nil }) {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                guard index < elements.count else { return }
                do { try body(elements[index]) } catch { fail(error) }
            }
        }

        func fail(_ error: any Error) { failure.withLock { $0 = $0 ?? error } }

        var outcome: Result<Void, any Error> { failure.withLock { $0.map { .failure($0) } ?? .success(()) } }
    }
}
