/// What keys look like, position by position: enough to guess where a range of keys may be cut into even pieces.
///
/// A wrong guess costs a request, never a key: ranges are cut at any bytes whatever, and re-cut when they turn out
/// uneven.
struct KeyShape: Sendable {
    /// Positions looked at from the start of a key; cuts are made within them.
    static let depth = 96

    /// What was seen at each position.
    private var seen: [SymbolSet] = []

    mutating func observe(_ key: some Collection<UInt8>) {
        var position = 0
        for byte in key {
            guard position < Self.depth else { return }
            insert(Int(byte), at: position)
            position += 1
        }
        if position < Self.depth { insert(SymbolSet.end, at: position) }
    }

    private mutating func insert(_ symbol: Int, at position: Int) {
        if position == seen.count { seen.append(SymbolSet()) }
        if position < seen.count { seen[position].insert(symbol) }
    }

    /// Keys strictly between the two, in ascending order, at about these fractions of the way; fewer where nothing
    /// better can be guessed.
    ///
    /// - Parameters:
    ///   - lower: A key that was seen.
    ///   - upper: nil stands for the end of all keys that share the first `fixed` bytes.
    func cuts(between lower: [UInt8], and upper: [UInt8]?, fixed: Int, at fractions: [Double]) -> [[UInt8]] {
        guard !fractions.isEmpty else { return [] }
        let scale = Scale(self, lower, upper, fixed: fixed)
        let start = scale.value(lower[...])
        let end = upper.map { scale.value($0[...]) } ?? 1
        guard end > start else { return [] }
        var cuts: [[UInt8]] = []
        for fraction in fractions {
            let cut = scale.key(at: start + (end - start) * fraction)
            guard (cuts.last ?? lower).lexicographicallyPrecedes(cut) else { continue }
            if let upper, !cut.lexicographicallyPrecedes(upper) { break }
            cuts.append(cut)
        }
        return cuts
    }

    /// How much longer the way from `last` to `upper` is than that from `first` to `last`; nil where it cannot be told.
    func ratio(first: [UInt8], last: [UInt8], upper: [UInt8]?, fixed: Int) -> Double? {
        let scale = Scale(self, first, upper, fixed: fixed)
        let (start, middle) = (scale.value(first[...]), scale.value(last[...]))
        let end = upper.map { scale.value($0[...]) } ?? 1
        guard middle > start, end >= middle else { return nil }
        return (end - middle) / (middle - start)
    }

    /// Keys between two bounds as fractions from 0 to 1, each position a digit in the base of what may stand there.
    private struct Scale {
        let prefix: ArraySlice<UInt8>
        let digits: [[Int]]

        init(_ shape: KeyShape, _ lower: [UInt8], _ upper: [UInt8]?, fixed: Int) {
            var common = min(fixed, lower.count)
            if let upper {
                common = zip(lower, upper).prefix { $0 == $1 }.count
            }
            prefix = lower.prefix(common)
            var digits: [[Int]] = []
            var combinations = 1.0
            // Beyond that a Double cannot tell keys apart.
            for position in common..<max(common, shape.seen.count) where combinations < 1e14 {
                var symbols = shape.seen[position]
                if position < lower.count { symbols.insert(Int(lower[position])) }
                if let upper, position < upper.count, position == common { symbols.insert(Int(upper[position])) }
                digits.append(symbols.completed)
                combinations *= Double(symbols.completed.count)
            }
            self.digits = digits
        }

        func value(_ key: ArraySlice<UInt8>) -> Double {
            var value = 0.0, weight = 1.0
            var index = key.startIndex + prefix.count
            for symbols in digits {
                let symbol = index < key.endIndex ? Int(key[index]) : SymbolSet.end
                let base = Double(symbols.count)
                // Symbols that were never seen lie between those that were.
                let rank =
                    symbol == SymbolSet.end
                    ? 0
                    : symbols.count { $0 != SymbolSet.end && $0 < symbol } + (symbols.first == SymbolSet.end ? 1 : 0)
                weight /= base
                value += Double(rank) * weight
                if symbol == SymbolSet.end || weight < 1e-14 { break }
                index += 1
            }
            return min(value, 1)
        }

        func key(at value: Double) -> [UInt8] {
            var key = Array(prefix)
            var rest = value, weight = 1.0
            for symbols in digits {
                rest *= Double(symbols.count)
                weight /= Double(symbols.count)
                let rank = min(Int(rest), symbols.count - 1)
                rest -= Double(rank)
                guard symbols[rank] != SymbolSet.end else { break }
                key.append(UInt8(symbols[rank]))
                // Finer than that no estimate is.
                if weight < 1e-13 { break }
            }
            return key
        }
    }
}

/// A set of bytes and the end of a key.
private struct SymbolSet: Sendable {
    static let end = 256
    private var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    private var hasEnd = false
    /// In order, the end first, with the rest of the kind of symbol that was seen: a digit stands for all digits,
    /// digits with letters up to f for hexadecimal ones, two letters for the alphabet. Never empty.
    private(set) var completed: [Int] = [SymbolSet.end]

    mutating func insert(_ symbol: Int) {
        guard !contains(symbol) else { return }
        let bit = UInt64(1) << UInt64(symbol & 63)
        switch symbol >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        case 3: words.3 |= bit
        default: hasEnd = true
        }
        completed = completion()
    }

    @inline(__always)
    private func contains(_ symbol: Int) -> Bool {
        let bit = UInt64(1) << UInt64(symbol & 63)
        switch symbol >> 6 {
        case 0: return words.0 & bit != 0
        case 1: return words.1 & bit != 0
        case 2: return words.2 & bit != 0
        case 3: return words.3 & bit != 0
        default: return hasEnd
        }
    }

    private func completion() -> [Int] {
        var members = Set((0..<256).filter(contains))
        func range(_ first: Unicode.Scalar, _ last: Unicode.Scalar) -> ClosedRange<Int> {
            Int(first.value)...Int(last.value)
        }
        func seen(_ range: ClosedRange<Int>) -> Int { range.count(where: members.contains) }
        let digits = range("0", "9"), small = range("a", "z"), hexadecimal = range("a", "f"), capital = range("A", "Z")
        let (digitsSeen, smallSeen, hexadecimalSeen) = (seen(digits), seen(small), seen(hexadecimal))
        if seen(capital) > 1 { members.formUnion(capital) }
        if digitsSeen > 0 { members.formUnion(digits) }
        if digitsSeen > 0, hexadecimalSeen > 0, hexadecimalSeen == smallSeen {
            members.formUnion(hexadecimal)
        } else if smallSeen > 1 {
            members.formUnion(small)
        }
        return (hasEnd || members.isEmpty ? [Self.end] : []) + members.sorted()
    }
}
