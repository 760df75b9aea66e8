import Foundation

/// An upload that was begun and neither completed nor aborted.
struct MultipartUpload: Sendable {
    struct Part: Sendable {
        var body: [UInt8]
        var eTag: String
        var uploadedAt: Date
    }
    let key: [UInt8]
    let initiatedAt: Date
    /// The place among versions of the same instant is that of the initiation (S15).
    let sequence: Int
    /// What the object will be like, still without bytes.
    let object: StandInObject
    let checksum: (algorithm: ObjectChecksum.Algorithm, kind: ObjectChecksum.Kind)?
    var parts: [Int: Part] = [:]
}

extension StandInState {
    mutating func multipart(
        _ request: StandInRequest, _ bucket: BucketState, denied: Set<S3Permission>
    ) throws(S3Failure) -> StandInResponse {
        try Self.checkWritable(bucket)
        switch request.operation {
        case .createMultipartUpload: return createUpload(request, bucket)
        case .listMultipartUploads: return listUploads(request, bucket)
        default: break
        }
        guard let id = request.queryText("uploadId"), let upload = bucket.uploads[id], upload.key == request.key else {
            throw .noSuchUpload
        }
        switch request.operation {
        case .uploadPart:
            try Self.checkLength(request)
            try Self.checkMD5(request)
            let checksum = try checksum(of: request)
            let eTag = try store(request.body, as: request.queryText("partNumber"), of: id, in: bucket)
            var response = StandInResponse(headers: [("ETag", "\"\(eTag)\"")])
            if let checksum { response.setHeader(checksum.algorithm.headerName, checksum.value) }
            return response
        case .uploadPartCopy:
            let (_, _, source) = try copySource(request, denied: denied)
            let body = try Self.copiedRange(request, of: source.body)
            var copied = StandInObject(body)
            copied.eTag = try store(body, as: request.queryText("partNumber"), of: id, in: bucket)
            return .xml(copyResult("CopyPartResult", copied, clock()))
        case .completeMultipartUpload: return try complete(request, upload, id, bucket)
        case .listParts: return listParts(upload, id, bucket)
        default:
            buckets[bucket.name]?.uploads[id] = nil
            return StandInResponse(status: 204)
        }
    }

    private mutating func createUpload(_ request: StandInRequest, _ bucket: BucketState) -> StandInResponse {
        var object = StandInObject()
        Self.describe(&object, by: request)
        let algorithm = request.header("x-amz-checksum-algorithm").flatMap(ObjectChecksum.Algorithm.init)
        let asked = request.header("x-amz-checksum-type").flatMap(ObjectChecksum.Kind.init)
        let checksum = algorithm.map { algorithm in
            (algorithm: algorithm, kind: asked ?? (algorithm == .crc64nvme ? .fullObject : .composite))
        }
        let id = newID()
        let upload = MultipartUpload(
            key: request.key, initiatedAt: clock(), sequence: nextSequence(), object: object, checksum: checksum)
        buckets[bucket.name]?.uploads[id] = upload
        var xml = XMLText(declaration: true)
        xml.element("InitiateMultipartUploadResult", namespaced: true) { xml in
            xml.element("Bucket", bucket.name)
            xml.element("Key", request.key)
            xml.element("UploadId", id)
        }
        var response = StandInResponse.xml(xml.bytes)
        if let checksum {
            response.setHeader("x-amz-checksum-algorithm", checksum.algorithm.rawValue)
            response.setHeader("x-amz-checksum-type", checksum.kind.rawValue)
        }
        return response
    }

    private mutating func store(
        _ body: [UInt8], as partNumber: String?, of id: String, in bucket: BucketState
    ) throws(S3Failure) -> String {
        guard let number = partNumber.flatMap({ Int($0) }), (1...10000).contains(number) else {
            throw .invalidArgument(
                "Part number must be an integer between 1 and 10000, inclusive", "partNumber", partNumber ?? "")
        }
        let eTag = ETag.ofBytes(body)
        buckets[bucket.name]?.uploads[id]?.parts[number] = .init(body: body, eTag: eTag, uploadedAt: clock())
        return eTag
    }

    private static func copiedRange(_ request: StandInRequest, of body: [UInt8]) throws(S3Failure) -> [UInt8] {
        guard let text = request.header("x-amz-copy-source-range") else { return body }
        let ends = text.dropFirst("bytes=".utf8.count).split(separator: "-").map { Int($0) }
        guard ends.count == 2, let first = ends[0], let last = ends[1], first <= last, last < body.count else {
            throw .invalidArgument(
                "The x-amz-copy-source-range value must be of the form bytes=first-last", "x-amz-copy-source-range",
                text)
        }
        return [UInt8](body[first...last])
    }

