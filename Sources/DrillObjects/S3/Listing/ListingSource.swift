import DrillCore
import Foundation
import Synchronization

/// Where a listing goes on.
struct ListingCursor: Sendable, Equatable {
    /// Only keys behind this one; nil starts at the first.
    var after: [UInt8]?
    /// What the last page gave to go on with; nil for the first page of a range.
    var token: [UInt8]?
    var versionMarker: [UInt8]?
    /// The last key of the pages so far: what must be passed.
    var last: [UInt8]?
}

/// A page whose completeness and order were checked.
struct CheckedPage: Sendable {
    var entries: ListedEntries
    /// nil after the last page.
    var next: ListingCursor?
}

/// Fetches and checks single pages of one listing (S3-S9).
final class ListingSource: Sendable {
    let client: S3Client
    let kind: ListingKind
    /// Every key must start with these bytes.
    let prefix: [UInt8]
    let place: String
    /// Entries asked for at a time; Amazon S3 gives at most 1,000.
    let pageSize: Int
    /// What a literal `+` means in this server's URL encoding; learnt when one is met.
    private let plusIsSpace = Mutex<Bool?>(nil)
    /// Of the largest page so far: the next ones will be about as large.
    private let pageBytes = Atomic<Int>(0)

    init(_ client: S3Client, _ kind: ListingKind, prefix: [UInt8], place: String, pageSize: Int = 1000) {
        self.client = client
        self.kind = kind
        self.prefix = prefix
        self.place = place
        self.pageSize = pageSize
    }

    /// The page behind that cursor. Throws a `DrillError` (`couldNotLook`) where it cannot be had or cannot be
    /// believed.
    func page(_ cursor: ListingCursor) async throws -> CheckedPage {
        try check(try await read(call(cursor, maximum: pageSize)), cursor)
    }

    // MARK: Asking

    private func call(_ cursor: ListingCursor, maximum: Int) -> S3Call {
        var query: [(name: String, value: [UInt8]?)] = [
            ("encoding-type", Array("url".utf8)), ("max-keys", Array("\(maximum)".utf8)),
        ]
        if !prefix.isEmpty { query.append(("prefix", prefix)) }
        switch kind {
        case .objects:
            query.append(("list-type", Array("2".utf8)))
            if let token = cursor.token {
                query.append(("continuation-token", token))
            } else if let after = cursor.after {
                query.append(("start-after", after))
            }
        case .versions:
            query.append(("versions", nil))
            if let marker = cursor.token ?? cursor.after { query.append(("key-marker", marker)) }
            if let version = cursor.versionMarker { query.append(("version-id-marker", version)) }
        }
        var call = S3Call(kind == .objects ? .listObjects : .listVersions, query: query)
        call.timeout = .seconds(120)
        let expected = pageBytes.load(ordering: .relaxed)
        call.expectedBodyBytes = expected + expected / 16
        // Amazon's says then which archived objects can be read for the time being.
        if client.address.endpoint == nil { call.headers.append(("x-amz-optional-object-attributes", "RestoreStatus")) }
        return call
    }

    /// Sends, and reads the page. An error document under 200 and a page that is no page are asked for again a few
    /// times.
    private func read(_ call: S3Call) async throws -> ListingPage {
        var attempt = 0
        while true {
            do {
                let body = try await client.send(call).body
                let page = try await decode(body)
                pageBytes.max(body.count, ordering: .relaxed)
                return page
            } catch {
                attempt += 1
                guard attempt < 5, Self.isWorthAnother(error) else { throw await described(error) }
                try await client.sleep(for: .milliseconds(Int.random(in: 0...(100 << attempt))))
            }
        }
    }

    private static func isWorthAnother(_ error: any Error) -> Bool {
        switch error {
        case PageProblem.malformed: true
        case PageProblem.service(let body): ["SlowDown", "InternalError", "ServiceUnavailable"].contains(body.code)
        default: false
        }
    }

