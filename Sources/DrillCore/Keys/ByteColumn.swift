import Foundation

/// Many byte strings in one buffer: what keys travel in, so that a row costs no allocation.
///
/// Element `i` is `bytes[ends[i - 1] ..< ends[i]]` (from 0 for the first). A column holds at most 2 GiB.
package struct ByteColumn: Sendable {
    package var bytes: [UInt8] = []
    package var ends: [Int32] = []

    package init() {}

    package var count: Int { ends.count }
    package var isEmpty: Bool { ends.isEmpty }

    package func range(_ index: Int) -> Range<Int> {
        (index == 0 ? 0 : Int(ends[index - 1]))..<Int(ends[index])
    }

    package subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }

    package mutating func append(_ element: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: element)
        ends.append(Int32(bytes.count))
    }

    package mutating func append(_ element: some Collection<UInt8>) {
        bytes.append(contentsOf: element)
        ends.append(Int32(bytes.count))
    }

    package mutating func removeAll(keepingCapacity keep: Bool) {
        bytes.removeAll(keepingCapacity: keep)
        ends.removeAll(keepingCapacity: keep)
    }
}

/// Negative, zero or positive as the left sorts before, with or after the right, by unsigned bytes.
@inlinable
@inline(__always)
package func compareBytes(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let common = min(left.count, right.count)
    if common > 0, let leftStart = left.baseAddress, let rightStart = right.baseAddress {
        let order = memcmp(leftStart, rightStart, common)
        if order != 0 { return Int(order) }
    }
    return left.count - right.count
}
