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
            guard let modified = head.reading.modifiedAt, let copyEndedAt else { return nil }
            let ended = Date(microseconds: copyEndedAt)
            let since = "The live bucket \(reader.place) has it since \(text(modified))"
            if modified > ended {
                return KeyEvidence(
                    cause: .uploadedAfterCopy, text: "\(since), after the copy's newest object (\(text(ended))).")
            }
            // With another size or checksum, an old object in the copy is no sign of anything.
            guard finding == .missing else { return nil }
            return KeyEvidence(
                cause: .notCopied, text: "\(since), before the copy's newest object was written (\(text(ended))).")
        case .absent:
            guard finding == .missing, let deletion = try await deletion(of: key) else { return nil }
            return KeyEvidence(
                cause: .deletedBeforeCopy,
                text: "The live bucket \(reader.place) had it until it was deleted at \(text(deletion)).")
        }
    }

    /// When the newest delete marker of that key was made; nil where the bucket kept none.
    private func deletion(of key: ObjectKey) async throws -> Date? {
        do {
            let history = try await KeyHistory.read(reader, key)
            guard history.count > 0, history.flags[0].contains(.deleteMarker) else { return nil }
            return Date(microseconds: history.modified[0])
        } catch let error as DrillError where error.cause is S3ServiceError {
            // It may not be versioned, or we may not ask: then there is no evidence.
            return nil
        }
    }

    private func text(_ date: Date) -> String { Timestamps.text(microseconds: date.microseconds) }
}

/// All versions and delete markers of one key.
enum KeyHistory {
    /// Newest first; empty where there are none.
    static func read(_ reader: BucketReader, _ key: ObjectKey) async throws -> ListedEntries {
        let full = reader.fullKey(key)
        let source = ListingSource(reader.client, .versions, prefix: full, place: reader.place)
        var history = ListedEntries()
        var cursor = ListingCursor()
        while true {
            let page = try await source.page(cursor)
            for index in 0..<page.entries.count {
                // Longer keys with this one as their prefix come behind it.
                guard page.entries.keys[index].elementsEqual(full) else { return history }
                history.append(page.entries, index)
            }
            guard let next = page.next else { return history }
            cursor = next
        }
    }
}
