import DrillCore
import Foundation
import GRDB
import Synchronization

/// One run in the ledger while it goes on. Calls may come from any thread; each is one synced transaction.
final class SQLiteRunJournal: RunJournal {
    let runDirectory: String
    private let file: LedgerFile
    private let run: Int64
    private let header: RunHeader
    private let progress = Mutex(Progress())

    /// Changed only inside the ledger's write transactions, and only when they are about to be committed.
    private struct Progress {
        var phases: Int64 = 0
        var probes: Int64 = 0
        var relaxations: Int64 = 0
        var findings: Int64 = 0
        var findingsHash = ChainHasher.findings()
        var isFinished = false
    }

    init(file: LedgerFile, run: Int64, header: RunHeader, runDirectory: String) {
        self.file = file
        self.run = run
        self.header = header
        self.runDirectory = runDirectory
    }

    func record(_ phase: PhaseRecord) async throws {
        try await change { [run] progress, database in
            progress.phases += 1
            let values = [
                stored(phase.name), instantText(phase.startedAt).databaseValue,
                milliseconds(phase.seconds).databaseValue,
                stored(phase.detail),
            ]
            try LedgerTable.phases.insert(values, run: run, ordinal: progress.phases, database)
        }
    }

    func record(_ probe: ProbeResult) async throws {
        try await change { [run] progress, database in
            progress.probes += 1
            let values = [
                stored(probe.probe), stored(probe.kind), probe.verdict.rawValue.databaseValue,
                probe.examined.databaseValue,
                probe.passed.databaseValue, probe.failed.databaseValue, probe.unknown.databaseValue,
                milliseconds(probe.seconds).databaseValue, stored(probe.summary),
            ]
            try LedgerTable.probes.insert(values, run: run, ordinal: progress.probes, database)
            for text in probe.relaxations {
                progress.relaxations += 1
                try LedgerTable.relaxations.insert(
                    [progress.probes.databaseValue, stored(text)], run: run, ordinal: progress.relaxations, database)
            }
        }
    }

    func record(_ findings: [Finding]) async throws {
        guard !findings.isEmpty else { return }
        try await change { [run] progress, database in
            let table = LedgerTable.findings
            let statement = try database.cachedStatement(sql: table.insertion)
            for finding in findings {
                progress.findings += 1
                let values = finding.storedValues
                progress.findingsHash.add(table, ordinal: progress.findings, values)
                statement.setUncheckedArguments(
                    StatementArguments([run.databaseValue, progress.findings.databaseValue] + values))
                try statement.execute()
            }
        }
    }

    func keep(_ contents: [UInt8], as name: String) async throws {
        guard !name.isEmpty, !name.contains("/"), name != ".", name != ".." else {
            throw DrillError(
                .ledgerUnusable, "'\(printable(name.utf8))' is no file name for evidence", at: runDirectory)
        }
        try writeWhole(contents, to: "\(runDirectory)/\(name)")
    }

    func willCreate(_ item: ScratchItem) async throws {
        try await file.write { [run] database in
            try database.execute(
                sql: "INSERT INTO scratch_item (run_number, kind, locator) VALUES (?, ?, ?)",
                arguments: [run, stored(item.kind), stored(item.locator)])
        }
    }

    func didRemove(_ item: ScratchItem) async throws {
        try await file.write { [run] database in try markRemoved(item, run: run, database) }
    }

    func snapshot() async throws -> RunRecord {
        try await file.read { [run] database in try readRecord(run: run, database) }
    }

    func finish(_ outcome: RunOutcome) async throws -> RunRecord {
        try await change { [run] progress, database in
            progress.isFinished = true
            try insertParts(of: outcome, run: run, database)
            try update(outcome, run: run, database)
            let last = try Row.fetchOne(
                database,
                sql: """
                    SELECT chain_number, chain_head FROM recorded_run WHERE chain_number IS NOT NULL
                    ORDER BY chain_number DESC LIMIT 1
                    """)
            let number = try last.map { try integer($0, 0) } ?? 0
            let previous = try last.map { try text($0, 1) } ?? ChainHasher.firstHead
            let findings = (count: progress.findings, digest: progress.findingsHash.digest())
            let head = try chainHead(ofRun: run, after: previous, number: number + 1, findings: findings, database)
            try database.execute(
                sql: """
                    UPDATE recorded_run SET finding_count = ?, findings_digest = ?, chain_number = ?, chain_head = ?
                    WHERE run_number = ?
                    """, arguments: [findings.count, findings.digest, number + 1, head, run])
        }
        return try await snapshot()
    }

    /// A transaction whose progress counts only when it was committed.
    private func change(_ body: @escaping @Sendable (inout Progress, Database) throws -> Void) async throws {
        try await file.write { [self] database in
            var next = progress.withLock { $0 }
            guard !next.isFinished else {
                throw DrillError(
                    .ledgerUnusable, "run \(header.runID) has finished; nothing more can be recorded of it")
            }
            try body(&next, database)
            let changed = next
            database.afterNextTransaction { [self] _ in progress.withLock { $0 = changed } }
        }
    }
}

private func insertParts(of outcome: RunOutcome, run: Int64, _ database: Database) throws {
    for (ordinal, note) in zip(Int64(1)..., outcome.notes) {
        try LedgerTable.notes.insert([stored(note)], run: run, ordinal: ordinal, database)
    }
    for (ordinal, stage) in zip(Int64(1)..., outcome.stages) {
        let values = [
            stored(stage.name), stage.verdict.rawValue.databaseValue, stored(stage.message),
            milliseconds(stage.seconds).databaseValue,
        ]
        try LedgerTable.stages.insert(values, run: run, ordinal: ordinal, database)
    }
    for (ordinal, table) in zip(Int64(1)..., outcome.rowCounts) {
        try LedgerTable.restored.insert(
            [stored(table.table), table.rows.databaseValue], run: run, ordinal: ordinal, database)
    }
}

private func update(_ outcome: RunOutcome, run: Int64, _ database: Database) throws {
    try database.execute(
        sql: """
            UPDATE recorded_run SET verdict = ?, finished_at = ?, backup_set = ?, recovery_point = ?, rpo_milliseconds = ?,
                rto_milliseconds = ?, reason = ?
            WHERE run_number = ?
            """,
        arguments: [
            outcome.verdict.rawValue, instantText(outcome.finishedAt), stored(outcome.backupSet),
            outcome.recoveryPoint.map { instantText($0) }, outcome.rpoSeconds.map { milliseconds($0) },
            outcome.rtoSeconds.map { milliseconds($0) }, stored(outcome.reason), run,
        ])
}

/// One item of that kind and place: a thing made and removed twice has two rows.
func markRemoved(_ item: ScratchItem, run: Int64, _ database: Database) throws {
    try database.execute(
        sql: """
            UPDATE scratch_item SET removed = 1 WHERE item_number = (
                SELECT min(item_number) FROM scratch_item
                WHERE run_number = ? AND kind = ? AND locator = ? AND removed = 0)
            """, arguments: [run, stored(item.kind), stored(item.locator)])
}
