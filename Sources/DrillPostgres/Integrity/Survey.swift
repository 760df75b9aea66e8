import DrillCore
import Synchronization

/// Puts one question to many relations: in batches, on a few sessions at once, and one by one where a batch got no answer, so that
/// one broken relation stops no other. A relation at which the server goes down is asked once more alone, to know that it was it.
struct Survey<Item: Sendable>: Sendable {
    let scope: IntegrityScope
    /// How much of the progress an item is.
    let weight: @Sendable (Item) -> Int64
    /// Asks about a batch and records the answer. What it throws is judged by `failed`, for each item alone.
    let ask: @Sendable (IntegritySession, [Item]) async throws -> Void
    let failed: @Sendable (Item, PostgresError) async throws -> Void

    /// - Parameter size: Of a batch at most; items of more weight than a batch should have stand alone.
    func run(_ items: [Item], size: Int = 200, batchWeight: Int64 = 4096) async throws {
        let queue = BatchQueue(batches(of: items, size: size, batchWeight: batchWeight))
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<min(scope.sessions, queue.count) {
                group.addTask { try await work(through: queue) }
            }
            try await group.waitForAll()
        }
        for item in queue.suspects { try await askAlone(item) }
    }

    private func work(through queue: BatchQueue<Item>) async throws {
        let session = IntegritySession(scope.access)
        while let batch = queue.next() {
            try Task.checkCancellation()
            queue.suspect(try await answer(session, batch))
        }
        await session.close()
    }

    /// - Returns: Items at which the server went away.
    private func answer(_ session: IntegritySession, _ batch: [Item]) async throws -> [Item] {
        do {
            try await ask(session, batch)
            scope.advance(by: batch.reduce(0) { $0 + weight($1) })
            return []
        } catch let error as PostgresError {
            try Self.requireGoingOn(error)
            if Self.isLost(error) { return batch }
            guard batch.count == 1 else {
                var lost: [Item] = []
                for item in batch { lost += try await answer(session, [item]) }
                return lost
            }
            try await failed(batch[0], error)
            scope.advance(by: weight(batch[0]))
            return []
        }
    }

    private func askAlone(_ item: Item) async throws {
        try await scope.waitForServer()
        let session = IntegritySession(scope.access)
        do {
            try await ask(session, [item])
        } catch let error as PostgresError {
            try Self.requireGoingOn(error)
            try await failed(item, error)
        }
        await session.close()
        scope.advance(by: weight(item))
    }

    private static func isLost(_ error: PostgresError) -> Bool {
        // 57P02, 57P03: another session's crash takes all sessions with it.
        error.kind == .connectionLost || error.kind == .cannotConnect
            || ["57P02", "57P03"].contains(error.sqlState ?? "")
    }

    private static func requireGoingOn(_ error: PostgresError) throws {
        if error.kind == .interrupted { throw CancellationError() }
    }

    private func batches(of items: [Item], size: Int, batchWeight: Int64) -> [[Item]] {
        var batches: [[Item]] = []
        var current: [Item] = []
        var weight: Int64 = 0
        for item in items {
            let more = self.weight(item)
            if !current.isEmpty, current.count >= size || weight + more > batchWeight {
                batches.append(current)
                (current, weight) = ([], 0)
            }
            current.append(item)
            weight += more
        }
        if !current.isEmpty { batches.append(current) }
        return batches
    }
}

/// Batches that several sessions share, and the items at which the server went away.
private final class BatchQueue<Item: Sendable>: Sendable {
    let count: Int
    private let batches: [[Item]]
    private let state = Mutex<(next: Int, suspects: [Item])>((0, []))

    init(_ batches: [[Item]]) {
        self.batches = batches
        count = batches.count
    }

    func next() -> [Item]? {
        state.withLock { state in
            guard state.next < batches.count else { return nil }
            defer { state.next += 1 }
            return batches[state.next]
        }
    }

    func suspect(_ items: [Item]) { state.withLock { $0.suspects += items } }

    var suspects: [Item] { state.withLock { $0.suspects } }
}
