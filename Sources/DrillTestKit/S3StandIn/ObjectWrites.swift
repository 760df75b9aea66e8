import Foundation

extension StandInState {
    mutating func putObject(_ request: StandInRequest, _ bucket: BucketState) throws(S3Failure) -> StandInResponse {
        try Self.checkWritable(bucket)
        try Self.checkLength(request)
        try Self.checkWriteConditions(request, bucket)
        var object = StandInObject(request.body)
        Self.describe(&object, by: request)
        try Self.checkMD5(request)
        object.checksum = try checksum(of: request)
        let versionID = newVersionID(in: bucket.name)
        let sequence = nextSequence()
        buckets[bucket.name]?.put(object, request.key, at: clock(), versionID: versionID, sequence: sequence)
        var response = StandInResponse(headers: [
            ("ETag", "\"\(object.eTag)\""), ("x-amz-server-side-encryption", object.encryption),
        ])
        if let checksum = object.checksum {
            response.setHeader(checksum.algorithm.headerName, checksum.value)
            response.setHeader("x-amz-checksum-type", checksum.kind.rawValue)
        }
        if bucket.versioning != .never { response.setHeader("x-amz-version-id", versionID) }
        return response
    }

    mutating func copyObject(
        _ request: StandInRequest, _ bucket: BucketState, denied: Set<S3Permission>
    ) throws(S3Failure) -> StandInResponse {
        try Self.checkWritable(bucket)
        let (source, version, found) = try copySource(request, denied: denied)
        var object = StandInObject(found.body)
        object.checksum =
            found.checksum?.kind == .fullObject
            ? found.checksum : found.checksum.map { ObjectChecksum($0.algorithm, of: found.body) }
        object.contentType = found.contentType
        object.headers = found.headers
        if request.header("x-amz-metadata-directive") == "REPLACE" {
            object.headers = []
            Self.describe(&object, by: request)
        } else if let storageClass = request.header("x-amz-storage-class") {
            object.storageClass = storageClass
        }
        let now = clock()
        let versionID = newVersionID(in: bucket.name)
        let sequence = nextSequence()
        buckets[bucket.name]?.put(object, request.key, at: now, versionID: versionID, sequence: sequence)
        var response = StandInResponse.xml(copyResult("CopyObjectResult", object, now))
        if bucket.versioning != .never { response.setHeader("x-amz-version-id", versionID) }
        if source.versioning != .never { response.setHeader("x-amz-copy-source-version-id", version.versionID) }
        return response
    }

    func copyResult(_ name: String, _ object: StandInObject, _ instant: Date) -> [UInt8] {
        var xml = XMLText(declaration: true)
        xml.element(name, namespaced: true) { xml in
            xml.element("LastModified", S3Time.xml(instant, milliseconds: settings.listsMilliseconds))
            xml.element("ETag", "\"\(object.eTag)\"")
            if let checksum = object.checksum {
                xml.element("Checksum\(checksum.algorithm.rawValue)", checksum.value)
                xml.element("ChecksumType", checksum.kind.rawValue)
            }
        }
        return xml.bytes
    }

    /// What `x-amz-copy-source` names, if it may be read and its conditions hold.
    func copySource(
        _ request: StandInRequest, denied: Set<S3Permission>
    ) throws(S3Failure) -> (BucketState, StandInVersion, StandInObject) {
        let text = request.header("x-amz-copy-source") ?? ""
        let halves = text.components(separatedBy: "?versionId=")
        var path = Bytes.percentDecoded([UInt8](halves[0].utf8), plusIsSpace: false)
        if path.first == UInt8(ascii: "/") { path.removeFirst() }
        guard let slash = path.firstIndex(of: UInt8(ascii: "/")) else {
            throw .invalidArgument("Invalid copy source object key", "x-amz-copy-source", text)
        }
        let name = String(decoding: path[..<slash], as: UTF8.self)
        let key = [UInt8](path[(slash + 1)...])
        guard let source = buckets[name] else { throw .noSuchBucket(name) }
        guard !denied.contains(halves.count > 1 ? .getObjectVersion : .getObject) else { throw .accessDenied }
        let versions = source.versions(of: key)
        let found = halves.count > 1 ? versions.first { $0.versionID == halves[1] } : versions.first
        guard let version = found else {
            throw halves.count > 1 ? .noSuchVersion(key, halves[1]) : .noSuchKey(key)
        }
        guard let object = version.object else {
            guard halves.count > 1 else { throw .noSuchKey(key) }
            throw S3Failure(
                400, "InvalidRequest",
                "The source of a copy request may not specifically refer to a delete marker by version id.")
        }
        guard !object.isArchived else {
            throw S3Failure(
                403, "InvalidObjectState", "Operation is not valid for the source object's storage class",
                details: [("StorageClass", object.storageClass)])
        }
        if let wanted = request.header("x-amz-copy-source-if-match"), !Self.matches(wanted, object.eTag) {
            throw S3Failure(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
                details: [("Condition", "x-amz-copy-source-If-Match")])
        }
        return (source, version, object)
    }

    mutating func deleteObject(_ request: StandInRequest, _ bucket: BucketState) throws(S3Failure) -> StandInResponse {
        try Self.checkWritable(bucket)
        let removal = try remove(request.key, versionID: request.queryText("versionId"), from: bucket)
        var response = StandInResponse(status: 204)
        if let versionID = removal.versionID { response.setHeader("x-amz-version-id", versionID) }
        if removal.isMarker { response.setHeader("x-amz-delete-marker", "true") }
        return response
    }

