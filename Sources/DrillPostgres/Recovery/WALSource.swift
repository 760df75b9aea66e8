import DrillCore
import Foundation

/// Where archived WAL comes from: a directory, a bucket, or a backup tool's own command (`pgbackrest archive-get`).
///
/// The scratch server is sealed: it reaches no network and runs no tool. So it asks Muster for each file by name (``WALCourier``),
/// and Muster fetches it here, outside the seal, several files at a time. Only what is asked for, or comes next, is fetched.
protocol WALSource: Sendable {
    /// For messages: a path, a URL, `stanza main`.
    var place: String { get }

    /// Brings one file of the archive, unpacked, to `path`, where nothing is yet.
    ///
    /// Nothing else may be taken for absence: where the source could not be asked (network, a tool's other exit status, a
    /// missing passphrase), throw `couldNotLook`; where the file is there but cannot be read or unpacked, `backupUnusable`.
    /// Either ends recovery with that very error. What is left at `path` then, or with `absent`, is removed. The courier itself
    /// looks whether a segment is whole and of the right cluster. Cancelling the task should end it soon.
    /// - Parameter name: A segment (24 hexadecimal digits) or a timeline's history (`00000002.history`).
    func fetch(_ name: String, to path: String) async throws -> WALFetch
}

extension WALSource {
    /// What a file of the archive holds; nil where the source has none of that name.
    func content(_ name: String, in scratch: Scratch) async throws -> [UInt8]? {
        let path = "\(scratch.directory)/asked-\(name)"
        let fetch: WALFetch
        do { fetch = try await self.fetch(name, to: path) } catch {
            unlink(path)
            throw error
        }
        defer { unlink(path) }
        return fetch == .absent ? nil : try await LocalFile(path).next(1 << 20)
    }

    func has(_ segment: WALSegment, in scratch: Scratch) async throws -> Bool {
        try await content(segment.name, in: scratch) != nil
    }
}

enum WALFetch: Sendable, Equatable {
    case found
    /// A segment that its writer had not finished: what is there ends somewhere, and the rest is filled with zeros.
    case foundUnfinished
    /// The source says for certain that it has no such file: for the server this is the end of the archive.
    case absent
}

/// What a courier was asked for, in order: evidence of where and why replay ended.
struct WALDeliveries: Sendable, Equatable {
    /// Segments that the server got.
    private(set) var found: Set<WALSegment> = []
    /// Segments that the source has not.
    private(set) var absent: Set<WALSegment> = []
    private(set) var unfinished: Set<WALSegment> = []

    init() {}

    mutating func record(_ name: String, _ fetch: WALFetch) {
        guard let segment = WALSegment(name) else { return }
        switch fetch {
        case .found: found.insert(segment)
        case .foundUnfinished:
            found.insert(segment)
            unfinished.insert(segment)
        case .absent: absent.insert(segment)
        }
    }

    /// Segments that the server got, the newest first.
    func newestFound(_ segmentBytes: UInt64) -> [WALSegment] {
        found.sorted { $0.number(segmentBytes: segmentBytes) > $1.number(segmentBytes: segmentBytes) }
    }

    func lastFound(_ segmentBytes: UInt64) -> WALSegment? { newestFound(segmentBytes).first }

    /// The first segment behind all that were found that the server wanted and the source has not. nil: the server never asked
    /// for more, so what ended replay was no end of the archive.
    func wanted(_ segmentBytes: UInt64) -> WALSegment? {
        let last = lastFound(segmentBytes)?.number(segmentBytes: segmentBytes)
        return absent.filter { segment in last.map { segment.number(segmentBytes: segmentBytes) > $0 } ?? true }
            .min {
                ($0.number(segmentBytes: segmentBytes), $1.timeline)
                    < ($1.number(segmentBytes: segmentBytes), $0.timeline)
            }
    }
}
