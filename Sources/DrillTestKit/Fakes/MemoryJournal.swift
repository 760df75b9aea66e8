import DrillCore
import Foundation
import Synchronization

/// A ledger in memory.
package final class MemoryLedger: RunLedger {
    private let journals = Mutex<[MemoryJournal]>([])
    package let written = Mutex<[RunRecord]>([])

    package init() {}
    package var last: MemoryJournal? { journals.withLock { $0.last } }

    package func begin(_ header: RunHeader) async throws -> any RunJournal {
        let journal = MemoryJournal(header)
        journals.withLock { $0.append(journal) }
        return journal
    }
    package func writeReports(_ record: RunRecord) async throws { written.withLock { $0.append(record) } }
}

package final class MemoryJournal: RunJournal {
    private struct State {
        var phases: [PhaseRecord] = []
        var probes: [ProbeResult] = []
        var findings: [Finding] = []
        var open: [ScratchItem] = []
        var kept: [String: [UInt8]] = [:]
        var outcome: RunOutcome?
    }
    private let header: RunHeader
    private let state = Mutex(State())
    package let runDirectory = "/nowhere"

    init(_ header: RunHeader) { self.header = header }

    package var findings: [Finding] { state.withLock { $0.findings } }
    package var phases: [PhaseRecord] { state.withLock { $0.phases } }
    /// What was made and not removed again.
    package var openItems: [ScratchItem] { state.withLock { $0.open } }

    package func record(_ phase: PhaseRecord) async throws { state.withLock { $0.phases.append(phase) } }
    package func record(_ probe: ProbeResult) async throws { state.withLock { $0.probes.append(probe) } }
    package func record(_ findings: [Finding]) async throws { state.withLock { $0.findings += findings } }
    package func willCreate(_ item: ScratchItem) async throws { state.withLock { $0.open.append(item) } }
    package func didRemove(_ item: ScratchItem) async throws { state.withLock { $0.open.removeAll { $0 == item } } }
    package func keep(_ contents: [UInt8], as name: String) async throws { state.withLock { $0.kept[name] = contents } }
    package func snapshot() async throws -> RunRecord { recordNow() }
    package func finish(_ outcome: RunOutcome) async throws -> RunRecord {
        state.withLock { $0.outcome = outcome }
        return recordNow()
    }

    private func recordNow() -> RunRecord {
        state.withLock { state in
            RunRecord(
                header: header, outcome: state.outcome, phases: state.phases, probes: state.probes, groups: [],
                chainHead: nil)
        }
    }
}
