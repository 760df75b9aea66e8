import DrillCore
import Synchronization

extension BucketReader {
    /// Attempts in a row that may bring not one byte.
    private static let fruitlessAttempts = 4

    /// One request for the bytes of that version, or of the object as it was listed: one that changed since is not passed
    /// off as it (S22).
    ///
    /// - Parameters:
    ///   - range: nil for all of them. A server may answer with all even so: then the status is 200, not 206 (S27).
    ///   - checksums: Has the answer's head tell the stored checksums.
    @discardableResult
    func read(
        _ key: ObjectKey, _ reading: ObjectReading, range: Range<Int64>? = nil, checksums: Bool = false,
        receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        var call = S3Call(.getObject, key: fullKey(key))
        call.timeout = .seconds(86400)
        if let range { call.headers.append(("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
        if checksums { call.headers.append(("x-amz-checksum-mode", "ENABLED")) }
        if let version = reading.version {
            call.query = [("versionId", Array(version.text.utf8))]
        } else if let etag = reading.etag, !etag.isEmpty {
            call.headers.append(("if-match", "\"\(etag)\""))
        }
        do {
            return try await client.stream(call, receive: receive)
        } catch let error as S3ServiceError {
            throw await unreadable(error, key)
        } catch {
            throw await described(error)
        }
    }

    /// Hands on all bytes. A transfer that breaks off goes on where it ended, where it is sure to be the same object.
    func readWhole(
        _ key: ObjectKey, _ reading: ObjectReading, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws {
        let received = Mutex<Int64>(0)
        var fruitless = 0
        while true {
            let start = received.withLock { $0 }
            // It broke off behind the last byte.
            if start > 0, start == reading.sizeBytes { return }
            do {
                let range = start > 0 ? start..<max(start + 1, reading.sizeBytes) : nil
                let response = try await read(key, reading, range: range) { bytes in
                    received.withLock { $0 += Int64(bytes.count) }
                    try receive(bytes)
                }
                // The whole object in place of its rest (S27): what was handed on is not what it has.
                guard start == 0 || isRest(response.head, from: start) else {
                    throw DrillError(
                        .couldNotLook, "a transfer that broke off was not gone on with: the server does not do ranges",
                        at: place, cause: BrokenOff())
                }
                return
            } catch let error as DrillError {
                guard let failure = error.cause as? HTTPFailure, failure.isTransient else { throw error }
                let gained = received.withLock { $0 } - start
                fruitless = gained > 0 ? 0 : fruitless + 1
                guard isPinned(reading) || start + gained == 0, fruitless < Self.fruitlessAttempts else { throw error }
                try await client.sleep(for: .milliseconds(Int.random(in: 0...(100 << fruitless))))
            }
        }
    }

    /// Whether a second request is sure to be answered with the same bytes, or refused.
    private func isPinned(_ reading: ObjectReading) -> Bool {
        reading.version != nil || !(reading.etag ?? "").isEmpty
    }

    private func isRest(_ head: HTTPHead, from start: Int64) -> Bool {
        head.status == 206 && head.value("content-range")?.hasPrefix("bytes \(start)-") ?? false
    }

    /// What it means that the bytes of a listed object cannot be had: `ContentUnreadable` where that is a finding.
    private func unreadable(_ error: S3ServiceError, _ key: ObjectKey) async -> any Error {
        switch (error.status, error.code ?? "") {
        case (403, "InvalidObjectState"):
            ContentUnreadable(reason: ArchiveClass.note(error.archive ?? "archived"), cause: .archived)
        case (_, "InvalidAccessKeyId"), (_, "SignatureDoesNotMatch"), (_, "InvalidToken"), (_, "ExpiredToken"),
            (_, "RequestTimeTooSkewed"):
            // Of who asks, not of the object.
            await described(error)
        case (403, _):
            ContentUnreadable(
                reason: "access to the bytes is denied (\(error.code ?? "HTTP 403"))", cause: .accessDenied)
        case (400, let code) where code.hasPrefix("KMS"):
            ContentUnreadable(reason: "the key that encrypts it cannot be used (\(code))", cause: .accessDenied)
        case (400, "InvalidRequest") where error.message.contains("encrypt"):
            ContentUnreadable(reason: "a key of the customer's own encrypts it (SSE-C)", cause: .accessDenied)
        case (404, "NoSuchKey"), (404, "NoSuchVersion"):
            ContentUnreadable(reason: "it was listed, but reading it says that it is not there", cause: .unknown)
        case (412, _):
            DrillError(
                .couldNotLook, "an object changed between listing and reading: \(key)", at: place,
                hints: ["The bucket is written to while it is drilled: drill a copy, or versions as of an instant."])
        default: await described(error)
        }
    }

    /// Reads and hashes all bytes. Where a broken transfer cannot be gone on with, it is begun anew, from its first byte.
    func content(
        of key: ObjectKey, _ reading: ObjectReading, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        try await afresh {
            let bytes = HashedBytes(algorithm)
            try await readWhole(key, reading) { bytes.update($0) }
            return bytes.reading
        }
    }

    /// Up to three times, where only another beginning may help.
    func afresh<Result>(_ body: () async throws -> Result) async throws -> Result {
        for _ in 0..<2 {
            do {
                return try await body()
            } catch let error as DrillError where error.cause is BrokenOff {
                continue
            } catch let error as DrillError {
                guard let failure = error.cause as? HTTPFailure, failure.isTransient else { throw error }
            }
        }
        return try await body()
    }
}

/// A transfer broke off, and the server does not go on where it ended.
private struct BrokenOff: Error {}

/// A running hash that a transport's thread feeds.
private final class HashedBytes: Sendable {
    private struct State {
        var hasher: ContentHasher
        var size: Int64 = 0
    }
    private let state: Mutex<State>

    init(_ algorithm: ChecksumAlgorithm) { state = Mutex(State(hasher: ContentHasher(algorithm))) }

    func update(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            state.hasher.update(bytes)
            state.size += Int64(bytes.count)
        }
    }

    var reading: ContentReading { state.withLock { ContentReading(sizeBytes: $0.size, digest: $0.hasher.digest) } }
}
