import Crypto
import DrillCore
import Foundation
import GRDB

/// The chain that makes the ledger tamper-evident (not tamper-proof: who can write the file can build a new chain; that
/// it is another one shows only against a head that was kept elsewhere).
///
/// Runs are chained in the order in which they finish, numbered from 1 without a gap (`chain_number`). The head of run
/// n is SHA-256, in 64 lower-case hexadecimal digits, over this sequence of fields:
///
/// 1. text `muster ledger chain 1`
/// 2. text: the head of run n - 1; for n = 1, 64 times `0`
/// 3. integer: n
/// 4. the row of `recorded_run`
/// 5. the run's rows of `run_note`, `run_stage`, `restored_table`, `recorded_phase`, `recorded_probe`,
///    `probe_relaxation`, table by table in this order, each table by `ordinal`
/// 6. integer: how many rows of `recorded_finding` the run has (stored as `finding_count`)
/// 7. text: their digest (stored as `findings_digest`): SHA-256, in hexadecimal, over the text
///    `muster ledger findings 1` and these rows by `ordinal`
///
/// A row is: text: the table's name; integer: `ordinal` (not for `recorded_run`); then each column in the order of
/// ``LedgerTable``, without `run_number`. A field is, in bytes: NULL `n`; an integer `i`, its decimal digits (a `-`
/// before a negative one) and `;`; text `t`, its length in bytes in decimal, `:` and its UTF-8 bytes; a blob the same
/// with `b`.
struct ChainHasher: Sendable {
    static let firstHead = String(repeating: "0", count: 64)
    private var hash = SHA256()
    private var buffer: [UInt8] = []

    init(purpose: String) {
        add(text: purpose.utf8)
    }

    static func run(after head: String, number: Int64) -> ChainHasher {
        var hasher = ChainHasher(purpose: "muster ledger chain 1")
        hasher.add(text: head.utf8)
        hasher.add(number)
        return hasher
    }

    static func findings() -> ChainHasher { ChainHasher(purpose: "muster ledger findings 1") }

    mutating func addNull() { append([UInt8(ascii: "n")]) }
    mutating func add(_ integer: Int64) { append("i\(integer);".utf8) }
    mutating func add(text: some Collection<UInt8>) { add("t", text) }
    mutating func add(blob: some Collection<UInt8>) { add("b", blob) }

    private mutating func add(_ tag: String, _ bytes: some Collection<UInt8>) {
        append("\(tag)\(bytes.count):".utf8)
        append(bytes)
    }

    private mutating func append(_ bytes: some Collection<UInt8>) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= 1 << 16 { flush() }
    }

    private mutating func flush() {
        hash.update(data: buffer)
        buffer.removeAll(keepingCapacity: true)
    }

    /// 64 hexadecimal digits over all that was added so far; more may be added afterwards.
    mutating func digest() -> String {
        flush()
        return hexadecimal(hash.finalize())
    }
}

extension ChainHasher {
    /// A row about to be stored.
    mutating func add(_ table: LedgerTable, ordinal: Int64, _ values: [DatabaseValue]) {
        add(text: table.name.utf8)
        add(ordinal)
        for value in values {
            switch value.storage {
            case .null: addNull()
            case .int64(let integer): add(integer)
            case .double(let number): add(text: "\(number)".utf8)
            case .string(let text): add(text: text.utf8)
            case .blob(let data): add(blob: data)
            }
        }
    }

    /// The stored rows of a run, by ordinal; how many.
    @discardableResult
    mutating func add(_ table: LedgerTable, ofRun run: Int64, _ database: Database) throws -> Int64 {
        let rows = try Row.fetchCursor(
            database,
            sql: "SELECT ordinal, \(table.rawColumns) FROM \(table.name) WHERE run_number = ? ORDER BY ordinal",
            arguments: [run])
        var count: Int64 = 0
        while let row = try rows.next() {
            add(text: table.name.utf8)
            add(try integer(row, 0))
            try add(row, from: 1, table.columns)
            count += 1
        }
        return count
    }

    /// The run's own row.
    mutating func addRun(_ run: Int64, _ database: Database) throws {
        let table = LedgerTable.run
        let sql = "SELECT \(table.rawColumns) FROM \(table.name) WHERE run_number = ?"
        guard let row = try Row.fetchOne(database, sql: sql, arguments: [run]) else { throw damaged("a run is gone") }
        add(text: table.name.utf8)
        try add(row, from: 0, table.columns)
    }

    private mutating func add(_ row: Row, from first: Int, _ columns: [LedgerTable.Column]) throws {
        for (offset, column) in columns.enumerated() {
            let value: DatabaseValue = row[first + offset]
            switch value.storage {
            case .null: addNull()
            case .int64(let integer) where !column.isText: add(integer)
            case .blob(let data): column.isText ? add(text: data) : add(blob: data)
            default: throw damaged("column \(column.name) holds a value of another type")
            }
        }
    }
}

/// The chain head that the stored rows of a run give.
func chainHead(
    ofRun run: Int64, after head: String, number: Int64, findings: (count: Int64, digest: String), _ database: Database
)
    throws -> String
{
    var hasher = ChainHasher.run(after: head, number: number)
    try hasher.addRun(run, database)
    for table in LedgerTable.partsOfRun { try hasher.add(table, ofRun: run, database) }
    hasher.add(findings.count)
    hasher.add(text: findings.digest.utf8)
    return hasher.digest()
}
