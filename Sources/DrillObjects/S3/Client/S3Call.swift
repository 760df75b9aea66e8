import Crypto
import DrillCore
import Foundation

/// What a request asks of S3: what it is counted as, and what must be granted for it.
enum S3Operation: String, Sendable, CaseIterable {
    case listObjects = "ListObjectsV2"
    case listVersions = "ListObjectVersions"
    case headObject = "HeadObject"
    case getObject = "GetObject"
    case headBucket = "HeadBucket"
    case bucketLocation = "GetBucketLocation"
    case bucketVersioning = "GetBucketVersioning"
    case bucketLifecycle = "GetBucketLifecycleConfiguration"
    case objectLock = "GetObjectLockConfiguration"
    case listMultipartUploads = "ListMultipartUploads"
    // These write, and are sent only to a run's own scratch; `muster mark` puts its markers beside.
    case putObject = "PutObject"
    case copyObject = "CopyObject"
    case createMultipartUpload = "CreateMultipartUpload"
    case uploadPart = "UploadPart"
    case uploadPartCopy = "UploadPartCopy"
    case completeMultipartUpload = "CompleteMultipartUpload"
    case abortMultipartUpload = "AbortMultipartUpload"
    case deleteObject = "DeleteObject"
    case deleteObjects = "DeleteObjects"

    /// The method of a writing request; nil for one that only reads.
    fileprivate var writingMethod: HTTPRequest.Method? {
        switch self {
        case .putObject, .copyObject, .uploadPart, .uploadPartCopy: .put
        case .createMultipartUpload, .completeMultipartUpload, .deleteObjects: .post
        case .abortMultipartUpload, .deleteObject: .delete
        default: nil
        }
    }

    /// What it is counted and paid as.
    var request: TrafficTotals.Request {
        switch self {
        case .listObjects, .listVersions, .listMultipartUploads: .list
        case .headObject, .headBucket: .head
        case .getObject, .bucketLocation, .bucketVersioning, .bucketLifecycle, .objectLock: .get
        case .putObject, .copyObject, .createMultipartUpload, .uploadPart, .uploadPartCopy, .completeMultipartUpload:
            .write
        case .abortMultipartUpload, .deleteObject, .deleteObjects: .delete
        }
    }

    /// The IAM actions that the reader needs, for a person whose access was denied.
    var permissions: String {
        switch self {
        case .listObjects, .headBucket: "s3:ListBucket"
        case .listVersions: "s3:ListBucketVersions"
        case .headObject, .getObject:
            "s3:GetObject (s3:GetObjectVersion for versions, kms:Decrypt where SSE-KMS is used, s3:ListBucket to tell 404 from 403)"
        case .bucketLocation: "s3:GetBucketLocation"
        case .bucketVersioning: "s3:GetBucketVersioning"
        case .bucketLifecycle: "s3:GetLifecycleConfiguration"
        case .objectLock: "s3:GetBucketObjectLockConfiguration"
        case .listMultipartUploads: "s3:ListBucketMultipartUploads"
        case .putObject, .createMultipartUpload, .uploadPart, .completeMultipartUpload: "s3:PutObject"
        case .copyObject, .uploadPartCopy:
            "s3:PutObject on the scratch bucket and s3:GetObject (s3:GetObjectVersion for versions) on the source"
        case .abortMultipartUpload: "s3:AbortMultipartUpload"
        case .deleteObject, .deleteObjects: "s3:DeleteObject and s3:DeleteObjectVersion"
        }
    }
}

/// One request to a bucket, before it is signed.
struct S3Call: Sendable {
    let operation: S3Operation
    let method: HTTPRequest.Method
    /// The full key, with the store's prefix; nil for the bucket itself.
    let key: [UInt8]?
    var query: [(name: String, value: [UInt8]?)] = []
    var headers: [(name: String, value: String)] = []
    private(set) var body: [UInt8] = []
    var timeout: Duration = .seconds(300)
    /// How long the answer's body is thought to be; 0 where that is not known.
    var expectedBodyBytes = 0

    /// The only place that a writing request may be sent to; nil for one that only reads.
    let scratch: ScratchPlace?

    /// A request that only reads, whatever the operation.
    init(_ operation: S3Operation, key: [UInt8]? = nil, query: [(name: String, value: [UInt8]?)] = []) {
        self.operation = operation
        self.key = key
        self.query = query
        method = operation == .headObject || operation == .headBucket ? .head : .get
        scratch = nil
    }

    /// An object that `muster mark` puts into the production bucket.
    init(marker key: [UInt8], _ content: [UInt8]) {
        operation = .putObject
        method = .put
        self.key = key
        headers = [("content-type", "text/plain; charset=utf-8")]
        body = content
        scratch = nil
    }

    /// A request that writes, to one key of a run's scratch. Throws where the key lies anywhere else.
    init(
        writing operation: S3Operation, to place: ScratchPlace, fullKey: [UInt8],
        query: [(name: String, value: [UInt8]?)] = [], headers: [(name: String, value: String)] = [], body: [UInt8] = []
    ) throws {
        try Self.check(fullKey, place)
        self.operation = operation
        self.key = fullKey
        self.query = query
        self.headers = headers
        self.body = body
        method = operation.writingMethod ?? .get
        scratch = place
    }

