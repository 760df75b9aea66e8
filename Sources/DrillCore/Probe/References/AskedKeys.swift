import Foundation

/// What a store answered about each key of some rows, where nothing is listed.
struct AskedKeys {
    /// As a listing would name them.
    private(set) var objects = ObjectBatch()
    /// What no listing would name, with its answer: it need not be asked for again.
    private(set) var others: [ObjectKey: Presence] = [:]

    /// - Parameter rows: Ordered by key; those that `where` leaves out are not asked for.
    static func ask(_ store: any ObjectStore, _ batch: ReferenceBatch, _ rows: Range<Int>) async throws -> AskedKeys {
        var keys: [ObjectKey] = []
        for row in rows where batch.isIncluded.isEmpty || batch.isIncluded[row] {
            let key = ObjectKey(batch.keys[row])
            if keys.last != key, !key.bytes.isEmpty, store.cannotHold(key) == nil { keys.append(key) }
        }
        let answers = try await mapConcurrently(keys, width: store.preferredConcurrency) {
            try await store.presence(of: $0)
        }
        var asked = AskedKeys()
        for (key, answer) in zip(keys, answers) { asked.append(key, answer) }
        return asked
    }

    private mutating func append(_ key: ObjectKey, _ answer: Presence) {
        switch answer {
        case .present(let reading): objects.append(key, reading)
        case .unreadable(let reason, let cause):
            objects.append(
                key, ObjectReading(sizeBytes: 0), .unreadable, EntryDetail(note: reason, cause: cause))
        case .ambiguous(let detail):
            let reading = detail.readings.compactMap { $0 }.first ?? ObjectReading(sizeBytes: 0)
            objects.append(key, reading, .ambiguous, detail)
        case .absent, .unknown: others[key] = answer
        }
    }
}

extension ObjectBatch {
    fileprivate mutating func append(
        _ key: ObjectKey, _ reading: ObjectReading, _ state: EntryState = .present, _ detail: EntryDetail? = nil
    ) {
        if let detail { details[count] = detail }
        if state != .present, states.isEmpty { states = Array(repeating: .present, count: count) }
        if state != .present || !states.isEmpty { states.append(state) }
        keys.append(key.bytes)
        sizes.append(reading.sizeBytes)
        modified.append(reading.modifiedAt?.microseconds ?? .min)
        versions.append(Array((reading.version?.text ?? "").utf8))
        etags.append(Array((reading.etag ?? "").utf8))
    }
}
