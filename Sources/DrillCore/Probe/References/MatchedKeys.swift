import Foundation

/// Judges references whose key the inventory has, where counting alone does not settle it: content, checksums, versions,
/// ambiguous and unreadable entries, sizes that differ.
final class MatchedKeys {
    private let probe: ReferencesProbe
    private let set: RestoredSet
    private let store: any ObjectStore
    private let stream: any ReferenceStream
    private(set) var doubts: [String] = []
    private(set) var notes: [String] = []
    /// The object read last: rows that name the same one are neighbours.
    private var lastRead: (key: [UInt8], withDigest: Bool, outcome: ReadOutcome)?

    private var settings: ReferenceSettings { probe.settings }

    /// What was learnt of one object beyond its listing.
    private enum ReadOutcome: Sendable {
        /// Not wanted, or not drawn.
        case notRead(stored: StoredChecksum?)
        /// With the algorithm of its digest.
        case read(ContentReading, ChecksumAlgorithm, stored: StoredChecksum?)
        case unreadable(ContentUnreadable)
    }

    init(probe: ReferencesProbe, set: RestoredSet, store: any ObjectStore, stream: any ReferenceStream) {
        self.probe = probe
        self.set = set
        self.store = store
        self.stream = stream
    }

    func handle(
        _ events: [RollCallEvent], _ rows: ReferenceBatch, _ objects: ObjectBatch, _ counts: inout RollCallCounts,
        into findings: FindingBuffer
    ) async throws {
        let matched = events.filter { $0.kind == .matched }
        guard !matched.isEmpty else { return }
        var indices: [Int] = []
        for event in matched where indices.last != Int(event.object) { indices.append(Int(event.object)) }
        let outcomes = try await learn(indices, rows, matched, objects, &counts)
        let ambiguous = try await settle(matched, rows, objects, &counts)
        var found: [Finding] = []
        for event in matched {
            let object = Int(event.object), row = Int(event.row)
            guard let outcome = outcomes[object] else { continue }
            if let finding = try await judge(row, rows, object, objects, outcome, ambiguous[row], &counts) {
                found.append(finding)
            }
        }
        try await findings.add(found)
    }

    /// What the rows say of keys whose history leaves several readings, by row.
    private func settle(
        _ matched: [RollCallEvent], _ rows: ReferenceBatch, _ objects: ObjectBatch, _ counts: inout RollCallCounts
    ) async throws -> [Int: AmbiguousKey.Outcome] {
        let events = matched.filter { objects.state(Int($0.object)) == .ambiguous }
        guard !events.isEmpty else { return [:] }
        let questions = events.map { event in
            let key = ObjectKey(objects.keys[Int(event.object)])
            return (
                key: AmbiguousKey(
                    store: store, key: key, readings: objects.details[Int(event.object)]?.readings ?? [],
                    algorithm: settings.checksum?.algorithm),
                expectation: expectation(Int(event.row), rows).0, reads: isDrawn(key)
            )
        }
        let answers = try await mapConcurrently(questions, width: store.preferredConcurrency) {
            try await $0.key.outcome($0.expectation, reads: $0.reads)
        }
        var outcomes: [Int: AmbiguousKey.Outcome] = [:]
        for (event, answer) in zip(events, answers) {
            outcomes[Int(event.row)] = answer
            counts.objectsRead += answer.objectsRead
            counts.bytesRead += answer.bytesRead
        }
        return outcomes
    }

