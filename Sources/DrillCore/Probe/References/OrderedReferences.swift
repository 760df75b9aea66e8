/// References with their real bucket and key, in the order of bucket bytes, then key bytes: what the roll call reads.
///
/// Rows whose spelling is the key itself are sorted as they stream from the database, before they are taken apart. Other spellings
/// sort differently than the keys they stand for, so those rows are parsed first. Both spill to scratch.
struct OrderedReferences: Sendable {
    /// A row whose value can be no reference.
    struct Bad: Sendable {
        var raw: [UInt8]
        var reason: String
        var rowID: String?
    }

    private let stream: any ReferenceStream
    private let settings: ReferenceSettings
    private let sorter: (any RecordSorter)?
    /// Called with what cannot be a reference; only for rows that `where` includes.
    private let onBad: @Sendable (Bad) async throws -> Void

    /// The rows of a query, as ``open(_:stream:in:onBad:)`` needs them.
    static func stream(
        _ settings: ReferenceSettings, _ query: ReferenceQuery, in set: RestoredSet
    ) async throws -> any ReferenceStream {
        try await set.database.references(query, sorter: settings.parser.form == .key ? set.makeSorter() : nil)
    }

    /// - Parameter onBad: Called before `next()` returns for the first time, or as rows come.
    static func open(
        _ settings: ReferenceSettings, stream: any ReferenceStream, in set: RestoredSet,
        onBad: @escaping @Sendable (Bad) async throws -> Void
    ) async throws -> OrderedReferences {
        let needsParsing = settings.parser.form != .key
        let references = OrderedReferences(
            stream: stream, settings: settings, sorter: needsParsing ? set.makeSorter() : nil, onBad: onBad)
        if needsParsing {
            do {
                try await references.sortAll()
            } catch {
                await references.close()
                throw error
            }
        }
        return references
    }

    private init(
        stream: any ReferenceStream, settings: ReferenceSettings, sorter: (any RecordSorter)?,
        onBad: @escaping @Sendable (Bad) async throws -> Void
    ) {
        self.stream = stream
        self.settings = settings
        self.sorter = sorter
        self.onBad = onBad
    }

    func close() async {
        sorter?.close()
        await stream.cancel()
    }

    /// Never empty; nil after the last. `buckets` is empty where the probe has one bucket.
    func next() async throws -> ReferenceBatch? {
        guard let sorter else {
            while let batch = try await stream.next() {
                let ready = try await directBatch(batch)
                if ready.count > 0 { return ready }
            }
            return nil
        }
        var batch = ReferenceBatch()
        let count = try sorter.next(limit: 4096) { _, payload in try ReferenceRecord.append(payload, to: &batch) }
        return count > 0 ? batch : nil
    }

    private static let emptyKey = "an empty key"

    /// Puts the prefix before each key and takes out rows without a bucket, and those that have nothing to put it before.
    private func directBatch(_ batch: ReferenceBatch) async throws -> ReferenceBatch {
        var batch = batch
        let raw = batch
        let lacksKeys = !settings.prefix.isEmpty && (0..<batch.count).contains { batch.keys[$0].isEmpty }
        if !settings.prefix.isEmpty {
            var keys = ByteColumn()
            keys.bytes.reserveCapacity(batch.keys.bytes.count + batch.count * settings.prefix.count)
            keys.ends.reserveCapacity(batch.count)
            for index in 0..<batch.count {
                keys.bytes += settings.prefix
                keys.append(batch.keys[index])
            }
            batch.keys = keys
        }
        guard lacksKeys || batch.bucketIsNull.contains(true) else { return batch }
        var kept = ReferenceBatch()
        for index in 0..<batch.count {
            if !batch.bucketIsNull.isEmpty, batch.bucketIsNull[index] {
                try await bad(raw, index, "the row names a key but no bucket (NULL)")
            } else if lacksKeys, raw.keys[index].isEmpty {
                try await bad(raw, index, Self.emptyKey)
            } else {
                ReferenceRecord.copy(index, of: batch, to: &kept)
            }
        }
        return kept
    }

    private func bad(_ batch: ReferenceBatch, _ index: Int, _ reason: String) async throws {
        guard batch.isIncluded.isEmpty || batch.isIncluded[index] else { return }
        try await onBad(
            Bad(
                raw: Array(batch.keys[index]), reason: reason,
                rowID: batch.ids.isEmpty ? nil : stream.rowID(batch.ids[index])))
    }

    private func sortAll() async throws {
        guard let sorter else { return }
        while let batch = try await stream.next() {
            for index in 0..<batch.count {
                switch settings.parser.parse(batch.keys[index]) {
                case .bad(let reason):
                    try await bad(batch, index, reason)
                case .object(_, let key) where key.isEmpty && !settings.prefix.isEmpty:
                    try await bad(batch, index, Self.emptyKey)
                case .object(let named, let key):
                    let fullKey = settings.prefix + key
                    let bucket: [UInt8]
                    if let named {
                        bucket = Array(named.utf8)
                    } else if !batch.buckets.isEmpty {
                        guard !batch.bucketIsNull[index] else {
                            try await bad(batch, index, "the row names a key but no bucket (NULL)")
                            continue
                        }
                        bucket = Array(batch.buckets[index])
                    } else {
                        bucket = Array((settings.bucket ?? "").utf8)
                    }
                    // A bucket name holds no zero byte, so this orders by bucket, then key.
                    try (bucket + [0] + fullKey).withUnsafeBytes { key in
                        try ReferenceRecord.encode(index, of: batch, key: fullKey[...], bucket: bucket[...])
                            .withUnsafeBytes { try sorter.add(key: key, payload: $0) }
                    }
                }
            }
        }
        try sorter.finishAdding()
    }
}

