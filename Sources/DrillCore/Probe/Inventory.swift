import Foundation

/// What is known of one key at the recovery point.
package enum EntryState: UInt8, Sendable {
    /// There is an object.
    case present
    /// Nothing here at the recovery point: a delete marker was current, or the first version came later. Such entries are
    /// streamed (versioned stores only) because they are evidence for a cause.
    case deleted, notYetCreated
    /// Two readings of the history are possible; ``EntryDetail/readings`` holds both.
    case ambiguous
    /// There is an object whose bytes cannot be read as it stands (archived, for one).
    case unreadable
    /// There is an object whose bytes were read and are not what the store says of them; ``EntryDetail/damage`` tells.
    case damaged
}

/// What only few entries need.
package struct EntryDetail: Sendable {
    /// For a person: why the state is what it is, e.g. `DEEP_ARCHIVE: a restore takes up to 12 hours`.
    package var note: String
    /// For `deleted` and `notYetCreated`: when that happened.
    package var happenedAt: Date?
    /// For `ambiguous`: what the key may have been; nil stands for "no object".
    package var readings: [ObjectReading?]
    /// A cause that the store itself can show, such as `archived` or `expired_version`.
    package var cause: Cause?
    /// For `damaged`.
    package var damage: ContentDamage?

    package init(
        note: String, happenedAt: Date? = nil, readings: [ObjectReading?] = [], cause: Cause? = nil,
        damage: ContentDamage? = nil
    ) {
        self.note = note
        self.happenedAt = happenedAt
        self.readings = readings
        self.cause = cause
        self.damage = damage
    }
}

/// How an object's bytes contradict what its store says of them.
package struct ContentDamage: Sendable, Hashable {
    /// `sizeMismatch` or `checksumMismatch`.
    package var kind: FindingKind
    package var expected: String
    package var observed: String
    package init(kind: FindingKind, expected: String, observed: String) {
        self.kind = kind
        self.expected = expected
        self.observed = observed
    }
}

/// One version of one object, as a listing or a HEAD tells it.
package struct ObjectReading: Sendable, Hashable {
    package var sizeBytes: Int64
    /// nil where the store knows none.
    package var modifiedAt: Date?
    package var version: VersionID?
    /// Opaque (S24); without quotes.
    package var etag: String?
    /// Why the bytes cannot be read as they stand, e.g. `DEEP_ARCHIVE: a restore takes up to 12 hours`; nil where they can, as far
    /// as was told.
    package var archived: String?
    package init(
        sizeBytes: Int64, modifiedAt: Date? = nil, version: VersionID? = nil, etag: String? = nil,
        archived: String? = nil
    ) {
        self.sizeBytes = sizeBytes
        self.modifiedAt = modifiedAt
        self.version = version
        self.etag = etag
        self.archived = archived
    }
}

/// Entries of an inventory in strictly ascending key-byte order, as columns of one length (or empty, where said).
package struct ObjectBatch: Sendable {
    package var keys = ByteColumn()
    package var sizes: [Int64] = []
    /// Microseconds since 1970 UTC; `Int64.min` where unknown.
    package var modified: [Int64] = []
    /// Empty where all are `present`.
    package var states: [EntryState] = []
    /// Version IDs; empty where the store has none.
    package var versions = ByteColumn()
    /// ETags without quotes; empty where the store has none.
    package var etags = ByteColumn()
    /// By index in the batch.
    package var details: [Int: EntryDetail] = [:]

    package init() {}
    package var count: Int { keys.count }
    package func state(_ index: Int) -> EntryState { states.isEmpty ? .present : states[index] }
    package func reading(_ index: Int) -> ObjectReading {
        ObjectReading(
            sizeBytes: sizes[index], modifiedAt: modified[index] == .min ? nil : Date(microseconds: modified[index]),
            version: text(versions, index).map(VersionID.init), etag: text(etags, index))
    }

    /// An element of no bytes is unknown.
    private func text(_ column: ByteColumn, _ index: Int) -> String? {
        guard !column.isEmpty, !column[index].isEmpty else { return nil }
        return String(decoding: column[index], as: UTF8.self)
    }
}

/// An inventory as it streams: each key of a bucket once, in key-byte order, with what was current at the recovery point.
package protocol InventoryStream: Sendable {
    /// The next entries, never an empty batch; nil after the last one, which is only reached when the inventory is complete.
    /// Throws where it is not: a listing that was cut short, is out of order or repeats a key never ends in nil.
    func next() async throws -> ObjectBatch?
    /// False where nothing is listed: then each key that a row names is asked for instead.
    var namesEverything: Bool { get }
    /// Begins to fetch what ``next()`` will give, as far ahead as it would later on.
    func start() async
    /// Ends early and frees what is held; harmless after the end.
    func cancel() async
}

extension InventoryStream {
    package var namesEverything: Bool { true }
    package func start() async {}
}

/// Whether one key is there, asked of the store itself.
package enum Presence: Sendable {
    case present(ObjectReading)
    case absent
    /// There, but its bytes cannot be had.
    case unreadable(reason: String, cause: Cause)
    /// Its history leaves several readings; the detail holds them.
    case ambiguous(EntryDetail)
    /// The store would not say; why.
    case unknown(reason: String)
}