    /// A request that deletes these keys or versions, all of them in a run's scratch; at most 1,000.
    init(deleting entries: [(key: [UInt8], version: [UInt8]?)], in place: ScratchPlace) throws {
        var body = Array("<Delete><Quiet>true</Quiet>".utf8)
        for entry in entries {
            try Self.check(entry.key, place)
            body += Array("<Object>".utf8)
            XMLWriting.append("Key", entry.key, to: &body)
            if let version = entry.version { XMLWriting.append("VersionId", version, to: &body) }
            body += Array("</Object>".utf8)
        }
        body += Array("</Delete>".utf8)
        operation = .deleteObjects
        method = .post
        key = nil
        query = [("delete", nil)]
        headers = [("content-md5", Data(Insecure.MD5.hash(data: body)).base64EncodedString())]
        self.body = body
        scratch = place
    }

    private static func check(_ key: [UInt8], _ place: ScratchPlace) throws {
        guard key.starts(with: place.settings.prefix), key.count > place.settings.prefix.count else {
            throw DrillError(
                .couldNotLook, "\(printable(key)) is no key of this run's scratch, and nothing else is written to",
                at: place.place)
        }
    }
}

/// S3's answer was an error.
struct S3ServiceError: Error, Sendable {
    var operation: S3Operation
    var status: Int
    /// S3's word, such as `NoSuchBucket`; nil where the answer had no such body (every HEAD).
    var code: String?
    var message: String
    /// Of `InvalidObjectState`: the tier or the class that must be restored from.
    var archive: String?
    var headers: HTTPHead
    /// True where the answer shows that it was S3 that answered (S30).
    var isFromS3: Bool

    init(_ operation: S3Operation, _ response: HTTPResponse) {
        let body = S3ErrorBody(response.body)
        self.operation = operation
        status = response.status
        code = body?.code
        message = body?.message ?? ""
        archive = body?.archive
        headers = response.head
        isFromS3 =
            body != nil || response.head.value("x-amz-request-id") != nil || response.head.value("x-amz-id-2") != nil
    }

    init(_ operation: S3Operation, status: Int, body: S3ErrorBody, headers: HTTPHead) {
        self.operation = operation
        self.status = status
        code = body.code
        message = body.message
        self.headers = headers
        isFromS3 = true
    }

    /// Asking once more, later, may help.
    var isTransient: Bool {
        status >= 500 && status != 501
            || ["SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "ThrottlingException"].contains(
                code ?? "")
    }
}

extension DrillError {
    /// What a failed request means to the person who reads the report; never its URL's query, never a response's body
    /// (X2).
    init(s3 failure: any Error, at place: String, credentials: String? = nil) {
        switch failure {
        case let failure as DrillError: self = failure
        case let failure as S3ServiceError: self = Self.describe(failure, at: place, credentials: credentials)
        case let failure as HTTPFailure:
            var hints: [String] = []
            switch failure.kind {
            case .tls:
                hints = [
                    "Name the authority's certificate in `ca_file`; `insecure: true` would be printed as a waiver."
                ]
            case .cannotResolve, .cannotConnect: hints = ["Check `endpoint` and `region`."]
            default: break
            }
            self = DrillError(.couldNotLook, failure.what, at: place, hints: hints, cause: failure)
        default: self = DrillError(wrapping: failure, at: place)
        }
    }

    private static func describe(_ error: S3ServiceError, at place: String, credentials: String?) -> DrillError {
        let word = error.code.map { " (\($0)\(error.message.isEmpty ? "" : ": " + error.message))" } ?? ""
        let what = "\(error.operation.rawValue) was answered with HTTP \(error.status)\(word)"
        var hints: [String] = []
        switch (error.status, error.code ?? "") {
        case (_, "NoSuchBucket"): hints = ["There is no such bucket: check its name, `endpoint` and `region`."]
        case (_, "InvalidAccessKeyId"), (_, "SignatureDoesNotMatch"), (_, "InvalidToken"), (_, "ExpiredToken"):
            hints = ["The credentials were refused; those that are used need \(error.operation.permissions)."]
        case (_, "AccessDenied"), (403, _), (401, _):
            let grantee = error.operation.writingMethod != nil ? "whoever writes there" : "the reader of the backup"
            hints = ["Grant \(error.operation.permissions) to \(grantee)."]
        case (_, "PermanentRedirect"), (301, _), (307, _), (308, _), (302, _):
            hints = ["A redirect to another host is never followed: correct `endpoint` or `region`."]
        case (501, _), (_, "NotImplemented"): hints = ["This store does not offer that operation."]
        case (404, _) where !error.isFromS3: hints = ["It was not S3 that answered: check `endpoint` and `path_style`."]
        default: break
        }
        if let credentials, error.status == 403 || error.status == 401 || error.status == 400 {
            hints.append("Credentials came from \(credentials).")
        }
        return DrillError(.couldNotLook, what, at: place, hints: hints, cause: error)
    }
}
