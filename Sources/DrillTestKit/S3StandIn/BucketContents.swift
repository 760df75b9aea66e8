import Foundation

/// Keys in byte order with their versions, as listings walk them.
protocol KeySpace {
    var keyCount: Int { get }
    func key(at position: Int) -> [UInt8]
    /// Newest first; never empty.
    func history(at position: Int) -> [ListedVersion]
    /// The first position whose key is not below `key`; `keyCount` when there is none.
    func position(notBelow key: [UInt8]) -> Int
}

/// What listings show of one version.
struct ListedVersion: Sendable {
    struct Object: Sendable {
        var eTag: String
        var size: Int
        var storageClass: String
        var checksum: ObjectChecksum?
    }
    var key: [UInt8]
    var versionID: String
    var isLatest: Bool
    var lastModified: Date
    /// `nil` for a delete marker.
    var object: Object?
}

/// The keys of a bucket that was filled by scripts and requests.
struct StoredKeys: KeySpace, Sendable {
    private struct History: Sendable {
        var key: [UInt8]
        /// Newest first; never empty.
        var versions: [StandInVersion]
    }
    private var histories: [History] = []

    var keyCount: Int { histories.count }

    func key(at position: Int) -> [UInt8] { histories[position].key }

    func history(at position: Int) -> [ListedVersion] {
        let history = histories[position]
        return history.versions.enumerated().map { index, version in
            ListedVersion(
                key: history.key, versionID: version.versionID, isLatest: index == 0,
                lastModified: version.lastModified,
                object: version.object.map { object in
                    .init(
                        eTag: object.eTag, size: object.body.count, storageClass: object.storageClass,
                        checksum: object.checksum)
                })
        }
    }

    func position(notBelow key: [UInt8]) -> Int {
        if let last = histories.last, Bytes.compare(last.key, key) < 0 { return histories.count }
        var low = 0
        var high = histories.count
        while low < high {
            let middle = (low + high) / 2
            if Bytes.compare(histories[middle].key, key) < 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// Newest first; empty when the key has none.
    func versions(of key: [UInt8]) -> [StandInVersion] {
        guard let position = found(key) else { return [] }
        return histories[position].versions
    }

    /// Puts the version where its time belongs; a `null` version takes the place of the one before it (S17).
    mutating func insert(_ version: StandInVersion, under key: [UInt8]) {
        if version.versionID == "null" { remove("null", of: key) }
        let position = position(notBelow: key)
        guard position < histories.count, histories[position].key == key else {
            histories.insert(History(key: key, versions: [version]), at: position)
            return
        }
        let place = histories[position].versions.firstIndex { older in
            (older.lastModified, older.sequence) < (version.lastModified, version.sequence)
        }
        histories[position].versions.insert(version, at: place ?? histories[position].versions.count)
    }

    /// - Returns: What was removed; `nil` when there is no such version.
    @discardableResult
    mutating func remove(_ versionID: String, of key: [UInt8]) -> StandInVersion? {
        guard let position = found(key),
            let index = histories[position].versions.firstIndex(where: { $0.versionID == versionID })
        else { return nil }
        let removed = histories[position].versions.remove(at: index)
        if histories[position].versions.isEmpty { histories.remove(at: position) }
        return removed
    }

    /// - Parameter versionID: `nil` for the current version.
    mutating func change(_ key: [UInt8], versionID: String?, _ change: (inout StandInVersion) -> Void) -> Bool {
        guard let position = found(key),
            let index = versionID == nil
                ? 0 : histories[position].versions.firstIndex(where: { $0.versionID == versionID })
        else { return false }
        change(&histories[position].versions[index])
        return true
    }

    private func found(_ key: [UInt8]) -> Int? {
        let position = position(notBelow: key)
        return position < histories.count && histories[position].key == key ? position : nil
    }
}

package enum VersioningStatus: String, Sendable {
    case never = ""
    case enabled = "Enabled"
    case suspended = "Suspended"
}

struct BucketState: Sendable {
    enum Contents: Sendable {
        case stored(StoredKeys)
        case generated(GeneratedKeys)
    }
    let name: String
    let region: String
    let createdAt: Date
    var versioning = VersioningStatus.never
    /// The document as it is sent; `nil` for a bucket without one.
    var lifecycle: String?
    /// Keys that listings leave out though HEAD and GET find them (S8).
    var hiddenKeys: Set<[UInt8]> = []
    var contents = Contents.stored(StoredKeys())
    var uploads: [String: MultipartUpload] = [:]

    init(name: String, region: String, createdAt: Date) {
        self.name = name
        self.region = region
        self.createdAt = createdAt
    }

    /// What can be changed; a generated bucket has nothing that can.
    var stored: StoredKeys {
        get {
            if case .stored(let keys) = contents { return keys }
            return StoredKeys()
        }
        _modify {
            var keys = StoredKeys()
            if case .stored(let current) = contents { keys = current }
            contents = .stored(StoredKeys())
            defer { contents = .stored(keys) }
            yield &keys
        }
    }

    var isGenerated: Bool {
        if case .generated = contents { return true }
        return false
    }

    /// Every version of `key`, newest first.
    func versions(of key: [UInt8]) -> [StandInVersion] {
        switch contents {
        case .stored(let keys): keys.versions(of: key)
        case .generated(let keys): keys.versions(of: key)
        }
    }

    /// A PUT as the bucket's versioning has it.
    mutating func put(_ object: StandInObject, _ key: [UInt8], at instant: Date, versionID: String, sequence: Int) {
        stored.insert(
            StandInVersion(versionID: versionID, lastModified: instant, sequence: sequence, object: object), under: key)
    }

    /// A DELETE without version id.
    /// - Returns: The delete marker's version id; `nil` in a bucket that was never versioned, where the object just
    ///   goes.
    mutating func delete(_ key: [UInt8], at instant: Date, versionID: String, sequence: Int) -> String? {
        if versioning == .never {
            stored.remove("null", of: key)
            return nil
        }
        stored.insert(
            StandInVersion(versionID: versionID, lastModified: instant, sequence: sequence, object: nil), under: key)
        return versionID
    }
}
