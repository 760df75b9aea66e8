import Dispatch
import DrillCore
import Foundation
import Synchronization

/// Shows phases with elapsed time, and inside a phase how far it is, with rate and time left where the total is known. On a
/// terminal the current phase is one line redrawn in place; elsewhere each phase is one line when it ends.
final class TerminalProgress: RunProgress {
    private struct State {
        var drill = ""
        var phase: String?
        var phaseBegan = DispatchTime.now()
        var step: String?
        var stepBegan = DispatchTime.now()
        var total: Int64?
        var unit = ProgressUnit.items
        var done: Int64 = 0
        var isDrawn = false
        var frame = 0
    }

    private let terminal: Terminal
    private let state = Mutex(State())
    private let drawing: Task<Void, any Error>?

    init(terminal: Terminal) {
        self.terminal = terminal
        guard terminal.isInteractive else {
            drawing = nil
            return
        }
        let target = WeakReference()
        drawing = Task.detached {
            while true {
                try await Task.sleep(for: .milliseconds(100))
                target.redraw()
            }
        }
        target.set(self)
    }

    /// Lets the drawing task look at the progress without keeping it alive.
    private final class WeakReference: Sendable {
        private struct Weak { weak var progress: TerminalProgress? }
        private let reference = Mutex(Weak())
        func set(_ progress: TerminalProgress) { reference.withLock { $0.progress = progress } }
        func redraw() { reference.withLock { $0.progress }?.redraw() }
    }

    deinit { drawing?.cancel() }

    func runBegan(_ header: RunHeader) {
        state.withLock { $0.drill = header.drill }
        line("\(terminal.styled(header.drill, .bold))  run \(header.runID)")
    }

    func phaseBegan(_ name: String) {
        state.withLock { state in
            state.phase = name
            state.phaseBegan = .now()
            state.step = nil
            state.total = nil
            state.done = 0
        }
    }

    func phaseEnded(_ phase: PhaseRecord) {
        state.withLock { $0.phase = nil }
        let name = phase.name.padding(toLength: max(28, phase.name.count), withPad: " ", startingAt: 0)
        let detail = phase.detail.split(separator: "\n", omittingEmptySubsequences: true).first.map(String.init) ?? ""
        line(harmless("  \(name) \(padded(spanText(phase.seconds), 9))  \(detail)"))
    }

    func step(_ name: String, total: Int64?, unit: ProgressUnit) {
        state.withLock { state in
            state.step = name
            state.stepBegan = .now()
            state.total = total
            state.unit = unit
            state.done = 0
        }
    }

    func advance(to done: Int64) { state.withLock { $0.done = done } }

    func note(_ text: String) { line("  note: " + harmless(text)) }

    /// Takes the drawn line away, so that others can write.
    func clear() { state.withLock { clear(&$0) } }

    private func line(_ text: String) {
        state.withLock { state in
            clear(&state)
            terminal.write(text + "\n")
        }
    }

    private func clear(_ state: inout State) {
        if state.isDrawn { terminal.write("\r\u{1B}[K") }
        state.isDrawn = false
    }

    private func redraw() {
        state.withLock { state in
            guard let phase = state.phase else { return }
            let spinner = Array("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
            state.frame += 1
            let elapsed = seconds(since: state.phaseBegan)
            var text = "\(spinner[state.frame % spinner.count]) \(phase)  \(spanText(elapsed))"
            if let step = state.step {
                if !phase.hasSuffix(step) { text += "  \(step)" }
                text += "  \(amount(state))"
            }
            let width = terminal.width - 1
            terminal.write("\r\u{1B}[K" + harmless(String(text.prefix(width))))
            state.isDrawn = true
        }
    }

    /// `[████······] 42%  1,200 of 2,800 rows, 310 rows/s, 5 s left`.
    private func amount(_ state: State) -> String {
        let elapsed = seconds(since: state.stepBegan)
        let rate = elapsed > 0.2 ? Double(state.done) / elapsed : 0
        let unit = state.unit.rawValue
        let rateText = rate > 0 ? ", \(grouped(Int64(rate))) \(unit)/s" : ""
        guard let total = state.total, total > 0 else {
            return state.done > 0 ? "\(grouped(state.done)) \(unit)\(rateText)" : ""
        }
        let share = min(1, Double(state.done) / Double(total))
        let filled = Int(share * 20)
        let bar = String(repeating: "█", count: filled) + String(repeating: "·", count: 20 - filled)
        let left = rate > 0 && total > state.done ? ", \(spanText(Double(total - state.done) / rate)) left" : ""
        return "[\(bar)] \(Int(share * 100))%  \(grouped(state.done)) of \(grouped(total)) \(unit)\(rateText)\(left)"
    }

    private func seconds(since time: DispatchTime) -> Double {
        Double(DispatchTime.now().uptimeNanoseconds - time.uptimeNanoseconds) / 1e9
    }

    private func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
