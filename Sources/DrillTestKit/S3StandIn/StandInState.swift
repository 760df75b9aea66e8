import Foundation

/// What a policy can withhold, by the names of IAM actions.
package enum S3Permission: String, Sendable, CaseIterable {
    case listBucket = "s3:ListBucket"
    case listBucketVersions = "s3:ListBucketVersions"
    case getObject = "s3:GetObject"
    case getObjectVersion = "s3:GetObjectVersion"
    case getBucketLocation = "s3:GetBucketLocation"
    case getBucketVersioning = "s3:GetBucketVersioning"
    case getLifecycleConfiguration = "s3:GetLifecycleConfiguration"
    case putObject = "s3:PutObject"
    case deleteObject = "s3:DeleteObject"
    case deleteObjectVersion = "s3:DeleteObjectVersion"
    case administer = "s3:*"
    /// Needed to read objects that say `aws:kms`.
    case kmsDecrypt = "kms:Decrypt"

    static func needed(for request: StandInRequest) -> S3Permission {
        let hasVersion = request.queryValue("versionId") != nil
        switch request.operation {
        case .headBucket, .listObjects, .listObjectsV2: return .listBucket
        case .listObjectVersions: return .listBucketVersions
        case .headObject, .getObject, .getObjectAttributes: return hasVersion ? .getObjectVersion : .getObject
        case .getBucketLocation: return .getBucketLocation
        case .getBucketVersioning: return .getBucketVersioning
        case .getBucketLifecycle: return .getLifecycleConfiguration
        case .deleteObject, .deleteObjects: return hasVersion ? .deleteObjectVersion : .deleteObject
        case .putObject, .copyObject, .createMultipartUpload, .uploadPart, .uploadPartCopy, .completeMultipartUpload,
            .abortMultipartUpload, .listParts, .listMultipartUploads:
            return .putObject
        default: return .administer
        }
    }
}

/// Where stores that call themselves S3 differ; the defaults are Amazon's.
package struct StandInSettings: Sendable {
    package enum MultipartTime: Sendable { case initiation, completion }
    package enum WrongRegion: Sendable {
        /// 301 `PermanentRedirect`.
        case redirect
        /// 400 `AuthorizationHeaderMalformed`.
        case malformed
    }
    /// Milliseconds in listings, as Ceph writes them, where AWS has `.000Z`.
    package var listsMilliseconds = false
    /// What a multipart object's LastModified is (S15).
    package var multipartTime = MultipartTime.initiation
    /// The least size of every part but the last.
    package var minimumPartBytes = 5 << 20
    /// AWS sends listings without a length.
    package var sendsListingsChunked = true
    /// The region that this endpoint belongs to, and so what a client signs with that knows no better.
    package var region = "us-east-1"
    package var wrongRegion = WrongRegion.redirect
    /// Whether ListObjectVersions starts with the key of `key-marker` itself where no version is given, as Ceph does; AWS starts
    /// behind it.
    package var listsMarkerKey = false
    /// Whether PUT computes a CRC64NVME where the client sends no checksum, as AWS does since December 2024.
    package var addsChecksums = true
    /// Whether `S3StandIn.requests` keeps each request, and not only counts it.
    package var recordsRequests = true

    package init() {}
}

/// Everything that changes while the stand-in runs; guarded by `StandInServer`'s lock.
struct StandInState: Sendable {
    static let hostID = "bXVzdGVyIHN0YW5kLWluIGZvciBTMw=="

    var settings = StandInSettings()
    var buckets: [String: BucketState] = [:]
    var credentials: [String: StandInCredential] = [:]
    /// By access key; `""` for everybody.
    var denied: [String: Set<S3Permission>] = [:]
    var rules: [FaultRule] = []
    var clock: @Sendable () -> Date = { Date() }
    private var lastSequence = 0

    mutating func nextSequence() -> Int {
        lastSequence += 1
        return lastSequence
    }

