import DrillCore
import Foundation
import Synchronization

/// A bucket or prefix as it is now: a copy.
final class S3Store: CopySource {
    let bucket: String
    private let settings: S3Settings
    private let reader: BucketReader
    private let origin: OriginBucket?
    private let seen = Mutex(Seen())

    private struct Seen {
        var lookups: [String] = []
        var keys = 0
        /// Objects in Intelligent-Tiering: of this listing so far, and of the one that had most.
        var tieredNow: Int64 = 0
        var tiered: Int64 = 0
        /// The newest LastModified that was listed, in microseconds since 1970 UTC: the copy was still being written then.
        var newest: Int64?
        var isUnlisted = false
    }

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
        let seen = seen.withLock { $0 }
        var notes = settings.notes + seen.lookups
        if seen.tiered > 0 {
            notes.append(
                "\(grouped(seen.tiered)) objects of \(place) are in INTELLIGENT_TIERING: a listing does not tell which of them an archive "
                    + "tier holds; `content:` and `listing: head` do.")
        }
        return notes + reader.clockNotes(tolerance: 300)
    }
    var wantsSplitHints: Bool { true }
    var keepsChecksums: Bool { true }
    var preferredConcurrency: Int { settings.concurrency }
    var isCheapToList: Bool { seen.withLock { !$0.isUnlisted && $0.keys <= BucketReader.cheapListing } }

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        let lookup = try await reader.lookup(.objects, request, settings)
        let isUnlisted = lookup.way == .ask
        seen.withLock { seen in
            if !request.isRepeated, !seen.lookups.contains(lookup.note) { seen.lookups.append(lookup.note) }
            seen.isUnlisted = seen.isUnlisted || isUnlisted
            (seen.keys, seen.tieredNow) = (0, 0)
        }
        guard !isUnlisted else { return UnlistedInventory() }
        let listing = reader.listing(
            .objects, request, concurrency: settings.concurrency, firstPage: lookup.firstPage)
        return ObjectInventory(listing, storePrefix: settings.prefix) { [self] page in
            let newest = page.modified.max()
            let tiered = page.flags.count { $0.contains(.tiered) }
            seen.withLock { seen in
                seen.keys += page.count
                seen.tieredNow += Int64(tiered)
                seen.tiered = max(seen.tiered, seen.tieredNow)
                seen.newest = [seen.newest, newest].compactMap { $0 }.max()
            }
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
        return try await origin.evidence(about: key, finding: finding, copyEndedAt: seen.withLock { $0.newest })
    }
}

extension BucketReader {
    /// Entries of a listing that may be listed once more for a mere guess: a hundred requests.
    static let cheapListing = 100_000

    /// - Parameter firstPage: How the listing begins, where that is known.
    func listing(
        _ kind: ListingKind, _ request: InventoryRequest, concurrency: Int, firstPage: CheckedPage? = nil
    ) -> ParallelListing {
        ParallelListing(
            source(kind, request), concurrency: concurrency, hints: hints(request),
            expectedKeys: request.expectedKeyCount, firstPage: firstPage)
    }

    /// Whether the bucket is to be listed, or each key to be asked for.
    func lookup(_ kind: ListingKind, _ request: InventoryRequest, _ settings: S3Settings) async throws -> Lookup {
        let chooser = LookupChooser(
            source: source(kind, request), kind: kind, listing: settings.listing, hints: hints(request).map(\.bytes))
        let lookup = try await chooser.choice(request)
        guard kind == .objects, let sample = lookup.sample,
            case .denied = try await head(ObjectKey(sample.dropFirst(prefix.count)))
        else { return lookup }
        return Lookup(
            way: .list,
            note: "\(place) is listed, though a HEAD for each key would take less: HEAD is denied (s3:GetObject).")
    }

    func plan(_ kind: ListingKind, _ settings: S3Settings) async throws -> [String] {
        do {
            let chooser = LookupChooser(
                source: source(kind, InventoryRequest()), kind: kind, listing: settings.listing, hints: [])
            return try await chooser.plan(concurrency: settings.concurrency)
        } catch {
            throw await described(error)
        }
    }

    private func source(_ kind: ListingKind, _ request: InventoryRequest) -> ListingSource {
        ListingSource(client, kind, prefix: prefix + request.prefix, place: place)
    }

    private func hints(_ request: InventoryRequest) -> [ObjectKey] {
        prefix.isEmpty ? request.splitHints : request.splitHints.map { ObjectKey(prefix + $0.bytes) }
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
