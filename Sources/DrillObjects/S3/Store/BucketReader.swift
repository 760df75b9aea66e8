import DrillCore
import Foundation
import Synchronization

/// Asks a bucket about single objects.
final class BucketReader: Sendable {
    let client: S3Client
    let prefix: [UInt8]
    let place: String
    let credentials: CredentialChain

    /// Whether a 404 can be told from a 403: a key that nobody has must be answered with 404 (S29).
    private enum Candour: Sendable { case tellsAbsence, hidesAbsence }
    private let candour = Mutex<Candour?>(nil)

    init(_ settings: S3Settings, _ environment: DrillEnvironment) {
        let chain = CredentialChain(
            environment: environment, profile: settings.profile, region: settings.address.region)
        client = settings.client(environment, chain)
        credentials = chain
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
            case 403: return .denied
            default: throw await described(error)
            }
        } catch {
            throw await described(error)
        }
    }

    private static func parse(_ head: HTTPHead, place: String) throws -> Head {
        guard let size = head.value("content-length").flatMap(strictInteger), size >= 0 else {
            throw DrillError(
                .couldNotLook, "HeadObject was answered without a length", at: place,
                hints: ["It may not be S3 that answered."])
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
                return .unreadable(reason: "access to the object is denied (HTTP 403)", cause: .accessDenied)
            }
            return .unknown(
                reason:
                    "HTTP 403 for every key, also one that nobody has: grant s3:ListBucket, so that a missing object is told from a "
                    + "forbidden one")
        }
    }

    static func presence(_ head: Head) -> Presence {
        if let archive = head.archive { return .unreadable(reason: ArchiveClass.note(archive), cause: .archived) }
        return .present(head.reading)
    }

    private func tellsAbsence() async throws -> Bool {
        if let known = candour.withLock({ $0 }) { return known == .tellsAbsence }
        let nonce = ObjectKey("muster-nobody-has-this-" + hexadecimal((0..<16).map { _ in UInt8.random(in: 0...255) }))
        let answer = try await head(nonce)
        let found: Candour = if case .absent = answer { .tellsAbsence } else { .hidesAbsence }
        candour.withLock { $0 = found }
        return found == .tellsAbsence
    }

    func described(_ error: any Error) async -> DrillError {
        DrillError(s3: error, at: place, credentials: await credentials.source)
    }

    // MARK: Bytes

    /// Reads the bytes of that version, or of the object as it was listed: one that changed since is not passed off as
    /// it (S22).
    ///
    /// - Parameters:
    ///   - range: nil for all of them. A server may answer with all even so: then the status is 200, not 206 (S27).
    ///   - checksums: Has the answer's head tell the stored checksums.
    @discardableResult
    func read(
        _ key: ObjectKey, _ reading: ObjectReading, range: Range<Int64>? = nil, checksums: Bool = false,
        receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        var call = S3Call(.getObject, key: fullKey(key))
        call.timeout = .seconds(86400)
        if let range { call.headers.append(("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")) }
        if checksums { call.headers.append(("x-amz-checksum-mode", "ENABLED")) }
        if let version = reading.version {
            call.query = [("versionId", Array(version.text.utf8))]
        } else if let etag = reading.etag, !etag.isEmpty {
            call.headers.append(("if-match", "\"\(etag)\""))
        }
        do {
            return try await client.stream(call, receive: receive)
        } catch let error as S3ServiceError {
            switch (error.status, error.code ?? "") {
            case (403, "InvalidObjectState"):
                throw ContentUnreadable(
                    reason: "archived: the object must be restored before it can be read", cause: .archived)
            case (403, _):
                throw ContentUnreadable(
                    reason: "access to the bytes is denied (\(error.code ?? "HTTP 403"))", cause: .accessDenied)
            case (400, let code) where code.hasPrefix("KMS"):
                throw ContentUnreadable(
                    reason: "the key that encrypts it cannot be used (\(code))", cause: .accessDenied)
            case (404, "NoSuchKey"), (404, "NoSuchVersion"):
                throw ContentUnreadable(
                    reason: "it was listed, but reading it says that it is not there", cause: .unknown)
            case (412, _):
                throw DrillError(
                    .couldNotLook, "an object changed between listing and reading: \(key)", at: place,
                    hints: ["The bucket is written to while it is drilled: drill a copy, or versions as of an instant."]
                )
            default: throw await described(error)
            }
        } catch let error as DrillError {
            throw error
        } catch {
            throw await described(error)
        }
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