extension RestoredSet {
    /// A sorter whose files lie in scratch.
    fileprivate func makeSorter() -> any RecordSorter {
        environment.sorters.makeSorter(in: scratchDirectory ?? evidenceDirectory)
    }
}

/// One row of a ``ReferenceBatch`` as bytes of its own, and back.
enum ReferenceRecord {
    static func copy(_ index: Int, of batch: ReferenceBatch, to other: inout ReferenceBatch) {
        other.keys.append(batch.keys[index])
        if !batch.buckets.isEmpty {
            other.buckets.append(batch.buckets[index])
            other.bucketIsNull.append(false)
        }
        if !batch.sizes.isEmpty { other.sizes.append(batch.sizes[index]) }
        if !batch.oddSizes.isEmpty { other.oddSizes.append(batch.oddSizes[index]) }
        if !batch.checksums.isEmpty {
            other.checksums.append(batch.checksums[index])
            other.checksumIsNull.append(batch.checksumIsNull[index])
        }
        if !batch.versions.isEmpty {
            other.versions.append(batch.versions[index])
            other.versionIsNull.append(batch.versionIsNull[index])
        }
        if !batch.changed.isEmpty { other.changed.append(batch.changed[index]) }
        if !batch.ids.isEmpty { other.ids.append(batch.ids[index]) }
        if !batch.isIncluded.isEmpty { other.isIncluded.append(batch.isIncluded[index]) }
    }

    private static let hasSize: UInt8 = 1, hasChecksum: UInt8 = 2, hasVersion: UInt8 = 4, hasChanged: UInt8 = 8
    private static let hasID: UInt8 = 16, hasInclusion: UInt8 = 32, hasOddSizes: UInt8 = 64

    static func encode(
        _ index: Int, of batch: ReferenceBatch, key: ArraySlice<UInt8>, bucket: ArraySlice<UInt8>
    ) -> [UInt8] {
        var bytes: [UInt8] = [
            (batch.sizes.isEmpty ? 0 : hasSize) | (batch.checksums.isEmpty ? 0 : hasChecksum)
                | (batch.versions.isEmpty ? 0 : hasVersion) | (batch.changed.isEmpty ? 0 : hasChanged)
                | (batch.ids.isEmpty ? 0 : hasID) | (batch.isIncluded.isEmpty ? 0 : hasInclusion)
                | (batch.oddSizes.isEmpty ? 0 : hasOddSizes)
        ]
        append(key, to: &bytes)
        append(bucket, to: &bytes)
        if !batch.sizes.isEmpty { append(batch.sizes[index], to: &bytes) }
        if !batch.oddSizes.isEmpty { append(batch.oddSizes[index], to: &bytes) }
        if !batch.checksums.isEmpty {
            bytes.append(batch.checksumIsNull[index] ? 1 : 0)
            append(batch.checksums[index], to: &bytes)
        }
        if !batch.versions.isEmpty {
            bytes.append(batch.versionIsNull[index] ? 1 : 0)
            append(batch.versions[index], to: &bytes)
        }
        if !batch.changed.isEmpty { append(batch.changed[index], to: &bytes) }
        if !batch.ids.isEmpty { append(batch.ids[index], to: &bytes) }
        if !batch.isIncluded.isEmpty { bytes.append(batch.isIncluded[index] ? 1 : 0) }
        return bytes
    }

    /// Throws where the bytes are not what ``encode(_:of:key:bucket:)`` wrote: a scratch file was damaged.
    static func append(_ bytes: UnsafeRawBufferPointer, to batch: inout ReferenceBatch) throws {
        var reader = Reader(rest: bytes[...])
        let flags = try reader.byte()
        batch.keys.append(try reader.element())
        batch.buckets.append(try reader.element())
        batch.bucketIsNull.append(false)
        if flags & hasSize != 0 { batch.sizes.append(try reader.integer()) }
        if flags & hasOddSizes != 0 { batch.oddSizes.append(try reader.element()) }
        if flags & hasChecksum != 0 {
            batch.checksumIsNull.append(try reader.byte() == 1)
            batch.checksums.append(try reader.element())
        }
        if flags & hasVersion != 0 {
            batch.versionIsNull.append(try reader.byte() == 1)
            batch.versions.append(try reader.element())
        }
        if flags & hasChanged != 0 { batch.changed.append(try reader.integer()) }
        if flags & hasID != 0 { batch.ids.append(try reader.element()) }
        if flags & hasInclusion != 0 { batch.isIncluded.append(try reader.byte() == 1) }
    }

    private static func append(_ value: Int64, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private static func append(_ element: ArraySlice<UInt8>, to bytes: inout [UInt8]) {
        append(Int64(element.count), to: &bytes)
        bytes += element
    }

    private struct Reader {
        var rest: Slice<UnsafeRawBufferPointer>

        mutating func take(_ count: Int) throws -> Slice<UnsafeRawBufferPointer> {
            guard count >= 0, rest.count >= count else {
                throw DrillError(
                    .couldNotLook, "a sorted reference read back from scratch is damaged",
                    hints: ["The disk that holds scratch may be failing."])
            }
            defer { rest = rest.dropFirst(count) }
            return rest.prefix(count)
        }
        mutating func byte() throws -> UInt8 { try take(1).first ?? 0 }
        mutating func integer() throws -> Int64 {
            try take(8).reversed().reduce(0) { $0 << 8 | Int64($1) }
        }
        mutating func element() throws -> Slice<UnsafeRawBufferPointer> { try take(Int(try integer())) }
    }
}
