import Foundation

/// Proves by the twin markers of production that database and objects stand at one instant: the last pair before it is in both
/// stores, the first one after it in neither. It is there where the drill file has `markers:`, under the name `markers`.
package struct MarkersProbe: Probe {
    package static let kind = "markers"
    package static let shape = MarkerSettings.shape
    /// So many of the newest pairs are judged; older ones may be pruned in either store.
    static let limit = 1000

    package let name: String
    let settings: MarkerSettings
    private let target: Int64?

    package init(name: String, _ reader: SettingsReader, _ context: ProbeContext) throws {
        self.name = name
        settings = try MarkerSettings(reader, buckets: context.buckets)
        if case .instant(let instant) = context.target { target = instant.microseconds } else { target = nil }
    }

    package var plan: [String] {
        [
            "Compares the newest rows of \(settings.table.text) with the objects of \(settings.bucket) below \(settings.prefix)"
        ]
    }

    /// Whether that object is a marker's: no row of the application names it, and it is no orphan.
    func owns(_ key: ArraySlice<UInt8>, in bucket: String) -> Bool {
        bucket == settings.bucket && MarkerKey.instant(of: key, prefix: settings.prefix) != nil
    }

    package func run(against set: RestoredSet) async throws -> ProbeOutcome {
        guard let store = set.objects[settings.bucket] else {
            throw DrillError(.couldNotLook, "there is no backup of bucket \(settings.bucket)")
        }
        let rows = try await rows(set.database)
        var facts = MarkerFacts(
            rows: rows.rows, rowsWereCut: rows.wereCut, objects: try await objects(store),
            recoveryPoint: set.recoveryPoint?.microseconds, target: target)
        try await confirm(&facts, store)
        let judge = MarkerJudge(settings: settings, probe: name)
        let judgement = judge.judge(facts)
        if !judgement.findings.isEmpty { try await set.findings.record(judgement.findings) }
        return ProbeOutcome(
            examined: judgement.passed + judgement.failed + judgement.unknown, passed: judgement.passed,
            failed: judgement.failed, unknown: judgement.unknown, summary: summary(facts, judgement, judge),
            doubt: judgement.doubts.isEmpty ? nil : judgement.doubts.joined(separator: "; "))
    }

    private func summary(_ facts: MarkerFacts, _ judgement: MarkerJudge.Judgement, _ judge: MarkerJudge) -> String {
        var parts = ["\(grouped(judgement.passed)) \(judgement.passed == 1 ? "pair is" : "pairs are") in both stores"]
        if let newest = judgement.newestPair {
            var text = "the newest, row \(newest.number), of \(judge.text(newest.insertedAt))"
            if let point = facts.recoveryPoint {
                let age = Double(point - newest.insertedAt) / 1_000_000
                text += ", \(spanText(abs(age))) \(age < 0 ? "after" : "before") the recovery point"
            }
            parts.append(text)
        }
        if judgement.failed > 0 { parts.append("\(grouped(judgement.failed)) are not") }
        parts += judgement.remarks
        if let skew = Self.skew(facts.rows.last) {
            parts.append("at the newest row the store's clock was \(skew) the database's")
        }
        return parts.joined(separator: "; ")
    }

    /// Where the store's stamp, which has whole seconds, lies outside of what the database's clock saw pass.
    private static func skew(_ row: MarkerRow?) -> String? {
        guard let row, let objectAt = row.objectAt else { return nil }
        if objectAt > row.insertedAt { return "\(spanText(Double(objectAt - row.insertedAt) / 1_000_000)) ahead of" }
        let end = objectAt + 1_000_000
        return end < row.begunAt ? "\(spanText(Double(row.begunAt - end) / 1_000_000)) behind" : nil
    }

    // MARK: Reading

    private func rows(_ database: any RestoredDatabase) async throws -> (rows: [MarkerRow], wereCut: Bool) {
        func microseconds(_ column: String) -> String {
            "(pg_catalog.date_part('epoch', \(column)) * 1000000)::pg_catalog.int8"
        }
        let sql = """
            SELECT number, key, \(microseconds("begun_at")), \(microseconds("inserted_at")), \(microseconds("object_at"))
            FROM \(settings.table.sql) ORDER BY number DESC LIMIT \(Self.limit)
            """
        let found = try await database.rows(sql, searchPath: [], limit: Self.limit)
        let rows = try found.rows.map { row in
            guard row.count == 5, let number = row[0].flatMap(strictInteger), let key = row[1],
                let begun = row[2].flatMap(strictInteger), let inserted = row[3].flatMap(strictInteger)
            else {
                throw DrillError(
                    .couldNotLook, "a row is not as `muster mark` writes it", at: settings.table.text,
                    hints: ["`muster mark --ddl` prints what the table must be."])
            }
            return MarkerRow(
                number: number, key: ObjectKey(key), begunAt: begun, insertedAt: inserted,
                objectAt: row[4].flatMap(strictInteger))
        }
        return (rows.reversed(), rows.count == Self.limit)
    }

    /// The newest objects below the prefix; keys are in the order in which pairs were written.
    private func objects(_ store: any ObjectStore) async throws -> [MarkerObject] {
        let stream = try await store.inventory(InventoryRequest(prefix: Array(settings.prefix.utf8)))
        var newest: [MarkerObject] = []
        do {
            while let batch = try await stream.next() {
                for index in 0..<batch.count {
                    guard let at = MarkerKey.instant(of: batch.keys[index], prefix: settings.prefix) else { continue }
                    let state = state(batch, index)
                    newest.append(MarkerObject(key: ObjectKey(batch.keys[index]), at: at, state: state))
                }
                if newest.count > 4 * Self.limit { newest.removeFirst(newest.count - 2 * Self.limit) }
            }
        } catch {
            await stream.cancel()
            throw error
        }
        return newest
    }

    private func state(_ batch: ObjectBatch, _ index: Int) -> MarkerObject.State {
        switch batch.state(index) {
        case .present, .unreadable, .damaged: .present
        case .deleted: .deleted
        case .notYetCreated: .later(batch.details[index]?.happenedAt?.microseconds)
        case .ambiguous: .doubtful
        }
    }

    /// A listing that does not name an object is no proof that it is not there (S8).
    private func confirm(_ facts: inout MarkerFacts, _ store: any ObjectStore) async throws {
        let listed = Set(facts.objects.map(\.key))
        let oldest = facts.objects.first { $0.state == .present }?.at ?? .min
        let absent = facts.rows.filter { !listed.contains($0.key) && $0.insertedAt >= oldest }
        let answers = try await mapConcurrently(absent, width: store.preferredConcurrency) { row in
            try await store.presence(of: row.key)
        }
        for (row, answer) in zip(absent, answers) {
            let state: MarkerObject.State
            switch answer {
            case .absent: continue
            case .present, .unreadable: state = .present
            case .unknown(let reason): state = .unknown(reason)
            }
            facts.objects.append(MarkerObject(key: row.key, at: row.begunAt, state: state))
        }
        facts.objects.sort { ($0.at, $0.key) < ($1.at, $1.key) }
    }
}
