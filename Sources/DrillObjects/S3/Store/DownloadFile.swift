import DrillCore
import Foundation
import Synchronization

/// What the store keeps of an object's bytes, to compare a download with.
enum ExpectedDigest: Sendable {
    case whole(StoredChecksum)
    /// An ETag of a multipart upload: the MD5 of its parts' MD5s, each of so many bytes but the last (S24).
    case parts(bytes: Int64, etag: String)

    var name: String {
        switch self {
        case .whole(let stored): stored.algorithm.rawValue
        case .parts: "ETag of its parts"
        }
    }
}

extension BucketReader {
    /// nil where the store keeps nothing that is comparable.
    func expectedDigest(_ key: ObjectKey, _ reading: ObjectReading) async throws -> ExpectedDigest? {
        if let stored = try await storedChecksum(key, reading, preferring: nil) { return .whole(stored) }
        guard let etag = reading.etag, let dash = etag.lastIndex(of: "-"),
            let count = strictInteger(String(etag[etag.index(after: dash)...])), count > 0
        else { return nil }
        // Parts of one length can be told from the first and the last; others are not worth a question each.
        guard let first = try await partBytes(1, of: count, key, reading),
            let last = count == 1 ? first : try await partBytes(count, of: count, key, reading),
            first > 0, last <= first,
            first.multipliedReportingOverflow(by: count - 1).partialValue + last == reading.sizeBytes
        else { return nil }
        return .parts(bytes: first, etag: etag)
    }

    /// nil where the store does not answer about parts, or something else than MD5 is in the ETag.
    private func partBytes(
        _ number: Int64, of count: Int64, _ key: ObjectKey, _ reading: ObjectReading
    ) async throws -> Int64? {
        var call = S3Call(.headObject, key: fullKey(key))
        call.query = [("partNumber", Array("\(number)".utf8))]
        if let version = reading.version { call.query.append(("versionId", Array(version.text.utf8))) }
        do {
            let head = try await client.send(call).head
            guard head.value("x-amz-mp-parts-count").flatMap(strictInteger) == count,
                head.value("etag") == reading.etag.map({ "\"\($0)\"" }),
                ["AES256", nil].contains(head.value("x-amz-server-side-encryption")),
                head.value("x-amz-server-side-encryption-customer-algorithm") == nil
            else { return nil }
            return head.value("content-length").flatMap(strictInteger)
        } catch let error as S3ServiceError where !error.isTransient {
            return nil
        } catch {
            throw await described(error)
        }
    }
}

/// A file in scratch that a transport's thread writes, hashing on the way.
final class DownloadFile: Sendable {
    private struct State {
        var handle: FileHandle
        var hasher: ContentHasher
        var size: Int64 = 0
        /// Of the parts that are whole.
        var partDigests: [UInt8] = []
        var inPart: Int64 = 0
    }
    private let path: String
    private let expected: ExpectedDigest?
    private let state: Mutex<State>

    init(_ path: String, _ expected: ExpectedDigest?) throws {
        self.path = path
        self.expected = expected
        guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: 0o600]),
            let handle = FileHandle(forWritingAtPath: path)
        else { throw DrillError(.couldNotLook, "cannot be written", at: path) }
        state = Mutex(State(handle: handle, hasher: Self.hasher(expected)))
    }

    private static func hasher(_ expected: ExpectedDigest?) -> ContentHasher {
        switch expected {
        case .whole(let stored): ContentHasher(stored.algorithm)
        case .parts, nil: ContentHasher(.md5)
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        try state.withLock { state in
            do {
                try state.handle.write(contentsOf: bytes)
            } catch {
                throw DrillError(
                    .couldNotLook, "cannot be written", at: path, hints: ["Is the disk full?"], cause: error)
            }
            state.size += Int64(bytes.count)
            switch expected {
            case nil: break
            case .whole: state.hasher.update(bytes)
            case .parts(let partBytes, _):
                var rest = bytes[...]
                while !rest.isEmpty {
                    let head = rest.prefix(Int(partBytes - state.inPart))
                    state.hasher.update(UnsafeRawBufferPointer(rebasing: head))
                    state.inPart += Int64(head.count)
                    rest = rest.dropFirst(head.count)
                    if state.inPart == partBytes { Self.endPart(&state) }
                }
            }
        }
    }

    private static func endPart(_ state: inout State) {
        state.partDigests += state.hasher.digest
        state.hasher = ContentHasher(.md5)
        state.inPart = 0
    }

    func close() throws -> (sizeBytes: Int64, isAsKept: Bool) {
        try state.withLock { state in
            try state.handle.close()
            switch expected {
            case nil: return (state.size, true)
            case .whole(let stored): return (state.size, stored.digest == state.hasher.digest)
            case .parts(_, let etag):
                if state.inPart > 0 { Self.endPart(&state) }
                var whole = ContentHasher(.md5)
                state.partDigests.withUnsafeBytes { whole.update($0) }
                return (state.size, "\(hexadecimal(whole.digest))-\(state.partDigests.count / 16)" == etag)
            }
        }
    }
}
