import DrillCore
import Foundation

/// The live bucket, read only, asked about keys with findings to tell their cause.
struct OriginBucket: Sendable {
    let reader: BucketReader

    init(_ reader: BucketReader) { self.reader = reader }

    /// - Parameter copyEndedAt: When the copy's newest object was written, microseconds since 1970 UTC; nil where
    ///   unknown.
    func evidence(about key: ObjectKey, finding: FindingKind, copyEndedAt: Int64?) async throws -> KeyEvidence? {
        guard [.missing, .sizeMismatch, .checksumMismatch].contains(finding), reader.cannotHold(key) == nil else {
            return nil
        }
        switch try await reader.head(key) {
        case .denied: return nil
        case .present(let head):
            guard let modified = head.reading.modifiedAt else { return nil }
            let since = "The live bucket \(reader.place) has it since \(text(modified))"
            let replication = Self.replication(head.headers)
            if let copyEndedAt, modified > Date(microseconds: copyEndedAt) {
                let ended = text(Date(microseconds: copyEndedAt))
                return KeyEvidence(
                    cause: .uploadedAfterCopy,
                    text: "\(since), after the copy's newest object (\(ended)).\(replication ?? "")")
            }
            // With another size or checksum, an old object in the copy is no sign of anything.
            guard finding == .missing else { return nil }
            if let copyEndedAt {
                let ended = text(Date(microseconds: copyEndedAt))
                return KeyEvidence(
                    cause: .notCopied,
                    text: "\(since), before the copy's newest object was written (\(ended)).\(replication ?? "")")
            }
            return replication.map { KeyEvidence(cause: .notCopied, text: "\(since).\($0)") }
        case .absent:
            guard finding == .missing, let deletion = try await deletion(of: key) else { return nil }
            return KeyEvidence(
                cause: .deletedBeforeCopy,
                text: "The live bucket \(reader.place) had it until it was deleted at \(text(deletion)).")
        }
    }

    /// What the live bucket's own versions say of a key that a replica of them lacks at the recovery point.
    func evidence(ofMissing key: ObjectKey, resolver: VersionResolver) async throws -> KeyEvidence? {
        guard reader.cannotHold(key) == nil, let history = try await historyIfAllowed(of: key), history.count > 0
        else { return nil }
        let resolution = resolver.resolve((0..<history.count).map(history.facts))
        let bucket = "The live bucket \(reader.place)"
        func time(_ index: Int) -> String { Timestamps.text(microseconds: history.modified[index]) }
        switch resolution.outcome {
        case .ambiguous: return nil
        case .current(let index):
            let version = history.reading(index).version
            var replication: String?
            if case .present(let head) = try await reader.head(key, version: version) {
                replication = Self.replication(head.headers)
            }
            return KeyEvidence(
                cause: .notCopied,
                text:
                    "\(bucket) keeps the version of then (\(version?.text ?? ""), of \(time(index))).\(replication ?? "")"
            )
        case .deleted(let index):
            return KeyEvidence(
                cause: .deletedBeforeCopy, text: "\(bucket) had it until it was deleted at \(time(index)).")
        case .notYetCreated(let index):
            return KeyEvidence(cause: .uploadedAfterCopy, text: "\(bucket) has it only since \(time(index)).")
        }
    }

    /// A sentence where the object waits for its replication, or failed to be replicated (S20).
    private static func replication(_ head: HTTPHead) -> String? {
        guard let status = head.value("x-amz-replication-status"), ["PENDING", "FAILED"].contains(status) else {
            return nil
        }
        return " Its replication status there is \(status)."
    }

    /// When the newest delete marker of that key was made; nil where the bucket kept none.
    private func deletion(of key: ObjectKey) async throws -> Date? {
        guard let history = try await historyIfAllowed(of: key), history.count > 0,
            history.flags[0].contains(.deleteMarker)
        else { return nil }
        return Date(microseconds: history.modified[0])
    }

    /// nil where the bucket is not versioned, or we may not ask: then there is no evidence.
    private func historyIfAllowed(of key: ObjectKey) async throws -> ListedEntries? {
        do {
            return try await KeyHistory.read(reader, key)
        } catch let error as DrillError where error.cause is S3ServiceError {
            return nil
        }
    }

    private func text(_ date: Date) -> String { Timestamps.text(microseconds: date.microseconds) }
}
