import DrillCore

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
    case putObject = "PutObject"

    /// What it is counted and paid as.
    var request: TrafficTotals.Request {
        switch self {
        case .listObjects, .listVersions: .list
        case .headObject, .headBucket: .head
        case .getObject, .bucketLocation, .bucketVersioning, .bucketLifecycle: .get
        case .putObject: .write
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
        case .putObject: "s3:PutObject"
        }
    }
}

/// One request to a bucket, before it is signed.
struct S3Call: Sendable {
    var operation: S3Operation
    var method: HTTPRequest.Method = .get
    /// The full key, with the store's prefix; nil for the bucket itself.
    var key: [UInt8]?
    var query: [(name: String, value: [UInt8]?)] = []
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
    var timeout: Duration = .seconds(300)

    init(_ operation: S3Operation, key: [UInt8]? = nil, query: [(name: String, value: [UInt8]?)] = []) {
        self.operation = operation
        self.key = key
        self.query = query
        switch operation {
        case .headObject, .headBucket: method = .head
        case .putObject: method = .put
        default: break
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
            let grantee = error.operation == .putObject ? "whoever writes there" : "the reader of the backup"
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
