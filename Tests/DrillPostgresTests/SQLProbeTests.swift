import DrillCore
import Foundation
import Testing

@testable import DrillPostgres

struct SQLProbeTests {
    private func probe(_ yaml: (name: String, value: SettingsNode)...) throws -> SQLProbe {
        let pairs =
            [("query", SettingsNode(.scalar("select 1", isPlain: true), line: 1))] + yaml.map { ($0.name, $0.value) }
        return try SQLProbe(name: "p", reader(SQLProbe.shape, pairs), probeContext)
    }

    private func bounds(_ pairs: (String, String)...) throws -> SQLProbe {
        try probe((name: "expect", value: mapping(pairs.map { ($0.0, scalar($0.1)) })))
    }

    private func value(_ text: String?) -> SQLRows { SQLRows(columns: ["v"], rows: [[text]], rowCount: 1) }

    @Test func noRowsPassesOnNone() throws {
        let probe = try probe((name: "expect", value: scalar("no_rows")))
        let judged = probe.judge(SQLRows(columns: ["id"], rows: [], rowCount: 0))
        #expect(judged.outcome.verdict == .pass)
        #expect(judged.findings.isEmpty)
    }

    @Test func everyRowIsAFindingNamedByItsFirstColumn() throws {
        let probe = try probe((name: "expect", value: scalar("no_rows")))
        let judged = probe.judge(
            SQLRows(columns: ["id", "secret"], rows: [["7", "s"], [nil, "t"]], rowCount: 1_234_567))
        #expect(judged.outcome.failed == 1_234_567)
        #expect(judged.outcome.verdict == .fail)
        #expect(judged.outcome.summary == "1,234,567 rows where none was expected; the first 2 are recorded")
        #expect(judged.findings.map(\.rowID) == ["7", nil])
        #expect(judged.findings.allSatisfy { $0.kind == .sql && !"\($0)".contains("secret") })
    }

    @Test func rowsNeedsAtLeastOne() throws {
        let probe = try probe((name: "expect", value: scalar("rows")))
        #expect(probe.judge(SQLRows(columns: ["id"], rows: [["1"]], rowCount: 3)).outcome.verdict == .pass)
        #expect(probe.judge(SQLRows(columns: ["id"], rows: [], rowCount: 0)).findings.count == 1)
    }

    @Test func limitsAreOfTheSingleValue() throws {
        let probe = try bounds(("min", "1000"), ("max", "2000.5"))
        #expect(probe.judge(value("1000")).outcome.verdict == .pass)
        #expect(probe.judge(value("2000.50")).outcome.verdict == .pass)
        #expect(probe.judge(value("999.999")).outcome.verdict == .fail)
        let failed = probe.judge(value("2001"))
        #expect(failed.outcome.summary == "2001; expected at least 1000 and at most 2000.5")
        #expect(failed.findings.first?.observed == "2001")
        #expect(try bounds(("max", "9223372036854775806")).judge(value("9223372036854775807")).outcome.verdict == .fail)
    }

    @Test("What does not compare is inconclusive, never a match (V8)", arguments: [nil, "NaN", "many", ""])
    func whatDoesNotCompareIsInconclusive(_ text: String?) throws {
        #expect(try bounds(("min", "1")).judge(value(text)).outcome.verdict == .inconclusive)
    }

    @Test func severalValuesAreInconclusive() throws {
        let probe = try bounds(("max", "5"))
        #expect(
            probe.judge(SQLRows(columns: ["a", "b"], rows: [["1", "2"]], rowCount: 1)).outcome.verdict == .inconclusive)
        #expect(
            probe.judge(SQLRows(columns: ["a"], rows: [["1"], ["2"]], rowCount: 2)).outcome.verdict == .inconclusive)
        #expect(probe.judge(SQLRows(columns: ["a"], rows: [], rowCount: 0)).outcome.verdict == .inconclusive)
    }

    @Test func equalsComparesNumbersAsNumbersAndTextAsBytes() throws {
        #expect(try bounds(("equals", "10")).judge(value("10.00")).outcome.verdict == .pass)
        #expect(try bounds(("equals", "caf\u{e9}")).judge(value("cafe\u{301}")).outcome.verdict == .fail, "S1")
        #expect(try bounds(("equals", "t")).judge(value("t")).outcome.verdict == .pass)
        #expect(try bounds(("equals", "t")).judge(value(nil)).outcome.verdict == .inconclusive)
    }

    @Test func limitsMayBeOfTheNumberOfRows() throws {
        let probe = try probe((name: "expect", value: mapping([("rows", mapping([("max", scalar("2"))]))])))
        #expect(probe.judge(SQLRows(columns: ["id"], rows: [["812"]], rowCount: 1)).outcome.verdict == .pass)
        #expect(probe.judge(SQLRows(columns: ["id"], rows: [], rowCount: 3)).outcome.verdict == .fail)
    }

    @Test func wrongExpectationsAreRefused() throws {
        #expect(throws: DrillError.self) { try probe((name: "expect", value: scalar("none"))) }
        #expect(throws: DrillError.self) { try bounds() }
        #expect(throws: DrillError.self) { try bounds(("minimum", "1")) }
        #expect(throws: DrillError.self) { try bounds(("min", "1x")) }
        #expect(throws: DrillError.self) { try probe() }
    }
}

// MARK: - Drill files in a few words

let probeContext = ProbeContext(
    drillFileDirectory: "/drills", buckets: [], endpointAuthorities: [], fileExists: { _ in false })

func scalar(_ text: String) -> SettingsNode { SettingsNode(.scalar(text, isPlain: true), line: 1) }

func mapping(_ pairs: [(String, SettingsNode)]) -> SettingsNode {
    SettingsNode(.mapping(pairs.map { (name: $0.0, nameLine: 1, value: $0.1) }), line: 1)
}

func reader(_ shape: SettingsShape, _ pairs: [(String, SettingsNode)]) throws -> SettingsReader {
    let source = DrillFileSource(path: "drill.yaml", directory: "/drills", variables: [:])
    return try SettingsReader(mapping(pairs), shape: shape, path: "", source: source)
}
