import DrillCore
import Foundation

/// Asks a bucket about single objects.
final class BucketReader: Sendable {
    let client: S3Client
    let prefix: [UInt8]
    let place: String

    init(_ settings: S3Settings, _ environment: DrillEnvironment) {
        let chain = CredentialChain(
            environment: environment, profile: settings.profile, region: settings.address.region)
        client = settings.client(environment, chain)
        prefix = settings.prefix
        place = settings.place
    }

    /// What HEAD tells of one object.
    struct Head: Sendable {
        var reading: ObjectReading
        /// The class or tier whose bytes cannot be read right now; nil where they can.
        var archive: String?
        var headers: HTTPHead
    }

    enum Answer: Sendable {
        case present(Head)
        /// `isMarker` where a delete marker hides it.
        case absent(isMarker: Bool)
        case denied
    }

    func fullKey(_ key: ObjectKey) -> [UInt8] { prefix + key.bytes }

    /// - Parameter checksums: Asks for the stored checksums too, which may need kms:Decrypt.
    func head(_ key: ObjectKey, version: VersionID? = nil, checksums: Bool = false) async throws -> Answer {
        var call = S3Call(.headObject, key: fullKey(key))
        if let version { call.query = [("versionId", Array(version.text.utf8))] }
        if checksums { call.headers = [("x-amz-checksum-mode", "ENABLED")] }
        do {
            return .present(try Self.parse(try await client.send(call).head, place: place))
        } catch let error as S3ServiceError {
            switch error.status {
            // Something else than S3 may answer 404 to anything (S30).
            case 404 where error.isFromS3:
                return .absent(isMarker: error.headers.value("x-amz-delete-marker") == "true")
            case 405: return .absent(isMarker: true)
            // Of an object that a key of the customer's own encrypts (SSE-C), 400.
            case 400, 403: return .denied
            default: throw await described(error)
            }
        } catch {
            throw await described(error)
        }
    }

    private static func parse(_ head: HTTPHead, place: String) throws -> Head {
        // A proxy may answer 200 to anything (S30).
        guard let size = head.value("content-length").flatMap(strictInteger), size >= 0,
            head.headers.contains(where: { $0.name.hasPrefix("x-amz-") })
        else {
            throw DrillError(
                .couldNotLook, "HeadObject was answered with 200, but not as S3 answers", at: place,
                hints: ["It was not S3 that answered: check `endpoint` and `path_style`."])
        }
        let modified = head.value("last-modified").flatMap(Timestamps.httpDateSeconds)
        var etag = head.value("etag")
        if let quoted = etag, quoted.count >= 2, quoted.hasPrefix("\""), quoted.hasSuffix("\"") {
            etag = String(quoted.dropFirst().dropLast())
        }
        let reading = ObjectReading(
            sizeBytes: size, modifiedAt: modified.map { Date(timeIntervalSince1970: Double($0)) },
            version: head.value("x-amz-version-id").map(VersionID.init), etag: etag)
        var archive = head.value("x-amz-archive-status")
        if let storage = head.value("x-amz-storage-class"), ["GLACIER", "DEEP_ARCHIVE"].contains(storage) {
            archive = storage
        }
        // `ongoing-request="false", expiry-date="…"`: a restored copy is there.
        if head.value("x-amz-restore")?.contains("ongoing-request=\"false\"") == true { archive = nil }
        return Head(reading: reading, archive: archive, headers: head)
    }

    /// The current object of that key.
    func presence(of key: ObjectKey) async throws -> Presence {
        switch try await head(key) {
        case .present(let head): return Self.presence(head)
        case .absent: return .absent
        case .denied:
            if try await tellsAbsence() {
                return .unreadable(reason: "access to the object is denied", cause: .accessDenied)
            }
            return .unknown(
                reason:
                    "access is denied for every key, also one that nobody has: grant s3:ListBucket and s3:GetObject (s3:GetObjectVersion for versions), "
                    + "so that a missing object is told from a forbidden one")
        }
    }

    static func presence(_ head: Head) -> Presence {
        if let archive = head.archive { return .unreadable(reason: ArchiveClass.note(archive), cause: .archived) }
        return .present(head.reading)
    }

    /// Whether a 404 can be told from a 403: a key that nobody has must be answered with 404 (S29). Asked anew after each
    /// denial, since the credentials themselves may have been revoked in the meantime.
    private func tellsAbsence() async throws -> Bool {
        let nonce = ObjectKey("muster-nobody-has-this-" + hexadecimal((0..<16).map { _ in UInt8.random(in: 0...255) }))
        if case .absent = try await head(nonce) { return true }
        return false
    }

    func described(_ error: any Error) async -> DrillError {
        await client.described(error, at: place)
    }

    // MARK: Checksums

    /// A checksum of the whole content as the store keeps it: never a composite one, nor a multipart ETag (S24, S25).
    func storedChecksum(
        _ key: ObjectKey, _ reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum? {
        guard case .present(let head) = try await head(key, version: reading.version, checksums: true) else {
            return nil
        }
        // Without a version, another object may have come in its place.
        if reading.version == nil, let etag = reading.etag, !etag.isEmpty, head.reading.etag != etag { return nil }
        return Self.storedChecksum(head.headers, etag: head.reading.etag, preferring: preferring)
    }

    static func storedChecksum(_ head: HTTPHead, etag: String?, preferring: ChecksumAlgorithm?) -> StoredChecksum? {
        var kept: [StoredChecksum] = []
        let isComposite = head.value("x-amz-checksum-type")?.uppercased() == "COMPOSITE"
        for algorithm in [ChecksumAlgorithm.sha256, .sha1, .crc64nvme, .crc32c, .crc32] where !isComposite {
            guard let text = head.value("x-amz-checksum-\(algorithm.rawValue)"), let digest = Data(base64Encoded: text),
                digest.count == algorithm.digestBytes
            else { continue }
            kept.append(StoredChecksum(algorithm: algorithm, digest: Array(digest)))
        }
        if let digest = etagDigest(head, etag) { kept.append(StoredChecksum(algorithm: .md5, digest: digest)) }
        return kept.first { $0.algorithm == preferring } ?? (preferring == nil ? kept.first : nil)
    }

    /// An ETag is the MD5 of the content where it has 32 digits and no key of the customer's or of KMS encrypts the
    /// object.
    private static func etagDigest(_ head: HTTPHead, _ etag: String?) -> [UInt8]? {
        guard let etag, etag.utf8.count == 32, ["AES256", nil].contains(head.value("x-amz-server-side-encryption")),
            head.value("x-amz-server-side-encryption-customer-algorithm") == nil
        else { return nil }
        var bytes: [UInt8] = []
        var digits = etag.utf8.makeIterator()
        while let first = digits.next(), let second = digits.next() {
            guard let high = URLEncoding.digit(first), let low = URLEncoding.digit(second) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }
}
