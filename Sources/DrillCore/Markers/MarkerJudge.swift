import Foundation

/// Decides from the markers in both stores whether both stand at one instant, and at which. Pure.
///
/// Production puts the object first and then commits the row, so a row without its object can never be right, and an object
/// without its row is right only while the pair was being written. Clocks do not enter: both halves bear the database's.
struct MarkerJudge {
    let settings: MarkerSettings
    let probe: String

    struct Judgement {
        var findings: [Finding] = []
        var passed: Int64 = 0
        var failed: Int64 = 0
        var unknown: Int64 = 0
        var doubts: [String] = []
        var remarks: [String] = []
        var newestPair: MarkerRow?
    }

    private var tolerance: Int64 { Self.microseconds(settings.tolerance) }

    private static func microseconds(_ span: Duration) -> Int64 { Int64(span.seconds * 1_000_000) }

    func judge(_ facts: MarkerFacts) -> Judgement {
        var judgement = Judgement()
        judgeRows(facts, &judgement)
        judgeObjects(facts, &judgement)
        judgeNext(facts, &judgement)
        judgeAge(facts, &judgement)
        return judgement
    }

    // MARK: Rows

    private func judgeRows(_ facts: MarkerFacts, _ judgement: inout Judgement) {
        let objects = Dictionary(facts.objects.map { ($0.key, $0) }) { first, _ in first }
        let oldest = facts.objects.first { $0.state == .present }?.at
        var pruned = 0
        var writing = 0
        var lacking: [MarkerRow] = []
        for row in facts.rows {
            if let limit = facts.target, row.insertedAt > limit {
                reportLate(row, "not after the recovery target \(text(limit))", &judgement)
                continue
            }
            if let point = facts.recoveryPoint, row.insertedAt > point + tolerance {
                reportLate(row, "not after the recovery point \(text(point))", &judgement)
                continue
            }
            switch objects[row.key]?.state {
            case .present:
                judgement.passed += 1
                judgement.newestPair = row
            case .doubtful:
                writing += 1
            case .later(let instant?) where isNear(instant, facts.recoveryPoint):
                writing += 1
            case .unknown(let reason):
                judgement.unknown += 1
                judgement.doubts.append("whether the object of row \(row.number) is there is not known: \(reason)")
            case .later, .deleted, nil:
                if let oldest, row.insertedAt < oldest { pruned += 1 } else { lacking.append(row) }
            }
        }
        for row in lacking { reportLacking(row, objects[row.key]?.state, judgement.newestPair, &judgement) }
        if pruned > 0 { judgement.remarks.append("\(pruned) older rows whose objects were pruned") }
        if writing > 0 { judgement.remarks.append("\(writing) just being written") }
    }

    private func reportLate(_ row: MarkerRow, _ expected: String, _ judgement: inout Judgement) {
        judgement.failed += 1
        judgement.findings.append(
            Finding(
                probe: probe, kind: .staleData, relation: settings.table.text, rowID: String(row.number),
                bucket: settings.bucket, objectKey: row.key.bytes, expected: expected,
                observed: "a row of \(text(row.insertedAt))",
                evidence: "The restored database holds a marker that production wrote only later.",
                repair: "See which instant the database was really restored to."))
    }

    private func reportLacking(
        _ row: MarkerRow, _ state: MarkerObject.State?, _ newestPair: MarkerRow?, _ judgement: inout Judgement
    ) {
        judgement.failed += 1
        let history =
            switch state {
            case .later(let instant?): " The bucket got it at \(text(instant)), after the recovery point."
            case .deleted: " It was deleted by then."
            default: ""
            }
        let newest = newestPair.map { "The newest pair in both stores is of \(text($0.insertedAt))." }
        judgement.findings.append(
            Finding(
                probe: probe, kind: .missing, relation: settings.table.text, rowID: String(row.number),
                bucket: settings.bucket, objectKey: row.key.bytes, expected: "the object that was put before this row",
                observed: "no object",
                evidence:
                    "The row is of \(text(row.insertedAt)).\(history) \(newest ?? "No pair is in both stores.") "
                    + "So the objects stand at an earlier moment than the database, or lost some.",
                repair:
                    "Copy the objects after the database backup was made, or resolve a versioned bucket at its instant."
            ))
    }

    // MARK: Objects

