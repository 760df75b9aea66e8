/// A part of the key space that is listed by itself, one page after the other.
struct ListingRange: Sendable {
    let id: Int
    var cursor: ListingCursor
    /// The last key that belongs to the range; nil is open.
    var upper: [UInt8]?
    var shape: KeyShape
    var pages: [ListedEntries] = []
    var isOpened = false
    var isInFlight = false
    var isDone = false
    /// Of all pages so far.
    var keysListed = 0
    /// The first key of the page that came last, and how many keys it had: how dense keys lie where the range goes on.
    private var pageStart: (first: [UInt8], count: Int)?
    var emptyPages = 0
    /// How many pages it is thought to hold in all, while nothing of it was listed.
    var expectedPages: Double?

    init(id: Int, after: [UInt8]?, upper: [UInt8]?, shape: KeyShape, expectedPages: Double? = nil) {
        self.id = id
        cursor = ListingCursor(after: after)
        self.upper = upper
        self.shape = shape
        self.expectedPages = expectedPages
    }

    var isExhausted: Bool { isDone && pages.isEmpty }

    /// Pages still to be listed, by how far its keys have come; nil where that cannot be told.
    func remainingPages(pageSize: Double, fixed: Int) -> Double? {
        if isDone { return 0 }
        guard let (first, count) = pageStart, let last = cursor.last, count > 1 else { return expectedPages }
        return shape.ratio(first: first, last: last, upper: upper, fixed: fixed).map { $0 * Double(count) / pageSize }
    }

    /// Takes a page in: cuts it at the upper end, and notes what its keys look like.
    mutating func take(_ page: CheckedPage, kind: ListingKind) {
        var entries = page.entries
        isInFlight = false
        isDone = page.next == nil
        cursor = page.next ?? cursor
        if entries.count > 0 {
            let last = entries.keys[entries.count - 1]
            emptyPages = 0
            if let upper {
                // Where it ends with the upper key itself, further versions of it may follow.
                let isPast = upper.lexicographicallyPrecedes(last) || (kind == .objects && last.elementsEqual(upper))
                if isPast {
                    isDone = true
                    entries.truncate(to: entries.firstIndex(after: upper))
                }
            }
        } else {
            emptyPages += 1
        }
        guard entries.count > 0 else { return }
        pageStart = (Array(entries.keys[0]), entries.count)
        if cursor.last == nil { cursor.last = Array(entries.keys[entries.count - 1]) }
        // A range begins somewhere new; what comes next looks much like it.
        let samples = keysListed == 0 ? 24 : 4
        for index in stride(from: 0, to: entries.count, by: max(1, entries.count / samples)) {
            shape.observe(entries.keys[index])
        }
        shape.observe(entries.keys[entries.count - 1])
        keysListed += entries.count
        pages.append(entries)
    }
}

extension ListedEntries {
    /// The first entry whose key is greater than that one; keys ascend.
    func firstIndex(after key: [UInt8]) -> Int {
        var low = 0, high = count
        while low < high {
            let middle = (low + high) / 2
            if key.lexicographicallyPrecedes(keys[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