package struct InventoryRequest: Sendable {
    /// Only keys that start so.
    package var prefix: [UInt8]
    /// Keys in ascending order at which the key space may be split to list ranges side by side; may be empty.
    package var splitHints: [ObjectKey]
    /// How many distinct keys the rows name, where known: few beside a big bucket make HEAD cheaper than LIST.
    package var expectedKeyCount: Int64?
    /// Objects that no row names matter too, so asking for the keys of rows is not enough.
    package var needsEverything: Bool
    /// Once more, only to look for other spellings of keys that were missing.
    package var isRepeated: Bool
    package init(
        prefix: [UInt8] = [], splitHints: [ObjectKey] = [], expectedKeyCount: Int64? = nil,
        needsEverything: Bool = true, isRepeated: Bool = false
    ) {
        self.prefix = prefix
        self.isRepeated = isRepeated
        self.needsEverything = needsEverything
        self.splitHints = splitHints
        self.expectedKeyCount = expectedKeyCount
    }
}

/// What hashing an object's bytes found.
package struct ContentReading: Sendable {
    package var sizeBytes: Int64
    package var digest: [UInt8]
    package init(sizeBytes: Int64, digest: [UInt8]) {
        self.sizeBytes = sizeBytes
        self.digest = digest
    }
}

/// A checksum that the store itself keeps of the whole content (never a composite one, S25).
package struct StoredChecksum: Sendable, Hashable {
    package var algorithm: ChecksumAlgorithm
    package var digest: [UInt8]
    package init(algorithm: ChecksumAlgorithm, digest: [UInt8]) {
        self.algorithm = algorithm
        self.digest = digest
    }
}

package enum ChecksumAlgorithm: String, Sendable, CaseIterable {
    case md5, sha1, sha256, crc32c, crc32, crc64nvme
    package var digestBytes: Int {
        switch self {
        case .md5: 16
        case .sha1: 20
        case .sha256: 32
        case .crc32c, .crc32: 4
        case .crc64nvme: 8
        }
    }
}

/// Why an object's bytes could not be read, as a finding; errors that only say that we could not look are thrown as `DrillError`.
package struct ContentUnreadable: Error, Sendable {
    package var reason: String
    package var cause: Cause
    package init(reason: String, cause: Cause) {
        self.reason = reason
        self.cause = cause
    }
}

/// The objects of one bucket as they stood at the recovery point. It can only be read: nothing here writes.
package protocol ObjectStore: Sendable {
    /// The bucket's name as rows know it.
    var bucket: String { get }
    /// Where the objects are, for a person: a directory, `s3://bucket/prefix`.
    var place: String { get }
    /// When the copy was made, as far as the copy itself can tell; nil where that means nothing (a versioned bucket at T).
    var copiedBetween: ClosedRange<Date>? { get async }
    /// Requests and bytes so far, by kind, for the report.
    var usage: [String: Int64] { get async }
    /// What a reader of the report should know of this store: relaxations, doubts, waivers. Whole sentences.
    var notes: [String] { get async }

    /// Whether keys that split the key space evenly make an inventory faster; they cost a query.
    var wantsSplitHints: Bool { get }
    /// Whether ``storedChecksum(of:reading:preferring:)`` may answer at all.
    var keepsChecksums: Bool { get }
    /// How many objects are best asked for or read at a time.
    var preferredConcurrency: Int { get }
    /// Whether a second listing, only to look for other spellings of missing keys, costs little.
    var isCheapToList: Bool { get }
    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream
    /// Asks for one key: what a listing lacks is confirmed here before it is called missing (S8).
    func presence(of key: ObjectKey) async throws -> Presence
    /// A reason why no path or name in this store can hold that key; nil where it can (S36, S37).
    func cannotHold(_ key: ObjectKey) -> String?
    /// Reads all bytes of that object and hashes them. Throws ``ContentUnreadable`` where that is a finding.
    func content(of key: ObjectKey, reading: ObjectReading, algorithm: ChecksumAlgorithm) async throws -> ContentReading
    /// The store's own checksum of the whole content, where it keeps one that is comparable; else nil.
    func storedChecksum(
        of key: ObjectKey, reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum?
    /// What the live bucket (`origin:`) or the history says of a key with a finding; nil where nothing is known.
    func evidence(about key: ObjectKey, finding: FindingKind) async throws -> KeyEvidence?
}

extension ObjectStore {
    package var wantsSplitHints: Bool { false }
    package var keepsChecksums: Bool { false }
    package var preferredConcurrency: Int { 4 }
    package var isCheapToList: Bool { true }
}

/// What a store knows about a key that has a finding.
package struct KeyEvidence: Sendable {
    package var cause: Cause
    /// One sentence for the report, with instants.
    package var text: String
    package init(cause: Cause, text: String) {
        self.cause = cause
        self.text = text
    }
}

extension Date {
    /// From microseconds since 1970 UTC; exact to the microsecond for all dates of this era.
    package init(microseconds: Int64) { self.init(timeIntervalSince1970: Double(microseconds) / 1_000_000) }
    /// Microseconds since 1970 UTC, rounded.
    package var microseconds: Int64 { Int64((timeIntervalSince1970 * 1_000_000).rounded()) }
}
