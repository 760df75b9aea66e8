import DrillCore
import Foundation

/// Entries whose names are known and whose status is being asked.
///
/// `@unchecked`: ``WalkQueue`` hands it from the lister to one status thread to the consumer; no two use it at a time.
final class PendingBatch: @unchecked Sendable {
    var batch = ObjectBatch()
    /// The directories that the entries stand in, with the index of the first entry and the bytes of the key before its name.
    var segments: [(directory: Descriptor, first: Int, nameOffset: Int)] = []
    /// Indices of entries that are neither file nor directory.
    var others: Set<Int> = []

    init(capacity: Int) {
        batch.keys.ends.reserveCapacity(capacity)
        batch.keys.bytes.reserveCapacity(capacity * 40)
    }
}

/// The bounded way from the thread that lists directories by those that ask for each file's status to the consumer, in order.
///
/// `@unchecked`: every property is guarded by `condition`.
final class WalkQueue: @unchecked Sendable {
    private struct Item {
        var pending: PendingBatch
        var segments: Int
        var result: Result<ObjectBatch, any Error>?
    }

    private let condition = NSCondition()
    private var items: [Item] = []
    /// Number of the first item; numbers grow by one.
    private var firstNumber = 0
    private var nextToTake = 0
    private var segmentsHeld = 0
    private var hasEnded = false
    private var failure: (any Error)?
    private var isCancelled = false
    private var consumer: CheckedContinuation<ObjectBatch?, any Error>?

    static let limitOfBatches = 12
    /// Each is an open directory.
    static let limitOfSegments = 192

    /// Waits while the queue is full. False when nobody wants more.
    func add(_ pending: PendingBatch) -> Bool {
        condition.withLock {
            while !isCancelled, items.count >= Self.limitOfBatches || segmentsHeld >= Self.limitOfSegments {
                condition.wait()
            }
            guard !isCancelled else { return false }
            items.append(Item(pending: pending, segments: pending.segments.count))
            segmentsHeld += pending.segments.count
            condition.broadcast()
            return true
        }
    }

    /// The lister is done, or has failed: what was added before still comes out.
    func end(_ failure: (any Error)?) {
        condition.withLock {
            hasEnded = true
            self.failure = failure
            condition.broadcast()
            deliver()
        }
    }

    /// The next batch that nobody has taken; nil when there will be none.
    func take() -> (number: Int, pending: PendingBatch)? {
        condition.withLock {
            while !isCancelled, nextToTake == firstNumber + items.count, !hasEnded { condition.wait() }
            guard !isCancelled, nextToTake < firstNumber + items.count else { return nil }
            nextToTake += 1
            return (nextToTake - 1, items[nextToTake - 1 - firstNumber].pending)
        }
    }

    func finish(_ number: Int, _ result: Result<ObjectBatch, any Error>) {
        condition.withLock {
            let index = number - firstNumber
            // A cancelled queue holds nothing any more.
            guard items.indices.contains(index) else { return }
            items[index].result = result
            segmentsHeld -= items[index].segments
            condition.broadcast()
            deliver()
        }
    }

    func next() async throws -> ObjectBatch? {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                condition.withLock {
                    consumer = continuation
                    deliver()
                }
            }
        } onCancel: {
            cancel()
        }
    }

    func cancel() {
        condition.withLock {
            isCancelled = true
            items = []
            condition.broadcast()
            deliver()
        }
    }

    /// Gives the consumer what it waits for, if it is there. Call with the lock held.
    private func deliver() {
        guard let consumer else { return }
        if let failure, items.isEmpty {
            self.consumer = nil
            consumer.resume(throwing: failure)
        } else if isCancelled {
            self.consumer = nil
            consumer.resume(throwing: CancellationError())
        } else if let result = items.first?.result {
            self.consumer = nil
            items.removeFirst()
            firstNumber += 1
            if case .failure(let error) = result {
                // Nothing after it may come out.
                failure = error
                isCancelled = true
                items = []
            }
            condition.broadcast()
            consumer.resume(with: result.map { $0 })
        } else if hasEnded, items.isEmpty {
            self.consumer = nil
            consumer.resume(returning: nil)
        }
    }
}
