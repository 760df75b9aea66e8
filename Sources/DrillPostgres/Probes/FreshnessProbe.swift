import DrillCore
import Foundation

/// Looks how old the newest data are: a backup that is restored faithfully may still be an old one (V4).
struct FreshnessProbe: Probe {
    static let kind = "freshness"
    static let shape = SettingsShape(
        "freshness: how old the newest data may be",
        [
            SettingsField(
                "query", .text, required: true,
                "One SELECT that yields one instant, such as max(updated_at); without a time zone it is taken as UTC."),
            SettingsField(
                "within", .duration, required: true,
                "How long before the recovery point it may lie; before the start of the run where that point is not known."
            ),
            SettingsField("search_path", .list(.text), "The search_path of the query; pg_catalog unless said."),
        ])
    /// Clocks of hosts that write rows differ by as much.
    static let toleranceSeconds: Double = 300

    let name: String
    let query: String
    let within: Duration
    let searchPath: [String]

    init(name: String, _ settings: SettingsReader, _ context: ProbeContext) throws {
        self.name = name
        query = try settings.requiredString("query")
        within = try settings.required("within", settings.positiveDuration("within"))
        searchPath = try settings.strings("search_path") ?? []
    }

    var plan: [String] { ["Runs one query, read-only."] }

    func run(against set: RestoredSet) async throws -> ProbeOutcome {
        // The server reads whatever type the query yields; what comes back is microseconds since 1970 UTC, in digits.
        let sql = """
            SELECT CASE WHEN pg_catalog.isfinite(instant::pg_catalog.timestamptz) THEN
                (pg_catalog.date_part('epoch', instant::pg_catalog.timestamptz) * 1000000)::pg_catalog.int8 END
            FROM (
            \(withoutSemicolon(query))
            ) AS newest (instant)
            """
        let rows = try await set.database.rows(sql, searchPath: searchPath, limit: 2)
        guard rows.rowCount <= 1 else {
            throw DrillError(
                .couldNotLook, "the query yields \(grouped(rows.rowCount)) rows in place of one instant",
                at: set.database.place, hints: ["Let it yield one, such as max(updated_at)."])
        }
        let newest = rows.rows.first?.first.flatMap { $0 }.flatMap(strictInteger).map { Date(microseconds: $0) }
        let judgement = judge(newest: newest, recoveryPoint: set.recoveryPoint, startedAt: set.startedAt)
        if let finding = judgement.finding { try await set.findings.record([finding]) }
        return judgement.outcome
    }

    /// Pure: what that instant means; nil is NULL, infinity or no row.
    func judge(newest: Date?, recoveryPoint: Date?, startedAt: Date) -> (outcome: ProbeOutcome, finding: Finding?) {
        guard let newest else {
            let doubt = "there is no instant to judge: the query yields NULL, infinity or no row"
            return (
                ProbeOutcome(
                    examined: 0, passed: 0, failed: 0, unknown: 0, minimumExamined: 0, summary: doubt, doubt: doubt),
                nil
            )
        }
        let reference = recoveryPoint ?? startedAt
        let referenceText =
            "\(recoveryPoint == nil ? "the start of the run" : "the recovery point") \(rfc3339(reference))"
        let age = reference.timeIntervalSince(newest)
        let limit = within.seconds
        let observed =
            age >= 0
            ? "\(rfc3339(newest)), \(spanText(age)) before \(referenceText)"
            : "\(rfc3339(newest)), \(spanText(-age)) after \(referenceText)"
        if age > limit {
            let finding = Finding(
                probe: name, kind: .staleData, expected: "within \(spanText(limit)) before \(referenceText)",
                observed: observed,
                repair: "See whether the backup is made from the database that is in use, and when it was made.")
            return (failed("the newest data are too old: \(observed)"), finding)
        }
        if age < -Self.toleranceSeconds {
            let finding = Finding(
                probe: name, kind: .staleData, expected: "not after \(referenceText)", observed: observed,
                repair:
                    "See which clock is wrong: that of the hosts that write rows, or the one behind the recovery point."
            )
            return (failed("the newest data are in the future: \(observed)"), finding)
        }
        let summary = "the newest data are of \(observed); at most \(spanText(limit)) before is asked for"
        return (ProbeOutcome(examined: 1, passed: 1, failed: 0, unknown: 0, summary: summary), nil)
    }

    private func failed(_ summary: String) -> ProbeOutcome {
        ProbeOutcome(examined: 1, passed: 0, failed: 1, unknown: 0, summary: summary)
    }
}
