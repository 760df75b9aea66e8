import DrillCore
import Foundation
import GRDB

/// The run as it stands, from one transaction, so that totals and rows cannot disagree (J7).
func readRecord(run: Int64, _ database: Database) throws -> RunRecord {
    let sql = """
        SELECT run_id, drill, description, started_at, recovery_target, strategy, rpo_objective_milliseconds,
            rto_objective_milliseconds, max_backup_age_milliseconds, drill_digest, tool_version, host, verdict, finished_at,
            backup_set, recovery_point, rpo_milliseconds, rto_milliseconds, reason, chain_head
        FROM recorded_run WHERE run_number = ?
        """
    guard let row = try Row.fetchOne(database, sql: sql, arguments: [run]) else { throw damaged("run \(run) is gone") }
    let objectives = Objectives(
        rpo: try optionalInteger(row, 6).map { .milliseconds($0) },
        rto: try optionalInteger(row, 7).map { .milliseconds($0) },
        maxBackupAge: try optionalInteger(row, 8).map { .milliseconds($0) })
    let header = RunHeader(
        runID: try text(row, 0), drill: try text(row, 1), description: try optionalText(row, 2),
        startedAt: try instant(row, 3),
        recoveryTarget: try text(row, 4), strategy: try text(row, 5), objectives: objectives,
        drillDigest: try text(row, 9),
        toolVersion: try text(row, 10), host: try text(row, 11))
    var outcome: RunOutcome?
    if let finishedAt = try optionalInstant(row, 13) {
        outcome = RunOutcome(
            verdict: try word(row, 12), finishedAt: finishedAt, backupSet: try optionalText(row, 14),
            recoveryPoint: try optionalInstant(row, 15), rpoSeconds: try optionalSeconds(row, 16),
            rtoSeconds: try optionalSeconds(row, 17), reason: try text(row, 18),
            notes: try rows(of: "run_note", "text", run, database) { try text($0, 0) },
            stages: try rows(of: "run_stage", "name, verdict, message, milliseconds", run, database) {
                StageResult(
                    name: try text($0, 0), verdict: try word($0, 1), message: try text($0, 2),
                    seconds: try seconds($0, 3))
            },
            rowCounts: try rows(of: "restored_table", "relation, rows", run, database) {
                (table: try text($0, 0), rows: try integer($0, 1))
            })
    }
    let phases = try rows(of: "recorded_phase", "name, started_at, milliseconds, detail", run, database) {
        PhaseRecord(
            name: try text($0, 0), startedAt: try instant($0, 1), seconds: try seconds($0, 2), detail: try text($0, 3))
    }
    let probes = try readProbes(run: run, database)
    return RunRecord(
        header: header, outcome: outcome, phases: phases, probes: probes,
        groups: try readGroups(run: run, probeOrder: probes.map(\.probe), database),
        chainHead: try optionalText(row, 19))
}

private func readProbes(run: Int64, _ database: Database) throws -> [ProbeResult] {
    let columns = "probe, kind, verdict, examined, passed, failed, unknown, milliseconds, summary"
    var probes = try rows(of: "recorded_probe", columns, run, database) {
        ProbeResult(
            probe: try text($0, 0), kind: try text($0, 1), verdict: try word($0, 2), examined: try integer($0, 3),
            passed: try integer($0, 4), failed: try integer($0, 5), unknown: try integer($0, 6),
            seconds: try seconds($0, 7),
            summary: try text($0, 8))
    }
    for (number, text) in try rows(
        of: "probe_relaxation", "probe_ordinal, text", run, database,
        {
            (try integer($0, 0), try text($0, 1))
        })
    {
        guard number >= 1, number <= probes.count else { throw damaged("a relaxation belongs to no probe") }
        probes[Int(number) - 1].relaxations.append(text)
    }
    return probes
}

