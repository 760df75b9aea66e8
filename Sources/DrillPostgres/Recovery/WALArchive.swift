import DrillCore
import Foundation

/// What an archive of WAL holds, by the names of its files. Nothing is changed there.
struct WALArchive: Sendable {
    /// For a person.
    let place: String
    let segmentBytes: UInt64
    /// Whether all its files are known; else only what was asked for by name.
    let isListed: Bool
    /// Numbers of the segments of each timeline.
    private(set) var segments: [UInt32: Set<UInt64>] = [:]
    /// Where each timeline left its parents, the oldest first.
    private(set) var histories: [UInt32: [(parent: UInt32, end: LSN)]] = [:]
    /// What backup history files say: also of backups that are gone.
    private(set) var backups: [BackupLabel] = []
    /// Paths below the folder, by the name before packing.
    private var paths: [String: String] = [:]
    /// Of the cluster that wrote it, where a segment could be looked into.
    private(set) var systemIdentifier: UInt64?
    /// PostgreSQL's version that wrote the newest of it, where a segment tells.
    private(set) var major: Int?

    /// Where a file of that name is below the folder, packed or not; nil where it is not.
    func path(of name: String) -> String? { paths[name] }

    /// Reads the names in the folder, also in folders named by the first 16 digits, as Barman makes them.
    static func read(_ folder: any BackupFolder, _ environment: DrillEnvironment) async throws -> WALArchive {
        guard try await folder.entry("")?.kind == .directory else {
            throw DrillError(
                .couldNotLook, "there is no such directory of archived WAL", at: folder.place,
                hints: ["Look at `wal` in the drill file. Is it mounted?"])
        }
        var paths: [String] = []
        for name in try await folder.names(in: "") {
            if name.utf8.count == 16, UInt64(name, radix: 16) != nil {
                paths += try await folder.names(in: name).map { "\(name)/\($0)" }
            } else {
                paths.append(name)
            }
        }
        try refuseUnknownPacking(paths, at: folder.place)
        // Of several that cannot be looked into, one may still tell.
        var header: SegmentHeader?
        for path in paths.filter({ WALSegment(stem($0)) != nil }).suffix(3).reversed() where header == nil {
            let file = PackedFile(folder: folder, path: path, environment: environment)
            header = SegmentHeader(head: try await file.head(SegmentHeader.bytes))
        }
        var archive = WALArchive(place: folder.place, segmentBytes: header?.segmentBytes ?? 16 << 20, isListed: true)
        archive.systemIdentifier = header?.systemIdentifier
        archive.major = header?.major
        for path in paths {
            try await archive.add(path, PackedFile(folder: folder, path: path, environment: environment))
        }
        return archive
    }

    /// What a source that cannot be listed tells of the timelines behind that of a base backup: asks for their histories one by
    /// one, as the server does, and whether a timeline went on where another had left it.
    static func searched(
        _ source: any WALSource, from base: UInt32, segmentBytes: UInt64, in scratch: Scratch
    ) async throws -> WALArchive {
        var archive = WALArchive(place: source.place, segmentBytes: segmentBytes, isListed: false)
        var timeline = base
        repeat {
            timeline += 1
            guard let bytes = try await source.content("\(WALSegment.digits(timeline)).history", in: scratch) else {
                break
            }
            archive.histories[timeline] = history(String(decoding: bytes, as: UTF8.self))
        } while timeline < base + 1000
        for (parent, end) in archive.histories.values.joined() {
            let number = end.segmentNumber(segmentBytes) + 1
            let segment = WALSegment(timeline: parent, number: number, segmentBytes: segmentBytes)
            if try await source.has(segment, in: scratch) { archive.segments[parent, default: []].insert(number) }
        }
        return archive
    }

