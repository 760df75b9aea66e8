import DrillCore
import Foundation

/// Sorted records in a file that has no name any more: it is gone when this is, however the process ends.
///
/// First written, then read, in order. For one thread at a time.
final class SpilledRun {
    private static let writeBytes = 256 << 10

    /// How often runs were merged into this one.
    let level: Int
    /// Of the record that was written last.
    private(set) var lastKey: [UInt8] = []

    private let descriptor: Int32
    private let place: String
    private var buffer = UnsafeMutableRawPointer.allocate(byteCount: 0, alignment: 8)
    private var capacity = 0
    /// While writing, what is not in the file yet; while reading, what was read of it.
    private var filled = 0
    private var position = 0
    private var fileBytes = 0
    private var readBytes = 0

    init(directory: String, level: Int) throws {
        descriptor = try Self.openUnnamed(in: directory)
        self.level = level
        place = directory
    }

    private static func openUnnamed(in directory: String) throws -> Int32 {
        let path = "\(directory)/sort-\(UUID().uuidString)"
        let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failed("make a file", directory, errno) }
        guard unlink(path) == 0 else {
            let code = errno
            close(descriptor)
            throw failed("unlink a file", directory, code)
        }
        return descriptor
    }

    deinit {
        buffer.deallocate()
        close(descriptor)
    }

    // MARK: Writing

    func write(_ record: SortRecord) throws {
        let size = record.byteCount
        if filled + size > capacity {
            try flush()
            if size > capacity { resize(to: max(size, Self.writeBytes)) }
        }
        memcpy(buffer + filled, record.start, size)
        filled += size
    }

    /// Ends what was written so far, and holds no memory any more; more may follow.
    func finishWriting(lastKey: UnsafeRawBufferPointer) throws {
        try flush()
        resize(to: 0)
        self.lastKey = Array(lastKey)
    }

    private func flush() throws {
        var written = 0
        while written < filled {
            let count = pwrite(descriptor, buffer + written, filled - written, off_t(fileBytes))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw DrillError(
                    .couldNotLook,
                    "sorting needs more room than scratch has: \(String(cString: strerror(count < 0 ? errno : ENOSPC)))",
                    at: place, hints: ["Set scratch.directory to a larger disk."])
            }
            written += count
            fileBytes += count
        }
        filled = 0
    }

    // MARK: Reading

    /// - Parameter bufferBytes: What is read at a time, unless a record is larger.
    func startReading(bufferBytes: Int) { resize(to: bufferBytes) }

    /// The next record, valid until the one after it is asked for; nil after the last.
    func next() throws -> SortRecord? {
        if filled - position < SortRecord.headBytes {
            try fill(SortRecord.headBytes)
            if filled == position { return nil }
            guard filled - position >= SortRecord.headBytes else { throw cut() }
        }
        var record = SortRecord(at: buffer + position)
        if filled - position < record.byteCount {
            try fill(record.byteCount)
            guard filled - position >= record.byteCount else { throw cut() }
            record = SortRecord(at: buffer + position)
        }
        position += record.byteCount
        return record
    }

    /// Reads on until so many bytes lie behind `position`, or the file ends.
    private func fill(_ needed: Int) throws {
        let rest = filled - position
        memmove(buffer, buffer + position, rest)
        position = 0
        filled = rest
        if needed > capacity {
            let larger = UnsafeMutableRawPointer.allocate(byteCount: needed, alignment: 8)
            memcpy(larger, buffer, rest)
            buffer.deallocate()
            (buffer, capacity) = (larger, needed)
        }
        while filled < needed, readBytes < fileBytes {
            let count = pread(descriptor, buffer + filled, capacity - filled, off_t(readBytes))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw cut() }
            filled += count
            readBytes += count
        }
    }

    /// What is in the buffer is lost.
    private func resize(to bytes: Int) {
        buffer.deallocate()
        buffer = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 8)
        capacity = bytes
        (filled, position) = (0, 0)
    }

    private func cut() -> DrillError {
        DrillError(
            .couldNotLook, "a file of sorted records was cut short", at: place,
            hints: ["The disk that holds scratch may be failing."])
    }

    private static func failed(_ what: String, _ directory: String, _ code: Int32) -> DrillError {
        DrillError(
            .couldNotLook, "cannot \(what) to sort in: \(String(cString: strerror(code)))", at: directory,
            hints: ["Set scratch.directory to a disk with room that this user may write to."])
    }
}
