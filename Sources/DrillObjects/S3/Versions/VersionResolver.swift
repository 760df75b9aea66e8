/// What resolving needs to know of one version or delete marker of a key.
struct VersionFacts: Sendable, Equatable {
    /// `LastModified` in microseconds since 1970 UTC.
    var modified: Int64
    var isDeleteMarker = false
    var isLatest = false
    /// The version ID is `null`: written without versioning or while it was suspended. A key has at most one such
    /// entry, and writing it destroys the one before (S17).
    var isNull = false
    /// The ETag ends in `-N`. `LastModified` is then when the upload began; the object appeared when it was completed
    /// (S15).
    var isMultipart = false
    var sizeBytes: Int64 = 0
    /// Opaque; equal for equal bytes where it is equal at all.
    var etag: ArraySlice<UInt8> = []

    /// Whether both stand for the same bytes, as far as a listing can show it.
    func isSameContent(as other: VersionFacts) -> Bool {
        !isDeleteMarker && !other.isDeleteMarker && sizeBytes == other.sizeBytes && !etag.isEmpty && etag == other.etag
    }
}

/// What made the answer for a key uncertain.
struct VersionDoubts: OptionSet, Sendable, Hashable {
    var rawValue: UInt8
    /// Certain if the clocks of database and store agreed exactly; they need not (S19).
    static let skew = VersionDoubts(rawValue: 1)
    /// A change in the very second of the recovery point, whose order within that second is not recorded (S14).
    static let sameSecond = VersionDoubts(rawValue: 2)
    /// A multipart upload began before the recovery point and may have been completed after it.
    static let multipart = VersionDoubts(rawValue: 4)
    /// Entries with one and the same stamp, in an order that contradicts other facts.
    static let order = VersionDoubts(rawValue: 8)
    /// A later `null` version may have destroyed the one that was current.
    static let nullOverwritten = VersionDoubts(rawValue: 16)
}

/// What was current for a key at the recovery point. Indices are those of the history given.
struct VersionResolution: Sendable, Equatable {
    enum Outcome: Sendable, Equatable {
        case current(Int)
        /// That delete marker hid the key.
        case deleted(Int)
        /// Nothing as old as the recovery point; the index is the oldest entry, which came later.
        case notYetCreated(Int)
        /// Any of these may have been current; nil stands for "no object".
        case ambiguous([Int?])
    }
    var outcome: Outcome
    var doubts: VersionDoubts = []
    /// By their stamps alone, the answers at T minus and at T plus the skew tolerance differ.
    var isSkewSensitive = false
    /// For `current`, where several versions may have been it and all hold the same bytes: these.
    var equivalents: [Int] = []
}

/// Decides which version of a key was current at one instant, or says that it cannot be known.
///
/// A change stamped `s` happened within `[s, s + 1 s)` where the store keeps whole seconds (Amazon S3), or within the
/// millisecond where it keeps those. A change at exactly T counts as done. Only what must have happened by T minus the
/// skew tolerance, or after T plus it, is certain.
struct VersionResolver: Sendable {
    /// All in microseconds; the target since 1970 UTC.
    let target: Int64
    let skewTolerance: Int64
    /// How long after its beginning a multipart upload may have been completed.
    let uploadWindow: Int64

    init(target: Int64, skewTolerance: Int64, uploadWindow: Int64) {
        self.target = target
        self.skewTolerance = skewTolerance
        self.uploadWindow = uploadWindow
    }

    private enum Placement { case before, after, uncertain(VersionDoubts) }

    /// - Parameter history: All entries of one key, newest first, as the store lists them; not empty.
    func resolve(_ history: [VersionFacts]) -> VersionResolution {
        if let plain = plainOutcome(history) { return VersionResolution(outcome: plain) }
        let (order, isTrusted) = Self.newestFirst(history)
        var candidates: [Int?] = []
        var doubts: VersionDoubts = []
        var decidedAt: Int?
        for (rank, index) in order.enumerated() {
            let entry = history[index]
            switch place(entry, tolerance: skewTolerance) {
            case .after: continue
            case .uncertain(let why):
                doubts.formUnion(why)
                candidates.append(entry.isDeleteMarker ? nil : index)
            case .before:
                candidates.append(entry.isDeleteMarker ? nil : index)
                decidedAt = index
                if !isTrusted, !entry.isLatest {
                    for other in order[(rank + 1)...].prefix(while: { history[$0].modified == entry.modified }) {
                        doubts.insert(.order)
                        candidates.append(history[other].isDeleteMarker ? nil : other)
                    }
                }
            }
            if decidedAt != nil { break }
        }
        if decidedAt == nil { candidates.append(nil) }

        var resolution = conclude(history, order, candidates, doubts, decidedAt)
        resolution.isSkewSensitive =
            nominal(history, order, target - skewTolerance) != nominal(history, order, target + skewTolerance)
        return resolution
    }

