import DrillCore
import Foundation

/// A run's place in a bucket, to write to and to read from.
struct ScratchBucket: Sendable {
    let place: ScratchPlace
    /// Its prefix is the place's.
    let reader: BucketReader
    private var client: S3Client { reader.client }

    init(_ place: ScratchPlace, _ environment: DrillEnvironment) {
        self.place = place
        reader = BucketReader(place.settings, environment)
    }

    /// Puts the marker there, which says whose the place is; nothing else is written before it.
    func mark(host: String) async throws {
        let name = ScratchPlace.markerName
        do {
            _ = try await client.send(
                try S3Call(
                    writing: .putObject, to: place, fullKey: place.settings.prefix + name,
                    headers: [("if-none-match", "*")], body: try place.marker(host: host)))
        } catch let error as S3ServiceError where error.status == 412 {
            // Our own, where the first answer was lost; anybody else's is not ours to write beside.
            let there = try await client.send(S3Call(.getObject, key: place.settings.prefix + name)).body
            guard there == (try place.marker(host: host)) else {
                throw DrillError(.couldNotLook, "somebody else has marked it as theirs", at: place.place)
            }
        } catch {
            throw await reader.described(error)
        }
    }

    /// What HEAD tells of a copy. `couldNotLook` where it is not there.
    func head(_ name: [UInt8]) async throws -> BucketReader.Head {
        guard case .present(let head) = try await reader.head(ObjectKey(name), checksums: true) else {
            throw DrillError(
                .couldNotLook, "the copy that was just made is not there: \(printable(name))", at: place.place)
        }
        return head
    }

    /// - Parameter head: What S3 said of the original besides its bytes; kept where a program would look at it.
    func put(_ name: [UInt8], _ body: [UInt8], describing head: HTTPHead?) async throws {
        do {
            _ = try await client.send(
                try S3Call(
                    writing: .putObject, to: place, fullKey: place.settings.prefix + name,
                    headers: Self.described(head), body: body))
        } catch {
            throw await reader.described(error)
        }
    }

    /// Has the store copy it. Throws ``S3ServiceError`` where it refuses.
    func copy(_ source: BucketReader, _ entry: CopyEntry, to name: [UInt8]) async throws {
        var call = try S3Call(
            writing: .copyObject, to: place, fullKey: place.settings.prefix + name,
            // Tags may be what rules of the bucket go by, and need a permission of their own.
            headers: Self.copySource(source, entry) + [("x-amz-tagging-directive", "REPLACE")])
        call.timeout = .seconds(3600)
        _ = try await document(call, root: "CopyObjectResult")
    }

    func beginUpload(_ name: [UInt8], describing head: HTTPHead?) async throws -> ScratchUpload {
        let key = place.settings.prefix + name
        let call = try S3Call(
            writing: .createMultipartUpload, to: place, fullKey: key, query: [("uploads", nil)],
            headers: Self.described(head))
        do {
            let document = try await document(call, root: "InitiateMultipartUploadResult")
            guard let id = document.text("UploadId"), !id.isEmpty else {
                throw DrillError(.couldNotLook, "CreateMultipartUpload was answered without an id", at: place.place)
            }
            return ScratchUpload(bucket: self, key: key, id: Array(id.utf8))
        } catch {
            throw await reader.described(error)
        }
    }

    /// The answer, which may be an error under 200: while S3 copies, it has already sent the head.
    fileprivate func document(_ call: S3Call, root: String) async throws -> SmallDocument {
        let response = try await client.send(call)
        // Spaces keep the connection alive meanwhile.
        let body = Array(response.body.drop { [0x20, 0x0A, 0x0D, 0x09].contains($0) })
        if let error = S3ErrorBody(body) {
            throw S3ServiceError(call.operation, status: 200, body: error, headers: response.head)
        }
        do {
            let document = try SmallDocument(body)
            guard document.root == root else {
                throw XMLProblem(what: "the root is <\(document.root)>, not <\(root)>", offset: 0)
            }
            return document
        } catch let problem as XMLProblem {
            throw DrillError(
                .couldNotLook, "\(call.operation.rawValue) was answered with something else than S3 sends: \(problem)",
                at: place.place)
        }
    }

