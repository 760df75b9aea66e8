import Foundation

extension StandInState {
    /// ListObjects, ListObjectsV2 and ListObjectVersions.
    func list(
        _ request: StandInRequest, _ bucket: BucketState, faults: [S3Fault.Listing]
    ) throws(S3Failure) -> StandInResponse {
        var (query, echo) = try listing(request, bucket)
        if faults.contains(where: { if case .ignoredEncodingType = $0 { true } else { false } }) {
            echo.style = ListingStyle(isURLEncoded: false, milliseconds: echo.style.milliseconds)
        }
        var response: StandInResponse
        if faults.isEmpty, case .generated(let keys) = bucket.contents, bucket.hiddenKeys.isEmpty,
            query.delimiter.isEmpty, query.maxKeys > 0
        {
            response = .xml([])
            response.body = .generated(Self.generatedPage(keys, query, echo))
        } else {
            let page =
                switch bucket.contents {
                case .stored(let keys): keys.page(query, hidden: bucket.hiddenKeys)
                case .generated(let keys): keys.page(query, hidden: bucket.hiddenKeys)
                }
            response = .xml(Self.document(page, query, echo, bucket, faults))
        }
        response.framing = settings.sendsListingsChunked ? .chunked : .contentLength
        return response
    }

    private func listing(
        _ request: StandInRequest, _ bucket: BucketState
    ) throws(S3Failure) -> (ListingQuery, ListingEcho) {
        var query = ListingQuery(includesHistory: request.operation == .listObjectVersions)
        query.prefix = request.queryValue("prefix") ?? []
        query.delimiter = request.queryValue("delimiter") ?? []
        query.maxKeys = try Self.maxKeys(request)
        if let encoding = request.queryText("encoding-type"), encoding != "url" {
            throw .invalidArgument("Invalid Encoding Method specified in Request", "encoding-type", encoding)
        }
        var echo = ListingEcho(
            bucket: bucket.name, operation: request.operation, prefix: query.prefix,
            delimiter: query.delimiter.isEmpty ? nil : query.delimiter, maxKeys: query.maxKeys,
            style: ListingStyle(
                isURLEncoded: request.queryText("encoding-type") == "url",
                milliseconds: settings.listsMilliseconds))
        switch request.operation {
        case .listObjectsV2:
            echo.marker = request.queryValue("start-after").flatMap { $0.isEmpty ? nil : $0 }
            echo.showsOwner = request.queryText("fetch-owner") == "true"
            if let marker = echo.marker { query.start = .afterKey(marker) }
            if let token = request.queryText("continuation-token") {
                guard let start = ContinuationToken.start(token) else {
                    throw .invalidArgument(
                        "The continuation token provided is incorrect", "continuation-token", token)
                }
                echo.continuationToken = token
                query.start = start
            }
        case .listObjectVersions:
            echo.marker = request.queryValue("key-marker")
            echo.versionIDMarker = request.queryText("version-id-marker")
            query.start = try versionStart(echo, query)
        default:
            echo.marker = request.queryValue("marker")
            echo.showsOwner = true
            if let marker = echo.marker, !marker.isEmpty { query.start = Self.afterMarker(marker, query) }
        }
        return (query, echo)
    }

    private func versionStart(_ echo: ListingEcho, _ query: ListingQuery) throws(S3Failure) -> ListingQuery.Start {
        guard let key = echo.marker, !key.isEmpty else {
            guard let versionID = echo.versionIDMarker else { return .beginning }
            throw .invalidArgument(
                "A version-id marker cannot be specified without a key marker.", "version-id-marker", versionID)
        }
        guard let versionID = echo.versionIDMarker else {
            return settings.listsMarkerKey ? Self.from(key) : Self.afterMarker(key, query)
        }
        guard !versionID.isEmpty else {
            throw .invalidArgument("A version-id marker cannot be empty.", "version-id-marker", "")
        }
        return .afterVersion(key: key, versionID: versionID)
    }

    /// A marker that is itself a common prefix stands for all keys behind it.
    private static func afterMarker(_ marker: [UInt8], _ query: ListingQuery) -> ListingQuery.Start {
        let isCommonPrefix =
            !query.delimiter.isEmpty && marker.count > query.prefix.count
            && marker.suffix(query.delimiter.count).elementsEqual(query.delimiter)
        return isCommonPrefix ? .afterPrefix(marker) : .afterKey(marker)
    }

    /// With that key: behind the last one that could lie before it.
    private static func from(_ key: [UInt8]) -> ListingQuery.Start {
        guard let last = key.last else { return .beginning }
        let before = Array(key.dropLast())
        return .afterKey(last == 0 ? before : before + [last - 1] + [UInt8](repeating: 0xFF, count: 1024))
    }

    private static func maxKeys(_ request: StandInRequest) throws(S3Failure) -> Int {
        guard let text = request.queryText("max-keys"), !text.isEmpty else { return 1000 }
        guard let number = Int(text), number >= 0 else {
            throw .invalidArgument("Argument maxKeys must be an integer between 0 and 2147483647", "maxKeys", text)
        }
        return min(number, 1000)
    }

