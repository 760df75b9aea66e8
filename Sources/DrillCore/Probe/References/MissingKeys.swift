import Foundation

/// References whose key no inventory named: confirmed by asking for the key itself (S8), then explained as far as evidence goes.
final class MissingKeys {
    private struct Pending {
        var finding: Finding
        var key: ObjectKey
        var changedAt: Int64?
    }

    /// So many are looked at together; the first lot of a bucket also gets the search for other spellings.
    private static let lotSize = 20_000
    /// After so many keys that a listing lacked and that were indeed not there, the listing is believed.
    private static let confirmedEnough = 10_000

    private let probe: ReferencesProbe
    private let set: RestoredSet
    private let store: any ObjectStore
    private let stream: any ReferenceStream
    private var pending: [Pending] = []
    private var spellings: KeySpellings?
    private var confirmed = 0
    private var contradicted = 0
    private var unconfirmed: Int64 = 0
    private(set) var doubts: [String] = []
    private(set) var notes: [String] = []
    /// Answers that the store gave to the same question just now.
    var alreadyAsked: [ObjectKey: Presence] = [:]

    init(probe: ReferencesProbe, set: RestoredSet, store: any ObjectStore, stream: any ReferenceStream) {
        self.probe = probe
        self.set = set
        self.store = store
        self.stream = stream
    }

    func handle(
        _ events: [RollCallEvent], _ rows: ReferenceBatch, _ counts: inout RollCallCounts, into findings: FindingBuffer
    ) async throws {
        var lot: [(row: Int, key: ObjectKey)] = []
        for event in events where event.kind == .missing {
            lot.append((Int(event.row), ObjectKey(rows.keys[Int(event.row)])))
        }
        guard !lot.isEmpty else { return }
        let believesListing = confirmed >= Self.confirmedEnough && contradicted == 0
        let (store, known) = (self.store, alreadyAsked)
        if believesListing { unconfirmed += Int64(lot.count) }
        let answers: [Presence] =
            believesListing
            ? lot.map { _ in .absent }
            : try await mapConcurrently(lot, width: store.preferredConcurrency) { item in
                if let answer = known[item.key] { return answer }
                return store.cannotHold(item.key) != nil || item.key.bytes.isEmpty
                    ? .absent : try await store.presence(of: item.key)
            }
        var found: [Finding] = []
        for (item, answer) in zip(lot, answers) {
            var finding = Finding(
                probe: probe.name, kind: .missing, relation: stream.relation,
                rowID: rows.ids.isEmpty ? nil : stream.rowID(rows.ids[item.row]), bucket: store.bucket,
                objectKey: item.key.bytes, expected: "an object", observed: "no object")
            switch answer {
            case .absent:
                if !believesListing { confirmed += 1 }
                counts.failed += 1
                if let reason = badKey(item.key) {
                    finding.kind = .badReference
                    finding.expected = "an object key"
                    finding.observed = reason
                    finding.repair = repairText(.badReference, .unknown)
                    found.append(finding)
                } else {
                    pending.append(
                        Pending(
                            finding: finding, key: item.key,
                            changedAt: rows.changed.isEmpty ? nil : rows.changed[item.row]))
                }
            case .present(let reading):
                contradicted += 1
                counts.unlisted += 1
                if let finding = judgeUnlisted(finding, reading, item.row, rows, &counts) { found.append(finding) }
            case .unreadable(let reason, let cause):
                counts.failed += 1
                finding.kind = .unreadable
                finding.cause = cause
                finding.expected = "readable bytes"
                finding.observed = reason
                finding.repair = repairText(.unreadable, cause)
                found.append(finding)
            case .ambiguous(let detail):
                counts.unknown += 1
                finding.kind = .ambiguous
                finding.observed = detail.note
                finding.counts = false
                finding.repair = repairText(.ambiguous, .unknown)
                found.append(finding)
            case .unknown(let reason):
                counts.unknown += 1
                if doubts.isEmpty { doubts.append("the store would not say whether a key is there: \(reason)") }
            }
        }
        try await findings.add(found)
        if pending.count >= Self.lotSize { try await explain(into: findings) }
    }

    func finish(_ counts: inout RollCallCounts, into findings: FindingBuffer) async throws {
        if !pending.isEmpty { try await explain(into: findings) }
        if unconfirmed > 0 {
            notes.append(
                "\(grouped(unconfirmed)) keys that the listing of \(store.place) lacks were not asked for one by one, after "
                    + "\(grouped(Int64(confirmed))) had been and none of them was there.")
        }
        if counts.unlisted > 0 {
            notes.append(
                "\(grouped(counts.unlisted)) objects of \(store.place) answer when asked by key, but no listing names them: "
                    + "tools that copy what is listed leave them out.")
        }
    }

    /// Only sizes are compared with what was found by key alone; what else the drill file requires stays unknown.
    private func judgeUnlisted(
        _ missing: Finding, _ reading: ObjectReading, _ row: Int, _ rows: ReferenceBatch, _ counts: inout RollCallCounts
    ) -> Finding? {
        let size = rows.sizes.isEmpty || rows.sizes[row] == .min ? nil : rows.sizes[row]
        if let size, size != reading.sizeBytes {
            counts.failed += 1
            var finding = missing
            finding.kind = .sizeMismatch
            finding.expected = rows.expectedSize(row)
            finding.observed = "\(reading.sizeBytes) bytes, and no listing names it"
            finding.repair = repairText(.sizeMismatch, .unknown)
            return finding
        }
        let settings = probe.settings
        if settings.content != .none || !settings.required.isEmpty {
            counts.unknown += 1
            doubts.append("an object that no listing names was not read")
        } else {
            counts.passed += 1
        }
        return nil
    }

    /// Amazon S3 User Guide, "Object key naming guidelines": 1 to 1,024 bytes.
    private func badKey(_ key: ObjectKey) -> String? {
        if key.bytes.isEmpty { return "an empty key" }
        if key.bytes.count > 1024 { return "a key of \(key.bytes.count) bytes; 1,024 are the limit" }
        return nil
    }

    private func explain(into findings: FindingBuffer) async throws {
        let lot = pending
        pending = []
        set.progress.note("\(grouped(Int64(lot.count))) missing in \(store.place): looking for causes")
        if spellings == nil { spellings = try await KeySpellings.search(for: lot.map(\.key), in: store) }
        let spellings = self.spellings
        let finder = CauseFinder(set: set, store: store)
        let store = self.store
        let explained = try await mapConcurrently(lot, width: store.preferredConcurrency) { item in
            var finding = item.finding
            if let spelled = try await spellings?.spelling(of: item.key, in: store) {
                finding.cause = .keyEncoding
                finding.observed = "no object of that key, but \(printable(spelled.key.bytes))"
                finding.evidence = "An object exists whose key differs only by \(spelled.difference): \(spelled.key)"
            } else if let reason = store.cannotHold(item.key) {
                finding.cause = .notCopied
                finding.observed = "no path of this copy can hold the key: \(reason)"
                finding.evidence = "The copy is \(store.place); \(reason)."
            } else {
                let shown = try await finder.cause(of: .missing, key: item.key, changedAt: item.changedAt)
                finding.cause = shown.cause
                finding.evidence = shown.text
            }
            finding.repair = repairText(.missing, finding.cause)
            return finding
        }
        try await findings.add(explained)
    }
}
