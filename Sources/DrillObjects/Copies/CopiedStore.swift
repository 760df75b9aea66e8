import DrillCore
import Foundation

/// The copies of one bucket in scratch, with what the inventory said of each key: probes judge the copies and still tell what
/// they would have told of the source. Of the source, only evidence is asked for.
final class CopiedStore<Destination: CopyDestination>: ObjectStore {
    private let copied: CopiedBucket
    private let destination: Destination
    private var source: any CopySource { copied.source }

    init(_ copied: CopiedBucket, at destination: Destination) {
        self.copied = copied
        self.destination = destination
    }

    var bucket: String { source.bucket }
    var place: String { "\(source.place), copied to \(destination.place)" }
    var copiedBetween: ClosedRange<Date>? { get async { await source.copiedBetween } }
    var usage: [String: Int64] {
        get async {
            await source.usage.merging(["objects copied": copied.tally.objects, "bytes copied": copied.tally.bytes]) {
                $0 + $1
            }
        }
    }
    var notes: [String] { get async { await source.notes } }
    var keepsChecksums: Bool { destination.isLocal || source.keepsChecksums }
    var preferredConcurrency: Int { destination.concurrency(for: source) }

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        KeptInventory(copied.spill, prefix: request.prefix)
    }

    /// What the source has and no listing named was not copied: nobody can say that the restored set has it.
    func presence(of key: ObjectKey) async throws -> Presence {
        let answer = try await source.presence(of: key)
        guard case .present = answer, try await !destination.has(key, bucket: bucket) else { return answer }
        return .unknown(
            reason: "\(key) answers in \(source.place) when asked by key, but no listing names it, so it was not copied"
        )
    }

    func cannotHold(_ key: ObjectKey) -> String? { source.cannotHold(key) }

    func content(of key: ObjectKey, reading: ObjectReading, algorithm: ChecksumAlgorithm) async throws -> ContentReading
    {
        try await destination.content(
            of: key, bucket: bucket, sizeBytes: reading.sizeBytes, algorithm: algorithm)
    }

    /// A copy at hand is hashed as the row asks: every checksum is comparable. What has no copy is judged by what the source keeps.
    func storedChecksum(
        of key: ObjectKey, reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum? {
        if destination.isLocal, try await destination.has(key, bucket: bucket) {
            guard let preferring else { return nil }
            let content = try await content(of: key, reading: reading, algorithm: preferring)
            return StoredChecksum(algorithm: preferring, digest: content.digest)
        }
        guard source.keepsChecksums else { return nil }
        return try await source.storedChecksum(of: key, reading: reading, preferring: preferring)
    }

    func evidence(about key: ObjectKey, finding: FindingKind) async throws -> KeyEvidence? {
        try await source.evidence(about: key, finding: finding)
    }
}
