import DrillCore
import Foundation

/// The lines of a manifest: a JSON object for each object that the inventory has, in order of bucket and key bytes.
///
/// `key_base64` holds the key's exact bytes; `key` is the same as text where they are UTF-8. `state` is `present` where there is a
/// copy, `file` its name below the manifest's folder, and `sha256` that of its bytes where they passed through here. Of other
/// states `reason` says why there is none.
enum CopyManifest {
    private struct Line: Encodable {
        var bucket: String
        var key: String?
        var keyBase64: String
        var state: String
        var file: String?
        var size: Int64
        var sha256: String?
        var version: String?
        var etag: String?
        var lastModified: String?
        var reason: String?

        enum CodingKeys: String, CodingKey {
            case bucket, key, state, file, size, sha256, version, etag, reason
            case keyBase64 = "key_base64"
            case lastModified = "last_modified"
        }
    }

    /// - Parameter file: nil where there is no copy.
    static func line(_ entry: CopyEntry, bucket: String, file: [UInt8]?, sha256: [UInt8]?) throws -> [UInt8] {
        let state =
            switch entry.state {
            case .present: "present"
            case .deleted: "deleted"
            case .notYetCreated: "not_yet_created"
            case .ambiguous: "ambiguous"
            case .unreadable: "unreadable"
            case .damaged: "damaged"
            }
        let line = Line(
            bucket: bucket, key: String(validating: entry.key.bytes, as: UTF8.self),
            keyBase64: Data(entry.key.bytes).base64EncodedString(), state: state,
            file: file.map { String(decoding: $0, as: UTF8.self) }, size: entry.reading.sizeBytes,
            sha256: sha256.map { hexadecimal($0) }, version: entry.reading.version?.text, etag: entry.reading.etag,
            lastModified: entry.reading.modifiedAt.map { rfc3339($0) },
            reason: entry.state == .present ? nil : entry.detail?.note)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return Array(try encoder.encode(line)) + Array("\n".utf8)
    }
}
