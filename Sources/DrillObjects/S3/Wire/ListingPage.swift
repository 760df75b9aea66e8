import DrillCore

/// What a listing says of one entry besides its columns.
struct EntryFlags: OptionSet, Sendable {
    var rawValue: UInt8
    static let deleteMarker = EntryFlags(rawValue: 1)
    static let latest = EntryFlags(rawValue: 2)
    /// Of a storage class whose bytes must be restored before they can be read.
    static let archived = EntryFlags(rawValue: 4)
    /// In Intelligent-Tiering, whose archive tiers no listing shows.
    static let tiered = EntryFlags(rawValue: 8)
}

/// Objects, or versions and delete markers, in document order, as columns of one length.
struct ListedEntries: Sendable {
    var keys = ByteColumn()
    /// Without quotes; empty for a delete marker.
    var etags = ByteColumn()
    /// Empty for a listing of objects.
    var versions = ByteColumn()
    var sizes: [Int64] = []
    /// Microseconds since 1970 UTC.
    var modified: [Int64] = []
    var flags: [EntryFlags] = []
    /// Storage classes of archived entries, by index.
    var archiveClasses: [Int: String] = [:]

    var count: Int { keys.count }
    /// About what they take in memory.
    var byteCount: Int { keys.bytes.count + etags.bytes.count + versions.bytes.count + count * 32 }

    /// Room for columns other than those of bytes.
    mutating func reserve(_ entries: Int) {
        sizes.reserveCapacity(entries)
        modified.reserveCapacity(entries)
        flags.reserveCapacity(entries)
    }

    /// Keeps the first `length` entries.
    mutating func truncate(to length: Int) {
        guard length < count else { return }
        keys.truncate(to: length)
        etags.truncate(to: length)
        if !versions.isEmpty { versions.truncate(to: length) }
        sizes.removeLast(sizes.count - length)
        modified.removeLast(modified.count - length)
        flags.removeLast(flags.count - length)
        archiveClasses = archiveClasses.filter { $0.key < length }
    }
}

extension ByteColumn {
    mutating func truncate(to length: Int) {
        let end = length == 0 ? 0 : Int(ends[length - 1])
        bytes.removeLast(bytes.count - end)
        ends.removeLast(ends.count - length)
    }
}

/// One answer to ListObjectsV2 or ListObjectVersions, whole and well-formed.
struct ListingPage: Sendable {
    var entries = ListedEntries()
    /// Full prefixes, where a delimiter was sent.
    var commonPrefixes = ByteColumn()
    var isTruncated = false
    var keyCount: Int64?
    var nextToken: [UInt8]?
    var nextKeyMarker: [UInt8]?
    var nextVersionMarker: [UInt8]?
    /// Of the echoed `EncodingType`, not of the request (S6).
    var isURLEncoded = false
    /// A URL-encoded key held a literal `+`, which some servers mean as a space (S5).
    var sawPlus = false
    /// The echoed start, undecoded: how this server encodes.
    var echoedStart: [UInt8]?
}

/// Which listing a body must be.
enum ListingKind: Sendable {
    case objects, versions

    var root: StaticString {
        switch self {
        case .objects: "ListBucketResult"
        case .versions: "ListVersionsResult"
        }
    }
}
