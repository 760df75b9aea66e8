import Foundation

/// What a row says about the object that it names, as far as the probe asked.
struct Expectation: Sendable {
    /// nil where the probe names no such column or the row holds NULL.
    var sizeBytes: Int64?
    /// The size in the words of a finding; nil where it is so many bytes.
    var sizeText: String?
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
        return .finding(
            .sizeMismatch, expected: expectation.sizeText ?? "\(size) bytes",
            observed: "\(reading.sizeBytes) bytes")
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