    /// Reads and asks for what the probe wants to know of these objects, several at a time, each once.
    private func learn(
        _ indices: [Int], _ rows: ReferenceBatch, _ matched: [RollCallEvent], _ objects: ObjectBatch,
        _ counts: inout RollCallCounts
    ) async throws -> [Int: ReadOutcome] {
        var outcomes: [Int: ReadOutcome] = [:]
        var wanted: [(index: Int, key: ObjectKey, reading: ObjectReading, reads: Bool, wantsStored: Bool)] = []
        let withDigest = Set(
            matched.filter { !rows.checksums.isEmpty && !rows.checksumIsNull[Int($0.row)] }.map { Int($0.object) })
        for index in indices {
            let key = ObjectKey(objects.keys[index])
            // What was learnt for rows without a checksum may not do for one that has one, nor the other way round.
            if let lastRead, lastRead.key == key.bytes, lastRead.withDigest == withDigest.contains(index) {
                outcomes[index] = lastRead.outcome
                continue
            }
            let isPresent = objects.state(index) == .present
            let reads = isPresent && isDrawn(key)
            let wantsStored = isPresent && store.keepsChecksums && (reads || withDigest.contains(index))
            if reads || wantsStored {
                wanted.append((index, key, objects.reading(index), reads, wantsStored))
            } else {
                outcomes[index] = .notRead(stored: nil)
            }
        }
        let algorithm = settings.checksum?.algorithm
        let store = self.store
        let hasRowDigest = withDigest
        let learnt = try await mapConcurrently(wanted, width: store.preferredConcurrency) { item in
            // Bytes are hashed with what they are to be compared with: the row's checksum, else the store's own.
            let ofRow = hasRowDigest.contains(item.index) ? algorithm : nil
            let stored =
                item.wantsStored
                ? try await store.storedChecksum(of: item.key, reading: item.reading, preferring: ofRow) : nil
            guard item.reads else { return ReadOutcome.notRead(stored: stored) }
            let hashing = ofRow ?? stored?.algorithm ?? algorithm ?? .sha256
            do {
                let content = try await store.content(of: item.key, reading: item.reading, algorithm: hashing)
                return ReadOutcome.read(content, hashing, stored: stored)
            } catch let error as ContentUnreadable {
                return ReadOutcome.unreadable(error)
            }
        }
        for (item, outcome) in zip(wanted, learnt) {
            outcomes[item.index] = outcome
            if case .read(let content, _, let stored) = outcome {
                counts.objectsRead += 1
                counts.bytesRead += content.sizeBytes
                if stored == nil, !withDigest.contains(item.index) { counts.readByLength += 1 }
            }
        }
        if let last = indices.last, let outcome = outcomes[last] {
            lastRead = (Array(objects.keys[last]), withDigest.contains(last), outcome)
        }
        return outcomes
    }

    /// Whether the probe reads that object's bytes; of a sample, drawn by key and seed and by nothing else.
    private func isDrawn(_ key: ObjectKey) -> Bool {
        switch settings.content {
        case .none: return false
        case .all: return true
        case .sample(let share):
            var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ set.seed
            for byte in key.bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
            // FNV's high bits are weak for short keys; one round of mixing spreads them.
            hash ^= hash >> 33
            hash = hash &* 0xFF51_AFD7_ED55_8CCD
            hash ^= hash >> 33
            return Double(hash >> 11) / Double(1 << 53) < share
        }
    }

    private func judge(
        _ row: Int, _ rows: ReferenceBatch, _ object: Int, _ objects: ObjectBatch, _ outcome: ReadOutcome,
        _ settled: AmbiguousKey.Outcome?, _ counts: inout RollCallCounts
    ) async throws -> Finding? {
        let (expectation, gaps) = self.expectation(row, rows)
        var isKnown = note(gaps, rows, row, &counts)
        let state = objects.state(object)
        let detail = objects.details[object]
        let key = ObjectKey(objects.keys[object])
        let judgement: ReferenceJudgement
        var cause = Cause.unknown
        var evidence: String?
        switch state {
        case .deleted, .notYetCreated:
            judgement = .finding(.missing, expected: "an object", observed: "no object at the recovery point")
            cause = detail?.cause ?? .unknown
            evidence = detail?.note
        case .unreadable:
            judgement = .finding(.unreadable, expected: "readable bytes", observed: detail?.note ?? "not readable")
            cause = detail?.cause ?? .unknown
            evidence = detail?.note
        case .damaged:
            let damage = detail?.damage
            judgement = .finding(
                damage?.kind ?? .checksumMismatch, expected: damage?.expected ?? "the bytes that the store describes",
                observed: damage?.observed ?? "other bytes")
            evidence = detail?.note
        case .ambiguous:
            judgement = settled?.judgement ?? .ambiguous(observed: "several readings")
            cause = settled?.cause ?? .unknown
            if let chosen = settled?.chosen, let reading = chosen.reading {
                countComparisons(
                    expectation, reading, content: chosen.content, stored: chosen.stored, &isKnown, &counts)
            }
            evidence = detail?.note
        case .present:
            // Several versions with the same bytes may have been current: the row may name any of them.
            let reading =
                detail?.readings.compactMap { $0 }.first { $0.version != nil && $0.version == expectation.version }
                ?? objects.reading(object)
            switch outcome {
            case .unreadable(let unreadable):
                judgement = .finding(.unreadable, expected: "readable bytes", observed: unreadable.reason)
                cause = unreadable.cause
            case .notRead(let stored):
                judgement = DrillCore.judge(
                    expectation, reading, content: nil, stored: stored, algorithm: settings.checksum?.algorithm)
                countComparisons(expectation, reading, content: nil, stored: stored, &isKnown, &counts)
            case .read(let content, let hashed, var stored):
                // Bytes that were hashed for another row's checksum say nothing of the store's.
                if expectation.digest == nil, stored?.algorithm != hashed { stored = nil }
                judgement = DrillCore.judge(
                    expectation, reading, content: content, stored: stored, algorithm: settings.checksum?.algorithm)
                countComparisons(expectation, reading, content: content, stored: stored, &isKnown, &counts)
            }
        }
        var finding = Finding(
            probe: probe.name, kind: .missing, cause: cause, relation: stream.relation,
            rowID: rows.ids.isEmpty ? nil : stream.rowID(rows.ids[row]), bucket: store.bucket, objectKey: key.bytes)
        finding.evidence = evidence
        switch judgement {
        case .passed:
            if isKnown { counts.passed += 1 } else { counts.unknown += 1 }
            return nil
        case .ambiguous(let observed):
            counts.unknown += 1
            finding.kind = .ambiguous
            finding.observed = observed
            finding.counts = false
        case .finding(let kind, let expected, let observed):
            counts.failed += 1
            finding.kind = kind
            finding.expected = expected
            finding.observed = observed
            if finding.cause == .unknown, kind != .unreadable {
                let shown = try await CauseFinder(set: set, store: store).cause(
                    of: kind, key: key, changedAt: rows.changed.isEmpty ? nil : rows.changed[row])
                finding.cause = shown.cause
                finding.evidence = [evidence, shown.text].compactMap { $0 }.joined(separator: " ")
            }
        }
        finding.repair = repairText(finding.kind, finding.cause)
        return finding
    }

