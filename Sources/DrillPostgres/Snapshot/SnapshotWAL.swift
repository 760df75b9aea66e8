import CDataFiles
import DrillCore
import Foundation

/// The WAL of a snapshot as its pages themselves say where they belong: a segment's name alone proves nothing, since servers
/// rename old segments for later use. (src/include/access/xlog_internal.h: XLogPageHeaderData.)
struct SnapshotWAL: Sendable {
    let directory: String
    private let segmentBytes: UInt64
    private let pageBytes: UInt64
    /// By name, in order.
    let names: [WALSegment]

    init(_ directory: String, _ control: ControlData) throws {
        self.directory = directory
        segmentBytes = control.segmentBytes
        pageBytes = control.value("WAL block size").flatMap { UInt64($0) } ?? 8192
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: directory).compactMap { WALSegment($0) }
                .sorted { ($0.timeline, $0.high, $0.low) < ($1.timeline, $1.high, $1.low) }
        } catch {
            throw DrillError(.couldNotLook, "cannot be listed", at: directory, cause: error)
        }
    }

    private func segment(_ lsn: LSN, _ timeline: UInt32) -> WALSegment {
        WALSegment(timeline: timeline, number: lsn.segmentNumber(segmentBytes), segmentBytes: segmentBytes)
    }

    private func start(of segment: WALSegment) -> LSN {
        LSN(segment.number(segmentBytes: segmentBytes) * segmentBytes)
    }

    /// Bytes of a segment; nil where it is not there or shorter.
    private func bytes(of segment: WALSegment, at offset: UInt64, count: Int) throws -> [UInt8]? {
        let path = "\(directory)/\(segment.name)"
        let descriptor = df_open_source(path, 0)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw FileTree.unreadable(path)
        }
        defer { close(descriptor) }
        var got = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            got = pread(descriptor, buffer.baseAddress, count, off_t(offset))
            filled = max(0, got)
        }
        guard got >= 0 else { throw FileTree.unreadable(path) }
        return bytes.count == count ? bytes : nil
    }

    /// Whether the page that holds this place is there and says so itself.
    func holds(_ lsn: LSN, timeline: UInt32) throws -> Bool {
        let page = LSN(lsn.value / pageBytes * pageBytes)
        guard let head = try bytes(of: segment(lsn, timeline), at: page.value % segmentBytes, count: 16) else {
            return false
        }
        return littleEndian(head[8..<16]) == page.value
    }

    /// The first and the last segment whose first page says that it belongs there.
    func reach(timeline: UInt32) throws -> (first: WALSegment, last: WALSegment)? {
        let held = try names.filter { try $0.timeline == timeline && holds(start(of: $0), timeline: timeline) }
        guard let first = held.first, let last = held.last else { return nil }
        return (first, last)
    }

    /// The start of the oldest segment that the WAL goes on from without a gap up to the one that holds `lsn`; nil where there is
    /// none before that one.
    func oldest(before lsn: LSN, timeline: UInt32) throws -> LSN? {
        var found: LSN?
        var number = lsn.segmentNumber(segmentBytes)
        while number > 0, try holds(LSN((number - 1) * segmentBytes), timeline: timeline) {
            number -= 1
            found = LSN(number * segmentBytes)
        }
        return found
    }

    /// Why this WAL does not go with that control file; nil where it reaches from the checkpoint on (P25).
    func fault(_ control: ControlData) throws -> String? {
        guard !names.isEmpty else { return "the WAL directory `\(directory)` holds no WAL" }
        guard let redo = control.redo, let checkpoint = control.checkpoint, let timeline = control.timeline else {
            return "the control file names no checkpoint"
        }
        let first = redo.segmentNumber(segmentBytes), last = checkpoint.segmentNumber(segmentBytes)
        let between = first < last ? (first + 1...last).map { LSN($0 * segmentBytes) } : []
        for lsn in [redo] + between + [checkpoint] where try !holds(lsn, timeline: timeline) {
            let needed = "the control file's latest checkpoint is at \(checkpoint) with redo from \(redo)"
            return "\(needed), and \(try lack(of: lsn, timeline))"
        }
        if let head = try bytes(of: segment(checkpoint, timeline), at: 0, count: SegmentHeader.bytes),
            let header = SegmentHeader(head: head), header.systemIdentifier != control.systemIdentifier
        {
            return
                "the WAL is of the cluster with system identifier \(header.systemIdentifier), and the control file is of "
                + "\(control.systemIdentifier ?? 0)"
        }
        return nil
    }

    private func lack(of lsn: LSN, _ timeline: UInt32) throws -> String {
        let name = segment(lsn, timeline).name
        let subject = "the WAL has nothing of \(lsn) (segment \(name))"
        guard let reach = try reach(timeline: timeline) else {
            return "\(subject), nor any other of timeline \(timeline)"
        }
        let spread =
            reach.first == reach.last ? "only \(reach.first.name)" : "\(reach.first.name) to \(reach.last.name)"
        if start(of: reach.last).value <= lsn.value / segmentBytes * segmentBytes {
            return "\(subject): it holds \(spread), so it was taken before the data directory"
        }
        if start(of: reach.first) > lsn {
            return
                "\(subject): it holds \(spread), so it was taken after the data directory, when that was recycled already"
        }
        return "\(subject), though it holds \(spread)"
    }
}
