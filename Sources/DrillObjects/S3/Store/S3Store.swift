import DrillCore
import Foundation
import Synchronization

/// A bucket or prefix as it is now: a copy.
final class S3Store: CopySource {
    let bucket: String
    private let settings: S3Settings
    private let reader: BucketReader
    private let origin: OriginBucket?
    /// The newest LastModified that was listed, in microseconds since 1970 UTC: the copy was still being written then.
    private let newestListed = Mutex<Int64?>(nil)
    private let choice = Mutex<String?>(nil)

    init(bucket: String, _ settings: S3Settings, origin: S3Settings?, _ environment: DrillEnvironment) {
        self.bucket = bucket
        self.settings = settings
        reader = BucketReader(settings, environment)
        self.origin = origin.map { OriginBucket(BucketReader($0, environment)) }
    }

    var place: String { settings.place }
    var bucketReader: BucketReader? { reader }
    /// Objects get their times when they are written, and copies are synced again and again: nothing to be told from
    /// it.
    var copiedBetween: ClosedRange<Date>? { nil }
    var usage: [String: Int64] { reader.client.usage.merging(origin?.reader.client.usage ?? [:]) { $0 + $1 } }
    var notes: [String] {
        settings.notes + [choice.withLock { $0 }].compactMap { $0 } + reader.clockNotes(tolerance: 300)
    }
    var wantsSplitHints: Bool { true }
    var keepsChecksums: Bool { true }
    var preferredConcurrency: Int { settings.concurrency }

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        if settings.listing == .head, !request.needsEverything {
            choice.withLock { $0 = "\(place) was not listed: each key of the rows was asked for (listing: head)." }
            return UnlistedInventory()
        }
        let listing = reader.listing(.objects, request, concurrency: settings.concurrency)
        return NotedInventory(ObjectInventory(listing, storePrefix: settings.prefix)) { [self] batch in
            guard let newest = batch.modified.max() else { return }
            newestListed.withLock { $0 = max($0 ?? newest, newest) }
        }
    }

    func presence(of key: ObjectKey) async throws -> Presence {
        cannotHold(key) == nil ? try await reader.presence(of: key) : .absent
    }

    func cannotHold(_ key: ObjectKey) -> String? { reader.cannotHold(key) }

    func content(of key: ObjectKey, reading: ObjectReading, algorithm: ChecksumAlgorithm) async throws -> ContentReading
    {
        try await reader.content(of: key, reading, algorithm: algorithm)
    }

    func storedChecksum(
        of key: ObjectKey, reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum? {
        try await reader.storedChecksum(key, reading, preferring: preferring)
    }

    func evidence(about key: ObjectKey, finding: FindingKind) async throws -> KeyEvidence? {
        guard let origin else { return nil }
        return try await origin.evidence(about: key, finding: finding, copyEndedAt: newestListed.withLock { $0 })
    }
}

/// Hands an inventory on and shows each batch to somebody.
struct NotedInventory: InventoryStream {
    private let inner: any InventoryStream
    private let note: @Sendable (ObjectBatch) -> Void

    init(_ inner: any InventoryStream, note: @escaping @Sendable (ObjectBatch) -> Void) {
        self.inner = inner
        self.note = note
    }

    func next() async throws -> ObjectBatch? {
        let batch = try await inner.next()
        if let batch { note(batch) }
        return batch
    }

    func cancel() async { await inner.cancel() }
}

extension BucketReader {
    func listing(_ kind: ListingKind, _ request: InventoryRequest, concurrency: Int) -> ParallelListing {
        let source = ListingSource(client, kind, prefix: prefix + request.prefix, place: place)
        let hints = prefix.isEmpty ? request.splitHints : request.splitHints.map { ObjectKey(prefix + $0.bytes) }
        return ParallelListing(source, concurrency: concurrency, hints: hints, expectedKeys: request.expectedKeyCount)
    }

    /// Amazon S3 keys are 1 to 1,024 bytes of UTF-8.
    func cannotHold(_ key: ObjectKey) -> String? {
        let count = fullKey(key).count
        if key.bytes.isEmpty { return "it is empty" }
        if count > 1024 { return "S3 keys are at most 1,024 bytes long, and it has \(count)" }
        if key.bytes.contains(0) { return "it holds a zero byte" }
        return String(validating: key.bytes, as: UTF8.self) == nil ? "S3 keys are UTF-8, and it is not" : nil
    }

    /// A sentence where the server's clock is off by more than so many seconds.
    func clockNotes(tolerance: Double) -> [String] {
        guard let skew = client.measuredSkew, abs(skew) > tolerance else { return [] }
        return [
            "The clock of \(client.address.origin) is \(Int(abs(skew))) s \(skew > 0 ? "ahead of" : "behind") this machine's."
        ]
    }
}
