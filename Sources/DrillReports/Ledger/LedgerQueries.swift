import DrillCore
import Foundation
import GRDB

/// One line of a history.
package struct RunSummary: Sendable {
    package var runID: String
    package var drill: String
    package var verdict: Verdict
    package var startedAt: Date
    /// nil while the run has not finished (or never did).
    package var finishedAt: Date?
    package var backupSet: String?
    package var recoveryPoint: Date?
    package var rpoSeconds: Double?
    package var rtoSeconds: Double?
    package var reason: String
    package var findings: Int64
    package var chainHead: String?
}

/// What a run made outside its scratch directory and did not remove.
package struct LeftoverItem: Sendable, Hashable {
    package var runID: String
    package var item: ScratchItem
    /// Whether the run came to its end and told that cleaning up failed; else it was killed, or still goes on.
    package var runFinished: Bool
}

extension SQLiteLedger {
    /// - Throws: `usage` where there is no such run, with the nearest ones.
    package func record(of runID: String) async throws -> RunRecord {
        try await file.read { database in try readRecord(run: try runNumber(runID, database), database) }
    }

    /// Newest first, by their start.
    package func runs(of drill: String? = nil, limit: Int = .max) async throws -> [RunSummary] {
        try await summaries("drill = ? OR ? IS NULL", [drill, drill], limit: limit)
    }

    /// The newest run of that drill that finished; nil where none did.
    package func newestFinishedRun(of drill: String) async throws -> RunSummary? {
        try await summaries("drill = ? AND finished_at IS NOT NULL", [drill], limit: 1).first
    }

    /// The newest run of that drill that passed; nil where none did.
    package func lastPassedRun(of drill: String) async throws -> RunRecord? {
        try await file.read { database in
            try Int64.fetchOne(
                database,
                sql: """
                    SELECT max(run_number) FROM recorded_run WHERE drill = ? AND verdict = 'pass' AND finished_at IS NOT NULL
                    """, arguments: [drill]
            ).map { try readRecord(run: $0, database) }
        }
    }

    /// The drills that the ledger knows, sorted.
    package func drills() async throws -> [String] {
        try await file.read { database in
            try Row.fetchAll(database, sql: "SELECT DISTINCT drill FROM recorded_run ORDER BY drill").map {
                try text($0, 0)
            }
        }
    }

    /// Every finding of a run in the order recorded, page by page: memory does not grow with them, and no page holds
    /// back a drill that wants to write.
    package func forEachFinding(ofRun runID: String, _ body: @Sendable ([Finding]) async throws -> Void) async throws {
        let run = try await file.read { database in try runNumber(runID, database) }
        var last: Int64 = 0
        while true {
            let after = last
            let page = try await file.read { database in
                let cursor = try Row.fetchCursor(
                    database,
                    sql: """
                        SELECT \(findingColumns) FROM recorded_finding
                        WHERE run_number = ? AND ordinal > ? ORDER BY ordinal LIMIT 2000
                        """, arguments: [run, after])
                var page: [(ordinal: Int64, finding: Finding)] = []
                while let row = try cursor.next() { page.append((try integer(row, 12), try finding(row))) }
                return page
            }
            guard let end = page.last else { return }
            try await body(page.map(\.finding))
            last = end.ordinal
        }
    }

    /// What runs made and did not remove, oldest first. Of a run that still goes on this lists what is in use: whether
    /// a run is dead is for the caller to tell.
    package func leftovers() async throws -> [LeftoverItem] {
        try await file.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT run_id, kind, locator, finished_at IS NOT NULL
                    FROM scratch_item JOIN recorded_run USING (run_number) WHERE removed = 0 ORDER BY item_number
                    """
            ).map {
                LeftoverItem(
                    runID: try text($0, 0), item: ScratchItem(kind: try text($0, 1), locator: try text($0, 2)),
                    runFinished: try integer($0, 3) != 0)
            }
        }
    }

    /// Records that a thing a run left behind is gone now.
    package func markRemoved(_ leftover: LeftoverItem) async throws {
        try await file.write { database in
            try DrillReports.markRemoved(leftover.item, run: try runNumber(leftover.runID, database), database)
        }
    }

    private func summaries(
        _ condition: String, _ arguments: StatementArguments, limit: Int
    ) async throws -> [RunSummary] {
        try await file.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT run_id, drill, verdict, started_at, finished_at, backup_set, recovery_point, rpo_milliseconds,
                        rto_milliseconds, reason, coalesce(finding_count, (SELECT count(*) FROM recorded_finding AS finding
                            WHERE finding.run_number = recorded_run.run_number)), chain_head
                    FROM recorded_run WHERE \(condition) ORDER BY run_number DESC LIMIT ?
                    """, arguments: arguments + [limit]
            ).map { row in
                RunSummary(
                    runID: try text(row, 0), drill: try text(row, 1), verdict: try word(row, 2),
                    startedAt: try instant(row, 3),
                    finishedAt: try optionalInstant(row, 4), backupSet: try optionalText(row, 5),
                    recoveryPoint: try optionalInstant(row, 6), rpoSeconds: try optionalSeconds(row, 7),
                    rtoSeconds: try optionalSeconds(row, 8), reason: try text(row, 9), findings: try integer(row, 10),
                    chainHead: try optionalText(row, 11))
            }
        }
    }
}

private func runNumber(_ runID: String, _ database: Database) throws -> Int64 {
    let sql = "SELECT run_number FROM recorded_run WHERE run_id = ?"
    if let number = try Int64.fetchOne(database, sql: sql, arguments: [runID]) { return number }
    let known = try Row.fetchAll(database, sql: "SELECT run_id FROM recorded_run ORDER BY run_number DESC LIMIT 1000")
        .map { try text($0, 0) }
    var hints = ["`muster history` lists the runs of this ledger."]
    if let nearest = nearestWord(to: runID, among: known) { hints.insert("Did you mean `\(nearest)`?", at: 0) }
    throw DrillError(.usage, "there is no run `\(printable(runID.utf8))` in this ledger", hints: hints)
}
