import Foundation

/// What a key may have been at the recovery point, with what is known of its bytes.
struct Candidate: Sendable {
    /// nil stands for "no object".
    var reading: ObjectReading?
    /// The store's own checksum, where it is comparable.
    var stored: StoredChecksum?
    /// What reading the bytes found; nil where they were not read.
    var content: ContentReading?
}

/// What a row's own evidence makes of several readings.
struct Settlement: Sendable {
    var judgement: ReferenceJudgement
    /// Among the candidates: which one the row means; nil where that is open, or none.
    var chosen: Int?
}

/// Settles several readings of a key by what the row says: its version ID decides, then its checksum with its size. What the row
/// says of neither leaves it ambiguous; what contradicts all of them is a finding.
func settle(
    _ expectation: Expectation, _ candidates: [Candidate], algorithm: ChecksumAlgorithm?
) -> Settlement {
    let described = candidates.map { describe($0.reading) }.joined(separator: " or ")
    func judged(_ candidate: Candidate) -> ReferenceJudgement {
        guard let reading = candidate.reading else {
            return .finding(.missing, expected: "an object", observed: "no object")
        }
        return judge(
            expectation, reading, content: candidate.content, stored: candidate.stored, algorithm: algorithm)
    }
    if let version = expectation.version, candidates.contains(where: { $0.reading?.version != nil }) {
        guard let chosen = candidates.firstIndex(where: { $0.reading?.version == version }) else {
            return Settlement(
                judgement: .finding(.staleVersion, expected: "version \(version)", observed: described))
        }
        return Settlement(judgement: judged(candidates[chosen]), chosen: chosen)
    }
    let judgements = candidates.map(judged)
    // Bytes that the row's checksum and size name are what it means, in whichever of the versions they are.
    let proven = candidates.indices.first { index in
        guard expectation.digest != nil, expectation.sizeBytes != nil, judgements[index] == .passed else {
            return false
        }
        return candidates[index].content != nil || candidates[index].stored.map { $0.algorithm == algorithm } ?? false
    }
    if let proven { return Settlement(judgement: .passed, chosen: proven) }
    // Every reading contradicts the row: whichever is true, the reference is not met.
    if judgements.allSatisfy({ $0 != .passed }), let first = judgements.first { return Settlement(judgement: first) }
    return Settlement(judgement: .ambiguous(observed: described))
}

private func describe(_ reading: ObjectReading?) -> String {
    guard let reading else { return "no object" }
    let version = reading.version.map { "version \($0), " } ?? ""
    let time = reading.modifiedAt.map { ", last modified \(rfc3339($0))" } ?? ""
    return "\(version)\(reading.sizeBytes) bytes\(time)"
}

/// A reference to a key whose history leaves several readings.
struct AmbiguousKey: Sendable {
    let store: any ObjectStore
    let key: ObjectKey
    let readings: [ObjectReading?]
    let algorithm: ChecksumAlgorithm?

    struct Outcome: Sendable {
        var judgement: ReferenceJudgement
        var cause = Cause.unknown
        /// Which one the row means, with all that was learnt of it; nil where that is open.
        var chosen: Candidate?
        /// The bytes of how many objects were read, and how many bytes.
        var objectsRead: Int64 = 0
        var bytesRead: Int64 = 0
    }

    /// - Parameter reads: Whether the probe reads the bytes of what the row means. Where the row's checksum is all that can decide
    ///   and the store keeps none to compare it with, the bytes are read in any case.
    func outcome(_ expectation: Expectation, reads: Bool) async throws -> Outcome {
        var candidates = readings.map { Candidate(reading: $0) }
        if expectation.digest != nil, store.keepsChecksums {
            for index in candidates.indices {
                guard let reading = candidates[index].reading else { continue }
                candidates[index].stored = try await store.storedChecksum(
                    of: key, reading: reading, preferring: algorithm)
            }
        }
        var outcome = Outcome(judgement: .passed)
        var settlement = settle(expectation, candidates, algorithm: algorithm)
        if case .ambiguous = settlement.judgement, expectation.digest != nil, let size = expectation.sizeBytes {
            for index in candidates.indices where candidates[index].stored == nil {
                guard let reading = candidates[index].reading, reading.sizeBytes == size, reading.archived == nil
                else { continue }
                // What cannot be read decides nothing.
                if case .success(let content) = try await content(reading, algorithm, &outcome) {
                    candidates[index].content = content
                }
            }
            settlement = settle(expectation, candidates, algorithm: algorithm)
        }
        outcome.judgement = settlement.judgement
        guard let chosen = settlement.chosen, let reading = candidates[chosen].reading else { return outcome }
        if settlement.judgement == .passed {
            if let archived = reading.archived {
                outcome.judgement = .finding(.unreadable, expected: "readable bytes", observed: archived)
                outcome.cause = .archived
            } else if reads, candidates[chosen].content == nil {
                if expectation.digest == nil, store.keepsChecksums {
                    candidates[chosen].stored = try await store.storedChecksum(
                        of: key, reading: reading, preferring: nil)
                }
                let hashing = expectation.digest == nil ? candidates[chosen].stored?.algorithm : algorithm
                switch try await content(reading, hashing, &outcome) {
                case .success(let content):
                    candidates[chosen].content = content
                    outcome.judgement = judge(
                        expectation, reading, content: content, stored: candidates[chosen].stored, algorithm: algorithm)
                case .failure(let unreadable):
                    outcome.judgement = .finding(
                        .unreadable, expected: "readable bytes", observed: unreadable.reason)
                    outcome.cause = unreadable.cause
                }
            }
        }
        outcome.chosen = candidates[chosen]
        return outcome
    }

    private func content(
        _ reading: ObjectReading, _ algorithm: ChecksumAlgorithm?, _ outcome: inout Outcome
    ) async throws -> Result<ContentReading, ContentUnreadable> {
        do {
            let content = try await store.content(of: key, reading: reading, algorithm: algorithm ?? .sha256)
            outcome.objectsRead += 1
            outcome.bytesRead += content.sizeBytes
            return .success(content)
        } catch let unreadable as ContentUnreadable {
            return .failure(unreadable)
        }
    }
}
