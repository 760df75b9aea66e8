import Crypto
import Foundation

/// The bytes of one version and what S3 says about them. Scripts fill in what a case needs and leave the rest.
package struct StandInObject: Sendable {
    package var body: [UInt8]
    /// Without quotes. An MD5 only for an unencrypted single-part object (S24).
    package var eTag: String
    package var contentType = "binary/octet-stream"
    /// Further headers to give back with the object, such as `Content-Encoding` or `x-amz-meta-…`.
    package var headers: [(name: String, value: String)] = []
    /// `STANDARD`, `GLACIER`, `DEEP_ARCHIVE`, `INTELLIGENT_TIERING`, …
    package var storageClass = "STANDARD"
    /// `ARCHIVE_ACCESS` or `DEEP_ARCHIVE_ACCESS` for an object of Intelligent-Tiering that went there.
    package var archiveStatus: String?
    /// `x-amz-restore`; `ongoing-request="false", …` makes an archived object readable.
    package var restore: String?
    /// `PENDING`, `COMPLETED`, `FAILED` or `REPLICA` (S20).
    package var replicationStatus: String?
    /// `AES256` or `aws:kms`.
    package var encryption = "AES256"
    package var checksum: ObjectChecksum?
    /// The sizes of the parts of a multipart object; empty for others.
    package var partSizes: [Int] = []

    /// - Parameter eTag: `nil` for the body's MD5.
    package init(_ body: [UInt8] = [], eTag: String? = nil) {
        self.body = body
        self.eTag = eTag ?? ETag.ofBytes(body)
    }

    /// An object as CompleteMultipartUpload leaves it.
    package init(parts: [[UInt8]], checksum: (algorithm: ObjectChecksum.Algorithm, kind: ObjectChecksum.Kind)? = nil) {
        body = parts.flatMap { $0 }
        eTag = ETag.ofParts(parts)
        partSizes = parts.map(\.count)
        self.checksum = checksum.map { ObjectChecksum($0.algorithm, ofParts: parts, kind: $0.kind) }
    }

    /// Whether GET is refused with `InvalidObjectState` (S26).
    var isArchived: Bool {
        if let restore, restore.hasPrefix("ongoing-request=\"false\"") { return false }
        return storageClass == "GLACIER" || storageClass == "DEEP_ARCHIVE" || archiveStatus != nil
    }
}

/// One entry of a key's history.
struct StandInVersion: Sendable {
    /// `null` for what was written while the bucket was not versioned or suspended.
    var versionID: String
    /// With its fraction of a second, by which versions are ordered though listings show whole seconds.
    var lastModified: Date
    /// Breaks ties of `lastModified`: the later call is the newer version.
    var sequence: Int
    /// `nil` for a delete marker.
    var object: StandInObject?

    var isDeleteMarker: Bool { object == nil }
}

enum ETag {
    static func ofBytes(_ bytes: [UInt8]) -> String { Bytes.hex(md5(bytes)) }

    static func ofParts(_ parts: [[UInt8]]) -> String { "\(ofBytes(parts.flatMap(md5)))-\(parts.count)" }

    static func md5(_ bytes: [UInt8]) -> [UInt8] { [UInt8](Insecure.MD5.hash(data: bytes)) }
}
