import DrillCore
import Foundation

/// One backup in a tool's catalog, in the words that all tools share.
struct ToolBackup: Sendable {
    enum State: Sendable, Hashable {
        case done
        /// Not finished yet; the reason in the tool's own words.
        case running(String)
        /// In the tool's own words.
        case refused(String)
    }

    /// As the tool knows it.
    var label: String
    var state: State = .done
    /// `full`, `incr`, `diff`, `delta`.
    var type: String?
    var startedAt: Date?
    var stoppedAt: Date?
    var start: LSN?
    var stop: LSN?
    /// Segments with the first and the last record that the data need to be consistent.
    var startSegment: WALSegment?
    var stopSegment: WALSegment?
    /// Once restored.
    var sizeBytes: Int64?
    /// What it takes up where it is kept.
    var storedBytes: Int64?
    var major: Int?
    var version: String?
    var systemIdentifier: UInt64?
    /// Labels of the backups that it builds on.
    var reference: [String] = []
    /// By name, where the tool tells.
    var tablespaces: [String] = []
    /// Which of several repositories it is in.
    var repository: Int?
    /// The archive of WAL that goes with it, by the tool's own name.
    var archive: String?
    var notes: [String] = []

    /// As a candidate: judged by its state and its time alone.
    func set(place: String, target: RecoveryTarget, now: Date) -> BackupSet {
        var set = BackupSet(
            id: label, time: stoppedAt ?? startedAt, place: "\(place) \(label)", notes: notes, sizeBytes: sizeBytes)
        set.facts = facts
        set.state = candidateState(target: target, now: now)
        return set
    }

    private var facts: [(name: String, value: String)] {
        var facts: [(name: String, value: String)] = []
        func add(_ name: String, _ value: String?) { if let value { facts.append((name, value)) } }
        add("type", type)
        add("started", startedAt.map { rfc3339($0) })
        add("stopped", stoppedAt.map { rfc3339($0) })
        add("timeline", startSegment.map { String($0.timeline) })
        add("start LSN", start?.description)
        add("stop LSN", stop?.description)
        add("PostgreSQL", version ?? major.map(String.init))
        add("system identifier", systemIdentifier.map { String($0) })
        add("repository", repository.map(String.init))
        add("stored", storedBytes.map { "\(grouped($0)) bytes" })
        return facts
    }

    private func candidateState(target: RecoveryTarget, now: Date) -> BackupSet.State {
        switch state {
        case .running(let reason): return .beingWritten(reason)
        case .refused(let reason): return .unusable(reason)
        case .done: break
        }
        guard let time = stoppedAt ?? startedAt else { return .usable }
        if time.timeIntervalSince(now) > 300 {
            return .passedOver("It is dated \(rfc3339(time)), in the future: refused.")
        }
        // Catalogs have whole seconds; the data may be consistent only at the end of that second.
        if case .instant(let instant) = target, instant.timeIntervalSince(time) < 1 {
            return .passedOver("It ended at \(rfc3339(time)), not before the recovery target \(rfc3339(instant)).")
        }
        if case .lsn(let text) = target, let lsn = LSN(text), let stop, lsn < stop {
            return .passedOver("It ended at \(stop), behind the recovery target \(lsn).")
        }
        return .usable
    }

    /// How large a segment is, told by what the name of one says of a place that it holds.
    var segmentBytes: UInt64? {
        let pairs = [(start, startSegment), (stop, stopSegment)].compactMap { lsn, segment in
            lsn.flatMap { lsn in segment.map { (lsn, $0) } }
        }
        guard !pairs.isEmpty else { return nil }
        let sizes = (20...30).map { UInt64(1) << $0 }.filter { bytes in
            pairs.allSatisfy { lsn, segment in
                // A stop at a segment's very start still belongs to the one before.
                let number = segment.number(segmentBytes: bytes)
                return lsn.segmentNumber(bytes) == number || LSN(max(lsn.value, 1) - 1).segmentNumber(bytes) == number
            }
        }
        return sizes.contains(16 << 20) ? 16 << 20 : sizes.first
    }
}
