import DrillCore
import Foundation
import Synchronization

/// A versioned bucket as it was at the recovery point.
final class S3VersionsStore: CopySource {
    let bucket: String
    private let settings: S3Settings
    private let reader: BucketReader
    private let resolver: VersionResolver
    private let retention: RetentionRules
    private let origin: OriginBucket?
    private let openingNotes: [String]
    private let seen = Mutex(Seen())

    private struct Seen {
        var summary: VersionSummary?
        var lookups: [String] = []
        var isUnlisted = false
        /// By key, of what was asked for by itself.
        var asked = VersionSummary()
    }

    /// - Parameter openingNotes: What was found of the bucket's versioning, its lifecycle and the clocks.
    init(
        bucket: String, _ settings: S3Settings, _ reader: BucketReader, resolver: VersionResolver,
        retention: RetentionRules, origin: OriginBucket?, openingNotes: [String]
    ) {
        self.bucket = bucket
        self.settings = settings
        self.reader = reader
        self.resolver = resolver
        self.retention = retention
        self.origin = origin
        self.openingNotes = openingNotes
    }

    var place: String { settings.place }
    var bucketReader: BucketReader? { reader }
    var copiedBetween: ClosedRange<Date>? { nil }
    var usage: [String: Int64] { reader.client.usage.merging(origin?.reader.client.usage ?? [:]) { $0 + $1 } }
    var wantsSplitHints: Bool { true }
    var keepsChecksums: Bool { true }
    var preferredConcurrency: Int { settings.concurrency }
    var isCheapToList: Bool {
        seen.withLock { !$0.isUnlisted && ($0.summary?.entries ?? 0) <= Int64(BucketReader.cheapListing) }
    }

    var notes: [String] {
        let seen = seen.withLock { $0 }
        return settings.notes + openingNotes + seen.lookups + describe(seen.summary ?? seen.asked)
    }

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        let lookup = try await reader.lookup(.versions, request, settings)
        let isUnlisted = lookup.way == .ask
        seen.withLock { seen in
            if !request.isRepeated, !seen.lookups.contains(lookup.note) { seen.lookups.append(lookup.note) }
            seen.isUnlisted = seen.isUnlisted || isUnlisted
        }
        guard !isUnlisted else { return UnlistedInventory() }
        let listing = reader.listing(
            .versions, request, concurrency: settings.concurrency, firstPage: lookup.firstPage)
        return VersionInventory(listing, resolver: resolver, storePrefix: settings.prefix, retention: retention) {
            [self] found in
            seen.withLock { $0.summary = found }
        }
    }

    /// One listing of the key's own versions, and a HEAD where that names none (S8).
    func presence(of key: ObjectKey) async throws -> Presence {
        guard cannotHold(key) == nil else { return .absent }
        guard let (entry, resolution, history) = try await resolved(key) else {
            switch try await reader.head(key) {
            case .absent: return .absent
            case .present:
                return .unknown(
                    reason: "the object answers when asked by key, but the listing of versions does not name it")
            case .denied: return try await reader.presence(of: key)
            }
        }
        seen.withLock { $0.asked.count(resolution) }
        switch entry.state {
        case .present: return .present(history.reading(entry.index))
        case .deleted, .notYetCreated: return .absent
        case .unreadable, .damaged: return .unreadable(reason: entry.detail?.note ?? "archived", cause: .archived)
        case .ambiguous: return .ambiguous(entry.detail ?? EntryDetail(note: "its history does not tell"))
        }
    }

    /// nil where the key has no version and no delete marker.
    private func resolved(
        _ key: ObjectKey
    ) async throws -> (entry: ResolvedEntry, resolution: VersionResolution, history: ListedEntries)? {
        let history = try await KeyHistory.read(reader, key)
        guard history.count > 0 else { return nil }
        let resolution = resolver.resolve((0..<history.count).map(history.facts))
        let entry = ResolvedEntry(resolution, history, 0..<history.count, resolver: resolver, retention: retention)
        return (entry, resolution, history)
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
        guard [.missing, .staleVersion, .sizeMismatch, .checksumMismatch].contains(finding), cannotHold(key) == nil
        else { return nil }
        let found = try await resolved(key)
        guard finding == .missing else {
            // The row and the version that was current disagree; whether a later one is meant is for a person to see.
            guard let found, case .current(let index) = found.resolution.outcome, index > 0,
                !found.history.flags[0].contains(.deleteMarker)
            else { return nil }
            let next = Timestamps.text(microseconds: found.history.modified[index - 1])
            return KeyEvidence(cause: .unknown, text: "\(index) later versions or markers exist, the next of \(next).")
        }
        if let detail = found?.entry.detail, let cause = detail.cause {
            return KeyEvidence(cause: cause, text: "Its history: \(detail.note).")
        }
        if let shown = try await origin?.evidence(ofMissing: key, resolver: resolver) { return shown }
        if let detail = found?.entry.detail {
            return KeyEvidence(cause: .unknown, text: "Its history: \(detail.note).")
        }
        return retention.mayHaveExpired(key: reader.fullKey(key)[...], noncurrentSince: resolver.target).map {
            KeyEvidence(cause: .unknown, text: "No version and no delete marker of it is left; \($0).")
        }
    }

    private func describe(_ summary: VersionSummary) -> [String] {
        var notes: [String] = []
        if summary.skewSensitive > 0 {
            notes.append(
                "\(grouped(summary.skewSensitive)) \(summary.skewSensitive == 1 ? "key" : "keys") of \(place) changed within \(resolver.skewTolerance / 1_000_000) s of the recovery point: by "
                    + "their stamps alone the answer depends on the clocks (skew_tolerance).")
        }
        if summary.ambiguous > 0 {
            let reasons: [(VersionDoubts, String)] = [
                (.skew, "within the skew tolerance"), (.sameSecond, "in the same second"),
                (.multipart, "multipart uploads across it"),
                (.order, "an order that cannot be trusted"), (.nullOverwritten, "null versions overwritten since"),
            ]
            let parts = reasons.compactMap { doubt, text in summary.byDoubt[doubt].map { "\($0) \(text)" } }
            notes.append(
                "\(grouped(summary.ambiguous)) \(summary.ambiguous == 1 ? "key" : "keys") of \(place) \(summary.ambiguous == 1 ? "has" : "have") two readings at the recovery point: \(parts.joined(separator: ", "))."
            )
        }
        if summary.isComplete, let oldest = summary.oldestVersioned, oldest > resolver.target {
            notes.append(
                "No version of \(place) with an ID is as old as the recovery point; the oldest is of "
                    + "\(Timestamps.text(microseconds: oldest)): versioning may have been enabled only after the recovery point, and what was "
                    + "overwritten or deleted before that left no trace.")
        }
        return notes
    }
}
