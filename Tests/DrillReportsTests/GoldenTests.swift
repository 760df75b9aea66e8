import DrillCore
import Foundation
import Testing

@testable import DrillReports

/// Reports of fixed records, compared whole. `MUSTER_UPDATE_GOLDEN=1` writes what is written now, to be read before it
/// is kept. The failed run's are also the sample that readers of the repository see.
@Suite struct GoldenTests {
    @Test(arguments: ["junit.xml", "report.json", "report.html", "summary.txt"])
    func reportsOfAFailedRun(_ name: String) throws { try compare(failedRecord(), "reports/sample", name) }

    @Test(arguments: ["junit.xml", "report.json", "report.html", "summary.txt"])
    func reportsOfARunThatDidNotFinish(_ name: String) throws {
        try compare(.unfinished(header()), "Tests/DrillReportsTests/Golden/unfinished", name)
    }

    @Test func whatToDoAboutAnErrorStandsOnALineOfItsOwn() {
        var record = passedRecord()
        var result = probeResult("avatars", .inconclusive)
        result.summary = "could not look: no table crm.doc\n  Did you mean crm.docs?\n  ::error::no"
        record.probes = [result]
        let lines = summaryText(record, reportsDirectory: "reports").map(\.text)
        #expect(lines.contains { $0.hasSuffix("avatars     could not look: no table crm.doc") })
        #expect(lines.contains { $0.hasSuffix("  Did you mean crm.docs?") && !$0.contains("avatars") })
        #expect(lines.contains { $0.hasSuffix("  \\x3a:error::no") }, "J5")
    }

    private func compare(_ record: RunRecord, _ folder: String, _ name: String) throws {
        let bytes: [UInt8] =
            switch name {
            case "junit.xml": junitReport([.run(record)])
            case "report.json": jsonReport(record)
            case "report.html": try htmlReport(record)
            default:
                summaryText(record, reportsDirectory: "reports")
                    .flatMap { Array("\(marks($0.style)) \($0.text)\n".utf8) }
            }
        var root = URL(filePath: #filePath)
        for _ in 1...3 { root.deleteLastPathComponent() }
        let source = root.appending(path: folder)
        if ProcessInfo.processInfo.environment["MUSTER_UPDATE_GOLDEN"] == "1" {
            try FileManager.default.createDirectory(at: source, withIntermediateDirectories: true)
            try Data(bytes).write(to: source.appending(path: name))
            return
        }
        let expected = try Data(contentsOf: source.appending(path: name))
        #expect(String(decoding: bytes, as: UTF8.self) == String(decoding: expected, as: UTF8.self))
        #expect(Data(bytes) == expected)
    }

    private func marks(_ style: SummaryLine.Style) -> String {
        switch style {
        case .verdict: "V"
        case .heading: "H"
        case .plain: " "
        case .good: "+"
        case .bad: "-"
        case .doubtful: "?"
        case .faint: "."
        }
    }
}
