import DrillCore
import Foundation
import GRDB

/// Typed reads that throw: GRDB's own conversions end the process where a damaged file holds something else.
func integer(_ row: Row, _ column: Int) throws -> Int64 {
    guard let value = try optionalInteger(row, column) else { throw damaged("an integer is missing") }
    return value
}

func optionalInteger(_ row: Row, _ column: Int) throws -> Int64? {
    let value: DatabaseValue = row[column]
    switch value.storage {
    case .null: return nil
    case .int64(let integer): return integer
    default: throw damaged("an integer is something else")
    }
}

func text(_ row: Row, _ column: Int) throws -> String {
    guard let value = try optionalText(row, column) else { throw damaged("a text is missing") }
    return value
}

func optionalText(_ row: Row, _ column: Int) throws -> String? {
    let value: DatabaseValue = row[column]
    switch value.storage {
    case .null: return nil
    case .string(let text): return text
    default: throw damaged("a text is something else")
    }
}

func optionalBytes(_ row: Row, _ column: Int) throws -> [UInt8]? {
    let value: DatabaseValue = row[column]
    switch value.storage {
    case .null: return nil
    case .blob(let data): return Array(data)
    default: throw damaged("a key is something else")
    }
}

func instant(_ row: Row, _ column: Int) throws -> Date {
    guard let date = parseInstant(try text(row, column)) else { throw damaged("an instant cannot be read") }
    return date
}

func optionalInstant(_ row: Row, _ column: Int) throws -> Date? {
    try optionalText(row, column) == nil ? nil : try instant(row, column)
}

func seconds(_ row: Row, _ column: Int) throws -> Double { Double(try integer(row, column)) / 1000 }
func optionalSeconds(_ row: Row, _ column: Int) throws -> Double? {
    try optionalInteger(row, column).map { Double($0) / 1000 }
}

func word<Word: RawRepresentable>(_ row: Row, _ column: Int) throws -> Word where Word.RawValue == String {
    let text = try text(row, column)
    guard let word = Word(rawValue: text) else { throw damaged("`\(printable(text.utf8))` is no \(Word.self) of ours") }
    return word
}

func damaged(_ what: String) -> DrillError {
    DrillError(
        .ledgerUnusable, "the ledger is damaged: \(what)",
        hints: ["Run `muster verify` to learn where; restore the file from its backup."])
}
