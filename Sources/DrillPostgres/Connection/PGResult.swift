import CLibPQ

/// One result of libpq, owned by one scope and cleared when that ends.
struct PGResult: ~Copyable {
    private let pointer: OpaquePointer

    init(owning pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQclear(pointer) }

    var status: ExecStatusType { PQresultStatus(pointer) }
    var rowCount: Int { Int(PQntuples(pointer)) }
    var columnCount: Int { Int(PQnfields(pointer)) }

    var columns: [ResultColumn] {
        (0..<PQnfields(pointer)).map { index in
            ResultColumn(name: text(PQfname(pointer, index)) ?? "", type: PQftype(pointer, index))
        }
    }

    /// A value in text format; nil for NULL.
    func value(row: Int, column: Int) -> String? {
        guard PQgetisnull(pointer, Int32(row), Int32(column)) == 0,
            let bytes = PQgetvalue(pointer, Int32(row), Int32(column))
        else { return nil }
        let count = Int(PQgetlength(pointer, Int32(row), Int32(column)))
        return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
    }

    func row(_ index: Int) -> [String?] { (0..<columnCount).map { value(row: index, column: $0) } }

    /// `SELECT 3`, `COPY 1000000`, `BEGIN`.
    var commandTag: String { text(PQcmdStatus(pointer)) ?? "" }

    /// The fields of an error; `fallback` where the server named none, as when the connection broke.
    func error(_ kind: PostgresError.Kind, fallback: String) -> PostgresError {
        func field(_ code: Character) -> String? {
            text(PQresultErrorField(pointer, Int32(code.asciiValue ?? 0)))
        }
        // The codes are PG_DIAG_SQLSTATE, _MESSAGE_PRIMARY, _MESSAGE_DETAIL, _MESSAGE_HINT and _STATEMENT_POSITION.
        return PostgresError(
            kind, field("M") ?? fallback, sqlState: field("C"), detail: field("D"), hint: field("H"),
            position: field("P").flatMap { Int($0) })
    }

    private func text(_ pointer: UnsafePointer<CChar>?) -> String? { pointer.map { String(cString: $0) } }
}

/// A column of a result, as the server described it.
struct ResultColumn: Sendable, Hashable {
    var name: String
    /// The OID of its type; of a domain, the base type's.
    var type: UInt32
}

/// A small result, with its values as PostgreSQL prints them.
struct TextResult: Sendable {
    var columns: [ResultColumn]
    /// nil for NULL.
    var rows: [[String?]]
    var commandTag: String

    /// The value of a result of one row and one column; nil where it is NULL or there is none.
    var scalar: String? { rows.first?.first ?? nil }
}
