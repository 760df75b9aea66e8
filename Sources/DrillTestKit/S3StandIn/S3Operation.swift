/// What a request asks for, by the names of the Amazon S3 API Reference.
package enum S3Operation: String, Sendable, CaseIterable, Hashable {
    case listBuckets, createBucket, deleteBucket, headBucket, getBucketLocation
    case getBucketVersioning, putBucketVersioning
    case getBucketLifecycle, putBucketLifecycle, deleteBucketLifecycle
    case listObjects, listObjectsV2, listObjectVersions
    case headObject, getObject, getObjectAttributes, putObject, copyObject, deleteObject, deleteObjects
    case createMultipartUpload, uploadPart, uploadPartCopy, completeMultipartUpload, abortMultipartUpload
    case listMultipartUploads, listParts
    /// A sub-resource that the stand-in does not have; answered with 501.
    case unsupported

    /// All that list keys.
    package static let listings: Set<S3Operation> = [.listObjects, .listObjectsV2, .listObjectVersions]

    /// - Parameters:
    ///   - key: Empty for requests to the bucket itself.
    ///   - names: The names of the query's items.
    init(method: String, bucket: String?, key: [UInt8], names: Set<String>, isCopy: Bool) {
        guard bucket != nil else {
            self = method == "GET" ? .listBuckets : .unsupported
            return
        }
        self = key.isEmpty ? Self.ofBucket(method, names) : Self.ofObject(method, names, isCopy)
    }

    private static let foreignSubresources: Set<String> = [
        "acl", "policy", "policyStatus", "cors", "tagging", "encryption", "object-lock", "replication", "website",
        "logging", "notification", "accelerate", "requestPayment", "ownershipControls", "publicAccessBlock",
        "analytics", "inventory", "metrics", "intelligent-tiering", "retention", "legal-hold", "torrent", "restore",
        "select",
    ]

    private static func ofBucket(_ method: String, _ names: Set<String>) -> S3Operation {
        guard names.isDisjoint(with: foreignSubresources) else { return .unsupported }
        switch method {
        case "HEAD": return .headBucket
        case "GET" where names.contains("location"): return .getBucketLocation
        case "GET" where names.contains("versioning"): return .getBucketVersioning
        case "GET" where names.contains("lifecycle"): return .getBucketLifecycle
        case "GET" where names.contains("versions"): return .listObjectVersions
        case "GET" where names.contains("uploads"): return .listMultipartUploads
        case "GET": return names.contains("list-type") ? .listObjectsV2 : .listObjects
        case "PUT" where names.contains("versioning"): return .putBucketVersioning
        case "PUT" where names.contains("lifecycle"): return .putBucketLifecycle
        case "PUT": return .createBucket
        case "DELETE" where names.contains("lifecycle"): return .deleteBucketLifecycle
        case "DELETE": return .deleteBucket
        case "POST" where names.contains("delete"): return .deleteObjects
        default: return .unsupported
        }
    }

    private static func ofObject(_ method: String, _ names: Set<String>, _ isCopy: Bool) -> S3Operation {
        guard names.isDisjoint(with: foreignSubresources) else { return .unsupported }
        switch method {
        case "HEAD": return .headObject
        case "GET" where names.contains("uploadId"): return .listParts
        case "GET" where names.contains("attributes"): return .getObjectAttributes
        case "GET": return .getObject
        case "PUT" where names.contains("uploadId"): return isCopy ? .uploadPartCopy : .uploadPart
        case "PUT": return isCopy ? .copyObject : .putObject
        case "POST" where names.contains("uploads"): return .createMultipartUpload
        case "POST" where names.contains("uploadId"): return .completeMultipartUpload
        case "DELETE" where names.contains("uploadId"): return .abortMultipartUpload
        case "DELETE": return .deleteObject
        default: return .unsupported
        }
    }
}
