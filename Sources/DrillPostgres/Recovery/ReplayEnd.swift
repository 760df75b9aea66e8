import DrillCore

/// Why replay ended where it did: pure judging of the log against what the archive has.
enum ReplayEnd: Sendable, Equatable {
    /// The archive has nothing later.
    case archiveEnd
    /// That segment is not there though a later one is.
    case missing(WALSegment, next: WALSegment)
    /// The archive goes on, and the log cannot be read past that place.
    case damaged(LSN, next: WALSegment)

    /// - Parameter start: Where replay began.
    init(_ log: RecoveryLog, start: LSN, _ archive: WALArchive, _ chain: [(timeline: UInt32, end: LSN?)]) {
        let bytes = archive.segmentBytes
        let end = log.redoEnd ?? start
        let last = end.segmentNumber(bytes)
        let first = log.redoEnd == nil ? last : last + 1
        guard let next = archive.segments(along: chain, from: first).first else {
            self = .archiveEnd
            return
        }
        if next.number(segmentBytes: bytes) > first {
            self = .missing(WALSegment(timeline: next.timeline, number: first, segmentBytes: bytes), next: next)
        } else {
            self = .damaged(end, next: next)
        }
    }

    /// What a report says; nil at the end of the archive.
    func fault(_ log: RecoveryLog) -> String? {
        switch self {
        case .archiveEnd: return nil
        case .missing(let segment, let next):
            return
                "the WAL segment \(segment.name) (timeline \(segment.timeline)) is missing; the archive goes on with \(next.name)"
        case .damaged(let end, let next):
            let reason = log.readError.map { " (\($0))" } ?? ""
            return
                "the WAL cannot be read past \(end)\(reason), though the archive goes on to \(next.name) (timeline \(next.timeline))"
        }
    }
}

/// Which timeline recovery follows, and what a report says of the others (P21).
struct TimelineChoice: Sendable {
    var chain: [(timeline: UInt32, end: LSN?)]
    var notes: [String]

    var timeline: UInt32 { chain.last?.timeline ?? 1 }

    /// - Parameter wanted: Of the drill file; nil takes the newest descendant where the archive has no second branch.
    init(_ archive: WALArchive?, base: UInt32, wanted: UInt32?) throws {
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
                at: archive.directory,
                hints: ["Its history file `\(WALSegment.digits(chosen)).history` must be in the archive."])
        }
        if wanted == nil, let branch = archive.branch(in: chain) {
            throw DrillError(
                .couldNotLook,
                "the archive has two histories: timeline \(branch.timeline) goes on to \(branch.newest.name), and timeline "
                    + "\(chosen) left it before", at: archive.directory,
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
