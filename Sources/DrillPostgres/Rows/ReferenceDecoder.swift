import DrillCore
import Foundation

/// Decodes rows of a binary COPY, straight from libpq's buffer, into batches; and checks that they come in order.
///
/// The format is in the PostgreSQL manual, COPY, Binary Format: a header before the first row, rows of big-endian lengths and
/// values, and a trailer. The server sends it in pieces that end with a row.
struct ReferenceDecoder {
    /// A batch is handed on when it holds so many bytes of keys and other texts, or so many rows.
    static let batchBytes = 512 << 10
    static let batchRows = 16 << 10

    private(set) var rowCount: Int64 = 0
    /// Whether the trailer was seen: the server's word that no row comes after.
    private(set) var isComplete = false
    private let layout: ReferenceLayout
    private var sawHeader = false
    private var batch = ReferenceBatch()
    /// Of the last row of the batch that was handed on; nil before the first.
    private var previous: (bucket: [UInt8], bucketIsNull: Bool, key: [UInt8])?

    init(_ layout: ReferenceLayout) {
        self.layout = layout
        startBatch()
    }

    /// Takes one piece of the copy.
    /// - Returns: A batch that is full, if one is.
    mutating func decode(_ piece: UnsafeRawBufferPointer) throws(PostgresError) -> ReferenceBatch? {
        var cursor = BinaryCursor(piece)
        if !sawHeader {
            try cursor.skipCopyHeader()
            sawHeader = true
        }
        while !cursor.isAtEnd {
            let fields = try cursor.int16()
            if fields == -1 {
                guard cursor.isAtEnd, !isComplete else {
                    throw PostgresError(.malformed, "data after the end of a copy")
                }
                isComplete = true
                break
            }
            guard Int(fields) == layout.fieldCount, !isComplete else {
                throw PostgresError(.malformed, "a row of \(fields) columns in place of \(layout.fieldCount)")
            }
            try decodeRow(&cursor)
        }
        return batch.count >= Self.batchRows || batch.byteCount >= Self.batchBytes ? takeBatch() : nil
    }

    /// The rows that are left, if any.
    mutating func takeRest() -> ReferenceBatch? { batch.count > 0 ? takeBatch() : nil }

    private mutating func decodeRow(_ cursor: inout BinaryCursor) throws(PostgresError) {
        if layout.hasBucket {
            let bucket = try cursor.field()
            batch.buckets.append(bucket ?? Self.nothing)
            batch.bucketIsNull.append(bucket == nil)
        }
        guard let key = try cursor.field() else { throw PostgresError(.malformed, "a key that is NULL") }
        batch.keys.append(key)
        if layout.hasSize { try decodeSize(&cursor) }
        if layout.hasChecksum {
            let checksum = try cursor.field()
            batch.checksums.append(checksum ?? Self.nothing)
            batch.checksumIsNull.append(checksum == nil)
        }
        if layout.hasVersion {
            let version = try cursor.field()
            batch.versions.append(version ?? Self.nothing)
            batch.versionIsNull.append(version == nil)
        }
        if layout.hasChanged { batch.changed.append(Self.since1970(try cursor.int64Field())) }
        if layout.hasID { batch.ids.append(try cursor.field() ?? Self.nothing) }
        if layout.hasIncluded {
            guard let included = try cursor.field(), included.count == 1 else {
                throw PostgresError(.malformed, "a boolean of no byte")
            }
            batch.isIncluded.append(included[0] == 1)
        }
        rowCount += 1
        guard isInOrder(key) else {
            throw PostgresError(.malformed, "the rows are not in the byte order of their keys")
        }
    }

    private mutating func decodeSize(_ cursor: inout BinaryCursor) throws(PostgresError) {
        let size: RowSize?
        switch layout.sizeForm {
        case .integer:
            // The least of all integers stands for NULL. As a size it is as wrong as the next one.
            batch.sizes.append(try cursor.int64Field().map { max($0, ReferenceBatch.noSize) } ?? .min)
            return
        case .double: size = try cursor.int64Field().map { RowSize(Double(bitPattern: UInt64(bitPattern: $0))) }
        case .decimal: size = try cursor.field().map { RowSize(decimal: $0) }
        }
        switch size {
        case .bytes(let count):
            batch.sizes.append(max(count, ReferenceBatch.noSize))
            batch.oddSizes.append(Self.nothing)
        case .odd(let text):
            batch.sizes.append(ReferenceBatch.noSize)
            batch.oddSizes.append(Array(text.utf8)[...])
        case nil:
            batch.sizes.append(.min)
            batch.oddSizes.append(Self.nothing)
        }
    }

    private static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Microseconds since 1970 of those since 2000; `Int64.min` for NULL, `infinity` and `-infinity`.
    private static func since1970(_ since2000: Int64?) -> Int64 {
        guard let since2000, since2000 != .min else { return .min }
        let (sum, overflow) = since2000.addingReportingOverflow(946_684_800_000_000)
        return overflow ? .min : sum
    }

    // MARK: - Order

