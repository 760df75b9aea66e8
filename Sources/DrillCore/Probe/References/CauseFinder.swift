import Foundation

/// Names a cause where the evidence at hand shows one: what the store knows, when the row last pointed at the object, when the
/// database was backed up, when the copy was written, and what an older copy held.
struct CauseFinder: Sendable {
    let set: RestoredSet
    let store: any ObjectStore

    /// A copy that was written over a longer span is one that is synced again and again: its first file says nothing of the last run.
    private static let longestCopy: TimeInterval = 86_400

    /// - Parameter changedAt: Microseconds since 1970 UTC; `Int64.min` or nil where the row does not say.
    func cause(of kind: FindingKind, key: ObjectKey, changedAt: Int64?) async throws -> (cause: Cause, text: String?) {
        if let evidence = try await store.evidence(about: key, finding: kind) { return (evidence.cause, evidence.text) }
        let changed = changedAt.flatMap { $0 == .min ? nil : Date(microseconds: $0) }
        let copied = await store.copiedBetween
        var sentences: [String] = []
        if let changed { sentences.append("The row last changed at \(rfc3339(changed)).") }
        if let point = set.recoveryPoint { sentences.append("The database is as of \(rfc3339(point)).") }
        if let copied {
            sentences.append(
                "As far as file times tell, the copy was written from \(rfc3339(copied.lowerBound)) to \(rfc3339(copied.upperBound))."
            )
            if let changed {
                let isOneRun = copied.upperBound.timeIntervalSince(copied.lowerBound) <= Self.longestCopy
                let begun = isOneRun ? copied.lowerBound : copied.upperBound
                if changed > begun {
                    sentences.append("So the row came to point here after the copy had begun.")
                    return (.uploadedAfterCopy, sentences.joined(separator: " "))
                }
            }
            if kind == .missing, let point = set.recoveryPoint, copied.lowerBound > point {
                for older in set.olderCopies {
                    guard let olderStore = older.objects[store.bucket],
                        case .present = try await olderStore.presence(of: key)
                    else { continue }
                    sentences.append(
                        "The copy of set \(older.setID) still holds the object, and this copy began after the database backup: "
                            + "it was deleted in between.")
                    return (.deletedBeforeCopy, sentences.joined(separator: " "))
                }
                sentences.append(
                    "The copy began \(spanText(copied.lowerBound.timeIntervalSince(point))) after the database backup: "
                        + "a deletion in between would explain it, but nothing here shows one.")
            }
        }
        return (.unknown, sentences.isEmpty ? nil : sentences.joined(separator: " "))
    }
}