    mutating func deleteObjects(_ request: StandInRequest, _ bucket: BucketState) throws(S3Failure) -> StandInResponse {
        try Self.checkWritable(bucket)
        try Self.checkMD5(request)
        guard let root = XMLBody(bytes: request.body).first("Delete") else { throw .malformedXML }
        let objects = root.all("Object")
        guard !objects.isEmpty, objects.count <= 1000 else { throw .malformedXML }
        let isQuiet = root.first("Quiet")?.string == "true"
        var xml = XMLText(declaration: true)
        xml.raw("<DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">")
        for object in objects {
            guard let key = object.first("Key")?.text else { throw .malformedXML }
            let asked = object.first("VersionId")?.string
            do throws(S3Failure) {
                let removal = try remove(key, versionID: asked, from: bucket)
                guard !isQuiet else { continue }
                xml.element("Deleted") { xml in
                    xml.element("Key", key)
                    if let asked { xml.element("VersionId", asked) }
                    guard removal.isMarker, let marker = removal.versionID else { return }
                    xml.element("DeleteMarker", "true")
                    xml.element("DeleteMarkerVersionId", marker)
                }
            } catch {
                xml.element("Error") { xml in
                    xml.element("Key", key)
                    if let asked { xml.element("VersionId", asked) }
                    xml.element("Code", error.code)
                    xml.element("Message", error.message)
                }
            }
        }
        xml.raw("</DeleteResult>")
        return .xml(xml.bytes)
    }

    /// - Returns: The version that went or the marker that came; `nil` where versions are not kept.
    private mutating func remove(
        _ key: [UInt8], versionID: String?, from bucket: BucketState
    ) throws(S3Failure) -> (versionID: String?, isMarker: Bool) {
        if let versionID {
            try Self.checkVersionID(versionID)
            let removed = buckets[bucket.name]?.stored.remove(versionID, of: key)
            return (versionID, removed?.isDeleteMarker ?? false)
        }
        let newID = newVersionID(in: bucket.name)
        let sequence = nextSequence()
        let marker = buckets[bucket.name]?.delete(key, at: clock(), versionID: newID, sequence: sequence)
        return (marker, marker != nil)
    }

    static func checkWritable(_ bucket: BucketState) throws(S3Failure) {
        guard !bucket.isGenerated else {
            throw S3Failure(501, "NotImplemented", "A generated bucket cannot be written to")
        }
    }

    private static func checkWriteConditions(
        _ request: StandInRequest, _ bucket: BucketState
    ) throws(S3Failure) {
        let current = bucket.versions(of: request.key).first?.object
        let failed = { (condition: String) in
            S3Failure(
                412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold",
                details: [("Condition", condition)])
        }
        if request.header("if-none-match") == "*", current != nil { throw failed("If-None-Match") }
        guard let wanted = request.header("if-match") else { return }
        guard let current else { throw .noSuchKey(request.key) }
        guard matches(wanted, current.eTag) else { throw failed("If-Match") }
    }

    /// Takes over what the request says about the object besides its bytes.
    static func describe(_ object: inout StandInObject, by request: StandInRequest) {
        let kept: Set<String> = ["cache-control", "content-disposition", "content-language", "expires"]
        for header in request.headers where kept.contains(header.name) || header.name.hasPrefix("x-amz-meta-") {
            object.headers.append((header.name, header.value))
        }
        let encodings = (request.header("content-encoding") ?? "").split(separator: ",").map {
            $0.trimmingCharacters(in: .whitespaces)
        }
        let encoding = encodings.filter { $0 != "aws-chunked" }.joined(separator: ", ")
        if !encoding.isEmpty { object.headers.append(("Content-Encoding", encoding)) }
        object.contentType = request.header("content-type") ?? object.contentType
        object.storageClass = request.header("x-amz-storage-class") ?? object.storageClass
        object.encryption = request.header("x-amz-server-side-encryption") ?? object.encryption
        // Under KMS the ETag is 32 hex digits that are no MD5 (S24).
        if object.encryption == "aws:kms" { object.eTag = ETag.ofBytes(object.body + [UInt8]("aws:kms".utf8)) }
    }

    /// A body needs a length, if only that of nothing.
    static func checkLength(_ request: StandInRequest) throws(S3Failure) {
        guard request.header("content-length") == nil, request.header("transfer-encoding") == nil else { return }
        throw S3Failure(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    }

    static func checkMD5(_ request: StandInRequest) throws(S3Failure) {
        guard let sent = request.header("content-md5") else { return }
        guard let bytes = Bytes.fromBase64(sent), bytes.count == 16 else {
            throw S3Failure(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
        }
        guard bytes == ETag.md5(request.body) else {
            throw S3Failure(
                400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
        }
    }

    /// The checksum that the request brings, after a look whether it is right, or else the one that S3 adds.
    func checksum(of request: StandInRequest) throws(S3Failure) -> ObjectChecksum? {
        for algorithm in ObjectChecksum.Algorithm.allCases {
            let name = algorithm.headerName
            guard let sent = request.header(name) ?? request.trailingHeader(name) else { continue }
            let computed = ObjectChecksum(algorithm, of: request.body)
            guard computed.value == sent else {
                throw S3Failure(
                    400, "BadDigest",
                    "The \(algorithm.rawValue) you specified did not match the calculated checksum.")
            }
            return computed
        }
        return settings.addsChecksums ? ObjectChecksum(.crc64nvme, of: request.body) : nil
    }
}
