import DrillCore
import Foundation
import Testing

@testable import DrillReports

/// J5: what a key or a row holds never becomes markup, a formula or a command.
@Suite struct HostileTextTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// A record in which every text that comes from outside is that text.
    private func hostileRecord(_ text: String) -> RunRecord {
        var record = record(withKey: Array(text.utf8))
        let finding = Finding(
            probe: "avatars", kind: .missing, relation: text, rowID: text, bucket: text, objectKey: Array(text.utf8),
            expected: text, observed: text, evidence: text, repair: text)
        record.groups = [
            FindingGroup(
                probe: text, kind: .missing, cause: .unknown, counts: true, count: 3,
                examples: [finding, finding, finding],
                first: finding, last: finding)
        ]
        record.probes[0].summary = text
        record.probes[0].relaxations = [text]
        record.phases = [PhaseRecord(name: text, startedAt: noon, seconds: 1, detail: text)]
        record.outcome?.notes = [text]
        record.outcome?.reason = text
        record.outcome?.backupSet = text
        record.outcome?.rowCounts = [(table: text, rows: 1)]
        record.header.description = text
        record.header.recoveryTarget = text
        return record
    }

    /// Elements and attributes with their values' names, in order; text is left out.
    private func htmlOutline(_ record: RunRecord) throws -> String {
        let path = directory.path + "/report.html"
        try writeWhole(try htmlReport(record), to: path)
        let script = """
            import sys
            from html.parser import HTMLParser
            class Outline(HTMLParser):
                def handle_starttag(self, tag, attributes): print(tag, [n for n, _ in attributes])
                def handle_comment(self, text): print("comment")
                def unknown_decl(self, text): print("declaration")
            Outline().feed(open(sys.argv[1], encoding="utf-8").read())
            """
        let result = try run("python3", ["-c", script, path])
        #expect(result.status == 0, "\(result.output)")
        return result.output
    }

    @Test func noTextAddsAnElementToTheHTML() throws {
        let plain = try htmlOutline(hostileRecord("plain"))
        #expect(!plain.contains("script"))
        #expect(!plain.contains("href"))
        for text in hostileTexts { #expect(try htmlOutline(hostileRecord(text)) == plain, "\(printable(text.utf8))") }
    }

    @Test func reportsHideNoMark() throws {
        for text in hostileTexts {
            let record = hostileRecord(text)
            var shown = String(
                decoding: try htmlReport(record) + junitReport([.run(record)]) + jsonReport(record), as: UTF8.self)
            for line in summaryText(record, reportsDirectory: "reports") { shown += line.text + "\n" }
            let hidden = shown.unicodeScalars.filter { scalar in
                switch scalar.properties.generalCategory {
                case .control: scalar != "\n" && scalar != "\t"
                case .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: true
                default: false
                }
            }
            #expect(hidden.isEmpty, "\(printable(text.utf8))")
        }
    }

    @Test func noTextBecomesACommandOfACISystem() {
        for text in hostileTexts + ["  ::error::x", "a\n::error::x"] {
            for line in summaryText(hostileRecord(text), reportsDirectory: "reports") {
                let scalars = Array(line.text.unicodeScalars)
                #expect(!line.text.utf8.contains(subsequence: "##[".utf8))
                #expect(!line.text.utf8.contains(0x0A))
                #expect(!scalars.drop { $0 == " " || $0 == "\t" }.starts(with: "::".unicodeScalars))
            }
        }
    }

    @Test("the policy in the page allows its own style and nothing else")
    func pageHasAStrictPolicy() throws {
        let page = String(decoding: try htmlReport(failedRecord()), as: UTF8.self)
        #expect(page.contains("content=\"default-src 'none'; style-src 'sha256-"))
        #expect(!page.contains("unsafe-inline"))
        #expect(!page.contains("style=\""))
    }

    @Test("the JSON is valid by its schema, and gives back the exact bytes of a key")
    func jsonKeepsItsSchema() throws {
        let schema = directory.path + "/schema.json"
        try writeWhole(Array(jsonReportSchema.utf8), to: schema)
        let script = """
            import base64, json, sys
            schema, report = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
            try:
                import jsonschema
                jsonschema.Draft202012Validator(schema).validate(report)
            except ImportError:
                assert set(schema["required"]) <= set(report)
            for group in report["findings"]["groups"]:
                print(base64.b64decode(group["first"]["object_key_base64"] or "").hex())
            """
        let keys = hostileTexts.map { Array($0.utf8) } + [Array(0...255)]
        for record in keys.map(record(withKey:)) + [failedRecord(), .unfinished(header()), passedRecord()] {
            let path = directory.path + "/report.json"
            try writeWhole(jsonReport(record), to: path)
            let result = try run("python3", ["-c", script, schema, path])
            #expect(result.status == 0, "\(result.output)")
            let expected = record.groups.map { hexadecimal($0.first.objectKey ?? []) + "\n" }.joined()
            #expect(result.output == expected)
        }
    }

    @Test("RFC 4180 cells; none that a spreadsheet would run")
    func csvCellsAreHarmless() throws {
        #expect(csvLine(["a", nil, "b,c", "d\"e", "f\ng"]) == Array("a,,\"b,c\",\"d\"\"e\",\"f\ng\"\r\n".utf8))
        #expect(csvLine(["=1+1", "-1", "+1", "@x", "\tx", "\rx"]) == Array("'=1+1,'-1,'+1,'@x,'\tx,'\\x0dx\r\n".utf8))
        for text in hostileTexts {
            let line = csvLine([text])
            let first = try #require(line.first { $0 != UInt8(ascii: "\"") })
            #expect(!"=+-@\t\r".utf8.contains(first), "\(printable(text.utf8))")
        }
    }

    @Test func csvHoldsEveryFinding() async throws {
        let ledger = try SQLiteLedger(reportsDirectory: directory.path + "/reports")
        let journal = try await ledger.begin(header())
        for batch in 0..<3 { try await journal.record((0..<2500).map { missing(batch * 2500 + $0) }) }
        let path = directory.path + "/findings.csv"
        let output = try #require(fopen(path, "w"))
        try await ledger.csvReport(ofRun: header().runID) { [descriptor = fileno(output)] bytes in
            try write(bytes, to: descriptor, path: "findings.csv")
        }
        fclose(output)
        let script = """
            import csv, sys
            rows = list(csv.DictReader(open(sys.argv[1], encoding="utf-8", newline="")))
            assert [r["row_id"] for r in rows] == [str(n) for n in range(7500)]
            assert bytes.fromhex(rows[7]["object_key_hex"]) == b"avatars/7.png"
            """
        let result = try run("python3", ["-c", script, path])
        #expect(result.status == 0, "\(result.output)")
    }
}