/// Groups of probes in the order of their results (groups of other names before them), what counts before what is only
/// reported, then the larger group first. Each probe's first 100 findings stand as examples in their groups.
private func readGroups(run: Int64, probeOrder: [String], _ database: Database) throws -> [FindingGroup] {
    let sql = """
        SELECT probe, kind, cause, counts, count(*), min(ordinal), max(ordinal) FROM recorded_finding
        WHERE run_number = ? GROUP BY probe, kind, cause, counts
        """
    var positions: [String: Int] = [:]
    for (position, name) in probeOrder.enumerated() where positions[name] == nil { positions[name] = position }
    let spans = try Row.fetchAll(database, sql: sql, arguments: [run]).map { try GroupSpan($0) }
        .sorted { left, right in
            let (place, otherPlace) = (positions[left.probe] ?? -1, positions[right.probe] ?? -1)
            if place != otherPlace { return place < otherPlace }
            if left.probe != right.probe { return left.probe.utf8.lexicographicallyPrecedes(right.probe.utf8) }
            if left.counts != right.counts { return left.counts }
            return (right.count, left.first) < (left.count, right.first)
        }
    let examples = try exampleOrdinals(spans, run: run, database)
    return try zip(spans, examples).map { span, ordinals in
        FindingGroup(
            probe: span.probe, kind: span.kind, cause: span.cause, counts: span.counts, count: span.count,
            examples: try ordinals.map { try readFinding(run: run, ordinal: $0, database) },
            first: try readFinding(run: run, ordinal: span.first, database),
            last: try readFinding(run: run, ordinal: span.last, database))
    }
}

/// For each group the ordinals of its examples: a probe's first hundred, those that count before those only reported.
private func exampleOrdinals(_ spans: [GroupSpan], run: Int64, _ database: Database) throws -> [[Int64]] {
    var candidates: [String: [(span: Int, ordinal: Int64)]] = [:]
    for (index, span) in spans.enumerated() {
        candidates[span.probe, default: []] +=
            try span.ordinals(limit: examplesPerProbe, run: run, database).map { (index, $0) }
    }
    var examples = Array(repeating: [Int64](), count: spans.count)
    for chosen in candidates.values {
        let ordered = chosen.sorted { left, right in
            let (leftCounts, rightCounts) = (spans[left.span].counts, spans[right.span].counts)
            return leftCounts != rightCounts ? leftCounts : left.ordinal < right.ordinal
        }
        for (span, ordinal) in ordered.prefix(examplesPerProbe) { examples[span].append(ordinal) }
    }
    return examples
}

let examplesPerProbe = 100

private struct GroupSpan {
    let probe: String
    let kind: FindingKind
    let cause: Cause
    let counts: Bool
    let count: Int64
    let first: Int64
    let last: Int64

    init(_ row: Row) throws {
        probe = try text(row, 0)
        kind = try word(row, 1)
        cause = try word(row, 2)
        counts = try integer(row, 3) != 0
        count = try integer(row, 4)
        first = try integer(row, 5)
        last = try integer(row, 6)
    }

    func ordinals(limit: Int, run: Int64, _ database: Database) throws -> [Int64] {
        try Row.fetchAll(
            database,
            sql: """
                SELECT ordinal FROM recorded_finding
                WHERE run_number = ? AND probe = ? AND kind = ? AND cause = ? AND counts = ? ORDER BY ordinal LIMIT ?
                """, arguments: [run, probe, kind.rawValue, cause.rawValue, counts, limit]
        ).map { try integer($0, 0) }
    }
}

func rows<Element>(
    of table: String, _ columns: String, _ run: Int64, _ database: Database, _ read: (Row) throws -> Element
) throws -> [Element] {
    let cursor = try Row.fetchCursor(
        database, sql: "SELECT \(columns) FROM \(table) WHERE run_number = ? ORDER BY ordinal", arguments: [run])
    var elements: [Element] = []
    while let row = try cursor.next() { elements.append(try read(row)) }
    return elements
}

let findingColumns = """
    probe, kind, cause, counts, relation, row_id, bucket, object_key, expected, observed, evidence, repair, ordinal
    """

/// A row of ``findingColumns``.
func finding(_ row: Row) throws -> Finding {
    Finding(
        probe: try text(row, 0), kind: try word(row, 1), cause: try word(row, 2), relation: try optionalText(row, 4),
        rowID: try optionalText(row, 5), bucket: try optionalText(row, 6), objectKey: try optionalBytes(row, 7),
        expected: try optionalText(row, 8), observed: try optionalText(row, 9), evidence: try optionalText(row, 10),
        repair: try optionalText(row, 11), counts: try integer(row, 3) != 0)
}

private func readFinding(run: Int64, ordinal: Int64, _ database: Database) throws -> Finding {
    let sql = "SELECT \(findingColumns) FROM recorded_finding WHERE run_number = ? AND ordinal = ?"
    guard let row = try Row.fetchOne(database, sql: sql, arguments: [run, ordinal]) else {
        throw damaged("a finding is gone")
    }
    return try finding(row)
}
