import DrillCore
import Foundation

/// The archive of WAL in a tool's repository, which the tool itself hands out.
protocol ToolArchive: WALSource {
    /// The files that it holds, by the names that PostgreSQL gave them. Throws `couldNotLook` where it cannot be listed.
    func names() async throws -> [String]
}

extension ToolArchive {
    /// That backup, refused where WAL that it needs to be consistent is missing.
    func withGapJudged(_ backup: ToolBackup) async throws -> ToolBackup {
        guard let first = backup.startSegment, let last = backup.stopSegment, let bytes = backup.segmentBytes else {
            return backup
        }
        let held = Set(try await names().compactMap { WALSegment($0) })
        let numbers = first.number(segmentBytes: bytes)...max(first, last).number(segmentBytes: bytes)
        for number in numbers {
            let segment = WALSegment(timeline: first.timeline, number: number, segmentBytes: bytes)
            guard !held.contains(segment) else { continue }
            // A stop at a segment's very start needs nothing of it.
            if number == numbers.upperBound, number > numbers.lowerBound, let stop = backup.stop,
                stop.value % bytes == 0
            {
                continue
            }
            var refused = backup
            refused.state = .refused(
                "the WAL segment \(segment.name) (timeline \(segment.timeline)), which it needs to be consistent, is missing in "
                    + "\(place)")
            return refused
        }
        return backup
    }
}

extension WALSegment {
    fileprivate static func < (left: WALSegment, right: WALSegment) -> Bool {
        (left.high, left.low) < (right.high, right.low)
    }
}

private func max(_ left: WALSegment, _ right: WALSegment) -> WALSegment { left < right ? right : left }