    private func judgeObjects(_ facts: MarkerFacts, _ judgement: inout Judgement) {
        let named = Set(facts.rows.map(\.key))
        let newestRow = facts.rows.last?.begunAt
        let oldestRow = facts.rows.first?.begunAt
        var pruned = 0
        var writing = 0
        var lost: [MarkerObject] = []
        var interrupted: [MarkerObject] = []
        for object in facts.objects where object.state == .present && !named.contains(object.key) {
            if let oldestRow, object.at < oldestRow {
                pruned += 1
            } else if isNear(object.at, facts.recoveryPoint) {
                writing += 1
            } else if facts.recoveryPoint.map({ object.at > $0 }) ?? false {
                judgement.failed += 1
                judgement.findings.append(finding(.orphan, object, facts))
            } else if let newestRow, object.at < newestRow {
                interrupted.append(object)
            } else {
                lost.append(object)
            }
        }
        judgeLost(lost, facts, "the database lacks it though it says to stand later", &judgement)
        for object in interrupted {
            var finding = finding(.orphan, object, facts)
            finding.counts = false
            finding.evidence =
                "Later pairs are in both stores, so this mark was interrupted before its row was written."
            finding.repair = "See the log of `muster mark` in production at that time."
            judgement.findings.append(finding)
        }
        if !interrupted.isEmpty { judgement.remarks.append("\(interrupted.count) interrupted marks") }
        if pruned > 0, !facts.rowsWereCut {
            judgement.remarks.append("\(pruned) older objects whose rows were pruned")
        }
        if writing > 0 { judgement.remarks.append("\(writing) just being written") }
    }

    /// One object without a row may be a mark that was interrupted; two in a row are none.
    private func judgeLost(
        _ lost: [MarkerObject], _ facts: MarkerFacts, _ why: String, _ judgement: inout Judgement
    ) {
        if lost.count == 1 {
            judgement.unknown += 1
            judgement.doubts.append(
                "the marker object of \(text(lost[0].at)) has no row: either that mark was interrupted, or \(why)")
        } else {
            judgement.failed += Int64(lost.count)
            judgement.findings += lost.map { finding(.staleData, $0, facts) }
        }
    }

    private func finding(_ kind: FindingKind, _ object: MarkerObject, _ facts: MarkerFacts) -> Finding {
        let point = facts.recoveryPoint.map { text($0) } ?? "a moment that is not known"
        let newest = facts.rows.last.map { "the newest row is of \(text($0.insertedAt))" } ?? "there is no row"
        var finding = Finding(
            probe: probe, kind: kind, relation: settings.table.text, bucket: settings.bucket,
            objectKey: object.key.bytes, expected: "the row that production wrote after this object",
            observed: "no row",
            evidence: "The pair was begun at \(text(object.at)); the database stands at \(point), and \(newest).")
        if kind == .orphan {
            finding.evidence = "\(finding.evidence ?? "") So the objects stand at a later moment than the database."
            finding.repair =
                "Resolve the objects at the database's recovery point, or copy them while nothing is written."
        } else {
            finding.evidence = "\(finding.evidence ?? "") So the database stands at an earlier moment than it should."
            finding.repair = "See how old the database backup really is, and where its recovery ended."
        }
        return finding
    }

    // MARK: The pair after, and the age of the last one

    /// The history of a versioned bucket also names pairs that were written after the recovery point.
    private func judgeNext(_ facts: MarkerFacts, _ judgement: inout Judgement) {
        let named = Set(facts.rows.map(\.key))
        let later = facts.objects.filter { object in
            guard case .later = object.state else { return false }
            return !named.contains(object.key) && !isNear(object.at, facts.recoveryPoint)
        }
        if let target = facts.target {
            judgeLost(
                later.filter { $0.at < target - tolerance }, facts,
                "the database stands before the recovery target \(text(target))", &judgement)
        }
        if let next = later.first(where: { object in facts.target.map { object.at > $0 } ?? true }) {
            judgement.remarks.append("the next pair, of \(text(next.at)), is in neither")
        }
    }

    private func judgeAge(_ facts: MarkerFacts, _ judgement: inout Judgement) {
        guard judgement.passed + judgement.failed + judgement.unknown > 0 else {
            judgement.doubts.append(
                "there is no pair to judge in \(settings.table.text) and below \(settings.prefix): see that `muster mark` runs "
                    + "in production")
            return
        }
        let reference = [facts.recoveryPoint, facts.target].compactMap { $0 }.max()
        guard let reference, let newest = judgement.newestPair else { return }
        let age = reference - newest.insertedAt
        guard age > 2 * Self.microseconds(settings.every) + tolerance else { return }
        judgement.doubts.append(
            "the newest pair is of \(text(newest.insertedAt)), \(spanText(Double(age) / 1_000_000)) before "
                + "\(text(reference)), though one is written every \(spanText(settings.every.seconds)): either `muster mark` "
                + "had stopped in production, or both stores are older than they say")
    }

    private func isNear(_ instant: Int64, _ point: Int64?) -> Bool {
        guard let point else { return false }
        return abs(instant - point) <= tolerance
    }

    func text(_ microseconds: Int64) -> String { rfc3339(Date(microseconds: microseconds)) }
}