    /// The same page as `KeySpace.page` makes, without making its entries.
    private static func generatedPage(
        _ keys: GeneratedKeys, _ query: ListingQuery, _ echo: ListingEcho
    ) -> GeneratedPage {
        let perKey = query.includesHistory ? keys.versionsPerKey : 1
        let (position, skipped) = keys.start(query)
        let first = position * perKey + skipped
        let endPosition = Bytes.successor(ofPrefix: query.prefix).map(keys.position(notBelow:)) ?? keys.keyCount
        let end = max(first, min(endPosition * perKey, first + query.maxKeys))
        var page = ListingPage()
        page.isTruncated = end < endPosition * perKey
        page.keyCount = end - first
        if page.isTruncated {
            let last = end - 1
            let index = keys.index(at: last / perKey)
            let version = keys.versionsPerKey - 1 - last % perKey
            page.next = .afterVersion(key: keys.key(index), versionID: keys.versionID(index, version: version))
        }
        let (head, foot) = echo.halves(around: page)
        return GeneratedPage(
            keys: keys, shape: query.includesHistory ? .versions : echo.showsOwner ? .ownedContents : .contents,
            isURLEncoded: echo.style.isURLEncoded, range: first..<end, head: head, foot: foot)
    }

    private static func document(
        _ page: ListingPage, _ query: ListingQuery, _ echo: ListingEcho, _ bucket: BucketState,
        _ faults: [S3Fault.Listing]
    ) -> [UInt8] {
        var page = page
        var edits: [([UInt8]) -> [UInt8]] = []
        for fault in faults {
            switch fault {
            case .endless: page.neverEnds(query, echo)
            case .repeatedToken:
                page.isTruncated = true
                page.token = echo.continuationToken
                if query.includesHistory { page.next = query.start }
            case .truncatedWithoutToken:
                page.isTruncated = true
                page.omitsToken = true
            case .shuffled(let seed):
                var generator = SeededGenerator(seed: seed)
                page.entries.shuffle(using: &generator)
            case .repeatedKey:
                if let before = entry(before: query, bucket) { page.entries.insert(before, at: 0) }
            case .utf16Order:
                page.entries.sort {
                    String(decoding: $0.key, as: UTF8.self).utf16.lexicographicallyPrecedes(
                        String(decoding: $1.key, as: UTF8.self).utf16)
                }
            case .droppedEntry(let index):
                if page.entries.indices.contains(index) { page.entries.remove(at: index) }
            case .ignoredEncodingType: break
            case .documentType: edits.append(HostileXML.withDocumentType)
            case .entityBomb: edits.append(HostileXML.withEntityBomb)
            case .nested(let depth): edits.append { HostileXML.nested($0, depth: depth) }
            }
        }
        return edits.reduce(echo.document(page)) { document, edit in edit(document) }
    }

    /// The entry right before where this page starts.
    private static func entry(before query: ListingQuery, _ bucket: BucketState) -> ListedVersion? {
        func find(_ keys: some KeySpace) -> ListedVersion? {
            let (position, skipped) = keys.start(query)
            if skipped > 0 { return keys.history(at: position)[skipped - 1] }
            guard position > 0 else { return nil }
            return query.includesHistory ? keys.history(at: position - 1).last : keys.history(at: position - 1).first
        }
        switch bucket.contents {
        case .stored(let keys): return find(keys)
        case .generated(let keys): return find(keys)
        }
    }
}

extension ListingPage {
    /// Goes on behind the last key with pages that have none, each with a new token.
    fileprivate mutating func neverEnds(_ query: ListingQuery, _ echo: ListingEcho) {
        guard !isTruncated else { return }
        isTruncated = true
        let last = entries.last?.key ?? query.start.key
        token = ContinuationToken.endless(following: echo.continuationToken, after: last)
        next = .afterKey(last + [0])
    }
}

extension ListingQuery.Start {
    fileprivate var key: [UInt8] {
        switch self {
        case .beginning: []
        case .afterKey(let key), .afterPrefix(let key), .afterVersion(let key, _): key
        }
    }
}

/// Documents that a careful reader refuses (X7).
private enum HostileXML {
    static func withDocumentType(_ document: [UInt8]) -> [UInt8] {
        inserted("<!DOCTYPE ListBucketResult [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>", document)
    }

    static func withEntityBomb(_ document: [UInt8]) -> [UInt8] {
        let levels = (1...9).map { level in
            let inner = String(repeating: "&e\(level - 1);", count: 10)
            return "<!ENTITY e\(level) \"\(inner)\">"
        }
        let bomb = "<!DOCTYPE ListBucketResult [<!ENTITY e0 \"billion laughs\">\(levels.joined())]>"
        return inserted(bomb, replacingFirst("<Key>", by: "<Key>&e9;", document))
    }

    static func nested(_ document: [UInt8], depth: Int) -> [UInt8] {
        let inside = String(repeating: "<Owner>", count: depth) + String(repeating: "</Owner>", count: depth)
        return replacingFirst("<Contents>", by: "<Contents>" + inside, document)
    }

    private static func inserted(_ text: String, _ document: [UInt8]) -> [UInt8] {
        replacingFirst("?>\n", by: "?>\n" + text, document)
    }

    private static func replacingFirst(_ text: String, by other: String, _ document: [UInt8]) -> [UInt8] {
        guard let found = Bytes.firstIndex(of: [UInt8](text.utf8), in: document) else { return document }
        return [UInt8](document[..<found]) + other.utf8 + document[(found + text.utf8.count)...]
    }
}
