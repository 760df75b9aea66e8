import DrillCore

/// Makes batches of rows that ``CopyReader`` took apart, and checks that they come in order where they are to.
struct ReferenceDecoder: ~Copyable {
    /// A batch is full when it holds so many bytes of keys and other texts, or so many rows.
    static let batchBytes = 512 << 10
    static let batchRows = 16 << 10

    private let layout: ReferenceLayout
    private let isOrdered: Bool
    private var keys = ByteColumnBuilder(bytes: batchBytes, elements: batchRows)
    private var ids = ByteColumnBuilder()
    private var buckets = ByteColumnBuilder()
    private var batch = ReferenceBatch()
    private var otherBytes = 0
    /// Of the last row of the batch that was handed on; nil before the first.
    private var previous: (bucket: [UInt8], bucketIsNull: Bool, key: [UInt8])?

    /// - Parameter isOrdered: Whether rows out of order are refused.
    init(_ layout: ReferenceLayout, isOrdered: Bool) {
        self.layout = layout
        self.isOrdered = isOrdered
        startBatch()
    }

    var isFull: Bool {
        keys.count >= Self.batchRows
            || keys.byteCount + ids.byteCount + buckets.byteCount + otherBytes >= Self.batchBytes
    }

    /// Takes one row: its fields, or those behind its key where that was taken off.
    mutating func add(
        _ fields: UnsafeRawBufferPointer, key takenOff: UnsafeRawBufferPointer? = nil
    ) throws(PostgresError) {
        var cursor = BinaryCursor(fields)
        if layout.hasBucket {
            let bucket = try cursor.field()
            buckets.append(bucket ?? Self.nothing)
            batch.bucketIsNull.append(bucket == nil)
        }
        let key = if let takenOff { takenOff } else { try cursor.field() }
        guard let key else { throw PostgresError(.malformed, "a key that is NULL") }
        keys.append(key)
        if layout.hasSize { try decodeSize(&cursor) }
        if layout.hasChecksum {
            let checksum = try cursor.field()
            batch.checksums.append(checksum ?? Self.nothing)
            otherBytes += checksum?.count ?? 0
            batch.checksumIsNull.append(checksum == nil)
        }
        if layout.hasVersion {
            let version = try cursor.field()
            batch.versions.append(version ?? Self.nothing)
            otherBytes += version?.count ?? 0
            batch.versionIsNull.append(version == nil)
        }
        if layout.hasChanged { batch.changed.append(Self.since1970(try cursor.int64Field())) }
        if layout.hasID { ids.append(try cursor.field() ?? Self.nothing) }
        if layout.hasIncluded {
            guard let included = try cursor.field(), included.count == 1 else {
                throw PostgresError(.malformed, "a boolean of no byte")
            }
            batch.isIncluded.append(included[0] == 1)
        }
        guard !isOrdered || isInOrder() else {
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

    static var nothing: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Microseconds since 1970 of those since 2000; `Int64.min` for NULL, `infinity` and `-infinity`.
    private static func since1970(_ since2000: Int64?) -> Int64 {
        guard let since2000, since2000 != .min else { return .min }
        let (sum, overflow) = since2000.addingReportingOverflow(946_684_800_000_000)
        return overflow ? .min : sum
    }

    // MARK: - Order

    /// Whether the row just added does not come before the one that it follows: by bucket (NULL first), then by key.
    private func isInOrder() -> Bool {
        let index = keys.count - 1
        guard index > 0 else { return isInOrderAfterLastBatch() }
        if layout.hasBucket {
            let order = Self.compareBuckets(
                buckets[index - 1], batch.bucketIsNull[index - 1], buckets[index], batch.bucketIsNull[index])
            if order != 0 { return order < 0 }
        }
        return compareBytes(keys[index - 1], keys[index]) <= 0
    }

    private func isInOrderAfterLastBatch() -> Bool {
        guard let previous else { return true }
        if layout.hasBucket {
            let order = previous.bucket.withUnsafeBytes { bucket in
                Self.compareBuckets(bucket, previous.bucketIsNull, buckets[0], batch.bucketIsNull[0])
            }
            if order != 0 { return order < 0 }
        }
        return previous.key.withUnsafeBytes { key in compareBytes(key, keys[0]) } <= 0
    }

    private static func compareBuckets(
        _ left: UnsafeRawBufferPointer, _ leftIsNull: Bool, _ right: UnsafeRawBufferPointer, _ rightIsNull: Bool
    ) -> Int {
        if leftIsNull || rightIsNull { return (rightIsNull ? 1 : 0) - (leftIsNull ? 1 : 0) }
        return compareBytes(left, right)
    }

    // MARK: - Batches

    /// The rows since the last call; nil if there are none.
    mutating func takeBatch() -> ReferenceBatch? {
        let last = keys.count - 1
        guard last >= 0 else { return nil }
        if isOrdered {
            previous = (
                layout.hasBucket ? Array(buckets[last]) : [], layout.hasBucket && batch.bucketIsNull[last],
                Array(keys[last])
            )
        }
        batch.keys = keys.take()
        batch.ids = ids.take()
        batch.buckets = buckets.take()
        let full = batch
        startBatch()
        return full
    }

    private mutating func startBatch() {
        batch = ReferenceBatch()
        otherBytes = 0
        if layout.hasSize { batch.sizes.reserveCapacity(Self.batchRows) }
    }
}

/// What rows are sorted by: NULL buckets first, then buckets, then keys, each by its bytes.
struct ReferenceSortKey {
    private var composed: [UInt8] = []

    /// Adds one row to the sorter; its fields come back with ``ReferenceDecoder``.
    mutating func add(
        _ fields: UnsafeRawBufferPointer, _ layout: ReferenceLayout, to sorter: some RecordSorter
    ) throws {
        var cursor = BinaryCursor(fields)
        let bucket = layout.hasBucket ? try cursor.field() : nil
        guard let key = try cursor.field() else { throw PostgresError(.malformed, "a key that is NULL") }
        // Most tables have one bucket: the key need not stand there twice.
        guard layout.hasBucket else { return try sorter.add(key: key, payload: cursor.rest) }
        composed.removeAll(keepingCapacity: true)
        composed.append(bucket == nil ? 0 : 1)
        for byte in bucket ?? ReferenceDecoder.nothing {
            composed.append(byte)
            // Two zero bytes end the bucket, and sort before whatever may stand in it.
            if byte == 0 { composed.append(1) }
        }
        composed += [0, 0]
        composed += key
        try composed.withUnsafeBytes { try sorter.add(key: $0, payload: fields) }
    }
}
