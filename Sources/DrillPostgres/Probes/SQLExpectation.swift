import DrillCore
import Foundation

/// What a `sql` probe expects of its query's result.
enum SQLExpectation: Sendable, Hashable {
    /// Each row is a finding.
    case noRows
    case rows
    /// Of the single value that the query yields.
    case value(SQLBounds)
    /// Of how many rows it yields.
    case rowCount(SQLBounds)

    static let boundsFields = [
        SettingsField("min", .number, "At least this."),
        SettingsField("max", .number, "At most this."),
        SettingsField("equals", .text, "Exactly this: a number, or text byte for byte."),
    ]
    static let boundsShape = SettingsShape("rows", boundsFields)
    static let shape = SettingsShape(
        "expect",
        boundsFields + [
            SettingsField("rows", .settings(boundsShape), "The same of the number of rows in place of a single value.")
        ])

    init(_ reader: SettingsReader) throws {
        if reader.node("expect")?.scalar != nil {
            self = try reader.choice("expect", ["no_rows", "rows"]) == "rows" ? .rows : .noRows
            return
        }
        guard let settings = try reader.settings("expect", Self.shape) else {
            throw reader.error("expect", "is missing")
        }
        let ofValue = try SQLBounds(settings)
        let ofCount = try settings.settings("rows", Self.boundsShape).map { try SQLBounds($0) }
        switch (ofValue, ofCount) {
        case (let bounds?, nil): self = .value(bounds)
        case (nil, let bounds??): self = .rowCount(bounds)
        default: throw reader.error("expect", "needs min, max or equals, either of the value or of `rows`")
        }
    }
}

/// Limits that a number keeps to, or a text that a value is.
struct SQLBounds: Sendable, Hashable {
    var min: Decimal?
    var max: Decimal?
    var equals: String?

    init(min: Decimal? = nil, max: Decimal? = nil, equals: String? = nil) {
        self.min = min
        self.max = max
        self.equals = equals
    }

    /// nil where nothing is said.
    init?(_ reader: SettingsReader) throws {
        func number(_ key: String) throws -> Decimal? {
            try reader.string(key).map { text in
                guard let number = exactNumber(text) else { throw reader.error(key, "'\(text)' is not a number") }
                return number
            }
        }
        min = try number("min")
        max = try number("max")
        equals = try reader.string("equals")
        if min == nil, max == nil, equals == nil { return nil }
        if let min, let max, min > max { throw reader.error("min", "\(min) is more than max, \(max)") }
    }

    /// `at least 1000 and at most 2000`, for people.
    var text: String {
        [min.map { "at least \($0)" }, max.map { "at most \($0)" }, equals.map { "equal to \($0)" }]
            .compactMap { $0 }.joined(separator: " and ")
    }

    /// Whether the value keeps to them; nil where it cannot be told, because limits are of numbers and it is none.
    func hold(for value: String) -> Bool? {
        if let equals {
            let isEqual =
                if let left = exactNumber(value), let right = exactNumber(equals) { left == right } else {
                    value.utf8.elementsEqual(equals.utf8)
                }
            if !isEqual { return false }
        }
        guard min != nil || max != nil else { return true }
        guard let number = exactNumber(value) else { return nil }
        return (min.map { number >= $0 } ?? true) && (max.map { number <= $0 } ?? true)
    }
}

/// A decimal number as PostgreSQL and YAML write one; nil for anything else, such as `NaN`.
private func exactNumber(_ text: String) -> Decimal? {
    let pattern = /-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?/
    guard text.utf8.count <= 38, text.wholeMatch(of: pattern) != nil else { return nil }
    return Decimal(string: text, locale: Locale(identifier: "en_US_POSIX"))
}
