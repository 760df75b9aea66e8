import CHost
import DrillCore
import Foundation

/// A record as it lies in memory and in files: two lengths (4 bytes each, of this machine's order), key, payload.
struct SortRecord {
    static let headBytes = 8

    let start: UnsafeRawPointer
    let keyCount: Int
    let payloadCount: Int

    /// The record at `start`, which is whole.
    @inline(__always)
    init(at start: UnsafeRawPointer) {
        self.start = start
        keyCount = Int(start.loadUnaligned(as: UInt32.self))
        payloadCount = Int(start.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    }

    @inline(__always) var byteCount: Int { Self.headBytes + keyCount + payloadCount }
    @inline(__always) var key: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: start + Self.headBytes, count: keyCount)
    }
    @inline(__always) var payload: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: start + Self.headBytes + keyCount, count: payloadCount)
    }
}

/// Eight bytes of a key from `depth` on, so that unsigned comparison is that of bytes; zeros stand behind its end.
@inline(__always)
func sortWord(_ key: UnsafeRawBufferPointer, from depth: Int) -> UInt64 {
    let rest = key.count - depth
    if rest >= 8 { return UInt64(bigEndian: key.loadUnaligned(fromByteOffset: depth, as: UInt64.self)) }
    var word: UInt64 = 0
    for index in 0..<8 { word = word << 8 | (index < rest ? UInt64(key[depth + index]) : 0) }
    return word
}

/// How many bytes all keys so far have in common at their start.
struct SharedPrefix {
    private var bytes: [UInt8]?
    private(set) var count = 0

    @inline(__always)
    mutating func note(_ key: UnsafeRawBufferPointer) {
        guard let bytes else {
            bytes = Array(key)
            count = key.count
            return
        }
        if key.count >= count, count == 0 || bytes.withUnsafeBytes({ isSame($0, key, count) }) { return }
        count = zip(bytes.prefix(count), key).prefix { $0 == $1 }.count
    }

    @inline(__always)
    private func isSame(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer, _ count: Int) -> Bool {
        guard let left = left.baseAddress, let right = right.baseAddress else { return false }
        return memcmp(left, right, count) == 0
    }
}

/// Records of one run in memory, in one block, and the order in which they sort.
struct RecordBuffer: ~Copyable {
    private struct Entry {
        /// Of the key, at the depth that is sorted by.
        var word: UInt64
        /// Of the record in `bytes`.
        var offset: UInt32
    }

