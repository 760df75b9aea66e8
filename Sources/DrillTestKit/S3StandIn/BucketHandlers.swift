import Foundation

extension StandInState {
    func listBuckets() -> StandInResponse {
        var xml = XMLText(declaration: true)
        xml.element("ListAllMyBucketsResult", namespaced: true) { xml in
            xml.owner()
            xml.element("Buckets") { xml in
                for bucket in buckets.values.sorted(by: {
                    Bytes.compare([UInt8]($0.name.utf8), [UInt8]($1.name.utf8)) < 0
                }) {
                    xml.element("Bucket") { xml in
                        xml.element("Name", bucket.name)
                        xml.element(
                            "CreationDate", S3Time.xml(bucket.createdAt, milliseconds: settings.listsMilliseconds))
                    }
                }
            }
        }
        return .xml(xml.bytes)
    }

    mutating func createBucket(_ request: StandInRequest, _ name: String) throws(S3Failure) -> StandInResponse {
        let asked = XMLBody(bytes: request.body).first("LocationConstraint")?.string
        let region = asked ?? settings.region
        if buckets[name] != nil, region != "us-east-1" {
            throw S3Failure(
                409, "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
                details: [("BucketName", name)])
        }
        if buckets[name] == nil { buckets[name] = BucketState(name: name, region: region, createdAt: clock()) }
        return StandInResponse(headers: [("Location", "/\(name)")])
    }

    /// HEAD and DELETE of a bucket, and its location, versioning and lifecycle.
    mutating func configure(_ request: StandInRequest, _ bucket: BucketState) throws(S3Failure) -> StandInResponse {
        var xml = XMLText(declaration: true)
        switch request.operation {
        case .headBucket:
            return StandInResponse(headers: [
                ("x-amz-bucket-region", bucket.region), ("x-amz-access-point-alias", "false"),
                ("Content-Type", "application/xml"),
            ])
        case .deleteBucket:
            let isEmpty = if case .stored(let keys) = bucket.contents { keys.keyCount == 0 } else { false }
            guard isEmpty else {
                throw S3Failure(
                    409, "BucketNotEmpty",
                    bucket.versioning == .never
                        ? "The bucket you tried to delete is not empty"
                        : "The bucket you tried to delete is not empty. You must delete all versions in the bucket.",
                    details: [("BucketName", bucket.name)])
            }
            buckets[bucket.name] = nil
            return StandInResponse(status: 204)
        case .getBucketLocation:
            xml.element("LocationConstraint", namespaced: true) { xml in
                xml.raw(bucket.region == "us-east-1" ? "" : bucket.region)
            }
        case .getBucketVersioning:
            xml.element("VersioningConfiguration", namespaced: true) { xml in
                if bucket.versioning != .never { xml.element("Status", bucket.versioning.rawValue) }
            }
        case .putBucketVersioning:
            try Self.checkWritable(bucket)
            let status = XMLBody(bytes: request.body).first("Status")?.string ?? ""
            guard let versioning = VersioningStatus(rawValue: status), versioning != .never else {
                throw .malformedXML
            }
            buckets[bucket.name]?.versioning = versioning
            return StandInResponse()
        case .getBucketLifecycle:
            guard let lifecycle = bucket.lifecycle else {
                var failure = S3Failure.noSuchLifecycle
                failure.details = [("BucketName", [UInt8](bucket.name.utf8))]
                throw failure
            }
            xml.raw(lifecycle)
        case .putBucketLifecycle:
            guard let rules = XMLBody(bytes: request.body).first("LifecycleConfiguration") else { throw .malformedXML }
            buckets[bucket.name]?.lifecycle = LifecycleRule.document(String(decoding: rules.bytes, as: UTF8.self))
            return StandInResponse()
        default:
            buckets[bucket.name]?.lifecycle = nil
            return StandInResponse(status: 204)
        }
        return .xml(xml.bytes)
    }
}

/// A lifecycle rule as far as it can take away versions that a recovery target needs (S18).
package struct LifecycleRule: Sendable {
    package var id: String
    package var prefix = ""
    package var isEnabled = true
    package var expirationDays: Int?
    package var noncurrentDays: Int?
    package var newerNoncurrentVersions: Int?
    package var expiresObjectDeleteMarkers = false

    package init(id: String) { self.id = id }

    static func document(_ rules: String) -> String {
        "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\(rules)</LifecycleConfiguration>"
    }

    var xml: String {
        var xml = XMLText(declaration: false)
        xml.element("Rule") { xml in
            xml.element("ID", id)
            xml.element("Filter") { $0.element("Prefix", prefix) }
            xml.element("Status", isEnabled ? "Enabled" : "Disabled")
            if expirationDays != nil || expiresObjectDeleteMarkers {
                xml.element("Expiration") { xml in
                    if let expirationDays { xml.element("Days", String(expirationDays)) }
                    if expiresObjectDeleteMarkers { xml.element("ExpiredObjectDeleteMarker", "true") }
                }
            }
            if let noncurrentDays {
                xml.element("NoncurrentVersionExpiration") { xml in
                    xml.element("NoncurrentDays", String(noncurrentDays))
                    if let newerNoncurrentVersions {
                        xml.element("NewerNoncurrentVersions", String(newerNoncurrentVersions))
                    }
                }
            }
        }
        return String(decoding: xml.bytes, as: UTF8.self)
    }
}
