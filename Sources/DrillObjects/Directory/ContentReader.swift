import CLinuxFiles
import DrillCore
import Foundation
import Glibc

/// Reads one file of a tree from first to last byte.
struct ContentReader {
    let root: Descriptor
    let place: String
    let key: ObjectKey

    private static let bufferBytes = 1 << 20

    private var shown: String { "\(place)/\(key)" }

    /// - Parameter reading: What the listing said; a file that is not so any more is being changed: `couldNotLook`.
    func read(
        _ reading: ObjectReading, _ algorithm: ChecksumAlgorithm, _ flag: CancellationFlag
    ) throws -> ContentReading {
        var hasher = ContentHasher(algorithm)
        let end = try read(reading, 0..<reading.sizeBytes, flag) { hasher.update($0) }
        return ContentReading(sizeBytes: end, digest: hasher.digest)
    }

    /// Hands on these bytes, and returns where they end.
    func read(
        _ reading: ObjectReading, _ range: Range<Int64>, _ flag: CancellationFlag,
        _ receive: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> Int64 {
        do {
            let file = try open()
            let before = try file.status()
            guard before.size == reading.sizeBytes else { throw changed }
            var offset = range.lowerBound
            // A small file needs no megabyte; the byte more shows one that grew.
            let wanted = range.upperBound == before.size ? before.size + 1 : range.upperBound
            let size = Int(max(4096, min(Int64(Self.bufferBytes), wanted - offset)))
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 4096)
            defer { buffer.deallocate() }
            while offset < wanted {
                try flag.check()
                let space = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(Int64(size), wanted - offset))])
                let count = try file.read(into: space, at: offset)
                try receive(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                offset += Int64(count)
                if count < space.count { break }
            }
            let after = try file.status()
            guard after.size == before.size, after.modified == before.modified, after.changed == before.changed else {
                throw changed
            }
            guard offset == range.upperBound else {
                throw ContentUnreadable(
                    reason: "its bytes end after \(offset) of \(before.size)", cause: .unknown)
            }
            return offset
        } catch let failure as FileFailure {
            switch failure.number {
            case EACCES, EPERM:
                throw ContentUnreadable(reason: "\(failure.text) to user id \(geteuid())", cause: .accessDenied)
            case EIO, EUCLEAN, EBADMSG:
                throw ContentUnreadable(reason: "reading fails: \(failure.text)", cause: .unknown)
            case ENOENT, ENOTDIR, ELOOP: throw changed
            default: throw failure.couldNotLook("read the file", at: shown)
            }
        }
    }

    /// Never opens what is not a file: to open a device can be an act.
    private func open() throws -> Descriptor {
        let kind = try KeyPath.open(key, below: root, flags: Int32(LF_PATH)).status().kind
        guard kind == .file else { throw changed }
        do throws(FileFailure) {
            return try KeyPath.open(key, below: root, flags: O_RDONLY | Int32(LF_NOATIME))
        } catch {
            // Only the owner and root may leave the access time alone.
            guard error.number == EPERM else { throw error }
            return try KeyPath.open(key, below: root, flags: O_RDONLY)
        }
    }

    private var changed: DrillError {
        DrillError(
            .couldNotLook, "the file is not as it was listed: the backup is being changed", at: shown,
            hints: ["Run the drill when nothing writes to the backup."])
    }
}
