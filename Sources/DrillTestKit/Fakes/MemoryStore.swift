import DrillCore
import Foundation
import Synchronization

/// An object store in memory, for judging without services. Its listing is what it is given: also out of order, or lacking keys
/// that ``presence(of:)`` knows.
package final class MemoryStore: ObjectStore {
    package struct Entry: Sendable {
        package var key: [UInt8]
        package var content: [UInt8]
        package var state: EntryState
        package var detail: EntryDetail?
        package var version: VersionID?
        package var stored: StoredChecksum?
        /// The size in the listing, where it is not the content's.
        package var listedBytes: Int64?
        /// Of versions, where they differ from `content`.
        package var contents: [VersionID: [UInt8]]

        package init(
            _ key: [UInt8], content: [UInt8] = [], state: EntryState = .present, detail: EntryDetail? = nil,
            version: VersionID? = nil, stored: StoredChecksum? = nil, listedBytes: Int64? = nil,
            contents: [VersionID: [UInt8]] = [:]
        ) {
            self.contents = contents
            self.key = key
            self.content = content
            self.state = state
            self.detail = detail
            self.version = version
            self.stored = stored
            self.listedBytes = listedBytes
        }
    }

    package let bucket: String
    package let place: String
    package let copiedBetween: ClosedRange<Date>?
    package let usage: [String: Int64] = [:]
    package let notes: [String] = []
    package let keepsChecksums: Bool
    package let wantsSplitHints: Bool
    private let listingFailure: DrillError?
    private let isListed: Bool
    private let entries: [Entry]
    /// Keys that answer when asked by key though no entry lists them.
    private let unlisted: [[UInt8]: Int64]
    private let presences: [[UInt8]: Presence]
    private let evidence: KeyEvidence?
    private let unreadable: Set<[UInt8]>
    private let hash: @Sendable ([UInt8], ChecksumAlgorithm) -> [UInt8]
    private let contentReads = Mutex<[[UInt8]]>([])

    /// - Parameters:
    ///   - listingFailure: What a listing ends with before its first entry.
    ///   - hash: What hashing content gives; tests of judging need no real digest.
    package init(
        bucket: String, entries: [Entry], unlisted: [[UInt8]: Int64] = [:], presences: [[UInt8]: Presence] = [:],
        unreadable: Set<[UInt8]> = [], isListed: Bool = true, copiedBetween: ClosedRange<Date>? = nil,
        evidence: KeyEvidence? = nil, wantsSplitHints: Bool = false, listingFailure: DrillError? = nil,
        hash: @escaping @Sendable ([UInt8], ChecksumAlgorithm) -> [UInt8] = { bytes, _ in bytes }
    ) {
        self.bucket = bucket
        place = "memory:\(bucket)"
        self.entries = entries
        self.unlisted = unlisted
        self.presences = presences
        self.unreadable = unreadable
        self.isListed = isListed
        self.copiedBetween = copiedBetween
        self.evidence = evidence
        self.wantsSplitHints = wantsSplitHints
        self.listingFailure = listingFailure
        self.hash = hash
        keepsChecksums = entries.contains { $0.stored != nil }
    }

    /// Keys whose content was read, in order.
    package var contentsRead: [[UInt8]] { contentReads.withLock { $0 } }

    package func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        if let listingFailure { throw listingFailure }
        return MemoryInventory(
            entries.filter { $0.key.starts(with: request.prefix) },
            namesEverything: isListed || request.needsEverything)
    }

    package func presence(of key: ObjectKey) async throws -> Presence {
        if let answer = presences[key.bytes] { return answer }
        if let size = unlisted[key.bytes] { return .present(ObjectReading(sizeBytes: size)) }
        guard let entry = entries.first(where: { $0.key == key.bytes && $0.state == .present }) else { return .absent }
        return .present(ObjectReading(sizeBytes: Int64(entry.content.count), version: entry.version))
    }

    package func cannotHold(_ key: ObjectKey) -> String? { nil }

    package func content(
        of key: ObjectKey, reading: ObjectReading, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        contentReads.withLock { $0.append(key.bytes) }
        if unreadable.contains(key.bytes) { throw ContentUnreadable(reason: "input/output error", cause: .unknown) }
        guard let entry = entries.first(where: { $0.key == key.bytes }) else {
            throw DrillError(.couldNotLook, "no such object", at: place)
        }
        if let version = reading.version, let content = entry.contents[version] {
            return ContentReading(sizeBytes: Int64(content.count), digest: hash(content, algorithm))
        }
        return ContentReading(sizeBytes: Int64(entry.content.count), digest: hash(entry.content, algorithm))
    }

    package func storedChecksum(
        of key: ObjectKey, reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum? {
        entries.first { $0.key == key.bytes && (reading.version == nil || $0.version == reading.version) }?.stored
    }

    package func evidence(about key: ObjectKey, finding: FindingKind) async throws -> KeyEvidence? { evidence }
}

/// Small batches, so that a test of a few keys crosses batch borders.
private actor MemoryInventory: InventoryStream {
    nonisolated let namesEverything: Bool
    private var rest: ArraySlice<MemoryStore.Entry>
    init(_ entries: [MemoryStore.Entry], namesEverything: Bool) {
        rest = namesEverything ? entries[...] : []
        self.namesEverything = namesEverything
    }

    func next() -> ObjectBatch? {
        guard !rest.isEmpty else { return nil }
        let part = rest.prefix(3)
        rest = rest.dropFirst(3)
        var batch = ObjectBatch()
        for (index, entry) in part.enumerated() {
            batch.keys.append(entry.key)
            batch.sizes.append(entry.listedBytes ?? Int64(entry.content.count))
            batch.modified.append(.min)
            batch.states.append(entry.state)
            if let detail = entry.detail { batch.details[index] = detail }
        }
        if part.contains(where: { $0.version != nil }) {
            for entry in part { batch.versions.append(Array((entry.version?.text ?? "").utf8)) }
        }
        return batch
    }

    func cancel() { rest = [] }
}
