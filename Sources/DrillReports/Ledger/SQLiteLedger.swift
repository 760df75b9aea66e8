import DrillCore
import Foundation
import GRDB

/// `ledger.sqlite` below the reports directory, and the reports beside it. Several drills, in this process and in
/// others, may use one ledger at once.
package struct SQLiteLedger: RunLedger {
    package let reportsDirectory: String
    let file: LedgerFile

    /// Opens the ledger to record runs; makes directory and file where they are not there, and brings an older file up
    /// to date.
    package init(reportsDirectory: String) throws {
        self.reportsDirectory = reportsDirectory
        file = try LedgerFile(reportsDirectory: reportsDirectory, .writing)
    }

    /// Opens a ledger that is there, to read it.
    package init(reading reportsDirectory: String) throws {
        self.reportsDirectory = reportsDirectory
        file = try LedgerFile(reportsDirectory: reportsDirectory, .reading)
    }

    /// The reports that a CI system would publish stop saying what an earlier run said (V5): call it before anything
    /// that may fail, the ledger's opening included. Where "did not finish" cannot be written, the old reports are
    /// removed.
    package static func showUnfinished(_ header: RunHeader, reportsDirectory: String) throws {
        let folder = ReportFolder(reportsDirectory: reportsDirectory, drill: header.drill)
        do {
            try folder.writeCurrent(ReportFolder.Reports(RunRecord.unfinished(header)))
        } catch {
            try folder.removeCurrent()
            throw error
        }
    }

    package func begin(_ header: RunHeader) async throws -> any RunJournal {
        let folder = ReportFolder(reportsDirectory: reportsDirectory, drill: header.drill)
        let reports = try ReportFolder.Reports(RunRecord.unfinished(header))
        try Self.showUnfinished(header, reportsDirectory: reportsDirectory)
        let run = try await file.write { database in
            let run = try insert(header, database)
            // Again, now that no older run of this drill can write over it.
            try folder.writeCurrent(reports)
            return run
        }
        try folder.write(reports, ofRun: header.runID)
        return SQLiteRunJournal(file: file, run: run, header: header, runDirectory: folder.path(ofRun: header.runID))
    }

    package func writeReports(_ record: RunRecord) async throws {
        let folder = ReportFolder(reportsDirectory: reportsDirectory, drill: record.header.drill)
        let reports = try ReportFolder.Reports(record)
        try folder.write(reports, ofRun: record.header.runID)
        try await file.whileLocked { database in
            let newest = try String.fetchOne(
                database, sql: "SELECT run_id FROM recorded_run WHERE drill = ? ORDER BY run_number DESC LIMIT 1",
                arguments: [record.header.drill])
            // The current reports are the newest run's, also where an older one ends after it.
            if newest == record.header.runID { try folder.writeCurrent(reports) }
        }
    }
}

extension RunRecord {
    /// A run of which nothing is known but that it began.
    static func unfinished(_ header: RunHeader) -> RunRecord {
        RunRecord(header: header, outcome: nil, phases: [], probes: [], groups: [], chainHead: nil)
    }
}

/// Records the start: verdict `inconclusive`, "did not finish".
private func insert(_ header: RunHeader, _ database: Database) throws -> Int64 {
    let objectives = header.objectives
    try database.execute(
        sql: """
            INSERT INTO recorded_run (run_id, drill, description, started_at, recovery_target, strategy,
                rpo_objective_milliseconds, rto_objective_milliseconds, max_backup_age_milliseconds, drill_digest,
                tool_version, host, verdict, reason)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'inconclusive', 'did not finish')
            """,
        arguments: [
            stored(header.runID), stored(header.drill), stored(header.description), instantText(header.startedAt),
            stored(header.recoveryTarget), stored(header.strategy), objectives.rpo.map { milliseconds($0) },
            objectives.rto.map { milliseconds($0) }, objectives.maxBackupAge.map { milliseconds($0) },
            stored(header.drillDigest), stored(header.toolVersion), stored(header.host),
        ])
    return database.lastInsertedRowID
}
