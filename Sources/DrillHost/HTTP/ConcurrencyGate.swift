import DrillCore
import Synchronization

/// How many requests may be in flight at once: halved when a server says that it is too much, one more for every second
/// success (S31). Waiters are served in order.
final class ConcurrencyGate: Sendable {
    /// Overload at a twentieth of the requests leaves half of a limit of 32 this way; at a third, next to nothing.
    private static let successesPerStep = 2
    private static let successRelief = 0.2
    private static let highestPressure = 7.0

    private struct State {
        var limit: Int
        var inFlight = 0
        var successes = 0
        /// Counts the halvings, so that answers to what was sent before one do not halve again.
        var generation = 0
        var pressure = 0.0
        var nextTicket = 0
        var waiting: [(ticket: Int, continuation: CheckedContinuation<Bool, Never>)] = []
    }

    private let maximum: Int
    private let state: Mutex<State>

    init(maximum: Int) {
        self.maximum = max(1, maximum)
        state = Mutex(State(limit: max(1, maximum)))
    }

    var limit: Int { state.withLock { $0.limit } }

    /// The number of halvings so far; see ``noteOverload(sentAt:)``.
    var generation: Int { state.withLock { $0.generation } }

    /// How overloaded the server seems, over all requests: each overload adds one, each success takes a fifth away. It
    /// stays near 0 while fewer than a sixth of the answers say so.
    var pressure: Double { state.withLock { $0.pressure } }

    /// Waits for a place. Each is to be given back by ``leave()``.
    func enter() async throws {
        let ticket = state.withLock { state in
            state.nextTicket += 1
            return state.nextTicket
        }
        let entered = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if Task.isCancelled { return false }
                    if state.inFlight < state.limit && state.waiting.isEmpty {
                        state.inFlight += 1
                        return true
                    }
                    state.waiting.append((ticket, continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let given = state.withLock { state in
                state.waiting.firstIndex { $0.ticket == ticket }.map { state.waiting.remove(at: $0).continuation }
            }
            given?.resume(returning: false)
        }
        guard entered else { throw CancellationError() }
    }

    func leave() {
        admit { $0.inFlight -= 1 }
    }

    func noteSuccess() {
        admit { state in
            state.pressure = max(0, state.pressure - Self.successRelief)
            state.successes += 1
            guard state.successes >= Self.successesPerStep, state.limit < maximum else { return }
            state.limit += 1
            state.successes = 0
        }
    }

    /// - Parameter generation: What ``generation`` was when the request was sent to which the server answered so.
    func noteOverload(sentAt generation: Int) {
        state.withLock { state in
            state.pressure = min(Self.highestPressure, state.pressure + 1)
            guard generation == state.generation else { return }
            state.generation += 1
            state.limit = max(1, state.limit / 2)
            state.successes = 0
        }
    }

    private func admit(_ change: (inout State) -> Void) {
        let admitted = state.withLock { state in
            change(&state)
            let count = min(state.waiting.count, max(0, state.limit - state.inFlight))
            state.inFlight += count
            defer { state.waiting.removeFirst(count) }
            return state.waiting.prefix(count).map(\.continuation)
        }
        for continuation in admitted { continuation.resume(returning: true) }
    }
}
