import DrillCore
import Foundation

/// Makes sorters whose files live, unlinked, in a scratch directory: nothing stays behind, however the process ends.
package struct ExternalSorters: RecordSorterMaker {
    private let memoryBytes: Int

    /// - Parameter memoryBytes: What one sorter holds before it spills.
    package init(memoryBytes: Int = 24 << 20) { self.memoryBytes = memoryBytes }

    package func makeSorter(in directory: String) -> any RecordSorter {
        ExternalSorter(directory: directory, memoryBytes: memoryBytes)
    }
}

/// An external merge sort: records fill a buffer, full buffers are sorted and spilled as runs, the runs are merged.
actor ExternalSorter: RecordSorter {
    private let directory: String
    private let memoryBytes: Int
    private var buffer = SortBuffer()
    private var runs: [SpilledRun] = []
    private var isAdding = true
    /// Where the last, unspilled buffer is read from.
    private var position = 0

    init(directory: String, memoryBytes: Int) {
        self.directory = directory
        self.memoryBytes = memoryBytes
    }

    func add(key: [UInt8], payload: [UInt8]) throws {
        guard isAdding else {
            throw DrillError(.couldNotLook, "records were added after sorting had ended", at: directory)
        }
        buffer.append(key: key, payload: payload)
        if buffer.heldBytes >= memoryBytes { try spill() }
    }

    func finishAdding() throws {
        isAdding = false
        if runs.isEmpty {
            buffer.sort()
        } else {
            if !buffer.isEmpty { try spill() }
            for index in runs.indices { try runs[index].rewind() }
        }
    }

    func next(limit: Int) throws -> [(key: [UInt8], payload: [UInt8])]? {
        var records: [(key: [UInt8], payload: [UInt8])] = []
        while records.count < limit, let record = try nextRecord() { records.append(record) }
        return records.isEmpty ? nil : records
    }

    func close() {
        runs = []
        buffer = SortBuffer()
    }

    private func nextRecord() throws -> (key: [UInt8], payload: [UInt8])? {
        if runs.isEmpty {
            guard position < buffer.count else { return nil }
            defer { position += 1 }
            return buffer.record(position)
        }
        // Few runs: looking at each head is cheaper than a heap. The earliest run wins ties, so equal keys keep their
        // order.
        var best: Int?
        for index in runs.indices {
            guard let head = runs[index].head else { continue }
            if let current = best, let key = runs[current].head?.key, !head.key.lexicographicallyPrecedes(key) {
                continue
            }
            best = index
        }
        guard let best, let record = runs[best].head else { return nil }
        try runs[best].advance()
        return record
    }

    private func spill() throws {
        buffer.sort()
        var run = try SpilledRun(directory: directory)
        for index in 0..<buffer.count { try run.write(buffer.bytes(of: index)) }
        try run.flush()
        runs.append(run)
        buffer.removeAll()
    }
}

/// Records one behind the other, each as two lengths (4 bytes, little-endian), key and payload.
private struct SortBuffer {
    private var bytes: [UInt8] = []
    private var starts: [Int] = []

    var isEmpty: Bool { starts.isEmpty }
    var count: Int { starts.count }
    var heldBytes: Int { bytes.count + starts.count * 8 }

    mutating func append(key: [UInt8], payload: [UInt8]) {
        starts.append(bytes.count)
        for length in [UInt32(key.count), UInt32(payload.count)] {
            withUnsafeBytes(of: length.littleEndian) { bytes.append(contentsOf: $0) }
        }
        bytes += key
        bytes += payload
    }

    mutating func sort() {
        bytes.withUnsafeBytes { bytes in
            func key(_ start: Int) -> UnsafeRawBufferPointer {
                let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self)))
                return UnsafeRawBufferPointer(rebasing: bytes[(start + 8)..<(start + 8 + length)])
            }
            starts.sort { left, right in
                let leftKey = key(left), rightKey = key(right)
                let common = min(leftKey.count, rightKey.count)
                if common > 0, let leftStart = leftKey.baseAddress, let rightStart = rightKey.baseAddress {
                    let order = memcmp(leftStart, rightStart, common)
                    if order != 0 { return order < 0 }
                }
                if leftKey.count != rightKey.count { return leftKey.count < rightKey.count }
                // Records were appended in order, so a smaller offset came first.
                return left < right
            }
        }
    }

    func bytes(of index: Int) -> ArraySlice<UInt8> {
        let start = starts[index]
        let (keyCount, payloadCount) = lengths(start)
        return bytes[start..<(start + 8 + keyCount + payloadCount)]
    }

    func record(_ index: Int) -> (key: [UInt8], payload: [UInt8]) {
        let start = starts[index]
        let (keyCount, payloadCount) = lengths(start)
        let keyEnd = start + 8 + keyCount
        return (Array(bytes[(start + 8)..<keyEnd]), Array(bytes[keyEnd..<(keyEnd + payloadCount)]))
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        starts.removeAll(keepingCapacity: true)
    }

    private func lengths(_ start: Int) -> (key: Int, payload: Int) {
        func length(at offset: Int) -> Int {
            (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
        }
        return (length(at: start), length(at: start + 4))
    }
}

/// A sorted run in an unlinked file.
private struct SpilledRun {
    private let file: FileHandle
    private let place: String
    private var pending: [UInt8] = []
    private var position = 0
    private(set) var head: (key: [UInt8], payload: [UInt8])?

    init(directory: String) throws {
        place = directory
        let path = "\(directory)/sort-\(UUID().uuidString)"
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.failed("make a file", directory, errno) }
        file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        guard unlink(path) == 0 else { throw Self.failed("unlink a file", directory, errno) }
    }

    mutating func write(_ record: ArraySlice<UInt8>) throws {
        pending += record
        if pending.count >= 1 << 20 { try flush() }
    }

    mutating func flush() throws {
        do {
            try file.write(contentsOf: pending)
        } catch {
            throw DrillError(
                .couldNotLook, "sorting needs more room than scratch has: \(error.localizedDescription)", at: place,
                hints: ["Set scratch.directory to a larger disk."])
        }
        pending.removeAll(keepingCapacity: true)
    }

    mutating func rewind() throws {
        try file.seek(toOffset: 0)
        try advance()
    }

    mutating func advance() throws {
        guard let lengths = try take(8, mayEnd: true) else {
            head = nil
            return
        }
        func length(at offset: Int) -> Int { (0..<4).reduce(0) { $0 | Int(lengths[offset + $1]) << (8 * $1) } }
        let key = try take(length(at: 0), mayEnd: false) ?? []
        head = (key, try take(length(at: 4), mayEnd: false) ?? [])
    }

    /// The next bytes; nil at the end of the file where that may be.
    private mutating func take(_ count: Int, mayEnd: Bool) throws -> [UInt8]? {
        while pending.count - position < count {
            pending.removeFirst(position)
            position = 0
            guard let more = try file.read(upToCount: max(1 << 18, count)), !more.isEmpty else {
                if mayEnd, pending.isEmpty { return nil }
                throw DrillError(.couldNotLook, "a file of sorted records was cut short", at: place)
            }
            pending += more
        }
        defer { position += count }
        return Array(pending[position..<(position + count)])
    }

    private static func failed(_ what: String, _ directory: String, _ code: Int32) -> DrillError {
        DrillError(
            .couldNotLook, "cannot \(what) to sort in: \(String(cString: strerror(code)))", at: directory,
            hints: ["Set scratch.directory to a disk with room that this user may write to."])
    }
}