    private var bytes = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 8)
    private var byteCapacity = 1 << 16
    private(set) var byteCount = 0
    private var entries = UnsafeMutablePointer<Entry>.allocate(capacity: 1 << 10)
    private var entryCapacity = 1 << 10
    private(set) var count = 0
    /// Whether records came in order so far.
    private var isInOrder = true

    deinit {
        bytes.deallocate()
        entries.deallocate()
    }

    /// What is held, in bytes.
    var heldBytes: Int { byteCount + count * MemoryLayout<Entry>.stride }

    mutating func append(key: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer) {
        let size = SortRecord.headBytes + key.count + payload.count
        if byteCount + size > byteCapacity { growBytes(to: byteCount + size) }
        if count == entryCapacity { growEntries() }
        let record = bytes + byteCount
        record.storeBytes(of: UInt32(key.count), as: UInt32.self)
        record.storeBytes(of: UInt32(payload.count), toByteOffset: 4, as: UInt32.self)
        if let start = key.baseAddress { memcpy(record + SortRecord.headBytes, start, key.count) }
        if let start = payload.baseAddress { memcpy(record + SortRecord.headBytes + key.count, start, payload.count) }
        if isInOrder, count > 0 {
            isInOrder = compareBytes(self.record(count - 1).key, key) <= 0
        }
        entries[count] = Entry(word: 0, offset: UInt32(byteCount))
        count += 1
        byteCount += size
    }

    @inline(__always)
    func record(_ index: Int) -> SortRecord { SortRecord(at: bytes + Int(entries[index].offset)) }

    /// Says that the record will be asked for soon: in their order, records lie anywhere in memory.
    @inline(__always)
    func prefetch(_ index: Int) {
        guard index < count else { return }
        let record = bytes + Int(entries[index].offset)
        host_prefetch(record)
        host_prefetch(record + 64)
    }

    mutating func removeAll() {
        byteCount = 0
        count = 0
        isInOrder = true
    }

    private mutating func growBytes(to needed: Int) {
        byteCapacity = max(needed, byteCapacity * 2)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: byteCapacity, alignment: 8)
        memcpy(larger, bytes, byteCount)
        bytes.deallocate()
        bytes = larger
    }

    private mutating func growEntries() {
        entryCapacity *= 2
        let larger = UnsafeMutablePointer<Entry>.allocate(capacity: entryCapacity)
        memcpy(larger, entries, count * MemoryLayout<Entry>.stride)
        entries.deallocate()
        entries = larger
    }

    // MARK: Sorting

    private enum Limits {
        /// Fewer records are compared key by key.
        static let compared = 48
        /// Words of a key that are sorted by; behind them keys are compared.
        static let words = 32
    }

    /// Puts the records in order; those with equal keys stay as they came.
    /// - Parameter depth: All keys are alike up to there.
    mutating func sort(from depth: Int) {
        if isInOrder { return }
        let other = UnsafeMutablePointer<Entry>.allocate(capacity: count)
        defer { other.deallocate() }
        sort(0..<count, depth, depth + 8 * Limits.words, other)
        isInOrder = true
    }

    /// Sorts records whose keys are alike up to `depth`, by eight bytes at a time: a radix sort of words, then those whose words are
    /// equal by the words behind.
    private func sort(_ range: Range<Int>, _ depth: Int, _ deepest: Int, _ other: UnsafeMutablePointer<Entry>) {
        guard range.count > Limits.compared, depth < deepest else { return compareAll(range) }
        var isLonger = false, length = record(range.lowerBound).keyCount, isOneLength = true
        for index in range {
            let key = record(index).key
            entries[index].word = key.count > depth ? sortWord(key, from: depth) : 0
            isLonger = isLonger || key.count > depth
            isOneLength = isOneLength && key.count == length
            length = key.count
        }
        // No byte is left that could tell them apart, but their number may: zero bytes look like none.
        guard isLonger else { return isOneLength ? () : compareAll(range) }
        radixSort(entries + range.lowerBound, other, range.count)
        var start = range.lowerBound
        while start < range.upperBound {
            var end = start + 1
            while end < range.upperBound, entries[end].word == entries[start].word { end += 1 }
            if end - start > 1 { sort(start..<end, depth + 8, deepest, other) }
            start = end
        }
    }

    private func compareAll(_ range: Range<Int>) {
        let bytes = bytes
        var slice = UnsafeMutableBufferPointer(start: entries + range.lowerBound, count: range.count)
        slice.sort { left, right in
            let order = compareBytes(
                SortRecord(at: bytes + Int(left.offset)).key, SortRecord(at: bytes + Int(right.offset)).key)
            return order == 0 ? left.offset < right.offset : order < 0
        }
    }

    /// By words, least byte first; stable.
    private func radixSort(_ entries: UnsafeMutablePointer<Entry>, _ other: UnsafeMutablePointer<Entry>, _ count: Int) {
        let counts = UnsafeMutablePointer<Int>.allocate(capacity: 8 * 256)
        defer { counts.deallocate() }
        counts.initialize(repeating: 0, count: 8 * 256)
        for index in 0..<count {
            var word = entries[index].word
            for digit in 0..<8 {
                counts[digit << 8 | Int(word & 255)] += 1
                word >>= 8
            }
        }
        var (from, to) = (entries, other)
        for digit in 0..<8 {
            let places = counts + (digit << 8)
            // Where all have the same byte there is nothing to sort by.
            if places[Int(from[0].word >> UInt64(digit * 8) & 255)] == count { continue }
            var sum = 0
            for value in 0..<256 {
                let number = places[value]
                places[value] = sum
                sum += number
            }
            for index in 0..<count {
                let value = Int(from[index].word >> UInt64(digit * 8) & 255)
                to[places[value]] = from[index]
                places[value] += 1
            }
            swap(&from, &to)
        }
        if from != entries { entries.update(from: from, count: count) }
    }
}
