import DrillCore
import Synchronization

/// Makes sorters whose files live, unlinked, in a scratch directory: nothing stays behind, however the process ends.
package struct ExternalSorters: RecordSorterMaker {
    private let memoryBytes: Int

    /// - Parameter memoryBytes: What one sorter holds before it spills.
    package init(memoryBytes: Int = 8 << 20) { self.memoryBytes = memoryBytes }

    package func makeSorter(in directory: String) -> any RecordSorter {
        ExternalSorter(directory: directory, memoryBytes: memoryBytes)
    }
}

/// An external merge sort: records fill a buffer, full buffers are sorted and spilled as runs, the runs are merged.
///
/// `@unchecked Sendable`: `lock` guards `state`, which holds pointers.
final class ExternalSorter: RecordSorter, @unchecked Sendable {
    private let directory: String
    private let memoryBytes: Int
    private let lock = Mutex(())
    private var state: SortState

    /// - Parameter runsPerLevel: So many runs are merged into one, whose level is one higher.
    init(directory: String, memoryBytes: Int, runsPerLevel: Int = 128) {
        self.directory = directory
        self.memoryBytes = memoryBytes
        state = SortState(directory: directory, runsPerLevel: runsPerLevel)
    }

    func add(key: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer) throws {
        try lock.withLock { _ in
            guard state.isAdding else {
                throw DrillError(.couldNotLook, "records were added after sorting had ended", at: directory)
            }
            state.prefix.note(key)
            state.buffer.append(key: key, payload: payload)
            state.added += 1
            if state.buffer.heldBytes >= memoryBytes { try state.spill() }
        }
    }

    func finishAdding() throws { try lock.withLock { _ in try state.finishAdding() } }

    func next(
        limit: Int, _ body: (_ key: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) throws -> Void
    ) throws -> Int {
        try lock.withLock { _ in try state.next(limit: limit, body) }
    }

    func close() { lock.withLock { _ in state.close() } }
}

/// What a sorter holds; without runs, the buffer is all of it.
private struct SortState: ~Copyable {
    let directory: String
    let runsPerLevel: Int
    var buffer = RecordBuffer()
    var prefix = SharedPrefix()
    var isAdding = true
    private var isClosed = false
    var added: Int64 = 0
    private var runs: [SpilledRun] = []
    private var merge: RunMerge?
    /// Where the buffer is read from.
    private var position = 0
    private var handedOut: Int64 = 0

    init(directory: String, runsPerLevel: Int) {
        self.directory = directory
        self.runsPerLevel = runsPerLevel
    }

    mutating func spill() throws {
        buffer.sort(from: prefix.count)
        // What came in order makes one run, however much it is.
        let run: SpilledRun
        if let last = runs.last, last.level == 0, last.endsBefore(buffer.record(0).key) {
            run = last
        } else {
            run = try SpilledRun(directory: directory, level: 0)
            runs.append(run)
        }
        for index in 0..<buffer.count {
            buffer.prefetch(index + 8)
            try run.write(buffer.record(index))
        }
        try run.finishWriting(lastKey: buffer.record(buffer.count - 1).key)
        buffer.removeAll()
        while let level = runs.last?.level,
            runs.suffix(runsPerLevel).count(where: { $0.level == level }) == runsPerLevel
        {
            try mergeLast(runsPerLevel, into: level + 1)
        }
    }

    private mutating func mergeLast(_ count: Int, into level: Int) throws {
        var merge = try RunMerge(runs.suffix(count), sharedPrefix: prefix.count)
        let merged = try SpilledRun(directory: directory, level: level)
        // The last key is of no use there: only runs of level 0 are gone on with.
        while let record = merge.head {
            try merged.write(record)
            try merge.advance()
        }
        try merged.finishWriting(lastKey: UnsafeRawBufferPointer(start: nil, count: 0))
        runs.removeLast(count)
        runs.append(merged)
    }

    mutating func finishAdding() throws {
        isAdding = false
        if runs.isEmpty {
            buffer.sort(from: prefix.count)
        } else {
            if buffer.count > 0 { try spill() }
            buffer = RecordBuffer()
            merge = try RunMerge(runs, sharedPrefix: prefix.count)
            runs = []
        }
    }

    mutating func next(
        limit: Int, _ body: (_ key: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) throws -> Void
    ) throws -> Int {
        // What was closed early must not look as if it had come to its end.
        guard !isClosed else {
            throw DrillError(.couldNotLook, "sorted records were asked for after sorting had been ended", at: directory)
        }
        var count = 0
        if merge == nil {
            while count < limit, position < buffer.count {
                buffer.prefetch(position + 8)
                let record = buffer.record(position)
                try body(record.key, record.payload)
                position += 1
                count += 1
            }
        } else {
            while count < limit, let record = merge?.head {
                try body(record.key, record.payload)
                try merge?.advance()
                count += 1
            }
        }
        handedOut += Int64(count)
        guard count > 0 || handedOut == added else {
            throw DrillError(
                .couldNotLook, "of \(added) sorted records \(handedOut) were read back", at: directory,
                hints: ["The disk that holds scratch may be failing."])
        }
        return count
    }

    mutating func close() {
        isAdding = false
        (runs, merge) = ([], nil)
        buffer = RecordBuffer()
        isClosed = true
    }
}

extension SpilledRun {
    /// Whether that key may follow what was written.
    fileprivate func endsBefore(_ key: UnsafeRawBufferPointer) -> Bool {
        lastKey.withUnsafeBytes { compareBytes($0, key) <= 0 }
    }
}
