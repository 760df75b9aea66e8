import DrillCore

/// A store whose objects can be brought into scratch, bytes and all.
protocol CopySource: ObjectStore {
    /// Hands on these bytes of the object, in order. Throws ``ContentUnreadable`` where that is a finding, and
    /// `couldNotLook`, with an ``HTTPFailure`` as its cause where the transfer broke off.
    ///
    /// - Returns: S3's answer, whose status is 200 where all bytes came, whatever was asked for (S27); nil of a file.
    func read(
        _ key: ObjectKey, _ reading: ObjectReading, _ range: Range<Int64>,
        receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse?
    /// Of objects in S3.
    var bucketReader: BucketReader? { get }
}

extension CopySource {
    var bucketReader: BucketReader? { nil }

    func read(
        _ key: ObjectKey, _ reading: ObjectReading, _ range: Range<Int64>,
        receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse? {
        guard let bucketReader else {
            throw DrillError(.couldNotLook, "objects of this kind cannot be copied", at: place)
        }
        return try await bucketReader.read(
            key, reading, range: range == 0..<reading.sizeBytes ? nil : range, checksums: true, receive: receive)
    }
}

/// What became of one object.
enum CopyOutcome: Sendable {
    /// nil where its bytes did not pass through here.
    case copied(sha256: [UInt8]?)
    case unreadable(ContentUnreadable)
    case damaged(ContentDamage)
}

extension ContentDamage {
    static func size(listed: Int64, came: String) -> ContentDamage {
        ContentDamage(kind: .sizeMismatch, expected: "\(listed) bytes as listed", observed: came)
    }

    static func checksum(_ stored: StoredChecksum, _ digest: [UInt8]) -> ContentDamage {
        ContentDamage(
            kind: .checksumMismatch,
            expected: "\(stored.algorithm.rawValue) \(hexadecimal(stored.digest)) as the store recorded",
            observed: "\(stored.algorithm.rawValue) \(hexadecimal(digest))")
    }
}

/// Where copies go.
protocol CopyDestination: Sendable {
    /// For a person, and for `MUSTER_OBJECTS`.
    var place: String { get }
    /// How many objects of that source are best copied at a time.
    func concurrency(for source: any CopySource) -> Int
    /// Throws where there is no room for so many objects and bytes, before anything is copied.
    func prepare(objects: Int64, bytes: Int64) async throws
    /// Copies a present object, verified on the way. What is whole already is not fetched again.
    func copy(_ entry: CopyEntry, of source: any CopySource) async throws -> CopyOutcome
    /// Below `place`.
    func name(of key: ObjectKey, bucket: String) -> [UInt8]

    /// Whether there is a copy of that key.
    func has(_ key: ObjectKey, bucket: String) async throws -> Bool
    /// Reads and hashes the copy. `couldNotLook` where there is none.
    func content(
        of key: ObjectKey, bucket: String, sizeBytes: Int64, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading
    /// Whether hashing a copy costs no request.
    var isLocal: Bool { get }
    /// Takes the manifest's next lines.
    func appendToManifest(_ lines: [UInt8]) async throws
    func finishManifest() async throws
}

/// A bucket's name as one name of a path: what may stand there stays, other bytes become `%XX`.
func folderName(ofBucket bucket: String) -> String {
    var name = ""
    for byte in bucket.utf8 {
        let isPlain = URLEncoding.isUnreserved(byte) && byte != UInt8(ascii: "~")
        name += isPlain ? String(UnicodeScalar(byte)) : "%" + hexadecimal([byte]).uppercased()
    }
    if name == "." || name == ".." { name = name.replacing(".", with: "%2E") }
    return name.utf8.count <= 200 ? name : hexadecimal(ContentHasher.sha256(of: Array(bucket.utf8)))
}