    /// Whether the row just added does not come before the one that it follows: by bucket (NULL first), then by key.
    private func isInOrder(_ key: UnsafeRawBufferPointer) -> Bool {
        let index = batch.count - 1
        guard index > 0 else { return isInOrderAfterLastBatch(key) }
        if layout.hasBucket {
            let order = Self.compareBuckets(
                batch.buckets.bytes[batch.buckets.range(index - 1)], batch.bucketIsNull[index - 1],
                batch.buckets.bytes[batch.buckets.range(index)], batch.bucketIsNull[index])
            if order != 0 { return order < 0 }
        }
        let range = batch.keys.range(index - 1)
        return batch.keys.bytes.withUnsafeBytes { Self.compare(UnsafeRawBufferPointer(rebasing: $0[range]), key) } <= 0
    }

    private func isInOrderAfterLastBatch(_ key: UnsafeRawBufferPointer) -> Bool {
        guard let previous else { return true }
        if layout.hasBucket {
            let order = Self.compareBuckets(
                previous.bucket[...], previous.bucketIsNull, batch.buckets[0], batch.bucketIsNull[0])
            if order != 0 { return order < 0 }
        }
        return previous.key.withUnsafeBytes { Self.compare($0, key) } <= 0
    }

    private static func compareBuckets(
        _ left: ArraySlice<UInt8>, _ leftIsNull: Bool, _ right: ArraySlice<UInt8>, _ rightIsNull: Bool
    ) -> Int {
        if leftIsNull || rightIsNull { return (rightIsNull ? 1 : 0) - (leftIsNull ? 1 : 0) }
        return left.withUnsafeBytes { left in right.withUnsafeBytes { compare(left, $0) } }
    }

    private static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        let common = min(left.count, right.count)
        if common > 0, let leftStart = left.baseAddress, let rightStart = right.baseAddress {
            let order = memcmp(leftStart, rightStart, common)
            if order != 0 { return Int(order) }
        }
        return left.count - right.count
    }

    // MARK: - Batches

    private mutating func takeBatch() -> ReferenceBatch {
        let last = batch.count - 1
        previous = (
            layout.hasBucket ? Array(batch.buckets[last]) : [], layout.hasBucket && batch.bucketIsNull[last],
            Array(batch.keys[last])
        )
        let full = batch
        startBatch()
        return full
    }

    private mutating func startBatch() {
        batch = ReferenceBatch()
        batch.keys.bytes.reserveCapacity(Self.batchBytes)
        batch.keys.ends.reserveCapacity(Self.batchRows)
        if layout.hasSize { batch.sizes.reserveCapacity(Self.batchRows) }
        if layout.hasID {
            batch.ids.bytes.reserveCapacity(Self.batchRows * 8)
            batch.ids.ends.reserveCapacity(Self.batchRows)
        }
    }
}

extension ReferenceBatch {
    fileprivate var byteCount: Int {
        keys.bytes.count + buckets.bytes.count + oddSizes.bytes.count + checksums.bytes.count + versions.bytes.count
            + ids.bytes.count
    }
}

/// Reads big-endian values one after the other; never past the end.
private struct BinaryCursor {
    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { offset == bytes.count }

    mutating func int16() throws(PostgresError) -> Int16 {
        try need(2)
        defer { offset += 2 }
        return Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int16.self))
    }

    private mutating func int32() throws(PostgresError) -> Int32 {
        try need(4)
        defer { offset += 4 }
        return Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
    }

    /// A value with its length before it; nil for NULL.
    mutating func field() throws(PostgresError) -> UnsafeRawBufferPointer? {
        let length = Int(try int32())
        if length == -1 { return nil }
        guard length >= 0 else { throw PostgresError(.malformed, "a value of negative length") }
        try need(length)
        defer { offset += length }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
    }

    mutating func int64Field() throws(PostgresError) -> Int64? {
        guard let field = try field() else { return nil }
        guard field.count == 8 else { throw PostgresError(.malformed, "an integer of \(field.count) bytes") }
        return Int64(bigEndian: field.loadUnaligned(as: Int64.self))
    }

    mutating func skipCopyHeader() throws(PostgresError) {
        let signature: [UInt8] = [0x50, 0x47, 0x43, 0x4F, 0x50, 0x59, 0x0A, 0xFF, 0x0D, 0x0A, 0x00]
        try need(signature.count)
        guard bytes.prefix(signature.count).elementsEqual(signature) else {
            throw PostgresError(.malformed, "no header of a binary copy")
        }
        offset = signature.count
        // The upper half of the flags is critical; none is known.
        guard UInt32(bitPattern: try int32()) >> 16 == 0 else {
            throw PostgresError(.malformed, "an unknown form of copy")
        }
        let extensionLength = Int(try int32())
        guard extensionLength >= 0 else { throw PostgresError(.malformed, "a header of negative length") }
        try need(extensionLength)
        offset += extensionLength
    }

    private func need(_ count: Int) throws(PostgresError) {
        guard bytes.count - offset >= count else { throw PostgresError(.malformed, "a row that is cut short") }
    }
}
