import DrillCore
import Foundation
import Testing

@testable import DrillReports

@Suite struct JUnitReportTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Writes the document, checks it against the schema, and reads it back.
    @discardableResult
    private func checked(_ suites: [JUnitSuite]) throws -> XMLOutline {
        let path = directory.path + "/junit.xml"
        let bytes = junitReport(suites)
        #expect(bytes.count < 5_000_000)
        try writeWhole(bytes, to: path)
        let schema = try resource("junit.xsd")
        let lint = try run("xmllint", ["--noout", "--huge", "--schema", schema, path])
        #expect(lint.status == 0, "\(lint.output)")
        return try XMLOutline(path)
    }

    @Test("J1: valid against the schema that Ant and Jenkins share, in one document for several drills")
    func documentsAreValid() throws {
        let outline = try checked([
            .run(failedRecord()), .run(passedRecord()), .run(.unfinished(header("20261114T120000Z-ffffff"))),
            .notRun(drill: "orders", at: noon, host: "drill-host", reason: "did not finish"),
        ])
        #expect(outline.suites == 4)
        #expect(outline.tests == 7 + 4 + 1 + 1)
        #expect(outline.failures == 3)
        #expect(outline.errors == 3)
    }

    @Test("V5, J6: what did not finish is one error, never a skipped test and never an empty suite")
    func unfinishedIsAnError() throws {
        let outline = try checked([.run(.unfinished(header()))])
        #expect(outline.tests == 1)
        #expect(outline.errors == 1)
        #expect(outline.errorMessages == ["did not finish"])
    }

    @Test("V1: a run that is inconclusive is never all green, whatever its probes say")
    func inconclusiveRunIsNotGreen() throws {
        var record = passedRecord()
        record.outcome?.verdict = .inconclusive
        record.outcome?.reason = "the deadline passed"
        let outline = try checked([.run(record)])
        #expect(outline.errors == 1)
        #expect(outline.errorMessages == ["the deadline passed"])
        record.outcome?.stages = []
        #expect(try checked([.run(record)]).errors == 3)
    }

    @Test("V1: a finding that counts fails its probe, also where the result says pass or is not there")
    func findingsAreNeverGreen() throws {
        #expect(try checked([.run(record(withKey: [0x61]))]).failures == 1)
        var orphaned = record(withKey: [0x61])
        orphaned.groups[0].probe = "gone"
        let outline = try checked([.run(orphaned)])
        #expect(outline.failures == 1)
        #expect(outline.tests == 5)
    }

    @Test("J2: names stay unique where probes share them, also after they are cut")
    func namesAreUnique() throws {
        var record = passedRecord()
        let long = String(repeating: "p", count: 300)
        let names = ["restore", "restore", "a\u{0301}", "\u{e1}", long + "1", long + "2", "<x>", "cleanup"]
        record.probes = names.map { probeResult($0, .pass) }
        #expect(try checked([.run(record)]).tests == names.count + 3)
    }

    @Test("J4: each byte, and each malformed form of UTF-8, leaves a document that can be read, and the key reads back")
    func everyByteSurvives() throws {
        let malformed: [[UInt8]] = [
            [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xEF, 0xBF, 0xBE], [0xEF, 0xBF, 0xBF],
            [0xE2, 0x82], [0x80], [0xF8, 0x88, 0x80, 0x80, 0x80],
        ]
        let keys = (UInt8.min...UInt8.max).map { [0x6B, $0, 0x6B] } + malformed + hostileTexts.map { Array($0.utf8) }
        let outline = try checked(keys.map { .run(record(withKey: $0)) })
        #expect(outline.failureTexts.count == keys.count)
        for (key, body) in zip(keys, outline.failureTexts) {
            #expect(body.utf8.contains(subsequence: printable(key).utf8), "\(printable(key))")
        }
    }

    @Test("J7: tests = passed + failures + errors, and no case is lost", arguments: 0..<50)
    func totalsAgree(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var record = failedRecord()
        record.probes = (0..<Int.random(in: 0...40, using: &random)).map {
            probeResult("p\($0 % 17)", Verdict.allCases.randomElement(using: &random) ?? .fail)
        }
        record.outcome?.verdict = Verdict.allCases.randomElement(using: &random) ?? .fail
        record.outcome?.stages.removeAll { _ in Bool.random(using: &random) }
        record.groups.removeAll { _ in Bool.random(using: &random) }
        let path = directory.path + "/totals.xml"
        try writeWhole(junitReport([.run(record)]), to: path)
        let outline = try XMLOutline(path)
        #expect(outline.tests == outline.cases)
        #expect(outline.failures == outline.failureTexts.count)
        #expect(outline.errors == outline.errorMessages.count)
        #expect(outline.cases == outline.passed + outline.failures + outline.errors)
        #expect(outline.failures > 0 || record.outcome?.verdict != .fail)
        #expect(outline.failures + outline.errors > 0 || record.outcome?.verdict == .pass)
    }

    @Test("J3: thousands of probes with long keys and messages stay under 5 MB")
    func sizeIsBounded() throws {
        var record = failedRecord()
        let quotes = String(repeating: "\"", count: 5000)
        var finding = missing(1)
        finding.objectKey = Array(repeating: 0x22, count: 1024)
        finding.evidence = quotes
        record.probes = (0..<2100).map { number in
            var result = probeResult("probe-\(number)" + quotes, .fail, failed: 1)
            result.summary = quotes
            result.relaxations = [quotes]
            return result
        }
        record.groups = record.probes.map { probe in
            FindingGroup(
                probe: probe.probe, kind: .missing, cause: .unknown, counts: true, count: 1_000_000,
                examples: Array(repeating: finding, count: 20), first: finding, last: finding)
        }
        let outline = try checked([.run(record)])
        #expect(outline.tests == 2000)
        #expect(outline.failures == 2000)
        #expect(try htmlReport(record).count < 5_000_000)
    }
}
