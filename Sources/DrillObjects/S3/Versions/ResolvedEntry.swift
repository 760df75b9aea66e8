import DrillCore

/// What one key's history came to, in the words of an inventory.
struct ResolvedEntry {
    var state: EntryState
    /// The entry whose size, time, version and ETag stand for the key.
    var index: Int
    var detail: EntryDetail?

    /// - Parameter range: The key's entries, newest first; the resolution counts from its start.
    init(
        _ resolution: VersionResolution, _ entries: ListedEntries, _ range: Range<Int>, resolver: VersionResolver,
        retention: RetentionRules
    ) {
        let first = range.lowerBound
        func time(_ index: Int) -> String { Timestamps.text(microseconds: entries.modified[index]) }
        switch resolution.outcome {
        case .current(let offset):
            index = first + offset
            if entries.flags[index].contains(.archived), let archive = entries.archiveClasses[index] {
                state = .unreadable
                detail = EntryDetail(note: ArchiveClass.note(archive), cause: .archived)
            } else {
                state = .present
                if !resolution.equivalents.isEmpty {
                    detail = EntryDetail(
                        note: "several versions with the same bytes may have been current",
                        readings: resolution.equivalents.map { entries.reading(first + $0) })
                }
            }
        case .deleted(let offset):
            index = first + offset
            state = .deleted
            detail = EntryDetail(
                note: "deleted at \(time(index)), before the recovery point",
                happenedAt: .init(microseconds: entries.modified[index]), cause: .deletedBeforeCopy)
        case .notYetCreated(let offset):
            index = first + offset
            state = .notYetCreated
            let note = "the oldest version left is of \(time(index)), after the recovery point"
            let expired = retention.mayHaveExpired(
                key: entries.keys[index], noncurrentSince: entries.modified[index])
            // Writing a null version leaves no trace of the one before it.
            let lostNull = entries.versions[index].elementsEqual("null".utf8)
            let why = expired ?? (lostNull ? "it is a null version, which destroys the one before it" : nil)
            detail = EntryDetail(
                note: why.map { "\(note); \($0)" } ?? note, happenedAt: .init(microseconds: entries.modified[index]),
                cause: expired != nil ? .expiredVersion : lostNull ? nil : .uploadedAfterCopy)
        case .ambiguous(let readings):
            state = .ambiguous
            index = first + (readings.compactMap { $0 }.first ?? 0)
            detail = EntryDetail(
                note: Self.explain(resolution.doubts, resolver),
                readings: readings.map { $0.map { entries.reading(first + $0) } })
        }
    }

    private static func explain(_ doubts: VersionDoubts, _ resolver: VersionResolver) -> String {
        var reasons: [String] = []
        if doubts.contains(.sameSecond) { reasons.append("a change within the very second of the recovery point") }
        if doubts.contains(.skew) {
            reasons.append(
                "a change within \(resolver.skewTolerance / 1_000_000) s of the recovery point (skew_tolerance)")
        }
        if doubts.contains(.multipart) {
            reasons.append(
                "a multipart upload that began before the recovery point and may have been completed after it")
        }
        if doubts.contains(.order) { reasons.append("versions with one stamp in an order that cannot be trusted") }
        if doubts.contains(.nullOverwritten) {
            reasons.append("a null version written later, which may have destroyed the one that was current")
        }
        return reasons.joined(separator: "; ")
    }
}

extension ObjectBatch {
    /// Appends a key of a versioned bucket; columns that all entries need are filled from the first on.
    mutating func append(_ key: ArraySlice<UInt8>, _ entry: ResolvedEntry, _ entries: ListedEntries) {
        if let detail = entry.detail { details[count] = detail }
        if entry.state != .present, states.isEmpty { states = Array(repeating: .present, count: count) }
        if entry.state != .present || !states.isEmpty { states.append(entry.state) }
        keys.append(key)
        sizes.append(entries.sizes[entry.index])
        modified.append(entries.modified[entry.index])
        versions.append(entries.versions[entry.index])
        etags.append(entries.etags[entry.index])
    }
}
