import DrillCore
import Foundation
import GRDB

/// What a check of the whole ledger found.
package struct LedgerVerification: Sendable {
    package struct Problem: Sendable, Hashable {
        /// nil where no single run is at fault.
        package var runID: String?
        /// Lower case, no full stop.
        package var what: String
    }

    /// How many finished runs the chain holds.
    package var chainedRuns: Int
    /// The newest head; 64 times `0` of an empty chain.
    package var head: String
    package var problems: [Problem]
    /// Runs that never finished (or still go on): what they recorded is in no chain.
    package var unfinishedRuns: [String]
    /// The run whose head the anchor is; nil without an anchor or where it is in no chain.
    package var anchoredRun: String?

    package var isSound: Bool { problems.isEmpty }
}

extension SQLiteLedger {
    /// Recomputes the chain from the rows and compares; says what is wrong where. A bit changed and a run taken out of
    /// the middle always show; a cut tail and a chain built anew show against an anchor.
    /// - Parameter anchor: A head kept elsewhere, such as in a CI log; 64 hexadecimal digits. Every earlier head is
    ///   one.
    package func verify(anchor: String? = nil) async throws -> LedgerVerification {
        let anchor = anchor?.lowercased()
        if let anchor, anchor.utf8.count != 64 || !anchor.utf8.allSatisfy({ hexadecimalDigits.contains($0) }) {
            throw DrillError(
                .usage, "an anchor is 64 hexadecimal digits", hints: ["It is the last line of a run's output."])
        }
        var result = LedgerVerification(chainedRuns: 0, head: ChainHasher.firstHead, problems: [], unfinishedRuns: [])
        result.problems = try await file.read { database in try structuralProblems(database) }
        let runs = try await file.read { database in try chainedRuns(database) }
        result.chainedRuns = runs.count
        var isAnchored = anchor == nil || anchor == ChainHasher.firstHead
        var number: Int64 = 0
        for run in runs {
            if run.chainNumber != number + 1 {
                result.problems.append(
                    .init(runID: run.runID, what: "before it \(run.chainNumber - number - 1) runs are missing"))
            }
            number = run.chainNumber
            let previous = result.head
            if let problem = try await file.read({ database in try problem(of: run, after: previous, database) }) {
                result.problems.append(.init(runID: run.runID, what: problem))
            }
            result.head = run.head
            if run.head == anchor {
                isAnchored = true
                result.anchoredRun = run.runID
            }
        }
        if !isAnchored {
            result.problems.append(
                .init(what: "the anchor is no head of this chain: its end was cut off, or the chain was built anew"))
        }
        result.unfinishedRuns = try await file.read { database in
            try Row.fetchAll(
                database, sql: "SELECT run_id FROM recorded_run WHERE chain_number IS NULL ORDER BY run_number"
            )
            .map { try text($0, 0) }
        }
        return result
    }
}

private let hexadecimalDigits = Array("0123456789abcdef".utf8)

private struct ChainedRun: Sendable {
    var run: Int64
    var runID: String
    var chainNumber: Int64
    var head: String
    var findingCount: Int64
    var findingsDigest: String
}

private func chainedRuns(_ database: Database) throws -> [ChainedRun] {
    try Row.fetchAll(
        database,
        sql: """
            SELECT run_number, run_id, chain_number, chain_head, finding_count, findings_digest
            FROM recorded_run WHERE chain_number IS NOT NULL ORDER BY chain_number
            """
    ).map {
        ChainedRun(
            run: try integer($0, 0), runID: try text($0, 1), chainNumber: try integer($0, 2), head: try text($0, 3),
            findingCount: try integer($0, 4), findingsDigest: try text($0, 5))
    }
}

private func problem(of run: ChainedRun, after head: String, _ database: Database) throws -> String? {
    var hasher = ChainHasher.findings()
    let count = try hasher.add(.findings, ofRun: run.run, database)
    if count != run.findingCount { return "it has \(count) findings and was recorded with \(run.findingCount)" }
    if hasher.digest() != run.findingsDigest { return "its findings are not those that were recorded" }
    let computed = try chainHead(
        ofRun: run.run, after: head, number: run.chainNumber, findings: (count, run.findingsDigest), database)
    return computed == run.head ? nil : "what it holds, or its place in the chain, is not what was recorded"
}

/// What is wrong with the file beside the chain: pages, definitions, rows that belong to no run, runs that only look
/// finished.
private func structuralProblems(_ database: Database) throws -> [LedgerVerification.Problem] {
    var problems = try String.fetchAll(database, sql: "PRAGMA integrity_check(20)").filter { $0 != "ok" }
        .map { LedgerVerification.Problem(what: "SQLite's integrity check says: \($0)") }
    if try LedgerSchema.definitions(database) != LedgerSchema.expectedDefinitions() {
        problems.append(.init(what: "tables or views are not defined as this version defines them"))
    }
    for table in LedgerTable.partsOfRun.map(\.name) + [LedgerTable.findings.name] {
        let sql = "SELECT count(*) FROM \(table) WHERE run_number NOT IN (SELECT run_number FROM recorded_run)"
        let count = try Int.fetchOne(database, sql: sql) ?? 0
        if count > 0 { problems.append(.init(what: "\(count) rows of \(table) belong to no run")) }
    }
    let sql = """
        SELECT run_id FROM recorded_run
        WHERE chain_number IS NULL AND (finished_at IS NOT NULL OR verdict <> 'inconclusive' OR chain_head IS NOT NULL)
        """
    problems += try Row.fetchAll(database, sql: sql).map {
        .init(runID: try text($0, 0), what: "it is shown as finished and is not in the chain")
    }
    return problems
}
