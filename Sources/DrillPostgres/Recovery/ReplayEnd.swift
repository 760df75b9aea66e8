import DrillCore

/// Why replay ended where it did: pure judging of the log against what the server asked for, and what the archive has.
///
/// The server takes much for the end of WAL: damage, a wrong page, a `restore_command` that could not even be started. Only
/// one thing is the end of the archive: it read all that it got to the last byte, asked for the next segment, and the source
/// said that there is none.
enum ReplayEnd: Sendable, Equatable {
    /// The archive has nothing later.
    case archiveEnd
    /// That segment is not there though a later one is.
    case missing(WALSegment, next: WALSegment)
    /// That segment, the last that the server got, cannot be read past that place.
    case damaged(WALSegment, at: LSN)
    /// The server never asked for WAL behind that place.
    case unexplained(LSN)

    /// - Parameters:
    ///   - start: Where replay began.
    ///   - later: The archive's first segment from that number on, in the history that is followed.
    init(
        _ log: RecoveryLog, start: LSN, _ deliveries: WALDeliveries, segmentBytes: UInt64,
        later: (UInt64) async throws -> WALSegment?
    ) async rethrows {
        let end = log.redoEnd ?? start
        guard let wanted = deliveries.wanted(segmentBytes) else {
            let last = deliveries.lastFound(segmentBytes)
            // A segment that its writer had not finished ends somewhere, and nothing tells where it should have.
            if let last, deliveries.unfinished.contains(last) {
                let number = last.number(segmentBytes: segmentBytes) + 1
                self = try await later(number).map { .missing(last, next: $0) } ?? .archiveEnd
            } else {
                self = last.map { .damaged($0, at: end) } ?? .unexplained(end)
            }
            return
        }
        // Where the archive lacks a segment that is in the base backup, the server went on with that.
        let number = max(wanted.number(segmentBytes: segmentBytes), log.redoEnd?.segmentNumber(segmentBytes) ?? 0)
        guard let next = try await later(number + 1) else {
            self = .archiveEnd
            return
        }
        let segment = WALSegment(timeline: wanted.timeline, number: number, segmentBytes: segmentBytes)
        self = .missing(segment, next: next)
    }

    /// Whether it is the backup that is at fault where it is a fault.
    var isOfBackup: Bool { if case .unexplained = self { false } else { true } }

    /// nil at the end of the archive.
    func error(_ log: RecoveryLog, at place: String) -> DrillError? {
        fault(log).map {
            DrillError(
                isOfBackup ? .backupUnusable : .couldNotLook, $0, at: place, hints: Array(log.evidence.suffix(8)))
        }
    }

    /// What a report says; nil at the end of the archive.
    func fault(_ log: RecoveryLog) -> String? {
        switch self {
        case .archiveEnd: return nil
        case .missing(let segment, let next):
            return
                "the WAL segment \(segment.name) (timeline \(segment.timeline)) is missing; the archive goes on with \(next.name)"
        case .damaged(let segment, let place):
            let reason = log.readError ?? "replay ended at \(place), before the segment's end"
            return "the WAL segment \(segment.name) (timeline \(segment.timeline)) is damaged: \(reason)"
        case .unexplained(let place):
            return "replay ended at \(place) though the server never asked the archive for more"
        }
    }
}

/// Which timeline recovery follows, and what a report says of the others (P21).
struct TimelineChoice: Sendable {
    var chain: [(timeline: UInt32, end: LSN?)]
    var notes: [String]

    var timeline: UInt32 { chain.last?.timeline ?? 1 }

    /// - Parameter wanted: Of the drill file; nil takes the newest descendant where the archive has no second branch.
    init(_ archive: WALArchive?, base: UInt32, wanted: UInt32?) throws(DrillError) {
        guard let archive else {
            guard wanted == nil || wanted == base else {
                throw DrillError(.usage, "there is no WAL archive to follow timeline \(wanted ?? base) in")
            }
            (chain, notes) = ([(base, nil)], [])
            return
        }
        let others = Set(archive.segments.keys).union(archive.histories.keys).subtracting([base])
        let chosen = wanted ?? archive.descendants(of: base).first ?? base
        guard let chain = archive.chain(to: chosen, from: base) else {
            throw DrillError(
                .backupUnusable, "timeline \(chosen) does not descend from the backup's timeline \(base)",
                at: archive.place,
                hints: ["Its history file `\(WALSegment.digits(chosen)).history` must be in the archive."])
        }
        if wanted == nil, let branch = archive.branch(in: chain) {
            throw DrillError(
                .couldNotLook,
                "the archive has two histories: timeline \(branch.timeline) goes on to \(branch.newest.name), and timeline "
                    + "\(chosen) left it before", at: archive.place,
                hints: [
                    "Say which is production's: `timeline: \(branch.timeline)` or `timeline: \(chosen)`. The other may come from "
                        + "a restored copy that was let write into this archive."
                ])
        }
        self.chain = chain
        notes = []
        let unused = others.subtracting(chain.map(\.timeline)).sorted()
        if !unused.isEmpty {
            notes.append(
                "Recovery followed timeline \(chosen); the archive has others besides: "
                    + "\(unused.map(String.init).joined(separator: ", ")).")
        }
    }
}
