/// Hands out the rows of ordered references bucket by bucket.
struct RowSegments {
    private let references: OrderedReferences
    /// Where the probe has but one bucket: all rows belong to it.
    private let onlyBucket: [UInt8]?
    private var batch = ReferenceBatch()
    private var position = 0
    private var isAtEnd = false

    init(_ references: OrderedReferences, onlyBucket: String?) {
        self.references = references
        self.onlyBucket = onlyBucket.map { Array($0.utf8) }
    }

    /// The bucket of the next row; nil after the last row.
    mutating func currentBucket() async throws -> [UInt8]? {
        while position >= batch.count, !isAtEnd {
            if let next = try await references.next() {
                batch = next
                position = 0
            } else {
                isAtEnd = true
            }
        }
        if isAtEnd { return nil }
        return batch.buckets.isEmpty ? onlyBucket ?? [] : Array(batch.buckets[position])
    }

    /// The next rows of that bucket, which then count as handed out; nil when the next row is of another bucket or there is none.
    mutating func next(in bucket: [UInt8]) async throws -> (batch: ReferenceBatch, rows: Range<Int>)? {
        guard let current = try await currentBucket(), current == bucket else { return nil }
        let start = position
        if batch.buckets.isEmpty {
            position = batch.count
        } else {
            while position < batch.count, batch.buckets[position].elementsEqual(bucket) { position += 1 }
        }
        return (batch, start..<position)
    }
}

/// A forward-only view of the keys that another probe's rows name in one bucket.
struct NamedKeys {
    private let references: OrderedReferences
    private var segments: RowSegments
    private let bucket: [UInt8]
    private var batch = ReferenceBatch()
    private var rows = 0..<0

    init(_ references: OrderedReferences, onlyBucket: String?, bucket: [UInt8]) {
        self.references = references
        segments = RowSegments(references, onlyBucket: onlyBucket)
        self.bucket = bucket
    }

    func close() async { await references.close() }

    /// Whether a row names that key. Keys must be asked for in ascending order.
    mutating func contains(_ key: ArraySlice<UInt8>) async throws -> Bool {
        while true {
            while rows.isEmpty {
                // Rows of buckets that sort before ours are of no interest here.
                while let current = try await segments.currentBucket(), current.lexicographicallyPrecedes(bucket) {
                    _ = try await segments.next(in: current)
                }
                guard let segment = try await segments.next(in: bucket) else { return false }
                (batch, rows) = (segment.batch, segment.rows)
            }
            let candidate = batch.keys[rows.lowerBound]
            if candidate.lexicographicallyPrecedes(key) {
                rows = (rows.lowerBound + 1)..<rows.upperBound
            } else {
                return candidate.elementsEqual(key)
            }
        }
    }
}