    /// The answer where nothing is in doubt, which is nearly always: an ordered history without a change near the
    /// recovery point. nil where a closer look is needed.
    private func plainOutcome(_ history: [VersionFacts]) -> VersionResolution.Outcome? {
        var decided: VersionResolution.Outcome?
        var previous = Int64.max
        for index in history.indices {
            let entry = history[index]
            guard entry.modified <= previous, !entry.isNull, !entry.isLatest || index == 0 else { return nil }
            previous = entry.modified
            if decided != nil { continue }
            switch place(entry, tolerance: skewTolerance) {
            case .after: continue
            case .uncertain: return nil
            case .before: decided = entry.isDeleteMarker ? .deleted(index) : .current(index)
            }
        }
        return decided ?? .notYetCreated(history.count - 1)
    }

    private func conclude(
        _ history: [VersionFacts], _ order: [Int], _ candidates: [Int?], _ doubts: VersionDoubts, _ decidedAt: Int?
    ) -> VersionResolution {
        var distinct: [Int?] = []
        for candidate in candidates where !distinct.contains(candidate) { distinct.append(candidate) }
        let objects = distinct.compactMap { $0 }
        guard let newest = objects.first else {
            // No object in any reading; a marker says when it went, else the oldest entry when the first one came.
            if let marker = order.first(where: { !isAfter(history[$0]) }) {
                return VersionResolution(outcome: .deleted(marker))
            }
            return VersionResolution(outcome: .notYetCreated(order[order.count - 1]))
        }
        // A null version written since may have destroyed the one that was current then, unless that is the null one
        // itself.
        let lostNull = order.contains { index in
            guard history[index].isNull, index != decidedAt else { return false }
            if case .before = place(history[index], tolerance: skewTolerance) { return false }
            return true
        }
        if lostNull {
            return VersionResolution(outcome: .ambiguous(distinct), doubts: doubts.union(.nullOverwritten))
        }
        if distinct.count == 1 { return VersionResolution(outcome: .current(newest)) }
        if objects.count == distinct.count, objects.allSatisfy({ history[$0].isSameContent(as: history[newest]) }) {
            return VersionResolution(outcome: .current(newest), equivalents: objects)
        }
        return VersionResolution(outcome: .ambiguous(distinct), doubts: doubts)
    }

    private func isAfter(_ entry: VersionFacts) -> Bool {
        if case .after = place(entry, tolerance: skewTolerance) { return true }
        return false
    }

    /// Where a change lies beside the target, when both clocks may be off by `tolerance`.
    private func place(_ entry: VersionFacts, tolerance: Int64) -> Placement {
        let end = entry.modified + Self.precision(entry.modified)
        let latest = entry.isMultipart ? end + uploadWindow : end
        if latest <= target - tolerance { return .before }
        if entry.modified > target + tolerance { return .after }
        // Which of the reasons would remain without the ones before it?
        if end <= target - tolerance { return .uncertain(.multipart) }
        if end <= target || entry.modified > target {
            return .uncertain(
                entry.isMultipart && latest > target && entry.modified <= target ? [.skew, .multipart] : .skew)
        }
        return .uncertain(entry.isMultipart ? [.sameSecond, .multipart] : .sameSecond)
    }

    /// The span within which a change with that stamp happened. A stamp on the whole second may have been cut to it.
    private static func precision(_ stamp: Int64) -> Int64 {
        stamp % 1_000_000 == 0 ? 1_000_000 : stamp % 1000 == 0 ? 1000 : 1
    }

    /// Which entry plain comparison of stamps takes: what other tools do.
    private func nominal(_ history: [VersionFacts], _ order: [Int], _ instant: Int64) -> Int? {
        order.first { history[$0].modified <= instant }
    }

    /// Indices newest first. The store's own order is kept where the stamps and the latest mark agree with it; else the
    /// stamps decide, and the order of equal ones is not to be trusted.
    private static func newestFirst(_ history: [VersionFacts]) -> (order: [Int], isTrusted: Bool) {
        let indices = Array(history.indices)
        let isDescending = zip(indices, indices.dropFirst()).allSatisfy { history[$0].modified >= history[$1].modified }
        let latest = indices.filter { history[$0].isLatest }
        let nulls = indices.reduce(0) { $0 + (history[$1].isNull ? 1 : 0) }
        if isDescending, latest.isEmpty || latest == [0], nulls <= 1 { return (indices, true) }
        let sorted = indices.sorted { left, right in
            let (one, other) = (history[left], history[right])
            if one.modified != other.modified { return one.modified > other.modified }
            if one.isLatest != other.isLatest { return one.isLatest }
            return left < right
        }
        return (sorted, false)
    }
}