    /// Exactly the version, or the object as it was listed (S22).
    fileprivate static func copySource(_ source: BucketReader, _ entry: CopyEntry) -> [(name: String, value: String)] {
        var path: [UInt8] = [UInt8(ascii: "/")]
        URLEncoding.appendPath(Array(source.client.address.bucket.utf8), to: &path)
        path.append(UInt8(ascii: "/"))
        URLEncoding.appendPath(source.fullKey(entry.key), to: &path)
        var text = String(decoding: path, as: UTF8.self)
        if let version = entry.reading.version {
            return [("x-amz-copy-source", text + "?versionId=" + URLEncoding.component(version.text))]
        }
        var headers: [(name: String, value: String)] = []
        if let etag = entry.reading.etag, !etag.isEmpty {
            headers.append(("x-amz-copy-source-if-match", "\"\(etag)\""))
        }
        if text.isEmpty { text = "/" }
        return [("x-amz-copy-source", text)] + headers
    }

    private static let carried: Set<String> = [
        "content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires",
    ]

    private static func described(_ head: HTTPHead?) -> [(name: String, value: String)] {
        (head?.headers ?? []).filter { carried.contains($0.name) || $0.name.hasPrefix("x-amz-meta-") }
    }
}

/// An upload in parts below a run's place. One that is left unfinished goes with the place.
struct ScratchUpload: Sendable {
    let bucket: ScratchBucket
    let key: [UInt8]
    let id: [UInt8]

    private func query(_ number: Int) -> [(name: String, value: [UInt8]?)] {
        [("partNumber", Array("\(number)".utf8)), ("uploadId", id)]
    }

    /// - Returns: The part's ETag, for ``complete(_:)``.
    func put(_ number: Int, _ body: [UInt8]) async throws -> String {
        do {
            let response = try await bucket.reader.client.send(
                try S3Call(writing: .uploadPart, to: bucket.place, fullKey: key, query: query(number), body: body))
            guard let etag = response.head.value("etag") else {
                throw DrillError(.couldNotLook, "UploadPart was answered without an ETag", at: bucket.place.place)
            }
            return etag
        } catch {
            throw await bucket.reader.described(error)
        }
    }

    /// Has the store copy the part. Throws ``S3ServiceError`` where it refuses.
    func copyPart(
        _ number: Int, _ source: BucketReader, _ entry: CopyEntry, _ range: Range<Int64>
    ) async throws -> String {
        var call = try S3Call(
            writing: .uploadPartCopy, to: bucket.place, fullKey: key, query: query(number),
            headers: ScratchBucket.copySource(source, entry) + [
                ("x-amz-copy-source-range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")
            ])
        call.timeout = .seconds(3600)
        guard let etag = try await bucket.document(call, root: "CopyPartResult").text("ETag") else {
            throw DrillError(.couldNotLook, "UploadPartCopy was answered without an ETag", at: bucket.place.place)
        }
        return etag
    }

    /// - Parameter parts: Their ETags, in order.
    func complete(_ parts: [String]) async throws {
        var body = Array("<CompleteMultipartUpload>".utf8)
        for (index, etag) in parts.enumerated() {
            body += Array("<Part>".utf8)
            XMLWriting.append("PartNumber", "\(index + 1)".utf8, to: &body)
            XMLWriting.append("ETag", etag.utf8, to: &body)
            body += Array("</Part>".utf8)
        }
        body += Array("</CompleteMultipartUpload>".utf8)
        var call = try S3Call(
            writing: .completeMultipartUpload, to: bucket.place, fullKey: key, query: [("uploadId", id)], body: body)
        call.timeout = .seconds(3600)
        do {
            _ = try await bucket.document(call, root: "CompleteMultipartUploadResult")
        } catch let error as S3ServiceError where error.code == "NoSuchUpload" {
            // Done already, where the first answer was lost: the object shows.
            _ = try await bucket.head(Array(key.dropFirst(bucket.place.settings.prefix.count)))
        } catch {
            throw await bucket.reader.described(error)
        }
    }
}