    private mutating func complete(
        _ request: StandInRequest, _ upload: MultipartUpload, _ id: String, _ bucket: BucketState
    ) throws(S3Failure) -> StandInResponse {
        let parts = try chosenParts(request, upload)
        var object = StandInObject(parts: parts, checksum: upload.checksum)
        object.contentType = upload.object.contentType
        object.headers = upload.object.headers
        object.storageClass = upload.object.storageClass
        object.encryption = upload.object.encryption
        if object.checksum == nil, settings.addsChecksums {
            object.checksum = ObjectChecksum(.crc64nvme, of: object.body)
        }
        let isInitiation = settings.multipartTime == .initiation
        let versionID = newVersionID(in: bucket.name)
        let sequence = isInitiation ? upload.sequence : nextSequence()
        buckets[bucket.name]?.put(
            object, request.key, at: isInitiation ? upload.initiatedAt : clock(), versionID: versionID,
            sequence: sequence)
        buckets[bucket.name]?.uploads[id] = nil
        var xml = XMLText(declaration: true)
        xml.element("CompleteMultipartUploadResult", namespaced: true) { xml in
            xml.element("Location", "http://\(bucket.name).s3.localhost/")
            xml.element("Bucket", bucket.name)
            xml.element("Key", request.key)
            xml.element("ETag", "\"\(object.eTag)\"")
            guard let checksum = object.checksum else { return }
            xml.element("Checksum\(checksum.algorithm.rawValue)", checksum.value)
            xml.element("ChecksumType", checksum.kind.rawValue)
        }
        var response = StandInResponse.xml(xml.bytes)
        if bucket.versioning != .never { response.setHeader("x-amz-version-id", versionID) }
        return response
    }

    private func chosenParts(_ request: StandInRequest, _ upload: MultipartUpload) throws(S3Failure) -> [[UInt8]] {
        let listed = XMLBody(bytes: request.body).all("Part")
        guard !listed.isEmpty else { throw .malformedXML }
        var parts: [[UInt8]] = []
        var last = 0
        for (index, item) in listed.enumerated() {
            guard let number = item.first("PartNumber").flatMap({ Int($0.string) }) else { throw .malformedXML }
            guard number > last else {
                throw S3Failure(
                    400, "InvalidPartOrder",
                    "The list of parts was not in ascending order. Parts must be ordered by part number.")
            }
            guard let part = upload.parts[number], Self.matches(item.first("ETag")?.string ?? "", part.eTag) else {
                throw S3Failure(
                    400, "InvalidPart",
                    "One or more of the specified parts could not be found. "
                        + "The part may not have been uploaded, or the specified entity tag may not match "
                        + "the part's entity tag.",
                    details: [("PartNumber", String(number))])
            }
            guard index == listed.count - 1 || part.body.count >= settings.minimumPartBytes else {
                throw S3Failure(
                    400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
                    details: [("PartNumber", String(number)), ("ProposedSize", String(part.body.count))])
            }
            parts.append(part.body)
            last = number
        }
        return parts
    }

    private func listUploads(_ request: StandInRequest, _ bucket: BucketState) -> StandInResponse {
        let prefix = request.queryValue("prefix") ?? []
        let style = ListingStyle(
            isURLEncoded: request.queryText("encoding-type") == "url", milliseconds: settings.listsMilliseconds)
        let uploads = bucket.uploads.filter { Bytes.hasPrefix($0.value.key, prefix) }.sorted { left, right in
            let order = Bytes.compare(left.value.key, right.value.key)
            return order == 0 ? left.value.sequence < right.value.sequence : order < 0
        }
        var xml = XMLText(declaration: true)
        xml.element("ListMultipartUploadsResult", namespaced: true) { xml in
            xml.element("Bucket", bucket.name)
            xml.element("KeyMarker", "")
            xml.element("UploadIdMarker", "")
            xml.element("Prefix", style.key(prefix))
            xml.element("MaxUploads", "1000")
            if style.isURLEncoded { xml.element("EncodingType", "url") }
            xml.element("IsTruncated", "false")
            for (id, upload) in uploads {
                xml.element("Upload") { xml in
                    xml.element("Key", style.key(upload.key))
                    xml.element("UploadId", id)
                    xml.owner()
                    xml.element("StorageClass", upload.object.storageClass)
                    xml.element("Initiated", S3Time.xml(upload.initiatedAt, milliseconds: style.milliseconds))
                }
            }
        }
        return .xml(xml.bytes)
    }

    private func listParts(_ upload: MultipartUpload, _ id: String, _ bucket: BucketState) -> StandInResponse {
        var xml = XMLText(declaration: true)
        xml.element("ListPartsResult", namespaced: true) { xml in
            xml.element("Bucket", bucket.name)
            xml.element("Key", upload.key)
            xml.element("UploadId", id)
            xml.element("PartNumberMarker", "0")
            xml.element("MaxParts", "1000")
            xml.element("IsTruncated", "false")
            for (number, part) in upload.parts.sorted(by: { $0.key < $1.key }) {
                xml.element("Part") { xml in
                    xml.element("PartNumber", String(number))
                    xml.element(
                        "LastModified", S3Time.xml(part.uploadedAt, milliseconds: settings.listsMilliseconds))
                    xml.element("ETag", "\"\(part.eTag)\"")
                    xml.element("Size", String(part.body.count))
                }
            }
        }
        return .xml(xml.bytes)
    }
}
