import DrillCore
import GRDB

/// What `ledger.sqlite` is made of. Migrations are numbered and never changed once shipped: an old ledger opens for
/// ever.
enum LedgerSchema {
    /// "Mstr": tells our files from other SQLite files.
    static let applicationID: Int64 = 0x4D73_7472
    static var version: Int { migrations.count }

    /// Number `n` takes a file of `user_version` n to n + 1. Views are the part that others may query; columns are only
    /// ever added to them. Spans are whole milliseconds in the tables and seconds in the views.
    private static let migrations: [String] = [
        """
        CREATE TABLE recorded_run (
            run_number INTEGER PRIMARY KEY,
            run_id TEXT NOT NULL UNIQUE,
            drill TEXT NOT NULL,
            description TEXT,
            started_at TEXT NOT NULL,
            recovery_target TEXT NOT NULL,
            strategy TEXT NOT NULL,
            rpo_objective_milliseconds INTEGER,
            rto_objective_milliseconds INTEGER,
            max_backup_age_milliseconds INTEGER,
            drill_digest TEXT NOT NULL,
            tool_version TEXT NOT NULL,
            host TEXT NOT NULL,
            verdict TEXT NOT NULL,
            finished_at TEXT,
            backup_set TEXT,
            recovery_point TEXT,
            rpo_milliseconds INTEGER,
            rto_milliseconds INTEGER,
            reason TEXT NOT NULL,
            finding_count INTEGER,
            findings_digest TEXT,
            chain_number INTEGER UNIQUE,
            chain_head TEXT
        ) STRICT;
        CREATE INDEX recorded_run_by_drill ON recorded_run (drill, run_number);
        CREATE TABLE run_note (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE run_stage (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, name TEXT NOT NULL, verdict TEXT NOT NULL,
            message TEXT NOT NULL, milliseconds INTEGER NOT NULL,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE restored_table (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, relation TEXT NOT NULL, rows INTEGER NOT NULL,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE recorded_phase (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, name TEXT NOT NULL, started_at TEXT NOT NULL,
            milliseconds INTEGER NOT NULL, detail TEXT NOT NULL,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE recorded_probe (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, probe TEXT NOT NULL, kind TEXT NOT NULL,
            verdict TEXT NOT NULL, examined INTEGER NOT NULL, passed INTEGER NOT NULL, failed INTEGER NOT NULL,
            unknown INTEGER NOT NULL, milliseconds INTEGER NOT NULL, summary TEXT NOT NULL,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE probe_relaxation (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, probe_ordinal INTEGER NOT NULL, text TEXT NOT NULL,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE recorded_finding (
            run_number INTEGER NOT NULL, ordinal INTEGER NOT NULL, probe TEXT NOT NULL, kind TEXT NOT NULL,
            cause TEXT NOT NULL, counts INTEGER NOT NULL, relation TEXT, row_id TEXT, bucket TEXT, object_key BLOB,
            object_key_text TEXT, -- NULL where the key's own bytes are printable as they are
            expected TEXT, observed TEXT, evidence TEXT, repair TEXT,
            PRIMARY KEY (run_number, ordinal)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX recorded_finding_by_group ON recorded_finding (run_number, probe, kind, cause, counts, ordinal);
        CREATE TABLE scratch_item (
            item_number INTEGER PRIMARY KEY, run_number INTEGER NOT NULL, kind TEXT NOT NULL, locator TEXT NOT NULL,
            removed INTEGER NOT NULL DEFAULT 0
        ) STRICT;
        CREATE INDEX scratch_item_left ON scratch_item (run_number, kind, locator) WHERE removed = 0;
        CREATE VIEW run AS SELECT
            run_id, drill, verdict, started_at, finished_at, backup_set, recovery_target, recovery_point,
            rpo_milliseconds / 1000.0 AS rpo_seconds, rto_milliseconds / 1000.0 AS rto_seconds,
            rpo_objective_milliseconds / 1000.0 AS rpo_objective_seconds,
            rto_objective_milliseconds / 1000.0 AS rto_objective_seconds,
            strategy, drill_digest, tool_version, host, reason, description,
            max_backup_age_milliseconds / 1000.0 AS max_backup_age_seconds, chain_number, chain_head
            FROM recorded_run;
        CREATE VIEW phase AS SELECT
            run_id, ordinal, name, phase.started_at, milliseconds / 1000.0 AS seconds, detail
            FROM recorded_phase AS phase JOIN recorded_run USING (run_number);
        CREATE VIEW probe_result AS SELECT
            run_id, probe, kind, result.verdict, examined, passed, failed, unknown, milliseconds / 1000.0 AS seconds, summary,
            ordinal
            FROM recorded_probe AS result JOIN recorded_run USING (run_number);
        CREATE VIEW finding AS SELECT
            run_id, probe, kind, cause, relation, row_id, bucket, object_key,
            coalesce(object_key_text, CAST(object_key AS TEXT)) AS object_key_text,
            expected, observed, evidence, repair, counts, ordinal
            FROM recorded_finding JOIN recorded_run USING (run_number);
        """
    ]

    /// Brings the file up to this build's version in one transaction, and refuses a file that is newer or not ours.
    static func migrate(_ database: Database, at path: String) throws {
        try check(database, at: path)
        guard try userVersion(database) < version else { return }
        try database.inTransaction(.immediate) {
            for number in try userVersion(database)..<version {
                try database.execute(sql: migrations[number])
            }
            try database.execute(sql: "PRAGMA user_version = \(version)")
            try database.execute(sql: "PRAGMA application_id = \(applicationID)")
            return .commit
        }
    }

    /// Throws where the file is newer than this build or something else's.
    static func check(_ database: Database, at path: String) throws {
        let found = try userVersion(database)
        if found > version {
            throw DrillError(
                .ledgerUnusable, "the ledger has schema \(found), and this build knows only up to \(version)", at: path,
                hints: ["A newer muster wrote it. Use that one; this one has changed nothing."])
        }
        let application = try Int64.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let objects = try Int.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") ?? 0
        if objects > 0 || found > 0, application != applicationID {
            throw DrillError(
                .ledgerUnusable, "this SQLite file is not a ledger of ours", at: path,
                hints: ["Name another reports directory with --reports; this one has not been changed."])
        }
    }

    static func userVersion(_ database: Database) throws -> Int {
        try Int.fetchOne(database, sql: "PRAGMA user_version") ?? 0
    }

    /// Names and definitions of tables, views and indexes: a changed view would show something else than what is
    /// chained.
    static func definitions(_ database: Database) throws -> [String] {
        try String.fetchAll(
            database, sql: "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_master ORDER BY 1")
    }

    /// The definitions that a ledger of this version has.
    static func expectedDefinitions() throws -> [String] {
        let fresh = try DatabaseQueue()
        return try fresh.inDatabase { database in
            try migrate(database, at: "memory")
            return try definitions(database)
        }
    }
}
