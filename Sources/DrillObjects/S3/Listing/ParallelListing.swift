import DrillCore

/// Lists a bucket in ranges side by side and hands the pages on in key order (S3-S9).
///
/// It starts as one range, cut at the split hints once it shows more than a page, or at once where many keys are expected. Where
/// ranges turn out longer than a few pages, they are cut at keys guessed from those seen. The ranges nearest to the reader are
/// listed first and are kept short, so that what is listed ahead stays small and still keeps all connections busy.
actor ParallelListing {
    private enum Limits {
        /// Pages held ahead of the reader, for each request that may be in flight.
        static let pagesAhead = 14.0
        /// Ranges are cut to about so many pages.
        static let pagesPerRange = 6.0
        static let emptyPages = 50
        static let piecesAtOnce = 2...64
    }

    private let source: ListingSource
    private let concurrency: Int
    /// What pages held ahead of the reader may take, in bytes: with long keys they are fewer.
    private let bytesAhead: Double
    /// Of the largest page so far.
    private var pageBytes = 1.0
    /// Pages that may be held ahead of the reader.
    private var pageBudget: Double {
        max(Double(concurrency), min(Limits.pagesAhead * Double(concurrency), bytesAhead / pageBytes))
    }
    private let pageSize: Double
    private var hints: [ObjectKey]
    private let expectedKeys: Int64?
    private var firstPage: CheckedPage?

    private var ranges: [ListingRange] = []
    private var nextID = 0
    private var tasks: [Int: Task<Void, Never>] = [:]
    private var failure: (any Error)?
    private var reader: CheckedContinuation<Void, Never>?
    private var hasStarted = false
    private var isCancelled = false

    /// - Parameters:
    ///   - hints: Full keys, ascending; the last is thought to be near the end.
    ///   - firstPage: How the listing begins, where that was asked for before.
    init(
        _ source: ListingSource, concurrency: Int, hints: [ObjectKey], expectedKeys: Int64?,
        firstPage: CheckedPage? = nil, bytesAhead: Double = 46e6
    ) {
        self.source = source
        self.concurrency = max(1, concurrency)
        self.hints = hints
        self.bytesAhead = bytesAhead
        self.firstPage = firstPage
        self.expectedKeys = expectedKeys
        pageSize = Double(source.pageSize)
    }

    /// How many ranges were listed.
    private(set) var rangesOpened = 0
    /// How many more ranges held keys than turned out empty: guesses that hit earn more guesses at a time.
    private var luck = 0
    private var pieces: Int { min(max(8 + 2 * luck, Limits.piecesAtOnce.lowerBound), Limits.piecesAtOnce.upperBound) }

    /// The next page in key order; nil once every range ended as it should.
    func next() async throws -> ListedEntries? {
        start()
        while true {
            if let failure { throw failure }
            if isCancelled { throw CancellationError() }
            while let head = ranges.first, head.isExhausted { ranges.removeFirst() }
            guard let head = ranges.first else { return nil }
            if !head.pages.isEmpty {
                let page = ranges[0].pages.removeFirst()
                schedule()
                return page
            }
            schedule()
            if failure != nil { continue }
            await withTaskCancellationHandler {
                await withCheckedContinuation { reader = $0 }
            } onCancel: {
                Task { await self.cancel() }
            }
        }
    }

    /// Begins to list, as far ahead as pages may be held.
    func start() {
        guard !hasStarted, !isCancelled else { return }
        hasStarted = true
        ranges = [makeRange(after: nil, upper: nil, KeyShape(), nil)]
        // Where rows name many keys the first page need not be waited for: that it is not the only one is all but certain.
        if concurrency > 1, let expectedKeys, Double(expectedKeys) > 2 * Limits.pagesPerRange * pageSize {
            _ = cutAtHints(0, source.prefix)
        }
        if let page = firstPage.take() {
            rangesOpened += 1
            (ranges[0].isOpened, ranges[0].isInFlight) = (true, true)
            arrived(ranges[0].id, .success(page))
        }
        schedule()
    }

    func cancel() {
        isCancelled = true
        for task in tasks.values { task.cancel() }
        tasks.removeAll()
        wake()
    }

    /// Whether it waits for its reader: as much lies ahead as may.
    var isAtRest: Bool { hasStarted && tasks.isEmpty }

    private func wake() {
        reader?.resume()
        reader = nil
    }

    // MARK: Fetching

    private func schedule() {
        guard failure == nil, !isCancelled else { return }
        while tasks.count < concurrency, let index = pick() { fetch(index) }
    }

    /// The range nearest to the reader that may go on.
    private func pick() -> Int? {
        var held = 0.0
        var index = 0
        while index < ranges.count {
            let range = ranges[index]
            if !range.isInFlight, !range.isDone {
                if range.isOpened || index == 0 {
                    if index == 0 || held < 2 * pageBudget { return index }
                } else {
                    guard held + Limits.pagesPerRange <= pageBudget else { return nil }
                    if !cutUnopened(index) { return index }
                    continue
                }
            }
            held += max(Double(range.pages.count), range.isDone ? 0 : Limits.pagesPerRange)
            index += 1
        }
        return nil
    }

    private func fetch(_ index: Int) {
        if !ranges[index].isOpened { rangesOpened += 1 }
        ranges[index].isOpened = true
        ranges[index].isInFlight = true
        let (id, cursor, source) = (ranges[index].id, ranges[index].cursor, source)
        // A stream that is read step by step has no scope that could hold a task group; `cancel()` ends these.
        tasks[id] = Task {
            do {
                let page = try await source.page(cursor)
                self.arrived(id, .success(page))
            } catch {
                self.arrived(id, .failure(error))
            }
        }
    }

    private func arrived(_ id: Int, _ result: Result<CheckedPage, any Error>) {
        tasks[id] = nil
        guard !isCancelled, failure == nil, let index = ranges.firstIndex(where: { $0.id == id }) else { return }
        switch result {
        case .failure(let error):
            failure = error
            for task in tasks.values { task.cancel() }
            tasks.removeAll()
        case .success(let page):
            pageBytes = max(pageBytes, Double(page.entries.byteCount))
            let isFirstPage = ranges[index].keysListed == 0
            ranges[index].take(page, kind: source.kind)
            if isFirstPage { luck = min(max(luck + (ranges[index].keysListed > 0 ? 1 : -1), -8), 64) }
            if ranges[index].emptyPages > Limits.emptyPages {
                failure = DrillError(
                    .couldNotLook, "the listing gives one empty page after the other and would never end (S7)",
                    at: source.place)
            } else if !ranges[index].isDone {
                cutOpened(index)
            }
            schedule()
        }
        wake()
    }

    // MARK: Cutting

    private func makeRange(
        after: [UInt8]?, upper: [UInt8]?, _ shape: KeyShape, _ expectedPages: Double?
    ) -> ListingRange {
        nextID += 1
        return ListingRange(id: nextID, after: after, upper: upper, shape: shape, expectedPages: expectedPages)
    }

    /// Cuts what lies before a range that has listed some pages, if that seems to be more than a few.
    private func cutOpened(_ index: Int) {
        let range = ranges[index]
        guard let last = range.cursor.last, concurrency > 1 else { return }
        if !hints.isEmpty, range.upper == nil, cutAtHints(index, last) { return }
        let remaining = range.remainingPages(pageSize: pageSize, fixed: source.prefix.count) ?? 0
        guard remaining > 1.5 * Limits.pagesPerRange else { return }
        let cuts = range.shape.cuts(
            between: last, and: range.upper, fixed: source.prefix.count, at: fractions(ofPages: remaining))
        // How much they hold was guessed from afar: each tells for itself once its first page is there.
        replaceEnd(of: index, by: cuts, expectedPages: nil)
    }

    /// Where to cut what is thought to be so many pages: into even parts of a few pages, or, where that would be too
    /// many at a time, into parts that double in length, since a guess is good near by and may be all wrong far away.
    private func fractions(ofPages pages: Double) -> [Double] {
        if pages <= Limits.pagesPerRange * Double(pieces) {
            let count = (pages / Limits.pagesPerRange).rounded(.up)
            return stride(from: 1, to: count, by: 1).map { $0 / count }
        }
        var fractions: [Double] = []
        var distance = Limits.pagesPerRange
        while fractions.count < pieces, distance < pages {
            fractions.append(distance / pages)
            distance *= fractions.count < 4 ? 2 : 1.5
        }
        return fractions
    }

    /// The first page of the whole shows how dense the hints lie: takes as many of them as make ranges of a few pages.
    private func cutAtHints(_ index: Int, _ last: [UInt8]) -> Bool {
        let ahead = hints.drop { !last.lexicographicallyPrecedes($0.bytes) }.filter {
            $0.bytes.starts(with: source.prefix)
        }
        let passed = hints.count - ahead.count
        let listed = Double(max(1, ranges[index].keysListed))
        var keysPerHint = passed > 0 ? listed / Double(passed) : nil
        if let expectedKeys { keysPerHint = max(keysPerHint ?? 0, Double(expectedKeys) / Double(hints.count)) }
        let step = keysPerHint.map { max(1, Int((Limits.pagesPerRange * pageSize / max(1, $0)).rounded())) } ?? 1
        hints = []
        var chosen = stride(from: step - 1, to: ahead.count, by: step).map { ahead[$0].bytes }
        guard let end = ahead.last?.bytes else { return false }
        // Behind the last hint little is expected: whether it is so, its first page tells.
        if chosen.last != end { chosen.append(end) }
        for key in chosen { ranges[index].shape.observe(key) }
        replaceEnd(of: index, by: chosen, expectedPages: keysPerHint.map { $0 * Double(step) / pageSize })
        return true
    }

    /// Ends the range at the first cut and puts a new one behind each.
    private func replaceEnd(of index: Int, by cuts: [[UInt8]], expectedPages: Double?) {
        guard let first = cuts.first else { return }
        let (oldUpper, shape) = (ranges[index].upper, ranges[index].shape)
        ranges[index].upper = first
        let added = cuts.indices.map { cut in
            makeRange(after: cuts[cut], upper: cut + 1 < cuts.count ? cuts[cut + 1] : oldUpper, shape, expectedPages)
        }
        ranges.insert(contentsOf: added, at: index + 1)
    }

    /// Cuts a range that has not begun, if those like it were long. False where it stays whole.
    private func cutUnopened(_ index: Int) -> Bool {
        let range = ranges[index]
        guard let after = range.cursor.after, let upper = range.upper, let expected = range.expectedPages,
            expected > 1.5 * Limits.pagesPerRange
        else { return false }
        ranges[index].expectedPages = nil
        let parts = fractions(ofPages: expected)
        let cuts = range.shape.cuts(between: after, and: upper, fixed: source.prefix.count, at: parts)
        guard !cuts.isEmpty else { return false }
        replaceEnd(of: index, by: cuts, expectedPages: nil)
        return true
    }
}
