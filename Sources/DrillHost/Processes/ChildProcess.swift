import CHost
import DrillCore
import Foundation
import Synchronization

/// A child that was started. A thread of its own spawned it, drains its pipes and reaps it: the kernel ends the child
/// with that thread, so none outlives this process, however it ends (P29).
final class ChildProcess: RunningProcess {
    let processID: Int32
    /// Readable once the child is to be ended.
    let wakeUp: (reading: OwnedDescriptor, writing: OwnedDescriptor)
    private let state: Mutex<State>

    private struct State {
        var hasEnded = false
        var isCancelled = false
        var report: ChildReport?
        var waiting: [CheckedContinuation<ChildReport, Never>] = []
        var recent: TailBuffer
    }

    init(processID: Int32, wakeUp: (reading: OwnedDescriptor, writing: OwnedDescriptor), recentBytes: Int) {
        self.processID = processID
        self.wakeUp = wakeUp
        state = Mutex(State(recent: TailBuffer(limitBytes: recentBytes)))
    }

    var isRunning: Bool { state.withLock { !$0.hasEnded } }

    /// To the child alone, so that it can end its own children in order; but SIGKILL to its whole process group. When
    /// the child has ended, what is left of its group is killed.
    func send(signal: Int32) { self.signal(signal, wholeGroup: signal == SIGKILL) }

    func ended() async -> CommandResult.Ending { await report().ending }

    func recentOutput() -> [UInt8] { state.withLock { $0.recent.contents() } }

    /// SIGTERM to its process group, SIGKILL five seconds later.
    func cancel() {
        state.withLock { $0.isCancelled = true }
        var byte: UInt8 = 1
        // The pipe is never full: one byte suffices, and nobody sends many.
        _ = write(wakeUp.writing.number, &byte, 1)
    }

    func report() async -> ChildReport {
        await withCheckedContinuation { continuation in
            let report = state.withLock { state in
                if state.report == nil { state.waiting.append(continuation) }
                return state.report
            }
            if let report { continuation.resume(returning: report) }
        }
    }
}

/// What a child's thread tells the others.
extension ChildProcess {
    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    func signal(_ number: Int32, wholeGroup: Bool) {
        // Under the lock it cannot be reaped meanwhile, so the number names no other process.
        state.withLock { state in
            guard !state.hasEnded else { return }
            kill(wholeGroup ? -processID : processID, number)
        }
    }

    func noteOutput(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { $0.recent.append(bytes) }
    }

    /// Takes the ended child out of the process table; from then on nothing is sent to it.
    func reap() -> CommandResult.Ending {
        state.withLock { state in
            state.hasEnded = true
            var status: Int32 = 0
            while waitpid(processID, &status, 0) < 0 && errno == EINTR {}
            let signal = status & 0x7f
            return signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal)
        }
    }

    func finish(_ report: ChildReport) {
        let waiting = state.withLock { state in
            state.report = report
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume(returning: report) }
    }
}

/// How a child ended and what it said.
struct ChildReport: Sendable {
    var ending: CommandResult.Ending
    var output: [UInt8]
    var errors: [UInt8]
    var outputWasCut: Bool
    /// Why an output file could not be written whole.
    var failure: DrillError?
}
