import ArgumentParser
import DrillCore
import DrillReports
import Foundation

struct ReportCommand: AsyncParsableCommand {
    enum Format: String, CaseIterable, ExpressibleByArgument { case junit, html, json, csv }

    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Writes a run's report again, byte for byte the same.")

    @Argument(help: "A run id, or a drill's name for its newest run.")
    var run: String

    @Option(help: "junit, html, json or csv (all findings); several with commas.")
    var format = "json"

    @Option(help: "A file, or with several formats a directory; standard output unless said.")
    var output: String?

    @OptionGroup var reports: ReportsOption

    func run() async throws {
        let formats = try format.split(separator: ",", omittingEmptySubsequences: false).map { word in
            guard let format = Format(rawValue: String(word)) else {
                throw DrillError(
                    .usage, "unknown format `\(printable(word.utf8))`", at: "--format",
                    hints: ["Known: \(Format.allCases.map(\.rawValue).joined(separator: ", "))."])
            }
            return format
        }
        guard formats.count == 1 || output != nil else {
            throw DrillError(.usage, "several formats need `--output` with a directory", at: "--format")
        }
        let ledger = try reports.ledger()
        let record = try await ledger.record(named: run)
        if formats.count > 1, let output { try makeDirectory(output) }
        for format in formats {
            let path = output.map { formats.count == 1 ? $0 : "\($0)/\(fileName(format))" }
            try await write(format, record, ledger, to: path)
        }
    }

    private func makeDirectory(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw DrillError(.usage, "cannot make the directory: \(error.localizedDescription)", at: path)
        }
    }

    private func fileName(_ format: Format) -> String {
        switch format {
        case .junit: "junit.xml"
        case .html: "report.html"
        case .json: "report.json"
        case .csv: "findings.csv"
        }
    }

    private func write(_ format: Format, _ record: RunRecord, _ ledger: SQLiteLedger, to path: String?) async throws {
        let bytes: [UInt8]
        switch format {
        case .junit: bytes = junitReport([.run(record)])
        case .html: bytes = try htmlReport(record)
        case .json: bytes = jsonReport(record)
        case .csv: return try await writeFindings(record, ledger, to: path)
        }
        if let path { try writeWhole(bytes, to: path) } else { try writeToOutput(bytes) }
    }

    /// Findings may be millions: they go out as they are read, to a file by way of a temporary one beside it.
    private func writeFindings(_ record: RunRecord, _ ledger: SQLiteLedger, to path: String?) async throws {
        guard let path else { return try await ledger.csvReport(ofRun: record.header.runID) { try writeToOutput($0) } }
        let temporary = "\(path).\(UUID().uuidString).tmp"
        guard FileManager.default.createFile(atPath: temporary, contents: nil),
            let file = FileHandle(forWritingAtPath: temporary)
        else { throw DrillError(.ledgerUnusable, "cannot write the report", at: path) }
        do {
            try await ledger.csvReport(ofRun: record.header.runID) { try file.write(contentsOf: $0) }
            try file.synchronize()
            try file.close()
            guard rename(temporary, path) == 0 else {
                throw DrillError(.ledgerUnusable, "cannot write: \(String(cString: strerror(errno)))", at: path)
            }
        } catch {
            unlink(temporary)
            throw error
        }
    }
}
