import Foundation

/// What a row says about the object that it names, as far as the probe asked.
struct Expectation: Sendable {
    /// nil where the probe names no such column or the row holds NULL.
    var sizeBytes: Int64?
    var version: VersionID?
    var digest: [UInt8]?
}

/// The verdict on one reference whose key is known to the store.
enum ReferenceJudgement: Sendable, Equatable {
    case passed
    case finding(FindingKind, expected: String?, observed: String)
    /// Two readings remain: `ambiguous`, and the reference is unknown.
    case ambiguous(observed: String)
}

/// Compares one reading with what the row says, in the order of telling: version, size, checksum.
///
/// - Parameters:
///   - content: What reading the bytes found; nil where they were not read.
///   - stored: The store's own checksum of the content; nil where it has none that is comparable.
func judge(
    _ expectation: Expectation, _ reading: ObjectReading, content: ContentReading?, stored: StoredChecksum?,
    algorithm: ChecksumAlgorithm?
) -> ReferenceJudgement {
    if let version = expectation.version, let current = reading.version, version != current {
        return .finding(.staleVersion, expected: "version \(version)", observed: "version \(current)")
    }
    if let size = expectation.sizeBytes, size != reading.sizeBytes {
        return .finding(.sizeMismatch, expected: "\(size) bytes", observed: "\(reading.sizeBytes) bytes")
    }
    if let content, content.sizeBytes != reading.sizeBytes {
        return .finding(
            .sizeMismatch, expected: "\(reading.sizeBytes) bytes as listed", observed: "\(content.sizeBytes) bytes read"
        )
    }
    if let digest = expectation.digest, let algorithm {
        let observed = content?.digest ?? (stored?.algorithm == algorithm ? stored?.digest : nil)
        if let observed, observed != digest {
            return .finding(
                .checksumMismatch, expected: "\(algorithm.rawValue) \(hexadecimal(digest))",
                observed: "\(algorithm.rawValue) \(hexadecimal(observed))")
        }
    } else if let content, let stored, stored.digest != content.digest {
        return .finding(
            .checksumMismatch,
            expected: "\(stored.algorithm.rawValue) \(hexadecimal(stored.digest)) as the store recorded",
            observed: "\(stored.algorithm.rawValue) \(hexadecimal(content.digest))")
    }
    return .passed
}

/// Settles two readings of a key by what the row says: its version ID decides, then its checksum with its size. What the row
/// says of neither leaves it ambiguous; what contradicts both is a finding.
///
/// - Parameter readings: With the store's checksum of each, where known. A nil reading stands for "no object".
func settle(
    _ expectation: Expectation, _ readings: [(reading: ObjectReading?, stored: StoredChecksum?)],
    algorithm: ChecksumAlgorithm?
) -> ReferenceJudgement {
    let described = readings.map { describe($0.reading) }.joined(separator: " or ")
    if let version = expectation.version, readings.contains(where: { $0.reading?.version != nil }) {
        guard let chosen = readings.first(where: { $0.reading?.version == version }), let reading = chosen.reading
        else {
            return .finding(.staleVersion, expected: "version \(version)", observed: described)
        }
        return judge(expectation, reading, content: nil, stored: chosen.stored, algorithm: algorithm)
    }
    var judged: [(isProven: Bool, judgement: ReferenceJudgement)] = []
    for (reading, stored) in readings {
        guard let reading else {
            judged.append((false, .finding(.missing, expected: "an object", observed: "no object")))
            continue
        }
        let result = judge(expectation, reading, content: nil, stored: stored, algorithm: algorithm)
        let isProven = expectation.digest != nil && stored?.algorithm == algorithm && expectation.sizeBytes != nil
        judged.append((isProven && result == .passed, result))
    }
    if judged.filter(\.isProven).count == 1 { return .passed }
    // Every reading contradicts the row: whichever is true, the reference is not met.
    if judged.allSatisfy({ $0.judgement != .passed }), let first = judged.first { return first.judgement }
    return .ambiguous(observed: described)
}

private func describe(_ reading: ObjectReading?) -> String {
    guard let reading else { return "no object" }
    let version = reading.version.map { "version \($0), " } ?? ""
    let time = reading.modifiedAt.map { ", last modified \(rfc3339($0))" } ?? ""
    return "\(version)\(reading.sizeBytes) bytes\(time)"
}

/// Decodes a checksum column. nil where it is no digest of that algorithm in that encoding: the drill file or the row is wrong,
/// not the object (S25).
///
/// - Parameter isRaw: The column is `bytea` and holds the digest's own bytes.
func decodeDigest(
    _ text: ArraySlice<UInt8>, isRaw: Bool, _ algorithm: ChecksumAlgorithm,
    _ encoding: ReferenceSettings.ChecksumEncoding
) -> [UInt8]? {
    if isRaw { return text.count == algorithm.digestBytes ? Array(text) : nil }
    switch encoding {
    case .hex:
        var digits = text
        if digits.starts(with: Array("0x".utf8)) || digits.starts(with: Array("\\x".utf8)) {
            digits = digits.dropFirst(2)
        }
        guard digits.count == algorithm.digestBytes * 2 else { return nil }
        var bytes: [UInt8] = []
        var iterator = digits.makeIterator()
        while let first = iterator.next() {
            guard let high = hexadecimalValue(first), let low = iterator.next().flatMap(hexadecimalValue) else {
                return nil
            }
            bytes.append(high << 4 | low)
        }
        return bytes
    case .base64:
        guard let data = Data(base64Encoded: Data(text)), data.count == algorithm.digestBytes else { return nil }
        return Array(data)
    }
}
