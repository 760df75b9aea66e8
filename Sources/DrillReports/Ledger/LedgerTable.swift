import DrillCore
import Foundation
import GRDB

/// A table whose rows belong to a run and are chained: its columns in the order of the chain's encoding, beside
/// `run_number` and `ordinal` (from 1).
struct LedgerTable: Sendable {
    struct Column: Sendable {
        let name: String
        let isText: Bool
    }

    let name: String
    let columns: [Column]

    private init(_ name: String, _ columns: String) {
        self.name = name
        self.columns = columns.split(separator: " ").map {
            Column(name: $0.hasSuffix(":text") ? String($0.dropLast(5)) : String($0), isText: $0.hasSuffix(":text"))
        }
    }

    static let run = LedgerTable(
        "recorded_run",
        """
        run_id:text drill:text description:text started_at:text recovery_target:text strategy:text \
        rpo_objective_milliseconds rto_objective_milliseconds max_backup_age_milliseconds drill_digest:text \
        tool_version:text host:text verdict:text finished_at:text backup_set:text recovery_point:text rpo_milliseconds \
        rto_milliseconds reason:text
        """)
    static let notes = LedgerTable("run_note", "text:text")
    static let stages = LedgerTable("run_stage", "name:text verdict:text message:text milliseconds")
    static let restored = LedgerTable("restored_table", "relation:text rows")
    static let phases = LedgerTable("recorded_phase", "name:text started_at:text milliseconds detail:text")
    static let probes = LedgerTable(
        "recorded_probe",
        "probe:text kind:text verdict:text examined passed failed unknown milliseconds summary:text")
    static let relaxations = LedgerTable("probe_relaxation", "probe_ordinal text:text")
    static let findings = LedgerTable(
        "recorded_finding",
        """
        probe:text kind:text cause:text counts relation:text row_id:text bucket:text object_key object_key_text:text \
        expected:text observed:text evidence:text repair:text
        """)
    /// In the order of the chain's encoding; findings have a digest of their own.
    static let partsOfRun = [notes, stages, restored, phases, probes, relaxations]

    var insertion: String {
        let names = ["run_number", "ordinal"] + columns.map(\.name)
        let marks = Array(repeating: "?", count: names.count)
        return "INSERT INTO \(name) (\(names.joined(separator: ", "))) VALUES (\(marks.joined(separator: ", ")))"
    }

    /// Text as its bytes: read as text it would end at a zero byte, and what stands behind would be outside the chain.
    var rawColumns: String {
        columns.map { $0.isText ? "CAST(\($0.name) AS BLOB)" : $0.name }.joined(separator: ", ")
    }

    func insert(_ values: [DatabaseValue], run: Int64, ordinal: Int64, _ database: Database) throws {
        let statement = try database.cachedStatement(sql: insertion)
        try statement.execute(arguments: StatementArguments([run.databaseValue, ordinal.databaseValue] + values))
    }
}

/// Text as the ledger stores it. SQLite text ends at a zero byte for many readers, so one is written as `\x00`.
func stored(_ text: String) -> DatabaseValue {
    guard text.utf8.contains(0) else { return text.databaseValue }
    return text.unicodeScalars.reduce(into: "") { $0 += $1 == "\0" ? "\\x00" : String($1) }.databaseValue
}

func stored(_ text: String?) -> DatabaseValue { text.map { stored($0) } ?? .null }

extension Finding {
    /// In the order of ``LedgerTable/findings``.
    var storedValues: [DatabaseValue] {
        let keyText = objectKey.flatMap { key in
            let text = printable(key)
            return text.utf8.elementsEqual(key) ? nil : text
        }
        return [
            stored(probe), kind.rawValue.databaseValue, cause.rawValue.databaseValue, counts.databaseValue,
            stored(relation),
            stored(rowID), stored(bucket), objectKey.map { Data($0).databaseValue } ?? .null,
            keyText?.databaseValue ?? .null, stored(expected), stored(observed), stored(evidence), stored(repair),
        ]
    }
}