    /// What a row says nothing comparable of.
    private struct Gaps {
        var size = false, version = false, checksum = false
        /// Wrong in the row or in the drill file, not in the object: nobody can say whether the bytes are right.
        var isNoDigest = false
    }

    private func expectation(_ row: Int, _ rows: ReferenceBatch) -> (Expectation, Gaps) {
        var expectation = Expectation()
        var gaps = Gaps()
        if !rows.sizes.isEmpty {
            if rows.sizes[row] == .min {
                gaps.size = true
            } else {
                expectation.sizeBytes = rows.sizes[row]
                if !rows.oddSizes.isEmpty { expectation.sizeText = rows.expectedSize(row) }
            }
        }
        if !rows.versions.isEmpty {
            if rows.versionIsNull[row] {
                gaps.version = true
            } else {
                expectation.version = VersionID(String(decoding: rows.versions[row], as: UTF8.self))
            }
        }
        if let checksum = settings.checksum, !rows.checksums.isEmpty {
            if !rows.checksumIsNull[row] {
                expectation.digest = decodeDigest(
                    rows.checksums[row], isRaw: stream.checksumIsRaw, checksum.algorithm, checksum.encoding)
                gaps.isNoDigest = expectation.digest == nil
            }
            gaps.checksum = expectation.digest == nil
        }
        return (expectation, gaps)
    }

    /// False where something that the drill file requires cannot be compared.
    private func note(_ gaps: Gaps, _ rows: ReferenceBatch, _ row: Int, _ counts: inout RollCallCounts) -> Bool {
        if !rows.sizes.isEmpty { if gaps.size { counts.sizeNotComparable += 1 } else { counts.sizesCompared += 1 } }
        if gaps.version { counts.versionNotComparable += 1 }
        if gaps.checksum { counts.checksumNotComparable += 1 }
        if gaps.isNoDigest, let checksum = settings.checksum {
            let text =
                "a value of \(checksum.column) is no \(checksum.algorithm.rawValue) in \(checksum.encoding.rawValue)"
            if !doubts.contains(text) { doubts.append(text) }
        }
        return !gaps.isNoDigest && !(gaps.size && settings.required.contains(.size))
            && !(gaps.version && settings.required.contains(.version))
            && !(gaps.checksum && settings.required.contains(.checksum))
    }

    private func countComparisons(
        _ expectation: Expectation, _ reading: ObjectReading, content: ContentReading?, stored: StoredChecksum?,
        _ isKnown: inout Bool, _ counts: inout RollCallCounts
    ) {
        if expectation.version != nil {
            if reading.version != nil {
                counts.versionsCompared += 1
            } else {
                counts.versionNotComparable += 1
                if settings.required.contains(.version) { isKnown = false }
            }
        }
        if expectation.digest != nil {
            if content != nil || stored?.algorithm == settings.checksum?.algorithm {
                counts.checksumsCompared += 1
            } else {
                counts.checksumNotComparable += 1
                if settings.required.contains(.checksum) { isKnown = false }
            }
        }
    }
}
