import DrillCore
import Foundation
import Glibc
import Synchronization

/// A file in scratch that takes an object's bytes, from any thread, one behind the other.
final class CopyFile: Sendable {
    /// More bytes came than the object has.
    struct TooLong: Error {
        /// Also where it came through a store, which wraps what it does not know.
        static func isCause(of error: any Error) -> Bool {
            error is TooLong || (error as? DrillError)?.cause is TooLong
        }
    }

    private let number: Int32
    private let path: String
    private let written = Mutex<Int64>(0)

    /// Makes the file anew, and its folder where there is none.
    init(_ path: String) throws {
        self.path = path
        let flags = O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
        var number = open(path, flags, 0o600)
        if number < 0, errno == ENOENT {
            let folder = (path as NSString).deletingLastPathComponent
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
                throw FileFailure(number: errno).whileCopying("make the folder", at: folder)
            }
            number = open(path, flags, 0o600)
        }
        guard number >= 0 else { throw FileFailure(number: errno).whileCopying("make the file", at: path) }
        self.number = number
    }

    /// Opens a copy that is there; nil where there is none.
    init?(reading path: String) throws {
        self.path = path
        number = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        if number < 0 {
            guard errno == ENOENT else { throw FileFailure(number: errno).whileCopying("open the copy", at: path) }
            return nil
        }
        var status = stat()
        guard fstat(number, &status) == 0 else {
            throw FileFailure(number: errno).whileCopying("look at the copy", at: path)
        }
        written.withLock { $0 = Int64(status.st_size) }
    }

    deinit { close(number) }

    var sizeBytes: Int64 { written.withLock { $0 } }

    /// Throws ``TooLong`` instead of growing beyond `limit`.
    func append(_ bytes: UnsafeRawBufferPointer, limit: Int64) throws {
        try written.withLock { written in
            guard written + Int64(bytes.count) <= limit else { throw TooLong() }
            do throws(FileFailure) {
                try writeAll(bytes, to: number, at: written)
            } catch {
                throw error.whileCopying("write", at: path)
            }
            written += Int64(bytes.count)
        }
    }

    func empty() throws {
        try written.withLock { written in
            guard ftruncate(number, 0) == 0 else { throw FileFailure(number: errno).whileCopying("empty", at: path) }
            written = 0
        }
    }

    /// Gives the file its name, which says that it is whole.
    func rename(to name: String) throws {
        guard Glibc.rename(path, name) == 0 else {
            throw FileFailure(number: errno).whileCopying("name the copy", at: name)
        }
    }

    func remove() throws {
        guard unlink(path) == 0 || errno == ENOENT else {
            throw FileFailure(number: errno).whileCopying("remove", at: path)
        }
    }

    /// What is really in the file now, hashed with each of these in one pass.
    func digests(_ algorithms: [ChecksumAlgorithm], _ flag: CancellationFlag) throws -> [[UInt8]] {
        var hashers = algorithms.map { ContentHasher($0) }
        let size = Int(max(4096, min(1 << 20, sizeBytes)))
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
        defer { buffer.deallocate() }
        var offset = 0
        while true {
            try flag.check()
            let count = pread(number, buffer.baseAddress, buffer.count, off_t(offset))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileFailure(number: errno).whileCopying("read the copy", at: path) }
            if count == 0 { break }
            for index in hashers.indices { hashers[index].update(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            offset += count
        }
        return hashers.map(\.digest)
    }
}

/// Brings one object's bytes into a file; a transfer that breaks off goes on where it stopped.
struct ObjectDownload {
    /// In a row without a mebibyte of progress.
    private static let attempts = 6
    private static let progressBytes: Int64 = 1 << 20

    let source: any CopySource
    let entry: CopyEntry
    let file: CopyFile
    let clock: any DrillClock

    enum Ending {
        /// S3's answer, where one answer brought everything.
        case whole(HTTPResponse?)
        case damaged(ContentDamage)
    }

    func run() async throws -> Ending {
        let size = entry.reading.sizeBytes
        var attempt = 1
        while true {
            let start = file.sizeBytes
            do {
                let answer = try await source.read(entry.key, entry.reading, start..<size) { [file] bytes in
                    try file.append(bytes, limit: size)
                }
                if start > 0, answer?.status == 200 {
                    // The whole object instead of its rest: what stands in the file is not it.
                    try file.empty()
                } else if file.sizeBytes == size {
                    return .whole(start == 0 ? answer : nil)
                } else {
                    return .damaged(.size(listed: size, came: "\(file.sizeBytes) bytes read"))
                }
            } catch let error where CopyFile.TooLong.isCause(of: error) {
                guard start > 0 else { return .damaged(.size(listed: size, came: "more than \(size) bytes read")) }
                try file.empty()
            } catch let error as DrillError {
                guard let failure = error.cause as? HTTPFailure, failure.isTransient, attempt < Self.attempts else {
                    throw error
                }
                // Nothing is left to ask for where only the end of the answer was lost.
                if size > 0, file.sizeBytes == size { return .whole(nil) }
                if file.sizeBytes - start >= Self.progressBytes { attempt = 0 }
            }
            guard attempt < Self.attempts else {
                throw DrillError(
                    .couldNotLook, "its bytes did not come whole in \(attempt) attempts",
                    at: "\(source.place): \(entry.key)")
            }
            attempt += 1
            try await clock.sleep(for: .milliseconds(Int.random(in: 0...(20 << attempt))))
        }
    }
}

/// Writes all of them, however many calls it takes.
func writeAll(_ bytes: some ContiguousBytes, to file: Int32, at offset: Int64) throws(FileFailure) {
    let code: Int32 = bytes.withUnsafeBytes { bytes in
        var done = 0
        while done < bytes.count {
            let count = pwrite(file, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset) + done)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { return count < 0 ? errno : EIO }
            done += count
        }
        return 0
    }
    guard code == 0 else { throw FileFailure(number: code) }
}

extension FileFailure {
    /// That the copy cannot go on, which is no fault of the backup.
    func whileCopying(_ action: String, at place: String) -> DrillError {
        var error = couldNotLook(action, at: place)
        if [ENOSPC, EDQUOT, EFBIG].contains(number) {
            error.hints = ["Set scratch.directory to a larger disk."]
        }
        return error
    }
}
