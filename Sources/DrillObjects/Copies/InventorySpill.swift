import DrillCore
import Foundation

/// One key of a resolved inventory.
struct CopyEntry: Sendable {
    var key: ObjectKey
    var state: EntryState
    var reading: ObjectReading
    var detail: EntryDetail?
}

/// Keeps an inventory in scratch, in key order: what is known of each key beside its bytes. Memory does not grow with it.
///
/// A record is its length (4 bytes, little-endian), the state (1), size and modification time (8 each), then key, version ID,
/// ETag and detail (as JSON), each behind its length (4).
final class InventoryWriter {
    private let file: SpillFile

    init(in directory: String) throws { file = try SpillFile(in: directory) }

    func append(_ entry: CopyEntry) throws {
        var record: [UInt8] = [0, 0, 0, 0, entry.state.rawValue]
        record.reserveCapacity(64 + entry.key.bytes.count)
        record.append(integer: entry.reading.sizeBytes)
        record.append(integer: entry.reading.modifiedAt?.microseconds ?? .min)
        record.append(field: entry.key.bytes)
        record.append(field: Array((entry.reading.version?.text ?? "").utf8))
        record.append(field: Array((entry.reading.etag ?? "").utf8))
        record.append(field: try entry.detail.map { try JSONEncoder().encode(KeptDetail($0)) }.map(Array.init) ?? [])
        let length = UInt32(record.count - 4)
        for byte in 0..<4 { record[byte] = UInt8(truncatingIfNeeded: length >> (8 * UInt32(byte))) }
        try record.withUnsafeBytes { try file.append($0) }
    }

    func finished() throws -> InventorySpill { InventorySpill(try file.finished()) }
}

/// The kept inventory. It has no name in the file system, and is gone with its last user.
final class InventorySpill: Sendable {
    private let file: Descriptor

    fileprivate init(_ file: Descriptor) { self.file = file }

    func reader() -> Reader { Reader(file) }

    /// Reads the entries from first to last.
    struct Reader {
        private let file: Descriptor
        private var buffer: [UInt8] = []
        private var position = 0
        private var offset: Int64 = 0

        fileprivate init(_ file: Descriptor) { self.file = file }

        /// nil after the last entry.
        mutating func next() throws -> CopyEntry? {
            guard let length = try take(4)?.integer(UInt32.self), var record = try take(Int(length)) else { return nil }
            guard let state = record.popFirst().flatMap(EntryState.init), let size = record.popInteger(Int64.self),
                let modified = record.popInteger(Int64.self), let key = record.popField(),
                let version = record.popField(), let etag = record.popField(), let detail = record.popField()
            else { throw DrillError(.couldNotLook, "a record of the inventory in scratch cannot be read") }
            func text(_ bytes: ArraySlice<UInt8>) -> String? {
                bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
            }
            return CopyEntry(
                key: ObjectKey(key), state: state,
                reading: ObjectReading(
                    sizeBytes: size, modifiedAt: modified == .min ? nil : Date(microseconds: modified),
                    version: text(version).map(VersionID.init), etag: text(etag)),
                detail: detail.isEmpty
                    ? nil : try JSONDecoder().decode(KeptDetail.self, from: Data(detail)).detail)
        }

        /// The next so many entries, fewer at the end.
        mutating func next(limit: Int) throws -> [CopyEntry] {
            var entries: [CopyEntry] = []
            while entries.count < limit, let entry = try next() { entries.append(entry) }
            return entries
        }

        private mutating func take(_ count: Int) throws -> ArraySlice<UInt8>? {
            if buffer.count - position < count {
                buffer.removeFirst(position)
                position = 0
                let wanted = max(count, 1 << 18)
                let more = try [UInt8](unsafeUninitializedCapacity: wanted) { space, filled in
                    do throws(FileFailure) {
                        filled = try file.read(into: UnsafeMutableRawBufferPointer(space), at: offset)
                    } catch {
                        throw error.couldNotLook("read the inventory in scratch", at: "scratch")
                    }
                }
                offset += Int64(more.count)
                buffer += more
            }
            guard buffer.count - position >= count else { return nil }
            defer { position += count }
            return buffer[position..<(position + count)]
        }
    }
}

