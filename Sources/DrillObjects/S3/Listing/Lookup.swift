import DrillCore

/// How the keys that rows name are looked up in a bucket: by listing it, or by one question for each of them.
struct Lookup: Sendable {
    enum Way: Sendable { case list, ask }
    var way: Way
    /// The choice and what it was made from, as a sentence for the report.
    var note: String
    /// A key that is there, in full; nil where none was looked at.
    var sample: [UInt8]?
    /// How a listing begins, where that was looked at.
    var firstPage: CheckedPage?

    /// What a page of a listing may cost in questions for single keys. A page of objects takes about as long as four HEADs, and
    /// Amazon charges twelve times as much; asking for a key's versions is a small listing itself.
    static func questionsPerPage(_ kind: ListingKind) -> Double { kind == .objects ? 4 : 1 }

    /// - Parameters:
    ///   - keys: How many keys the rows name, or nil where that is not known.
    ///   - pages: How many pages a listing takes as far as the rows reach.
    static func isAskingCheaper(_ kind: ListingKind, keys: Int64, pages: Double) -> Bool {
        pages > 1 && Double(keys) <= pages * questionsPerPage(kind)
    }
}

/// Chooses between listing and asking, by the requests that each would take.
struct LookupChooser: Sendable {
    /// Stretches between two keys of rows that are looked at to guess how long a listing would be.
    private static let samples = 3

    let source: ListingSource
    let kind: ListingKind
    /// What the drill file says.
    let listing: S3Settings.Listing
    /// Full keys, ascending, that part the rows' keys evenly.
    let hints: [[UInt8]]

    func choice(_ request: InventoryRequest) async throws -> Lookup {
        let question = kind == .objects ? "a HEAD" : "a listing of the versions"
        switch listing {
        case .head where request.needsEverything:
            return Lookup(
                way: .list,
                note:
                    "\(source.place) is listed, though `listing: head` stands in the drill file: every object counts, not only those that rows name."
            )
        case .list: return Lookup(way: .list, note: "\(source.place) is listed (listing: list).")
        case .head:
            return Lookup(
                way: .ask, note: "\(source.place) is not listed: \(question) for each key of the rows (listing: head).")
        case .auto: break
        }
        if request.needsEverything {
            return Lookup(
                way: .list,
                note: "\(source.place) is listed: every object counts, not only those that rows name (listing: auto).")
        }
        guard let keys = request.expectedKeyCount else {
            return Lookup(
                way: .list, note: "\(source.place) is listed: how many keys rows name is not known (listing: auto).")
        }
        let (pages, firstPage) = try await pages(keys)
        let isAsking = keys <= 1 || Lookup.isAskingCheaper(kind, keys: keys, pages: pages)
        let pageCount = Int64(max(1, pages.rounded(.up)))
        let counts =
            "about \(grouped(keys)) \(keys == 1 ? "key" : "keys") in rows, about \(grouped(pageCount)) "
            + "\(pageCount == 1 ? "page" : "pages") of a listing"
        return isAsking
            ? Lookup(
                way: .ask,
                note: "\(source.place) is not listed: \(question) for each key of the rows (listing: auto; \(counts)).",
                sample: firstPage.entries.count > 0 ? Array(firstPage.entries.keys[0]) : nil)
            : Lookup(
                way: .list, note: "\(source.place) is listed (listing: auto; \(counts)).", firstPage: firstPage)
    }

    /// What `muster plan` says of it: rows are not known then, but the bucket is there to be looked at.
    func plan(concurrency: Int) async throws -> [String] {
        let (operation, question) =
            kind == .objects ? ("ListObjectsV2", "a HEAD") : ("ListObjectVersions", "a listing of the versions")
        if listing == .head {
            return ["Asks for each key that rows name: \(question) each, \(concurrency) at a time (listing: head)."]
        }
        let pages = try await pages(0).pages
        let count = Int64(max(1, pages.rounded(.up)))
        let list =
            "Lists \(source.place): about \(grouped(count)) \(operation) \(count == 1 ? "request" : "requests"), \(concurrency) at a time "
            + "(listing: \(listing.rawValue))."
        guard listing == .auto, pages > 1 else { return [list] }
        let keys = Int64(pages * Lookup.questionsPerPage(kind))
        return [
            list,
            "Where a probe asks for no orphans and its rows name at most about \(grouped(keys)) keys: \(question) for each of them instead.",
        ]
    }

    /// About how many pages a listing takes as far as the rows reach: from a few pages in different places, and how far their keys
    /// go. Rather too few than too many where keys show no pattern.
    /// - Parameter keys: How many keys rows name. Where they would fill several pages, it is not waited for whether the first is the
    ///   only one.
    private func pages(_ keys: Int64) async throws -> (pages: Double, firstPage: CheckedPage) {
        async let first = pages(after: nil, upTo: hints.first)
        if keys <= 4 * source.pageSize {
            let head = try await first
            if head.page.next == nil { return (head.pages, head.page) }
        }
        let count = min(Self.samples, hints.count - 1)
        guard count > 0 else {
            let head = try await first
            return (head.pages, head.page)
        }
        let sampled = try await withThrowingTaskGroup(of: Double.self) { group in
            for sample in 0..<count {
                let index = (hints.count - 1) * (2 * sample + 1) / (2 * count)
                group.addTask { try await pages(after: hints[index], upTo: hints[index + 1]).pages }
            }
            return try await group.reduce(0, +)
        }
        let head = try await first
        if head.page.next == nil { return (head.pages, head.page) }
        return (head.pages + sampled * Double(hints.count - 1) / Double(count), head.page)
    }

    private func pages(
        after: [UInt8]?, upTo upper: [UInt8]?
    ) async throws -> (pages: Double, page: CheckedPage) {
        let page = try await source.page(ListingCursor(after: after))
        let entries = page.entries
        let listed = upper.map { entries.firstIndex(after: $0) } ?? entries.count
        let share = Double(listed) / Double(source.pageSize)
        guard page.next != nil, listed == entries.count, entries.count > 1 else { return (share, page) }
        let first = Array(entries.keys[0])
        var shape = KeyShape()
        for index in 0..<entries.count { shape.observe(entries.keys[index]) }
        if let upper { shape.observe(upper) }
        let last = Array(entries.keys[entries.count - 1])
        let further = shape.ratio(first: first, last: last, upper: upper, fixed: source.prefix.count) ?? 0
        return (share * (1 + further), page)
    }
}
