import DrillCore
import Foundation

@testable import DrillReports

/// A failed run with one of everything that a report shows.
func failedRecord() -> RunRecord {
    let missingFindings = (0..<100).map { missing($0) }
    var last = missing(1203)
    last.objectKey = Array("avatars/zoë\u{202E}gnp.exe".utf8) + [0xFF]
    let orphan = Finding(
        probe: "avatars", kind: .orphan, bucket: "uploads", objectKey: Array("avatars/<b>old</b>.png".utf8),
        observed: "48,213 bytes", counts: false)
    let negative = Finding(
        probe: "no-negative-totals", kind: .sql, relation: "public.orders", rowID: "17", expected: "no rows",
        observed: "a row")
    var outcome = outcome(.fail, reason: "1,204 of 120,400 references of avatars have no object")
    outcome.rtoSeconds = 2412
    outcome.stages[1] = StageResult(
        name: "objectives", verdict: .fail, message: "RTO 40m 12s is more than the 30m allowed", seconds: 0)
    outcome.notes.append("2026-11-14-00-00 was passed over: still being written.")
    outcome.rowCounts = [(table: "public.orders", rows: 88_012), (table: "public.user_profiles", rows: 120_400)]
    return RunRecord(
        header: header(), outcome: outcome,
        phases: [
            PhaseRecord(name: "choose", startedAt: noon, seconds: 0.212, detail: "2 of 3 sets are usable"),
            PhaseRecord(
                name: "restore", startedAt: noon + 0.25, seconds: 2411.5, detail: "pg_restore --jobs=2, 14 tables"),
        ],
        probes: [
            ProbeResult(
                probe: "avatars", kind: "references", verdict: .fail, examined: 120_400, passed: 119_196, failed: 1204,
                unknown: 0, seconds: 3.25, summary: "120,400 references, 1,204 missing; 312 sizes were not comparable",
                relaxations: ["The content of 1 % of the objects was read."]),
            ProbeResult(
                probe: "no-negative-totals", kind: "sql", verdict: .fail, examined: 1, passed: 0, failed: 1, unknown: 0,
                seconds: 0.04, summary: "1 row where none was expected"),
            ProbeResult(
                probe: "enough-users", kind: "sql", verdict: .pass, examined: 1, passed: 1, failed: 0, unknown: 0,
                seconds: 0.02, summary: "120,400, at least 1,000 expected"),
            ProbeResult(
                probe: "app-boots", kind: "command", verdict: .inconclusive, examined: 1, passed: 0, failed: 0,
                unknown: 1,
                seconds: 300, summary: "./smoke.sh did not end within 5m"),
        ],
        groups: [
            FindingGroup(
                probe: "avatars", kind: .missing, cause: .uploadedAfterCopy, counts: true, count: 1204,
                examples: missingFindings, first: missingFindings[0], last: last),
            FindingGroup(
                probe: "avatars", kind: .orphan, cause: .unknown, counts: false, count: 1, examples: [orphan],
                first: orphan,
                last: orphan),
            FindingGroup(
                probe: "no-negative-totals", kind: .sql, cause: .unknown, counts: true, count: 1, examples: [negative],
                first: negative, last: negative),
        ],
        chainHead: String(repeating: "3fa9", count: 16))
}

/// A run that passed.
func passedRecord() -> RunRecord {
    RunRecord(
        header: header(), outcome: outcome(.pass), phases: [], probes: [probeResult("avatars", .pass)], groups: [],
        chainHead: String(repeating: "0c", count: 32))
}

/// A group whose only finding names that key.
func record(withKey key: [UInt8]) -> RunRecord {
    var finding = missing(1)
    finding.objectKey = key
    var record = passedRecord()
    record.outcome?.verdict = .fail
    record.groups = [
        FindingGroup(
            probe: "avatars", kind: .missing, cause: .unknown, counts: true, count: 1, examples: [finding],
            first: finding,
            last: finding)
    ]
    return record
}
