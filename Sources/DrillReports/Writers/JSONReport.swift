import DrillCore
import Foundation

/// Everything the record holds: verdict first, then what it rests on. Findings stand as groups with a probe's first
/// hundred as examples; `findings.complete` says whether these are all.
package func jsonReport(_ record: RunRecord) -> [UInt8] { reportValue(record).document }

/// Several runs of one call, for `muster run --json`: an array of what ``jsonReport(_:)`` writes of each.
package func jsonReport(_ records: [RunRecord]) -> [UInt8] { JSONValue.array(records.map(reportValue)).document }

private let textLimitBytes = 4096
private let keyLimitBytes = 4096
private let tableLimit = 1000

private func reportValue(_ record: RunRecord) -> JSONValue {
    let (header, outcome) = (record.header, record.outcome)
    let objectives = header.objectives
    return .object([
        ("schema", .string("muster report 1")),
        ("run_id", .string(header.runID)),
        ("drill", .string(header.drill)),
        ("verdict", .string((outcome?.verdict ?? .inconclusive).rawValue)),
        ("reason", text(outcome?.reason ?? didNotFinish)),
        ("finished", .bool(outcome != nil)),
        ("description", text(header.description)),
        ("started_at", .string(instantText(header.startedAt))),
        ("finished_at", .optional(outcome.map { instantText($0.finishedAt) })),
        ("backup_set", text(outcome?.backupSet)),
        ("recovery_target", text(header.recoveryTarget)),
        ("recovery_point", .optional(outcome?.recoveryPoint.map { instantText($0) })),
        ("rpo_seconds", .optional(seconds: outcome?.rpoSeconds)),
        ("rto_seconds", .optional(seconds: outcome?.rtoSeconds)),
        ("rpo_objective_seconds", .optional(seconds: objectives.rpo.map { Double(milliseconds($0)) / 1000 })),
        ("rto_objective_seconds", .optional(seconds: objectives.rto.map { Double(milliseconds($0)) / 1000 })),
        ("max_backup_age_seconds", .optional(seconds: objectives.maxBackupAge.map { Double(milliseconds($0)) / 1000 })),
        ("strategy", .string(header.strategy)),
        ("drill_digest", .string(header.drillDigest)),
        ("tool_version", .string(header.toolVersion)),
        ("host", .string(header.host)),
        ("chain_head", .optional(record.chainHead)),
        ("cases", .array(reportCases(record).map(value))),
        ("probes", .array(record.probes.map(value))),
        ("findings", findings(record.groups)),
        ("notes", .array((outcome?.notes ?? []).map { text($0) })),
        ("phases", .array(record.phases.map(value))),
        ("restored_tables_total", .integer(Int64(outcome?.rowCounts.count ?? 0))),
        (
            "restored_tables",
            .array(
                (outcome?.rowCounts ?? []).prefix(tableLimit).map {
                    .object([("table", text($0.table)), ("rows", .integer($0.rows))])
                })
        ),
    ])
}

private func value(_ reportCase: ReportCase) -> JSONValue {
    .object([
        ("name", .string(reportCase.name)), ("verdict", .string(reportCase.verdict.rawValue)),
        ("message", text(reportCase.message)), ("seconds", .seconds(reportCase.seconds)),
    ])
}

private func value(_ probe: ProbeResult) -> JSONValue {
    .object([
        ("probe", text(probe.probe)), ("kind", .string(probe.kind)), ("verdict", .string(probe.verdict.rawValue)),
        ("examined", .integer(probe.examined)), ("passed", .integer(probe.passed)), ("failed", .integer(probe.failed)),
        ("unknown", .integer(probe.unknown)), ("seconds", .seconds(probe.seconds)), ("summary", text(probe.summary)),
        ("relaxations", .array(probe.relaxations.map { text($0) })),
    ])
}

private func value(_ phase: PhaseRecord) -> JSONValue {
    .object([
        ("name", text(phase.name)), ("started_at", .string(instantText(phase.startedAt))),
        ("seconds", .seconds(phase.seconds)), ("detail", text(phase.detail)),
    ])
}

private func findings(_ groups: [FindingGroup]) -> JSONValue {
    let total = groups.reduce(0) { $0 + $1.count }
    let shown = groups.reduce(0) { $0 + Int64($1.examples.count) }
    return .object([
        ("total", .integer(total)),
        ("counting", .integer(groups.filter(\.counts).reduce(0) { $0 + $1.count })),
        ("complete", .bool(shown == total)),
        ("groups", .array(groups.map(value))),
    ])
}

private func value(_ group: FindingGroup) -> JSONValue {
    .object([
        ("probe", text(group.probe)), ("kind", .string(group.kind.rawValue)), ("cause", .string(group.cause.rawValue)),
        ("counts", .bool(group.counts)), ("count", .integer(group.count)), ("next", text(advice(for: group))),
        ("first", value(group.first)), ("last", value(group.last)), ("examples", .array(group.examples.map(value))),
    ])
}

/// A key stands as printable text and as its exact bytes; of one that is no sane key, the first 4,096 bytes and the
/// length.
private func value(_ finding: Finding) -> JSONValue {
    let key = finding.objectKey.map { $0.prefix(keyLimitBytes) }
    return .object([
        ("relation", text(finding.relation)), ("row_id", text(finding.rowID)), ("bucket", text(finding.bucket)),
        ("object_key", .optional(key.map { printable($0) })),
        ("object_key_base64", .optional(key.map { Data($0).base64EncodedString() })),
        ("object_key_bytes", finding.objectKey.map { .integer(Int64($0.count)) } ?? .null),
        ("expected", text(finding.expected)), ("observed", text(finding.observed)),
        ("evidence", text(finding.evidence)),
        ("repair", text(finding.repair)),
    ])
}

private func text(_ text: String?) -> JSONValue { .optional(text.map { shortened($0, to: textLimitBytes) }) }
