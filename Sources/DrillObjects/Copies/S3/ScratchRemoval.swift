import DrillCore
import Foundation

/// Removes a run's scratch from a bucket: all versions, delete markers and unfinished uploads below its prefix, the marker last, so
/// that a removal that was interrupted can be taken up again. No limit of the drill file stops it.
struct ScratchRemoval: Sendable {
    /// How often everything is listed while something still comes: requests of ours that the server worked on when we left.
    private static let passes = 8

    private let place: ScratchPlace
    private let reader: BucketReader

    init(_ place: ScratchPlace, _ environment: DrillEnvironment) {
        self.place = place
        var unlimited = environment
        unlimited.traffic = environment.traffic.withoutLimits
        reader = BucketReader(place.settings, unlimited)
    }

    /// - Throws: `cleanupFailed` where something is left.
    func run() async throws {
        do {
            for _ in 0..<Self.passes {
                try await abortUploads()
                while try await removeVersions(keepingMarker: true) {}
                _ = try await removeVersions(keepingMarker: false)
                if try await Self.isEmpty(reader, prefix: place.settings.prefix), try await uploads().isEmpty { return }
            }
        } catch {
            var failure = await reader.described(error)
            failure.code = .cleanupFailed
            throw failure
        }
        throw DrillError(.cleanupFailed, "things appear there as fast as they are removed", at: place.place)
    }

    /// Whether no version and no delete marker is below that prefix.
    static func isEmpty(_ reader: BucketReader, prefix: [UInt8]) async throws -> Bool {
        try await list(reader, prefix, ListingCursor()).page.entries.count == 0
    }

    /// A page of versions; of objects where the store keeps no versions.
    private static func list(
        _ reader: BucketReader, _ prefix: [UInt8], _ cursor: ListingCursor
    ) async throws -> (page: CheckedPage, hasVersions: Bool) {
        do {
            let source = ListingSource(reader.client, .versions, prefix: prefix, place: reader.place)
            return (try await source.page(cursor), true)
        } catch let error as DrillError {
            guard let service = error.cause as? S3ServiceError, [400, 405, 501].contains(service.status) else {
                throw error
            }
            let source = ListingSource(reader.client, .objects, prefix: prefix, place: reader.place)
            return (try await source.page(cursor), false)
        }
    }

    /// One walk over what is there; true where anything was removed.
    private func removeVersions(keepingMarker: Bool) async throws -> Bool {
        let marker = place.settings.prefix + ScratchPlace.markerName
        var cursor = ListingCursor()
        var removed = false
        while true {
            let (page, hasVersions) = try await Self.list(reader, place.settings.prefix, cursor)
            var entries: [(key: [UInt8], version: [UInt8]?)] = []
            for index in 0..<page.entries.count {
                let key = Array(page.entries.keys[index])
                if keepingMarker, key == marker { continue }
                entries.append((key, hasVersions ? Array(page.entries.versions[index]) : nil))
            }
            if !entries.isEmpty {
                try await remove(entries)
                removed = true
            }
            guard let next = page.next else { return removed }
            cursor = next
        }
    }

    private func remove(_ entries: [(key: [UInt8], version: [UInt8]?)]) async throws {
        // XML 1.0 has no way to write some bytes that a key may hold: such a key goes by a request of its own.
        for entry in entries where !XMLWriting.canHold(entry.key) {
            let query = entry.version.map { [(name: "versionId", value: Optional($0))] } ?? []
            _ = try await reader.client.send(
                try S3Call(writing: .deleteObject, to: place, fullKey: entry.key, query: query))
        }
        let batch = entries.filter { XMLWriting.canHold($0.key) }
        guard !batch.isEmpty else { return }
        let answer = try await reader.client.send(try S3Call(deleting: batch, in: place)).body
        let document = try SmallDocument(answer)
        guard document.root == "DeleteResult", document.text("Error/Code") == nil else {
            throw DrillError(
                .cleanupFailed,
                "DeleteObjects was answered with \(document.text("Error/Code") ?? document.text("Code") ?? document.root)",
                at: place.place,
                hints: ["Grant \(S3Operation.deleteObjects.permissions) to whoever removes scratch."])
        }
    }

    private func abortUploads() async throws {
        for _ in 0..<Self.passes {
            let found = try await uploads()
            if found.isEmpty { return }
            for upload in found { try await abort(upload) }
        }
    }

    private func abort(_ upload: (key: [UInt8], id: [UInt8])) async throws {
        for key in spellings(upload.key) {
            do {
                _ = try await reader.client.send(
                    try S3Call(
                        writing: .abortMultipartUpload, to: place, fullKey: key, query: [("uploadId", upload.id)]))
                return
            } catch let error as S3ServiceError where error.status == 404 {
                // Ended in the meantime, or of the other spelling.
            }
        }
    }

    /// A `+` in a URL-encoded key is a space to some servers and itself to others: what it may stand for, below our prefix; the
    /// upload's id shows which (S5).
    private func spellings(_ encoded: [UInt8]) -> [[UInt8]] {
        let withSpaces = encoded.map { $0 == UInt8(ascii: "+") ? UInt8(ascii: " ") : $0 }
        return (withSpaces == encoded ? [encoded] : [withSpaces, encoded]).map { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            return Array((text.removingPercentEncoding ?? text).utf8)
        }.filter { $0.starts(with: place.settings.prefix) }
    }

    /// The first of the unfinished uploads, their keys URL-encoded; empty where the store has none of that kind.
    private func uploads() async throws -> [(key: [UInt8], id: [UInt8])] {
        let query: [(name: String, value: [UInt8]?)] = [
            ("uploads", nil), ("encoding-type", Array("url".utf8)), ("max-uploads", Array("500".utf8)),
            ("prefix", place.settings.prefix),
        ]
        let body: [UInt8]
        do {
            body = try await reader.client.send(S3Call(.listMultipartUploads, query: query)).body
        } catch let error as S3ServiceError where [405, 501].contains(error.status) {
            return []
        }
        let document = try SmallDocument(body)
        guard document.root == "ListMultipartUploadsResult" else {
            throw DrillError(
                .couldNotLook, "ListMultipartUploads was answered with <\(document.root)>", at: place.place)
        }
        let isEncoded = document.text("EncodingType") == "url"
        var uploads: [Int: (key: [UInt8], id: [UInt8])] = [:]
        for leaf in document.leaves where leaf.path == "Upload/Key" || leaf.path == "Upload/UploadId" {
            var upload = uploads[leaf.group] ?? ([], [])
            if leaf.path == "Upload/UploadId" {
                upload.id = leaf.text
            } else {
                upload.key = isEncoded ? leaf.text : Array(URLEncoding.component(leaf.string).utf8)
            }
            uploads[leaf.group] = upload
        }
        return uploads.values.filter { !$0.id.isEmpty && !spellings($0.key).isEmpty }
    }
}
