import Foundation

/// Builds ``ByteColumn``s, an element at the cost of copying its bytes.
package struct ByteColumnBuilder: ~Copyable {
    @usableFromInline var bytes: UnsafeMutablePointer<UInt8>
    @usableFromInline var byteCapacity: Int
    /// Of all elements so far.
    @usableFromInline package var byteCount = 0
    @usableFromInline var ends: UnsafeMutablePointer<Int32>
    @usableFromInline var endCapacity: Int
    @usableFromInline package var count = 0

    /// - Parameters: What there is room for at first.
    package init(bytes: Int = 1024, elements: Int = 64) {
        byteCapacity = max(1, bytes)
        endCapacity = max(1, elements)
        self.bytes = .allocate(capacity: byteCapacity)
        ends = .allocate(capacity: endCapacity)
    }

    deinit {
        bytes.deallocate()
        ends.deallocate()
    }

    @inlinable
    package mutating func append(_ element: UnsafeRawBufferPointer) {
        if byteCount + element.count > byteCapacity { growBytes(to: byteCount + element.count) }
        if count == endCapacity { growEnds() }
        if let start = element.baseAddress { memcpy(bytes + byteCount, start, element.count) }
        byteCount += element.count
        ends[count] = Int32(byteCount)
        count += 1
    }

    package mutating func append(_ element: [UInt8]) { element.withUnsafeBytes { append($0) } }

    /// Valid until the next change.
    @inlinable
    package subscript(index: Int) -> UnsafeRawBufferPointer {
        let start = index == 0 ? 0 : Int(ends[index - 1])
        return UnsafeRawBufferPointer(start: bytes + start, count: Int(ends[index]) - start)
    }

    /// The elements so far; starts anew.
    package mutating func take() -> ByteColumn {
        var column = ByteColumn()
        column.bytes = Array(UnsafeBufferPointer(start: bytes, count: byteCount))
        column.ends = Array(UnsafeBufferPointer(start: ends, count: count))
        (byteCount, count) = (0, 0)
        return column
    }

    @usableFromInline
    mutating func growBytes(to needed: Int) {
        byteCapacity = max(needed, byteCapacity * 2)
        let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: byteCapacity)
        memcpy(larger, bytes, byteCount)
        bytes.deallocate()
        bytes = larger
    }

    @usableFromInline
    mutating func growEnds() {
        endCapacity *= 2
        let larger = UnsafeMutablePointer<Int32>.allocate(capacity: endCapacity)
        memcpy(larger, ends, count * MemoryLayout<Int32>.stride)
        ends.deallocate()
        ends = larger
    }
}
