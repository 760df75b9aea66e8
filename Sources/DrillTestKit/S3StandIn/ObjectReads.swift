import Foundation

extension StandInState {
    /// HEAD and GET of an object or one of its versions.
    func read(
        _ request: StandInRequest, _ bucket: BucketState, denied: Set<S3Permission>, ignoresRange: Bool
    ) throws(S3Failure) -> StandInResponse {
        let (version, object) = try find(request, bucket, denied: denied)
        try checkConditions(request, version, object)
        if object.isArchived, request.operation == .getObject { throw Self.invalidObjectState(object) }
        let wantsChecksum = request.header("x-amz-checksum-mode")?.uppercased() == "ENABLED"
        if object.encryption == "aws:kms", denied.contains(.kmsDecrypt),
            request.operation == .getObject || wantsChecksum
        {
            throw refusal(.kmsDecrypt, request)
        }
        var response = StandInResponse(headers: Self.headers(version, object, bucket))
        let part = try Self.part(request, object)
        let asked = ignoresRange ? nil : try Self.range(request, size: object.body.count)
        let range = part ?? asked
        let body = object.body[range ?? 0..<object.body.count]
        if let range {
            response.status = 206
            let end = max(range.lowerBound, range.upperBound - 1)
            response.headers.append(("Content-Range", "bytes \(range.lowerBound)-\(end)/\(object.body.count)"))
        }
        if wantsChecksum, range == nil, let checksum = object.checksum {
            response.headers.append((checksum.algorithm.headerName, checksum.value))
            response.headers.append(("x-amz-checksum-type", checksum.kind.rawValue))
        }
        if request.queryValue("partNumber") != nil, !object.partSizes.isEmpty {
            response.headers.append(("x-amz-mp-parts-count", String(object.partSizes.count)))
        }
        response.declaredLength = body.count
        if request.operation == .getObject { response.body = .bytes([UInt8](body)) }
        return response
    }

    /// The version that a request means, and its object.
    /// - Throws: 404 for what is not there or is hidden by a delete marker, 405 for a delete marker asked for by its
    ///   id.
    func find(
        _ request: StandInRequest, _ bucket: BucketState, denied: Set<S3Permission>
    ) throws(S3Failure) -> (StandInVersion, StandInObject) {
        let versions = bucket.versions(of: request.key)
        if let versionID = request.queryText("versionId") {
            try Self.checkVersionID(versionID)
            guard let version = versions.first(where: { $0.versionID == versionID }) else {
                guard !denied.contains(.listBucketVersions) else { throw refusal(.listBucketVersions, request) }
                throw .noSuchVersion(request.key, versionID)
            }
            guard let object = version.object else { throw Self.isDeleteMarker(version, request) }
            return (version, object)
        }
        guard let version = versions.first, let object = version.object else {
            guard !denied.contains(.listBucket) else { throw refusal(.listBucket, request) }
            var failure = S3Failure.noSuchKey(request.key)
            if let marker = versions.first {
                failure.headers = [("x-amz-delete-marker", "true"), ("x-amz-version-id", marker.versionID)]
            }
            throw failure
        }
        return (version, object)
    }

