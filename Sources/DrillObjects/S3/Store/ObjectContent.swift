import DrillCore
import Synchronization

extension BucketReader {
    private static let attempts = 3

    /// Reads and hashes all bytes. A transfer that breaks off is begun anew, from its first byte.
    func content(
        of key: ObjectKey, _ reading: ObjectReading, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        var attempt = 1
        while true {
            let bytes = HashedBytes(algorithm)
            do {
                try await read(key, reading) { bytes.update($0) }
                return bytes.reading
            } catch let error as DrillError {
                guard attempt < Self.attempts, let failure = error.cause as? HTTPFailure, failure.isTransient else {
                    throw error
                }
                attempt += 1
            }
        }
    }
}

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
