import Synchronization

/// Whether what a run made in scratch stays when it ends. Restorers ask it after the probes have run.
package final class KeepDecision: Sendable {
    private let value: Mutex<Bool>

    /// - Parameter isKept: What holds when the run ends before anything was decided: a failing restore is a failure.
    package init(isKept: Bool) { value = Mutex(isKept) }

    package var isKept: Bool { value.withLock { $0 } }
    package func decide(isKept: Bool) { value.withLock { $0 = isKept } }
}