    private func described(_ error: any Error) async -> DrillError {
        switch error {
        case PageProblem.malformed(let problem):
            refused(
                "a page of the listing is not what S3 sends: \(problem)",
                ["Check `endpoint`: a proxy or another server may have answered."])
        case PageProblem.service(let body):
            refused("the listing was answered with 200 and the error \(body.code)", [])
        default: await client.described(error, at: place)
        }
    }

    private func refused(_ what: String, _ hints: [String]) -> DrillError {
        DrillError(.couldNotLook, what, at: place, hints: hints)
    }

    // MARK: The meaning of `+`

    private func decode(_ body: [UInt8]) async throws -> ListingPage {
        let known = plusIsSpace.withLock { $0 }
        let page = try ListingPageReader.read(body, kind, plusIsSpace: known ?? false)
        guard page.sawPlus, known == nil else { return page }
        let meaning = try await meaningOfPlus(page, body)
        plusIsSpace.withLock { $0 = meaning }
        return meaning ? try ListingPageReader.read(body, kind, plusIsSpace: true) : page
    }

    /// Asks the server how it encodes: it echoes where a listing starts. Where that shows nothing, the key itself is
    /// asked for in both spellings (S5).
    private func meaningOfPlus(_ page: ListingPage, _ body: [UInt8]) async throws -> Bool {
        let probe = call(ListingCursor(after: Array(" +".utf8)), maximum: 1)
        let echo = try ListingPageReader.read(try await client.send(probe).body, kind, plusIsSpace: false).echoedStart
        if echo == Array("+%2B".utf8) { return true }
        if echo == Array("%20+".utf8) { return false }
        let asSpace = try ListingPageReader.read(body, kind, plusIsSpace: true)
        guard let index = (0..<page.entries.count).first(where: { page.entries.keys[$0] != asSpace.entries.keys[$0] })
        else { return false }
        let isPlus = try await exists(Array(page.entries.keys[index]), version: page.entries, index)
        let isSpace = try await exists(Array(asSpace.entries.keys[index]), version: page.entries, index)
        guard isPlus != isSpace else {
            throw refused(
                "the server does not show whether `+` in its URL-encoded listing is a plus sign or a space",
                [
                    "A key in question: \(printable(page.entries.keys[index]))."
                ])
        }
        return isSpace
    }

    private func exists(_ key: [UInt8], version entries: ListedEntries, _ index: Int) async throws -> Bool {
        var call = S3Call(.headObject, key: key)
        if !entries.versions.isEmpty { call.query = [("versionId", Array(entries.versions[index]))] }
        do {
            _ = try await client.send(call)
            return true
        } catch let error as S3ServiceError where error.status == 404 {
            return false
        } catch let error as S3ServiceError where error.status == 405 {
            return true
        }
    }

    // MARK: Believing

    private func check(_ page: ListingPage, _ cursor: ListingCursor) throws -> CheckedPage {
        if let count = page.keyCount, count != page.entries.count + page.commonPrefixes.count {
            throw refused("a page of the listing announces \(count) keys and holds \(page.entries.count)", [])
        }
        guard page.commonPrefixes.isEmpty else {
            throw refused("the listing holds common prefixes, which were not asked for", [])
        }
        try checkOrder(page.entries, cursor)
        let entries = kind == .versions ? withoutRepeated(page.entries, cursor) : page.entries
        guard page.isTruncated else { return CheckedPage(entries: entries, next: nil) }

        var next = cursor
        if entries.count > 0 { next.last = Array(entries.keys[entries.count - 1]) }
        switch kind {
        case .objects:
            guard let token = page.nextToken, !token.isEmpty else {
                throw refused("a truncated page gives no token to go on with (S7)", [])
            }
            guard token != cursor.token else {
                throw refused("a page gives the token that it was asked with: it would never end (S7)", [])
            }
            next.token = token
        case .versions:
            guard let marker = page.nextKeyMarker, !marker.isEmpty else {
                throw refused("a truncated page gives no marker to go on with (S7)", [])
            }
            next.token = marker
            next.versionMarker = page.nextVersionMarker
            guard next != cursor, page.entries.count > 0 else {
                throw refused("a page gives a marker that does not go on: the listing would never end (S9)", [])
            }
            // Keys between the last one and the marker would be lost.
            guard page.entries.keys[page.entries.count - 1].elementsEqual(marker) else {
                throw refused("a page gives a marker that is not its last key (S9)", [])
            }
        }
        return CheckedPage(entries: entries, next: next)
    }