    /// What a new version is called: 32 characters that tell nothing, or `null` outside of versioning.
    mutating func newVersionID(in bucket: String) -> String {
        buckets[bucket]?.versioning == .enabled ? newID() : "null"
    }

    mutating func newID() -> String {
        let alphabet = [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._".utf8)
        var generator = SeededGenerator(seed: UInt64(nextSequence()) &* 0xD134_2543_DE82_EF95)
        let characters = (0..<32).map { _ in alphabet[Int(generator.next() >> 58)] }
        return String(decoding: characters, as: UTF8.self)
    }

    func denials(for request: StandInRequest) -> Set<S3Permission> {
        denied["", default: []].union(denied[request.authorization?.accessKey ?? "anonymous", default: []])
    }

    /// Answers a request that is signed well enough.
    mutating func handle(
        _ request: StandInRequest, faults: [S3Fault.Listing], ignoresRange: Bool
    ) throws(S3Failure) -> StandInResponse {
        try checkRegion(request)
        let denied = denials(for: request)
        let needed = S3Permission.needed(for: request)
        guard !denied.contains(needed) else { throw refusal(needed, request) }
        guard let name = request.bucket else { return listBuckets() }
        if request.operation == .createBucket { return try createBucket(request, name) }
        guard let bucket = buckets[name] else { throw .noSuchBucket(name) }
        switch request.operation {
        case .listObjects, .listObjectsV2, .listObjectVersions: return try list(request, bucket, faults: faults)
        case .headObject, .getObject:
            return try read(request, bucket, denied: denied, ignoresRange: ignoresRange)
        case .getObjectAttributes: return try attributes(request, bucket, denied: denied)
        case .putObject: return try putObject(request, bucket)
        case .copyObject: return try copyObject(request, bucket, denied: denied)
        case .deleteObject: return try deleteObject(request, bucket)
        case .deleteObjects: return try deleteObjects(request, bucket)
        case .createMultipartUpload, .uploadPart, .uploadPartCopy, .completeMultipartUpload, .abortMultipartUpload,
            .listMultipartUploads, .listParts:
            return try multipart(request, bucket, denied: denied)
        case .headBucket, .deleteBucket, .getBucketLocation, .getBucketVersioning, .putBucketVersioning,
            .getBucketLifecycle, .putBucketLifecycle, .deleteBucketLifecycle:
            return try configure(request, bucket)
        case .unsupported, .listBuckets, .createBucket:
            throw S3Failure(
                501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        }
    }

    func refusal(_ permission: S3Permission, _ request: StandInRequest) -> S3Failure {
        let user = request.authorization?.accessKey ?? "anonymous"
        return S3Failure(
            403, "AccessDenied",
            "User: arn:aws:iam::111122223333:user/\(user) is not authorized to perform: \(permission.rawValue) "
                + "because no identity-based policy allows the \(permission.rawValue) action")
    }

    /// A bucket answers under its own region only (S34). Unsigned requests name none and pass.
    private func checkRegion(_ request: StandInRequest) throws(S3Failure) {
        guard request.operation != .createBucket, let signed = request.authorization?.region else { return }
        let name = request.bucket ?? ""
        let region = buckets[name]?.region ?? settings.region
        guard signed != region else { return }
        if settings.wrongRegion == .redirect, signed == settings.region {
            throw S3Failure(
                301, "PermanentRedirect",
                "The bucket you are attempting to access must be addressed using the specified endpoint. "
                    + "Please send all future requests to this endpoint.",
                details: [("Endpoint", "\(name).s3.\(region).localhost"), ("Bucket", name)],
                headers: [("x-amz-bucket-region", region)])
        }
        throw S3Failure(
            400, "AuthorizationHeaderMalformed",
            "The authorization header is malformed; the region '\(signed)' is wrong; expecting '\(region)'",
            details: [("Region", region)], headers: [("x-amz-bucket-region", region)])
    }
}
