import DrillCore

/// In what form sizes stream. A cast to an integer would round: 5.4 bytes in a row are not the 5 of an object.
enum SizeForm: Sendable, Hashable {
    case integer
    /// As `float8` sends it.
    case double
    /// As the text of a `numeric`.
    case decimal

    init(type: UInt32) {
        switch type {
        case PostgresType.float4, PostgresType.float8: self = .double
        case PostgresType.numeric, PostgresType.jsonb: self = .decimal
        default: self = .integer
        }
    }

    func column(_ expression: String, type: UInt32) -> String {
        switch self {
        case .integer: "\(expression)::pg_catalog.int8"
        case .double: "\(expression)::pg_catalog.float8"
        case .decimal:
            "\(expression)\(type == PostgresType.jsonb ? "::pg_catalog.numeric" : "")::pg_catalog.text"
        }
    }
}

/// A size that was read from a row.
enum RowSize: Equatable {
    case bytes(Int64)
    /// No whole number, or too large for one: what the row expects, in the words of a finding.
    case odd(String)

    init(_ value: Double) {
        if let whole = Int64(exactly: value) {
            self = .bytes(whole)
        } else {
            // A `real` became a `float8` on its way here: it is shown by its own digits.
            let digits = Float(exactly: value).map { "\($0)" } ?? "\(value)"
            let text = value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : digits
            self = .odd(Self.words(text, isWhole: value.isFinite && value == value.rounded()))
        }
    }

    /// - Parameter decimal: As PostgreSQL prints a `numeric`: digits with a point among them, `NaN`, `Infinity`.
    init(decimal: UnsafeRawBufferPointer) {
        let text = String(decoding: decimal, as: UTF8.self)
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        let isWhole = parts[0].last?.isNumber ?? false && (parts.count == 1 || parts[1].allSatisfy { $0 == "0" })
        if isWhole, let whole = strictInteger(String(parts[0])) {
            self = .bytes(whole)
        } else {
            self = .odd(Self.words(isWhole ? String(parts[0]) : text, isWhole: isWhole))
        }
    }

    private static func words(_ text: String, isWhole: Bool) -> String {
        let shown = text.utf8.count > 40 ? text.prefix(40) + "…" : text[...]
        return "\(shown) bytes\(isWhole ? "" : ", which is no whole number")"
    }
}
