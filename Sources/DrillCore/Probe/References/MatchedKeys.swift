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
    private var lastRead: (key: [UInt8], outcome: ReadOutcome)?

    private var settings: ReferenceSettings { probe.settings }

    /// What was learnt of one object beyond its listing.
    private enum ReadOutcome: Sendable {
        /// Not wanted, or not drawn.
        case notRead(stored: StoredChecksum?)
        case read(ContentReading, stored: StoredChecksum?)
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
        var found: [Finding] = []
        for event in matched {
            let object = Int(event.object), row = Int(event.row)
            guard let outcome = outcomes[object] else { continue }
            if let finding = try await judge(row, rows, object, objects, outcome, &counts) { found.append(finding) }
        }
        try await findings.add(found)
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
            if let lastRead, lastRead.key == key.bytes {
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
            let stored =
                item.wantsStored
                ? try await store.storedChecksum(of: item.key, reading: item.reading, preferring: algorithm) : nil
            guard item.reads else { return ReadOutcome.notRead(stored: stored) }
            // Bytes are hashed with what they are to be compared with: the row's checksum, else the store's own.
            let hashing = hasRowDigest.contains(item.index) ? algorithm : nil
            do {
                let content = try await store.content(
                    of: item.key, reading: item.reading, algorithm: hashing ?? stored?.algorithm ?? algorithm ?? .sha256
                )
                return ReadOutcome.read(content, stored: stored)
            } catch let error as ContentUnreadable {
                return ReadOutcome.unreadable(error)
            }
        }
        for (item, outcome) in zip(wanted, learnt) {
            outcomes[item.index] = outcome
            if case .read(let content, _) = outcome {
                counts.objectsRead += 1
                counts.bytesRead += content.sizeBytes
            }
        }
        if let last = indices.last, let outcome = outcomes[last] { lastRead = (Array(objects.keys[last]), outcome) }
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
        _ counts: inout RollCallCounts
    ) async throws -> Finding? {
        var isKnown = true
        let expectation = expectation(row, rows, &isKnown, &counts)
        let state = objects.state(object)
        let detail = objects.details[object]
        let key = ObjectKey(objects.keys[object])
        let judgement: ReferenceJudgement
        var cause = Cause.unknown
        var evidence: String?
        switch state {
        case .deleted, .notYetCreated:
            judgement = .finding(
                .missing, expected: "an object", observed: detail?.note ?? "no object at the recovery point")
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
            var readings: [(reading: ObjectReading?, stored: StoredChecksum?)] = []
            for reading in detail?.readings ?? [] {
                var stored: StoredChecksum?
                if let reading, expectation.digest != nil, store.keepsChecksums {
                    stored = try await store.storedChecksum(
                        of: key, reading: reading, preferring: settings.checksum?.algorithm)
                }
                readings.append((reading, stored))
            }
            judgement = settle(expectation, readings, algorithm: settings.checksum?.algorithm)
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
            case .read(let content, let stored):
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

    /// What the row says. `isKnown` turns false where something that the drill file requires cannot be compared.
    private func expectation(
        _ row: Int, _ rows: ReferenceBatch, _ isKnown: inout Bool, _ counts: inout RollCallCounts
    ) -> Expectation {
        var expectation = Expectation()
        if !rows.sizes.isEmpty {
            if rows.sizes[row] == .min {
                counts.sizeNotComparable += 1
                if settings.required.contains(.size) { isKnown = false }
            } else {
                expectation.sizeBytes = rows.sizes[row]
                counts.sizesCompared += 1
            }
        }
        if !rows.versions.isEmpty, !rows.versionIsNull[row] {
            expectation.version = VersionID(String(decoding: rows.versions[row], as: UTF8.self))
        } else if !rows.versions.isEmpty {
            counts.versionNotComparable += 1
            if settings.required.contains(.version) { isKnown = false }
        }
        if let checksum = settings.checksum, !rows.checksums.isEmpty {
            if rows.checksumIsNull[row] {
                counts.checksumNotComparable += 1
                if settings.required.contains(.checksum) { isKnown = false }
            } else if let digest = decodeDigest(
                rows.checksums[row], isRaw: stream.checksumIsRaw, checksum.algorithm, checksum.encoding)
            {
                expectation.digest = digest
            } else {
                // Wrong in the row or in the drill file, not in the object: nobody can say whether the bytes are right.
                isKnown = false
                counts.checksumNotComparable += 1
                let text =
                    "a value of \(checksum.column) is no \(checksum.algorithm.rawValue) in \(checksum.encoding.rawValue)"
                if !doubts.contains(text) { doubts.append(text) }
            }
        }
        return expectation
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