/// The kept entries as an inventory: what a store's own listing would say, without asking it again.
actor KeptInventory: InventoryStream {
    private static let batchEntries = 1000

    private var reader: InventorySpill.Reader
    private let prefix: [UInt8]
    private var isOver = false

    init(_ spill: InventorySpill, prefix: [UInt8]) {
        reader = spill.reader()
        self.prefix = prefix
    }

    func next() throws -> ObjectBatch? {
        guard !isOver else { return nil }
        var batch = ObjectBatch()
        var isPlain = true, hasVersions = false, hasETags = false
        while batch.count < Self.batchEntries, let entry = try reader.next() {
            guard entry.key.bytes.starts(with: prefix) else {
                if prefix.lexicographicallyPrecedes(entry.key.bytes) { break }
                continue
            }
            if let detail = entry.detail { batch.details[batch.count] = detail }
            batch.keys.append(entry.key.bytes)
            batch.sizes.append(entry.reading.sizeBytes)
            batch.modified.append(entry.reading.modifiedAt?.microseconds ?? .min)
            batch.states.append(entry.state)
            batch.versions.append(Array((entry.reading.version?.text ?? "").utf8))
            batch.etags.append(Array((entry.reading.etag ?? "").utf8))
            if entry.state != .present { isPlain = false }
            if entry.reading.version != nil { hasVersions = true }
            if entry.reading.etag != nil { hasETags = true }
        }
        guard batch.count > 0 else {
            isOver = true
            return nil
        }
        if isPlain { batch.states = [] }
        if !hasVersions { batch.versions = ByteColumn() }
        if !hasETags { batch.etags = ByteColumn() }
        return batch
    }

    func cancel() { isOver = true }
}

/// An ``EntryDetail`` as it is kept.
private struct KeptDetail: Codable {
    struct Reading: Codable {
        var size: Int64
        var modified: Int64?
        var version: String?
        var etag: String?
    }
    struct Damage: Codable {
        var kind: String
        var expected: String
        var observed: String
    }
    var note: String
    var happenedAt: Int64?
    var readings: [Reading?]
    var cause: String?
    var damage: Damage?

    init(_ detail: EntryDetail) {
        note = detail.note
        happenedAt = detail.happenedAt?.microseconds
        readings = detail.readings.map { reading in
            reading.map {
                Reading(
                    size: $0.sizeBytes, modified: $0.modifiedAt?.microseconds, version: $0.version?.text, etag: $0.etag)
            }
        }
        cause = detail.cause?.rawValue
        damage = detail.damage.map { Damage(kind: $0.kind.rawValue, expected: $0.expected, observed: $0.observed) }
    }

    var detail: EntryDetail {
        EntryDetail(
            note: note, happenedAt: happenedAt.map(Date.init(microseconds:)),
            readings: readings.map { reading in
                reading.map {
                    ObjectReading(
                        sizeBytes: $0.size, modifiedAt: $0.modified.map(Date.init(microseconds:)),
                        version: $0.version.map(VersionID.init), etag: $0.etag)
                }
            }, cause: cause.flatMap(Cause.init),
            damage: damage.flatMap { damage in
                FindingKind(rawValue: damage.kind).map {
                    ContentDamage(kind: $0, expected: damage.expected, observed: damage.observed)
                }
            })
    }
}

extension [UInt8] {
    fileprivate mutating func append(integer value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
    fileprivate mutating func append(field bytes: [UInt8]) {
        append(integer: UInt32(bytes.count))
        append(contentsOf: bytes)
    }
}

extension ArraySlice<UInt8> {
    /// Little-endian, from the first bytes.
    fileprivate func integer<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        guard count >= MemoryLayout<Number>.size else { return nil }
        return prefix(MemoryLayout<Number>.size).reversed().reduce(0) { $0 << 8 | Number(truncatingIfNeeded: $1) }
    }
    fileprivate mutating func popInteger<Number: FixedWidthInteger>(_ type: Number.Type) -> Number? {
        defer { removeFirst(Swift.min(count, MemoryLayout<Number>.size)) }
        return integer(type)
    }
    fileprivate mutating func popField() -> ArraySlice<UInt8>? {
        guard let length = popInteger(UInt32.self), count >= Int(length) else { return nil }
        defer { removeFirst(Int(length)) }
        return prefix(Int(length))
    }
}
