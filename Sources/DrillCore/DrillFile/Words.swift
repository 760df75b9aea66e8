/// The known word that is nearest by edit distance, if it is near enough to be meant.
package func nearestWord(to word: String, among known: [String]) -> String? {
    let scored = known.map {
        (word: $0, distance: editDistance(Array(word.lowercased().utf8), Array($0.lowercased().utf8)))
    }
    guard let best = scored.min(by: { ($0.distance, $0.word) < ($1.distance, $1.word) }) else { return nil }
    return best.distance <= max(2, word.utf8.count / 3) ? best.word : nil
}

/// Insertions, deletions, changes and swaps of neighbours that turn one into the other.
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    // A word that long is no typing error of any of ours.
    guard left.count <= 200, right.count <= 200 else { return .max }
    var beforeLast: [Int] = []
    var last = Array(0...right.count)
    for row in 0..<left.count {
        var current = [row + 1]
        for column in 0..<right.count {
            let same = left[row] == right[column]
            var best = min(last[column + 1] + 1, current[column] + 1, last[column] + (same ? 0 : 1))
            if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
                best = min(best, beforeLast[column - 1] + 1)
            }
            current.append(best)
        }
        (beforeLast, last) = (last, current)
    }
    return last[right.count]
}

/// Only digits with an optional minus; no plus, no space, no other script's digits. nil where it does not fit.
package func strictInteger(_ text: String) -> Int64? {
    var digits = Array(text.utf8)[...]
    let isNegative = digits.first == UInt8(ascii: "-")
    if isNegative { digits.removeFirst() }
    guard !digits.isEmpty else { return nil }
    var value: Int64 = 0
    for digit in digits {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
        let (shifted, overflow) = value.multipliedReportingOverflow(by: 10)
        let (sum, overflow2) = shifted.subtractingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
        if overflow || overflow2 { return nil }
        value = sum
    }
    if isNegative { return value }
    return value == .min ? nil : -value
}

/// `90s`, `10m`, `24h`, `8d`, `2w`, `1h30m`, `250ms`; nothing else, and no bare number, whose unit nobody knows.
package func parseDuration(_ text: String) -> Duration? {
    var rest = Array(text.utf8)[...]
    guard !rest.isEmpty else { return nil }
    var total: Int64 = 0
    var lastUnit = Int64.max
    while !rest.isEmpty {
        let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        rest = rest.dropFirst(digits.count)
        let letters = rest.prefix { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) }
        rest = rest.dropFirst(letters.count)
        let units: [String: Int64] = [
            "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
        ]
        guard let count = strictInteger(String(decoding: digits, as: UTF8.self)),
            let unit = units[String(decoding: letters, as: UTF8.self)], unit < lastUnit
        else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: unit)
        let (sum, overflow2) = total.addingReportingOverflow(product)
        if overflow || overflow2 { return nil }
        total = sum
        lastUnit = unit
    }
    return .milliseconds(total)
}

package func parsePercent(_ text: String) -> Double? {
    guard text.hasSuffix("%"), let value = Double(text.dropLast()), value.isFinite, value >= 0, value <= 100 else {
        return nil
    }
    return value / 100
}

package func parseByteCount(_ text: String) -> Int64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let units: [String: Int64] = [
        "": 1, "B": 1, "kB": 1000, "KB": 1000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000,
        "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
    ]
    guard let count = strictInteger(String(digits)), let unit = units[String(text.dropFirst(digits.count))] else {
        return nil
    }
    let (product, overflow) = count.multipliedReportingOverflow(by: unit)
    return overflow ? nil : product
}
