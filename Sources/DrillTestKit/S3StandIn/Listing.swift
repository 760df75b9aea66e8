import Foundation

/// What a listing request asks for, whichever of the three kinds it is.
struct ListingQuery {
    enum Start {
        case beginning
        /// After this key and all its versions.
        case afterKey([UInt8])
        /// After this version of this key.
        case afterVersion(key: [UInt8], versionID: String)
        /// After everything that this common prefix stands for.
        case afterPrefix([UInt8])
    }
    var prefix: [UInt8] = []
    var delimiter: [UInt8] = []
    var start = Start.beginning
    var maxKeys = 1000
    /// Versions and delete markers, or only the objects that are there now.
    var includesHistory = false
}

/// One page of a listing, before it is written as XML and before a fault disfigures it.
struct ListingPage {
    var entries: [ListedVersion] = []
    var commonPrefixes: [[UInt8]] = []
    var isTruncated = false
    /// Where the next page goes on.
    var next = ListingQuery.Start.beginning
    /// Overrides for pages that a fault disfigures.
    var token: String?
    var omitsToken = false
    /// What `KeyCount` says.
    var keyCount = 0
}

extension KeySpace {
    /// The page that `query` asks for, in byte order of keys; versions of a key newest first.
    func page(_ query: ListingQuery, hidden: Set<[UInt8]>) -> ListingPage {
        var page = ListingPage()
        guard query.maxKeys > 0 else { return page }
        var (position, skipped) = start(query)
        while position < keyCount {
            let key = key(at: position)
            guard Bytes.hasPrefix(key, query.prefix) else { break }
            if hidden.contains(key) {
                position += 1
                continue
            }
            if let common = commonPrefix(of: key, query) {
                let history = history(at: position)
                guard query.includesHistory || history[0].object != nil else {
                    position += 1
                    continue
                }
                if page.entries.count + page.commonPrefixes.count == query.maxKeys {
                    page.isTruncated = true
                    break
                }
                page.commonPrefixes.append(common)
                page.next = .afterPrefix(common)
                position = Bytes.successor(ofPrefix: common).map(self.position(notBelow:)) ?? keyCount
                skipped = 0
                continue
            }
            let shown =
                query.includesHistory ? history(at: position).dropFirst(skipped) : history(at: position).prefix(1)
            skipped = 0
            position += 1
            for version in shown where query.includesHistory || version.object != nil {
                if page.entries.count + page.commonPrefixes.count == query.maxKeys {
                    page.isTruncated = true
                    break
                }
                page.entries.append(version)
                page.next = .afterVersion(key: version.key, versionID: version.versionID)
            }
            if page.isTruncated { break }
        }
        page.keyCount = page.entries.count + page.commonPrefixes.count
        return page
    }

    /// Where the page begins, and how many versions of that key came before.
    func start(_ query: ListingQuery) -> (position: Int, skipped: Int) {
        let first = position(notBelow: query.prefix)
        switch query.start {
        case .beginning: return (first, 0)
        case .afterPrefix(let prefix):
            return (max(first, Bytes.successor(ofPrefix: prefix).map(position(notBelow:)) ?? keyCount), 0)
        case .afterKey(let key): return (max(first, position(notBelow: key + [0])), 0)
        case .afterVersion(let key, let versionID):
            let at = position(notBelow: key)
            guard at >= first, at < keyCount, self.key(at: at) == key else { return (max(first, at), 0) }
            let history = history(at: at)
            guard let index = history.firstIndex(where: { $0.versionID == versionID }), index + 1 < history.count else {
                return (at + 1, 0)
            }
            return (at, index + 1)
        }
    }

    private func commonPrefix(of key: [UInt8], _ query: ListingQuery) -> [UInt8]? {
        guard !query.delimiter.isEmpty,
            let found = Bytes.firstIndex(of: query.delimiter, in: key, from: query.prefix.count)
        else { return nil }
        return [UInt8](key[..<(found + query.delimiter.count)])
    }
}
