import DrillCore
import Foundation

/// What a directory of archived WAL holds, by the names of its files. Nothing is changed there.
struct WALArchive: Sendable {
    let directory: String
    let segmentBytes: UInt64
    /// Numbers of the segments of each timeline.
    private(set) var segments: [UInt32: Set<UInt64>] = [:]
    /// Where each timeline left its parents, the oldest first.
    private(set) var histories: [UInt32: [(parent: UInt32, end: LSN)]] = [:]
    /// What backup history files say: also of backups that are gone.
    private(set) var backups: [BackupLabel] = []
    /// Paths below the directory, with the number of what is a segment.
    private(set) var files: [(path: String, number: UInt64?)] = []
    /// Of the cluster that wrote it, where a segment could be looked into.
    private(set) var systemIdentifier: UInt64?

    /// Reads the names below the directory, also in folders named by the first 16 digits, as Barman makes them.
    static func read(_ directory: String, _ environment: DrillEnvironment) async throws -> WALArchive {
        let folder = LocalFolder(directory: directory)
        guard try await folder.entry("")?.kind == .directory else {
            throw DrillError(
                .couldNotLook, "there is no such directory of archived WAL", at: directory, hints: ["Is it mounted?"])
        }
        var paths: [String] = []
        for name in try await folder.names(in: "") {
            if name.utf8.count == 16, UInt64(name, radix: 16) != nil {
                paths += try await folder.names(in: name).map { "\(name)/\($0)" }
            } else {
                paths.append(name)
            }
        }
        let segmentPaths = paths.filter { WALSegment(stem($0)) != nil }
        let header = try await segmentPaths.last.asyncFlatMap { path in
            try await SegmentHeader(head: packed(directory + "/" + path, environment).head(SegmentHeader.bytes))
        }
        var archive = WALArchive(directory: directory, segmentBytes: header?.segmentBytes ?? 16 << 20)
        archive.systemIdentifier = header?.systemIdentifier
        for path in paths { try await archive.add(path, environment) }
        return archive
    }

    private init(directory: String, segmentBytes: UInt64) {
        self.directory = directory
        self.segmentBytes = segmentBytes
    }

    private static func stem(_ path: String) -> String {
        Packing.of(path.split(separator: "/").last.map(String.init) ?? path).name
    }

    private static func packed(_ path: String, _ environment: DrillEnvironment) -> PackedFile {
        PackedFile(path: path, packing: Packing.of(path).packing, environment: environment)
    }

    private mutating func add(_ path: String, _ environment: DrillEnvironment) async throws {
        let name = Self.stem(path)
        // What a receiver had not finished may be empty, so it counts for nothing but as a file.
        let whole = name.hasSuffix(".partial") ? String(name.dropLast(8)) : name
        files.append((path, WALSegment(whole)?.number(segmentBytes: segmentBytes)))
        if let segment = WALSegment(name) {
            segments[segment.timeline, default: []].insert(segment.number(segmentBytes: segmentBytes))
        } else if name.hasSuffix(".history"), let timeline = UInt32(name.dropLast(8), radix: 16) {
            let bytes = try await Self.packed(directory + "/" + path, environment).head(1 << 20)
            histories[timeline] = Self.history(String(decoding: bytes, as: UTF8.self))
        } else if name.hasSuffix(".backup") {
            let bytes = try await Self.packed(directory + "/" + path, environment).head(1 << 16)
            if let label = BackupLabel(bytes) { backups.append(label) }
        }
    }

    /// The lines of a timeline's history: parent, where it was left, why. (PostgreSQL manual, Timelines.)
    static func history(_ text: String) -> [(parent: UInt32, end: LSN)] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, let parent = UInt32(words[0]), let end = LSN(words[1]) else { return nil }
            return (parent, end)
        }
    }

    /// The history file of that backup, where the archive still has it.
    func backup(startingAt start: LSN, timeline: UInt32) -> BackupLabel? {
        backups.first { $0.start == start && $0.timeline == timeline }
    }

    // MARK: - Timelines

    /// Timelines that replay from `base` to `timeline` goes along, the oldest first, with where each was left.
    /// - Returns: nil where `timeline` does not descend from `base`.
    func chain(to timeline: UInt32, from base: UInt32) -> [(timeline: UInt32, end: LSN?)]? {
        if timeline == base { return [(base, nil)] }
        guard let history = histories[timeline], let start = history.firstIndex(where: { $0.parent == base }) else {
            return nil
        }
        return history[start...].map { ($0.parent, $0.end) } + [(timeline, nil)]
    }

    /// Timelines that descend from `base`, the newest first.
    func descendants(of base: UInt32) -> [UInt32] {
        histories.keys.filter { chain(to: $0, from: base) != nil && $0 != base }.sorted(by: >)
    }

    /// A timeline of the chain that went on being written after it was left: two histories in one archive (P21).
    func branch(in chain: [(timeline: UInt32, end: LSN?)]) -> (timeline: UInt32, newest: WALSegment)? {
        for (timeline, end) in chain {
            guard let end, let newest = segments[timeline]?.max(), newest > end.segmentNumber(segmentBytes) else {
                continue
            }
            return (timeline, WALSegment(timeline: timeline, number: newest, segmentBytes: segmentBytes))
        }
        return nil
    }

    /// The segments along a chain from that number on, in order.
    func segments(along chain: [(timeline: UInt32, end: LSN?)], from first: UInt64) -> [WALSegment] {
        var timelines: [UInt64: UInt32] = [:]
        for (timeline, end) in chain {
            // A segment that a younger timeline begins in is there in both; the younger one's counts.
            for number in segments[timeline] ?? [] where number >= first {
                if let end, number > end.segmentNumber(segmentBytes) { continue }
                timelines[number] = timeline
            }
        }
        return timelines.sorted { $0.key < $1.key }
            .map { WALSegment(timeline: $0.value, number: $0.key, segmentBytes: segmentBytes) }
    }

    /// The first segment that is not there though a later one is.
    func gap(along chain: [(timeline: UInt32, end: LSN?)], from first: UInt64) -> WALSegment? {
        var expected: UInt64?
        for segment in segments(along: chain, from: first) {
            let number = segment.number(segmentBytes: segmentBytes)
            if let expected, number != expected {
                return WALSegment(timeline: segment.timeline, number: expected, segmentBytes: segmentBytes)
            }
            expected = number + 1
        }
        return nil
    }
}

/// What the first page of a segment says. (src/include/access/xlog_internal.h: XLogLongPageHeaderData.)
struct SegmentHeader: Sendable {
    static let bytes = 40
    var systemIdentifier: UInt64
    var segmentBytes: UInt64

    init?(head: [UInt8]) {
        guard head.count >= Self.bytes, littleEndian(head[2..<4]) & 0x2 != 0 else { return nil }
        systemIdentifier = littleEndian(head[24..<32])
        segmentBytes = littleEndian(head[32..<36])
        guard segmentBytes >= 1 << 20, segmentBytes <= 1 << 30, segmentBytes.nonzeroBitCount == 1 else { return nil }
    }
}

func littleEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }

extension Optional {
    fileprivate func asyncFlatMap<Value>(_ transform: (Wrapped) async throws -> Value?) async rethrows -> Value? {
        guard let self else { return nil }
        return try await transform(self)
    }
}