    /// Of a source that can be listed.
    /// - Parameter names: As PostgreSQL gave them. Histories of timelines and of backups among them are asked for.
    static func listed(
        _ names: [String], _ source: any WALSource, segmentBytes: UInt64, in scratch: Scratch
    ) async throws -> WALArchive {
        var archive = WALArchive(place: source.place, segmentBytes: segmentBytes, isListed: true)
        for name in names {
            if let segment = WALSegment(name) {
                archive.segments[segment.timeline, default: []].insert(segment.number(segmentBytes: segmentBytes))
            } else if name.hasSuffix(".history"), let timeline = UInt32(name.dropLast(8), radix: 16) {
                guard let bytes = try await source.content(name, in: scratch) else { continue }
                archive.histories[timeline] = history(String(decoding: bytes, as: UTF8.self))
            } else if name.hasSuffix(".backup"), let bytes = try await source.content(name, in: scratch),
                let label = BackupLabel(bytes)
            {
                archive.backups.append(label)
            }
        }
        return archive
    }

    private init(place: String, segmentBytes: UInt64, isListed: Bool) {
        self.place = place
        self.segmentBytes = segmentBytes
        self.isListed = isListed
    }

    private static let unknownPackings = ["xz", "bz2", "br", "lzma", "Z", "zip", "7z", "gpg", "age", "enc"]

    /// A segment whose packing is not known would count as missing. Other names, such as of a copy under way, count for nothing.
    private static func refuseUnknownPacking(_ paths: [String], at place: String) throws {
        for path in paths {
            let name = path.split(separator: "/").last ?? ""
            guard WALSegment(name.prefix(24)) != nil, let suffix = name.split(separator: ".").last.map(String.init),
                unknownPackings.contains(suffix)
            else { continue }
            throw DrillError(
                .couldNotLook, "is packed in a way that is not known", at: "\(place)/\(path)",
                hints: ["Known are segments as they are, .gz, .zst and .lz4."])
        }
    }

    private static func stem(_ path: String) -> String {
        Packing.of(path.split(separator: "/").last.map(String.init) ?? path).name
    }

    private mutating func add(_ path: String, _ file: PackedFile) async throws {
        let name = Self.stem(path)
        // What is there packed and unpacked is taken unpacked.
        if paths[name] == nil || Packing.of(path).packing == .none { paths[name] = path }
        if let segment = WALSegment(name) {
            segments[segment.timeline, default: []].insert(segment.number(segmentBytes: segmentBytes))
        } else if name.hasSuffix(".history"), let timeline = UInt32(name.dropLast(8), radix: 16) {
            histories[timeline] = Self.history(String(decoding: try await file.head(1 << 20), as: UTF8.self))
        } else if name.hasSuffix(".backup"), let label = BackupLabel(try await file.head(1 << 16)) {
            backups.append(label)
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
        for (index, link) in chain.enumerated() {
            guard let end = link.end?.segmentNumber(segmentBytes), let newest = segments[link.timeline]?.max(),
                newest >= end
            else { continue }
            // Of the segment that it was left in, the younger timeline has a copy of its own.
            let younger = index + 1 < chain.count ? segments[chain[index + 1].timeline] : nil
            if newest == end, younger?.contains(end) ?? false { continue }
            return (
                link.timeline, WALSegment(timeline: link.timeline, number: newest, segmentBytes: segmentBytes)
            )
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
    /// XLOG_PAGE_MAGIC of each version.
    private static let majors: [UInt64: Int] = [
        0xD101: 12, 0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18,
    ]
    /// Where the segment begins.
    var start: LSN
    /// nil for a version that was not out yet when this was written.
    var major: Int?
    var systemIdentifier: UInt64
    var segmentBytes: UInt64

    init?(head: [UInt8]) {
        guard head.count >= Self.bytes, littleEndian(head[2..<4]) & 0x2 != 0 else { return nil }
        start = LSN(littleEndian(head[8..<16]))
        major = Self.majors[littleEndian(head[0..<2])]
        systemIdentifier = littleEndian(head[24..<32])
        segmentBytes = littleEndian(head[32..<36])
        guard segmentBytes >= 1 << 20, segmentBytes <= 1 << 30, segmentBytes.nonzeroBitCount == 1 else { return nil }
    }
}

func littleEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }
