import DrillCore

/// Runs a query of the user's own against the restored database and judges what it yields.
struct SQLProbe: Probe {
    static let kind = "sql"
    static let shape = SettingsShape(
        "sql: a query of your own and what it must yield",
        [
            SettingsField("query", .text, required: true, "One SELECT; names qualified, run read-only."),
            SettingsField(
                "expect", .either([.choice(["no_rows", "rows"]), .settings(SQLExpectation.shape)]), required: true,
                "no_rows (each row is a finding, named by its first column), rows, or { min: …, max: …, equals: … } of the "
                    + "single value, or { rows: { min: … } } of the number of rows."),
            SettingsField("search_path", .list(.text), "The search_path of the query; pg_catalog unless said."),
        ])
    /// More rows than these are counted and not recorded one by one.
    static let recordedRows = 1000

    let name: String
    let query: String
    let expectation: SQLExpectation
    let searchPath: [String]

    init(name: String, _ settings: SettingsReader, _ context: ProbeContext) throws {
        self.name = name
        query = try settings.requiredString("query")
        expectation = try SQLExpectation(settings)
        searchPath = try settings.strings("search_path") ?? []
    }

    var plan: [String] { ["Runs one query, read-only."] }

    func run(against set: RestoredSet) async throws -> ProbeOutcome {
        let rows = try await set.database.rows(query, searchPath: searchPath, limit: Self.recordedRows)
        let judgement = judge(rows)
        if !judgement.findings.isEmpty { try await set.findings.record(judgement.findings) }
        return judgement.outcome
    }

    /// Pure: what that result means.
    func judge(_ rows: SQLRows) -> (outcome: ProbeOutcome, findings: [Finding]) {
        let count = "\(grouped(rows.rowCount)) \(rows.rowCount == 1 ? "row" : "rows")"
        switch expectation {
        case .noRows:
            if rows.rowCount == 0 { return (Self.passed("no rows, as expected"), []) }
            let findings = rows.rows.map { row in
                finding(rowID: row.first ?? nil, expected: "no such row", observed: "the query yields this row")
            }
            let unnamed = rows.rowCount - Int64(findings.count)
            let summary =
                "\(count) where none was expected"
                + (unnamed > 0 ? "; the first \(grouped(Int64(findings.count))) are recorded" : "")
            let outcome = ProbeOutcome(
                examined: rows.rowCount, passed: 0, failed: rows.rowCount, unknown: 0, summary: summary)
            return (outcome, findings)
        case .rows:
            if rows.rowCount > 0 { return (Self.passed(count), []) }
            return failed("no rows", expected: "at least one row")
        case .rowCount(let bounds):
            if bounds.hold(for: "\(rows.rowCount)") == true { return (Self.passed("\(count), \(bounds.text)"), []) }
            return failed(count, expected: "a number of rows \(bounds.text)")
        case .value(let bounds):
            guard rows.rowCount == 1, rows.columns.count == 1, let row = rows.rows.first else {
                return (
                    Self.unknown(
                        "the query yields \(count) of \(rows.columns.count) columns in place of a single value; "
                            + "limits of the number of rows stand under `expect: { rows: … }`"), []
                )
            }
            guard let value = row[0] else {
                return (Self.unknown("the value is NULL, which compares with nothing"), [])
            }
            guard let holds = bounds.hold(for: value) else {
                return (Self.unknown("the value '\(printable(value.utf8))' is no number"), [])
            }
            let shown = printable(value.utf8)
            return holds ? (Self.passed("\(shown), \(bounds.text)"), []) : failed(shown, expected: bounds.text)
        }
    }

    private func finding(rowID: String?, expected: String, observed: String) -> Finding {
        Finding(
            probe: name, kind: .sql, rowID: rowID, expected: expected, observed: observed,
            repair: "Look at what the probe's query yields in the restored database, then in the live one.")
    }

    private func failed(_ observed: String, expected: String) -> (outcome: ProbeOutcome, findings: [Finding]) {
        let outcome = ProbeOutcome(
            examined: 1, passed: 0, failed: 1, unknown: 0, summary: "\(observed); expected \(expected)")
        return (outcome, [finding(rowID: nil, expected: expected, observed: observed)])
    }

    private static func passed(_ summary: String) -> ProbeOutcome {
        ProbeOutcome(examined: 1, passed: 1, failed: 0, unknown: 0, summary: summary)
    }

    private static func unknown(_ doubt: String) -> ProbeOutcome {
        ProbeOutcome(examined: 1, passed: 0, failed: 0, unknown: 1, summary: doubt, doubt: doubt)
    }
}