    static func checkVersionID(_ versionID: String) throws(S3Failure) {
        guard !versionID.isEmpty else {
            throw .invalidArgument("Version id cannot be the empty string", "versionId", "")
        }
        let isPlain = versionID.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || "._-".utf8.contains(byte)
        }
        guard isPlain else { throw .invalidArgument("Invalid version id specified", "versionId", versionID) }
    }

    private static func isDeleteMarker(_ version: StandInVersion, _ request: StandInRequest) -> S3Failure {
        S3Failure(
            405, "MethodNotAllowed", "The specified method is not allowed against this resource.",
            details: [("Method", request.method), ("ResourceType", "DeleteMarker")],
            headers: [
                ("x-amz-delete-marker", "true"), ("x-amz-version-id", version.versionID), ("Allow", "DELETE"),
                ("Last-Modified", S3Time.http(version.lastModified)),
            ])
    }

    private static func invalidObjectState(_ object: StandInObject) -> S3Failure {
        var details = [("StorageClass", object.storageClass)]
        if let status = object.archiveStatus { details.append(("AccessTier", status)) }
        return S3Failure(
            403, "InvalidObjectState", "The operation is not valid for the object's storage class", details: details)
    }

    /// If-Match before If-Unmodified-Since, If-None-Match before If-Modified-Since (RFC 9110, 13.2.2).
    private func checkConditions(
        _ request: StandInRequest, _ version: StandInVersion, _ object: StandInObject
    ) throws(S3Failure) {
        let modified = Date(timeIntervalSince1970: version.lastModified.timeIntervalSince1970.rounded(.down))
        let headers = [("ETag", "\"\(object.eTag)\""), ("Last-Modified", S3Time.http(modified))]
        let failed = { (condition: String) in
            S3Failure(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
                details: [("Condition", condition)])
        }
        if let wanted = request.header("if-match") {
            guard Self.matches(wanted, object.eTag) else { throw failed("If-Match") }
        } else if let since = request.header("if-unmodified-since").flatMap(S3Time.parseHTTP), modified > since {
            throw failed("If-Unmodified-Since")
        }
        let notModified = S3Failure(304, "NotModified", "Not Modified", headers: headers)
        if let unwanted = request.header("if-none-match") {
            guard !Self.matches(unwanted, object.eTag) else { throw notModified }
        } else if let since = request.header("if-modified-since").flatMap(S3Time.parseHTTP), modified <= since {
            throw notModified
        }
    }

    /// - Parameter list: `*`, or entity tags with or without quotes.
    static func matches(_ list: String, _ eTag: String) -> Bool {
        list.split(separator: ",").contains { item in
            let tag = item.trimmingCharacters(in: .whitespaces)
            return tag == "*" || tag.trimmingCharacters(in: ["\""]) == eTag
        }
    }

    private static func headers(
        _ version: StandInVersion, _ object: StandInObject, _ bucket: BucketState
    ) -> [(name: String, value: String)] {
        var headers = [
            (name: "Last-Modified", value: S3Time.http(version.lastModified)),
            (name: "ETag", value: "\"\(object.eTag)\""),
            (name: "x-amz-server-side-encryption", value: object.encryption),
            (name: "Accept-Ranges", value: "bytes"),
            (name: "Content-Type", value: object.contentType),
        ]
        if object.encryption == "aws:kms" {
            headers.append(
                ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:us-east-1:111122223333:key/stand-in"))
        }
        if bucket.versioning != .never { headers.append(("x-amz-version-id", version.versionID)) }
        if object.storageClass != "STANDARD" { headers.append(("x-amz-storage-class", object.storageClass)) }
        if let status = object.archiveStatus { headers.append(("x-amz-archive-status", status)) }
        if let restore = object.restore { headers.append(("x-amz-restore", restore)) }
        if let status = object.replicationStatus { headers.append(("x-amz-replication-status", status)) }
        return headers + object.headers
    }

    /// - Returns: `nil` for the whole object: no Range header, or one that is none.
    private static func range(_ request: StandInRequest, size: Int) throws(S3Failure) -> Range<Int>? {
        guard let text = request.header("range"), text.hasPrefix("bytes=") else { return nil }
        let ends = text.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2 else { return nil }
        let (first, last) = (Int(ends[0]), Int(ends[1]))
        var range: Range<Int>?
        if let first {
            guard ends[1].isEmpty || (last ?? -1) >= first else { return nil }
            if first < size { range = first..<(min(last ?? size - 1, size - 1) + 1) }
        } else if let last, last > 0, size > 0 {
            range = max(0, size - last)..<size
        } else if last == nil {
            return nil
        }
        guard let range else {
            throw S3Failure(
                416, "InvalidRange", "The requested range is not satisfiable",
                details: [("RangeRequested", text), ("ActualObjectSize", String(size))],
                headers: [("Content-Range", "bytes */\(size)")])
        }
        return range
    }

    private static func part(_ request: StandInRequest, _ object: StandInObject) throws(S3Failure) -> Range<Int>? {
        guard let text = request.queryText("partNumber") else { return nil }
        let sizes = object.partSizes.isEmpty ? [object.body.count] : object.partSizes
        guard let number = Int(text), (1...sizes.count).contains(number) else {
            throw S3Failure(416, "InvalidPartNumber", "The requested partnumber is not satisfiable")
        }
        let start = sizes[..<(number - 1)].reduce(0, +)
        return start..<(start + sizes[number - 1])
    }

    /// GetObjectAttributes, with all attributes that the stand-in has of those asked for.
    func attributes(
        _ request: StandInRequest, _ bucket: BucketState, denied: Set<S3Permission>
    ) throws(S3Failure) -> StandInResponse {
        let (version, object) = try find(request, bucket, denied: denied)
        let names = Set(
            (request.header("x-amz-object-attributes") ?? "").split(separator: ",").map {
                $0.trimmingCharacters(in: .whitespaces)
            })
        var xml = XMLText(declaration: true)
        xml.element("GetObjectAttributesResponse", namespaced: true) { xml in
            if names.contains("ETag") { xml.element("ETag", object.eTag) }
            if names.contains("Checksum"), let checksum = object.checksum {
                xml.element("Checksum") { xml in
                    xml.element("Checksum\(checksum.algorithm.rawValue)", checksum.value)
                    xml.element("ChecksumType", checksum.kind.rawValue)
                }
            }
            if names.contains("ObjectParts"), !object.partSizes.isEmpty {
                xml.element("ObjectParts") { xml in
                    xml.element("TotalPartsCount", String(object.partSizes.count))
                    for (index, size) in object.partSizes.enumerated() {
                        xml.element("Part") { xml in
                            xml.element("PartNumber", String(index + 1))
                            xml.element("Size", String(size))
                        }
                    }
                }
            }
            if names.contains("StorageClass") { xml.element("StorageClass", object.storageClass) }
            if names.contains("ObjectSize") { xml.element("ObjectSize", String(object.body.count)) }
        }
        var response = StandInResponse.xml(xml.bytes)
        response.setHeader("Last-Modified", S3Time.http(version.lastModified))
        if bucket.versioning != .never { response.setHeader("x-amz-version-id", version.versionID) }
        return response
    }
}
