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
    private let openingNotes: [String]
    private let summary = Mutex<VersionSummary?>(nil)

    /// - Parameter openingNotes: What was found of the bucket's versioning and lifecycle.
    init(
        bucket: String, _ settings: S3Settings, _ reader: BucketReader, resolver: VersionResolver,
        retention: RetentionRules,
        openingNotes: [String]
    ) {
        self.bucket = bucket
        self.settings = settings
        self.reader = reader
        self.resolver = resolver
        self.retention = retention
        self.openingNotes = openingNotes
    }

    var place: String { settings.place }
    var bucketReader: BucketReader? { reader }
    var copiedBetween: ClosedRange<Date>? { nil }
    var usage: [String: Int64] { reader.client.usage }
    var wantsSplitHints: Bool { true }
    var keepsChecksums: Bool { true }
    var preferredConcurrency: Int { settings.concurrency }

    var notes: [String] {
        settings.notes + openingNotes + (summary.withLock { $0 }.map(describe) ?? [])
            + reader.clockNotes(tolerance: max(2, Double(resolver.skewTolerance) / 1_000_000))
    }

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        if settings.listing == .head, !request.needsEverything { return UnlistedInventory() }
        let listing = reader.listing(.versions, request, concurrency: settings.concurrency)
        return VersionInventory(listing, resolver: resolver, storePrefix: settings.prefix, retention: retention) {
            [self] found in
            summary.withLock { $0 = found }
        }
    }

    /// One listing of the key's own versions, and a HEAD where that names none (S8).
    func presence(of key: ObjectKey) async throws -> Presence {
        guard cannotHold(key) == nil else { return .absent }
        let history = try await KeyHistory.read(reader, key)
        guard history.count > 0 else {
            switch try await reader.head(key) {
            case .absent: return .absent
            case .present:
                return .unknown(
                    reason: "the object answers when asked by key, but the listing of versions does not name it")
            case .denied: return try await reader.presence(of: key)
            }
        }
        let resolution = resolver.resolve((0..<history.count).map(history.facts))
        let entry = ResolvedEntry(resolution, history, 0..<history.count, resolver: resolver, retention: retention)
        switch entry.state {
        case .present: return .present(history.reading(entry.index))
        case .deleted, .notYetCreated: return .absent
        case .unreadable, .damaged: return .unreadable(reason: entry.detail?.note ?? "archived", cause: .archived)
        case .ambiguous: return .unknown(reason: entry.detail?.note ?? "its history does not tell")
        }
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
        let history = try await KeyHistory.read(reader, key)
        guard history.count > 0 else { return nil }
        let resolution = resolver.resolve((0..<history.count).map(history.facts))
        let entry = ResolvedEntry(resolution, history, 0..<history.count, resolver: resolver, retention: retention)
        guard finding == .missing else {
            // The row and the version that was current disagree; whether a later one is meant is for a person to see.
            guard case .current(let index) = resolution.outcome, index > 0, !history.flags[0].contains(.deleteMarker)
            else { return nil }
            return KeyEvidence(
                cause: .unknown,
                text:
                    "\(index) later versions or markers exist, the next of \(Timestamps.text(microseconds: history.modified[index - 1]))."
            )
        }
        guard let detail = entry.detail, let cause = detail.cause else { return nil }
        return KeyEvidence(cause: cause, text: "Its history: \(detail.note).")
    }

    private func describe(_ summary: VersionSummary) -> [String] {
        var notes: [String] = []
        if summary.skewSensitive > 0 {
            notes.append(
                "\(summary.skewSensitive) keys of \(place) changed within \(resolver.skewTolerance / 1_000_000) s of the recovery point: by "
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
                "\(summary.ambiguous) keys of \(place) have two readings at the recovery point: \(parts.joined(separator: ", "))."
            )
        }
        if let oldest = summary.oldestVersioned, oldest > resolver.target, summary.nullEntries > 0 {
            notes.append(
                "No version of \(place) with an ID is as old as the recovery point: versioning may have been enabled only after it, and what "
                    + "was overwritten or deleted before left no trace.")
        }
        return notes
    }
}
