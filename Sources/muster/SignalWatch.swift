import Dispatch
import Foundation
import Synchronization

/// Notes the first signal and asks the run to end; the run then removes its scratch before the process leaves.
///
/// `@unchecked`: the state is behind its mutex, and the sources are only made and held.
final class SignalWatch: @unchecked Sendable {
    private struct State {
        var received: Int32?
        var action: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())
    // Kept for as long as the watch: a source that is released stops watching.
    private let sources: [(number: Int32, source: any DispatchSourceSignal)]

    init(_ numbers: [Int32]) {
        sources = numbers.map { number in
            signal(number, SIG_IGN)
            return (number, DispatchSource.makeSignalSource(signal: number, queue: .global()))
        }
        for (number, source) in sources {
            source.setEventHandler { [weak self] in self?.came(number) }
            source.resume()
        }
    }

    static func name(_ number: Int32) -> String {
        [SIGINT: "SIGINT", SIGTERM: "SIGTERM", SIGHUP: "SIGHUP"][number] ?? "signal \(number)"
    }

    var received: Int32? { state.withLock { $0.received } }

    /// Replaces what a signal does; where one came already it is done at once.
    func onSignal(_ action: @escaping @Sendable () -> Void) {
        let isLate = state.withLock { state in
            state.action = action
            return state.received != nil
        }
        if isLate { action() }
    }

    private func came(_ number: Int32) {
        let action = state.withLock { state in
            if state.received == nil { state.received = number }
            return state.action
        }
        action?()
    }
}