    /// Without what some gateways list again: the entry that the last page ended with (S9), and all of the key behind which a range
    /// begins, which belongs to the range before it.
    private func withoutRepeated(_ entries: ListedEntries, _ cursor: ListingCursor) -> ListedEntries {
        var repeated = 0
        if let after = cursor.after, cursor.last == nil {
            while repeated < entries.count, entries.keys[repeated].elementsEqual(after) { repeated += 1 }
        } else if let key = cursor.token, let version = cursor.versionMarker, entries.count > 0,
            entries.keys[0].elementsEqual(key), entries.versions[0].elementsEqual(version)
        {
            repeated = 1
        }
        guard repeated > 0 else { return entries }
        var rest = ListedEntries()
        for index in repeated..<entries.count { rest.append(entries, index) }
        return rest
    }

    /// Each key must lie behind the one before, also across pages, and within the prefix (S3).
    private func checkOrder(_ entries: ListedEntries, _ cursor: ListingCursor) throws {
        guard entries.count > 0 else { return }
        let isObjects = kind == .objects
        if let last = cursor.last ?? cursor.after {
            let order = compare(last, entries.keys[0])
            let mayRepeat = !isObjects && (cursor.last == nil || cursor.versionMarker != nil)
            guard order < 0 || (order == 0 && mayRepeat) else {
                throw disorder("a page starts at or before the key that the last one ended with", entries, 0)
            }
        }
        let problem: Int? = entries.keys.bytes.withUnsafeBytes { bytes in
            var start = 0, previousStart = 0
            for index in 0..<entries.keys.ends.count {
                let end = Int(entries.keys.ends[index])
                let key = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                if !prefix.isEmpty, !startsWithPrefix(key) { return index }
                if index > 0 {
                    let previous = UnsafeRawBufferPointer(rebasing: bytes[previousStart..<start])
                    let order = compareBytes(previous, key)
                    if order > 0 || (order == 0 && isObjects) { return index }
                }
                previousStart = start
                start = end
            }
            return nil
        }
        if let problem {
            throw disorder(
                "the listing is not in the order of key bytes, repeats a key or leaves its prefix", entries, problem)
        }
    }

    private func startsWithPrefix(_ key: UnsafeRawBufferPointer) -> Bool {
        guard key.count >= prefix.count, let start = key.baseAddress else { return false }
        return prefix.withUnsafeBytes { prefix in
            prefix.baseAddress.map { memcmp(start, $0, prefix.count) == 0 } ?? true
        }
    }

    private func disorder(_ what: String, _ entries: ListedEntries, _ index: Int) -> DrillError {
        refused(
            "\(what) (S3): \(printable(entries.keys[index]))",
            [
                "Directory buckets and some S3-compatible stores list in another order; this one cannot be drilled by listing: say `listing: head`."
            ])
    }

    private func compare(_ left: [UInt8], _ right: ArraySlice<UInt8>) -> Int {
        left.withUnsafeBytes { left in right.withUnsafeBytes { right in compareBytes(left, right) } }
    }
}

extension ListedEntries {
    /// Appends one entry of another page.
    mutating func append(_ other: ListedEntries, _ index: Int) {
        if let archive = other.archiveClasses[index] { archiveClasses[count] = archive }
        keys.append(other.keys[index])
        etags.append(other.etags[index])
        if !other.versions.isEmpty { versions.append(other.versions[index]) }
        sizes.append(other.sizes[index])
        modified.append(other.modified[index])
        flags.append(other.flags[index])
    }
}
