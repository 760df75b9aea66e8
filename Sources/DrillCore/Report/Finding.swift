import Foundation

package enum Verdict: String, Sendable, CaseIterable, Codable {
    case pass, inconclusive, fail

    /// `fail` outranks `inconclusive`, which outranks `pass`.
    package var rank: Int {
        switch self {
        case .pass: 0
        case .inconclusive: 1
        case .fail: 2
        }
    }

    package func combined(with other: Verdict) -> Verdict { other.rank > rank ? other : self }
}

package enum FindingKind: String, Sendable, CaseIterable {
    // In the order in which one reference is judged: the first that holds is its finding.
    case badReference = "bad_reference"
    case missing, unreadable, ambiguous
    case staleVersion = "stale_version"
    case sizeMismatch = "size_mismatch"
    case checksumMismatch = "checksum_mismatch"
    // Of other things than references.
    case orphan, sql
    case staleData = "stale_data"
    case structure, volume, integrity, command, objective, restore
}

package enum Cause: String, Sendable, CaseIterable {
    case uploadedAfterCopy = "uploaded_after_copy"
    case deletedBeforeCopy = "deleted_before_copy"
    case notCopied = "not_copied"
    case expiredVersion = "expired_version"
    case archived
    case accessDenied = "access_denied"
    case keyEncoding = "key_encoding"
    case otherBucket = "other_bucket"
    case neverExisted = "never_existed"
    case unknown
}

/// One reference, object or row for which the answer is bad. It names table, primary key, column and object, and no other value.
package struct Finding: Sendable {
    package var probe: String
    package var kind: FindingKind
    package var cause: Cause
    /// `schema.table` or, of a query, nil; for an orphan nil.
    package var relation: String?
    package var rowID: String?
    package var bucket: String?
    /// The exact bytes; of a `bad_reference` the raw value.
    package var objectKey: [UInt8]?
    package var expected: String?
    package var observed: String?
    /// What shows the cause, with instants.
    package var evidence: String?
    /// What a person does next.
    package var repair: String?
    /// False where the drill file only asks to report it (`orphans: report`).
    package var counts: Bool

    package init(
        probe: String, kind: FindingKind, cause: Cause = .unknown, relation: String? = nil, rowID: String? = nil,
        bucket: String? = nil, objectKey: [UInt8]? = nil, expected: String? = nil, observed: String? = nil,
        evidence: String? = nil, repair: String? = nil, counts: Bool = true
    ) {
        self.probe = probe
        self.kind = kind
        self.cause = cause
        self.relation = relation
        self.rowID = rowID
        self.bucket = bucket
        self.objectKey = objectKey
        self.expected = expected
        self.observed = observed
        self.evidence = evidence
        self.repair = repair
        self.counts = counts
    }
}
