import DrillCore
import Foundation

/// Whether a file is the segment that its name says. The server would take a wrong first page for the end of WAL.
struct SegmentCheck: Sendable {
    var segment: WALSegment
    var segmentBytes: UInt64
    /// nil where it is not known.
    var systemIdentifier: UInt64?

    /// - Parameter isFinished: Otherwise what is missing at its end is filled with zeros.
    /// - Throws: `backupUnusable` naming the segment and its timeline.
    func look(at path: String, isFinished: Bool, place: String) throws {
        let descriptor = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else { throw failed("opened", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failed("looked at", path) }
        var head = [UInt8](repeating: 0, count: SegmentHeader.bytes)
        let count = pread(descriptor, &head, head.count, 0)
        guard count >= 0 else { throw failed("read", path) }
        if let fault = fault(sizeBytes: UInt64(max(0, status.st_size)), Array(head.prefix(count)), isFinished) {
            throw DrillError(
                .backupUnusable, "the WAL segment \(segment.name) (timeline \(segment.timeline)) \(fault)", at: place)
        }
        if !isFinished, UInt64(status.st_size) < segmentBytes {
            guard ftruncate(descriptor, off_t(segmentBytes)) == 0 else { throw failed("filled up", path) }
        }
    }

    /// What is wrong with it; nil where nothing is.
    func fault(sizeBytes: UInt64, _ head: [UInt8], _ isFinished: Bool) -> String? {
        guard isFinished ? sizeBytes == segmentBytes : sizeBytes <= segmentBytes else {
            return "has \(sizeBytes) bytes instead of \(segmentBytes)"
        }
        // What was not begun yet is all zeros.
        if !isFinished, head.allSatisfy({ $0 == 0 }) { return nil }
        guard let header = SegmentHeader(head: head) else { return "is damaged: its first page is none of WAL" }
        if let systemIdentifier, header.systemIdentifier != systemIdentifier {
            return
                "is of another cluster: its system identifier is \(header.systemIdentifier), that of the base backup "
                + "\(systemIdentifier)"
        }
        guard header.segmentBytes == segmentBytes else {
            return "is damaged: it says that segments have \(header.segmentBytes) bytes, not \(segmentBytes)"
        }
        let start = LSN(segment.number(segmentBytes: segmentBytes) * segmentBytes)
        guard header.start == start else {
            return "is damaged or misnamed: its first page is of \(header.start), not of \(start)"
        }
        return nil
    }

    private func failed(_ verb: String, _ path: String) -> DrillError {
        DrillError(.couldNotLook, "cannot be \(verb): \(String(cString: strerror(errno)))", at: path)
    }
}
