import DrillCore
import Foundation

extension SQLiteLedger {
    /// Every finding of a run as CSV (RFC 4180), handed over in pieces of some hundred kilobytes. The key stands as
    /// printable text and as its exact bytes in hexadecimal.
    package func csvReport(
        ofRun runID: String, _ write: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let names = [
            "run_id", "probe", "kind", "cause", "counts", "relation", "row_id", "bucket", "object_key_text",
            "object_key_hex", "expected", "observed", "evidence", "repair",
        ]
        try await write(csvLine(names))
        try await forEachFinding(ofRun: runID) { page in
            var bytes: [UInt8] = []
            for finding in page {
                let key = finding.objectKey
                bytes += csvLine([
                    runID, finding.probe, finding.kind.rawValue, finding.cause.rawValue,
                    finding.counts ? "true" : "false",
                    finding.relation, finding.rowID, finding.bucket, key.map { printable($0) },
                    key.map { hexadecimal($0) },
                    finding.expected, finding.observed, finding.evidence, finding.repair,
                ])
            }
            try await write(bytes)
        }
    }
}

func csvLine(_ cells: [String?]) -> [UInt8] {
    var line: [UInt8] = []
    for (index, cell) in cells.enumerated() {
        if index > 0 { line.append(UInt8(ascii: ",")) }
        appendCell(cell ?? "", to: &line)
    }
    return line + [0x0D, 0x0A]
}

/// A cell that a spreadsheet would take for a formula begins with an apostrophe (J5). As bytes throughout: to Swift, a
/// carriage return and a line feed are one `Character`, as are `=` and an accent.
private func appendCell(_ text: String, to line: inout [UInt8]) {
    var cell = Array(visible(text).utf8)
    if let first = text.utf8.first, "=+-@\t\r".utf8.contains(first) { cell.insert(UInt8(ascii: "'"), at: 0) }
    guard cell.contains(where: { "\",\r\n".utf8.contains($0) }) else {
        line += cell
        return
    }
    line.append(UInt8(ascii: "\""))
    for byte in cell {
        if byte == UInt8(ascii: "\"") { line.append(byte) }
        line.append(byte)
    }
    line.append(UInt8(ascii: "\""))
}
