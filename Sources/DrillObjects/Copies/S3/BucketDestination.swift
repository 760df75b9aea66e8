import DrillCore
import Foundation
import Synchronization

/// Copies as objects below a run's place in a bucket: `<place>/<bucket>/<key>`, so that a program finds each object under its own
/// key. A key that no S3 key behind that prefix can hold is put under its SHA-256 instead; the manifest names all of them.
final class BucketDestination: CopyDestination {
    /// What a single CopyObject is trusted with. Amazon's limit is 5 GB; but while one is at work nothing comes over the wire, and a
    /// transfer that stands still is ended.
    struct Sizes: Sendable {
        var oneCopyBytes: Int64 = 1 << 30
        var copyPartBytes: Int64 = 512 << 20
        /// Of what passes through here, and is held in memory meanwhile; Amazon's least part is 5 MiB.
        var partBytes: Int64 = 5 << 20
        /// An upload has no more parts.
        var partLimit: Int64 = 10_000
    }

    /// Bodies in memory at a time.
    private static let bodiesAtATime = 8

    private struct State: Sendable {
        /// Sources of which the store refused a server-side copy, and why; their bytes pass through here.
        var refused: [String: String] = [:]
        var throughHere: [String: Int64] = [:]
        var incomparable: Int64 = 0
    }

    let scratch: ScratchBucket
    private let sizes: Sizes
    private let maximum: Int
    private let traffic: TrafficMeter
    private let clock: any DrillClock
    private let state = Mutex(State())
    private let manifest: ManifestUpload

    init(_ scratch: ScratchBucket, concurrency: Int, _ environment: DrillEnvironment, sizes: Sizes = Sizes()) {
        self.scratch = scratch
        self.sizes = sizes
        maximum = concurrency
        traffic = environment.traffic
        clock = environment.clock
        manifest = ManifestUpload(scratch, partBytes: Int(sizes.partBytes))
    }

    var place: String { scratch.place.place }
    var isLocal: Bool { false }

    func concurrency(for source: any CopySource) -> Int {
        copiesInPlace(source) ? maximum : min(maximum, Self.bodiesAtATime)
    }

    /// Whether the store itself may be asked to copy: only where both buckets are its own.
    private func copiesInPlace(_ source: any CopySource) -> Bool {
        guard let reader = source.bucketReader else { return false }
        return reader.client.address.endpoint == scratch.place.settings.address.endpoint
            && state.withLock { $0.refused[source.place] } == nil
    }

    func prepare(objects: Int64, bytes: Int64) async throws {}

    func name(of key: ObjectKey, bucket: String) -> [UInt8] {
        let folder = Array((folderName(ofBucket: bucket) + "/").utf8)
        let name = folder + key.bytes
        guard scratch.reader.cannotHold(ObjectKey(name)) != nil || key.bytes.isEmpty else { return name }
        return Array(".hashed/".utf8) + folder + Array(hexadecimal(ContentHasher.sha256(of: key.bytes)).utf8)
    }

    // MARK: Copying

    func copy(_ entry: CopyEntry, of source: any CopySource) async throws -> CopyOutcome {
        let name = name(of: entry.key, bucket: source.bucket)
        if let reader = source.bucketReader, copiesInPlace(source) {
            do {
                try await copyInPlace(entry, reader, to: name)
                try traffic.copied(entry.reading.sizeBytes)
                return try await verified(entry, source, name)
            } catch let error as S3ServiceError {
                if error.status == 412 { throw changed(entry, source) }
                guard (400..<500).contains(error.status) || error.status == 501 else {
                    throw await scratch.reader.described(error)
                }
                // Whether it is this object or this way of copying that is refused, reading it shows.
                let outcome = try await copyThroughHere(entry, of: source, to: name)
                if case .copied = outcome {
                    state.withLock { $0.refused[source.place] = "\(error.code ?? "HTTP \(error.status)")" }
                }
                return outcome
            }
        }
        return try await copyThroughHere(entry, of: source, to: name)
    }

    private func changed(_ entry: CopyEntry, _ source: any CopySource) -> DrillError {
        DrillError(
            .couldNotLook, "an object changed between listing and copying: \(entry.key)", at: source.place,
            hints: ["The bucket is written to while it is drilled: drill a copy, or versions as of an instant."])
    }

    private func copyInPlace(_ entry: CopyEntry, _ source: BucketReader, to name: [UInt8]) async throws {
        let size = entry.reading.sizeBytes
        guard size > sizes.oneCopyBytes else {
            return try await scratch.copy(source, entry, to: name)
        }
        // An upload takes over nothing of the object but its bytes.
        guard case .present(let head) = try await source.head(entry.key, version: entry.reading.version) else {
            throw DrillError(.couldNotLook, "the object is not there any more: \(entry.key)", at: source.place)
        }
        let upload = try await scratch.beginUpload(name, describing: head.headers)
        var parts: [String] = []
        for range in ranges(of: size, atLeast: sizes.copyPartBytes) {
            parts.append(try await upload.copyPart(parts.count + 1, source, entry, range))
        }
        try await upload.complete(parts)
    }

    private func ranges(of size: Int64, atLeast partBytes: Int64) -> [Range<Int64>] {
        let step = max(partBytes, (size + sizes.partLimit - 1) / sizes.partLimit)
        return stride(from: 0, to: size, by: Int64.Stride(step)).map { $0..<min(size, $0 + step) }
    }

    /// The copy's size, and its bytes as far as both sides keep a checksum that can be compared.
    private func verified(_ entry: CopyEntry, _ source: any CopySource, _ name: [UInt8]) async throws -> CopyOutcome {
        let head = try await scratch.head(name)
        guard head.reading.sizeBytes == entry.reading.sizeBytes else {
            return .damaged(.size(listed: entry.reading.sizeBytes, came: "\(head.reading.sizeBytes) bytes in the copy"))
        }
        // One and the same ETag is one and the same content, however the store makes it; another one says nothing (S21).
        if let etag = entry.reading.etag, !etag.isEmpty, head.reading.etag == etag { return .copied(sha256: nil) }
        guard
            let stored = try await source.storedChecksum(of: entry.key, reading: entry.reading, preferring: nil),
            let copy = BucketReader.storedChecksum(
                head.headers, etag: head.reading.etag, preferring: stored.algorithm)
        else {
            state.withLock { $0.incomparable += 1 }
            return .copied(sha256: nil)
        }
        return copy == stored ? .copied(sha256: nil) : .damaged(.checksum(stored, copy.digest))
    }

    // MARK: Through this machine

    private func copyThroughHere(
        _ entry: CopyEntry, of source: any CopySource, to name: [UInt8]
    ) async throws -> CopyOutcome {
        let size = entry.reading.sizeBytes
        state.withLock { $0.throughHere[source.place, default: 0] += 1 }
        do {
            if size <= sizes.partBytes {
                let (bytes, answer) = try await part(entry, source, 0..<size)
                let stored = answer.flatMap {
                    BucketReader.storedChecksum($0.head, etag: entry.reading.etag, preferring: nil)
                }
                var hashers = Hashers(stored)
                hashers.update(bytes)
                if let damage = hashers.damage { return .damaged(damage) }
                try await scratch.put(name, bytes, describing: answer?.head)
                return .copied(sha256: hashers.sha256.digest)
            }
            var headers: HTTPHead?
            if let reader = source.bucketReader {
                guard case .present(let head) = try await reader.head(entry.key, version: entry.reading.version) else {
                    throw ContentUnreadable(reason: "it was listed, but is not there or not allowed", cause: .unknown)
                }
                headers = head.headers
            }
            let stored =
                source.keepsChecksums
                ? try await source.storedChecksum(of: entry.key, reading: entry.reading, preferring: nil) : nil
            var hashers = Hashers(stored)
            let upload = try await scratch.beginUpload(name, describing: headers)
            var parts: [String] = []
            for range in ranges(of: size, atLeast: sizes.partBytes) {
                let (bytes, _) = try await part(entry, source, range)
                hashers.update(bytes)
                parts.append(try await upload.put(parts.count + 1, bytes))
            }
            if let damage = hashers.damage { return .damaged(damage) }
            try await upload.complete(parts)
            return .copied(sha256: hashers.sha256.digest)
        } catch let unreadable as ContentUnreadable {
            return .unreadable(unreadable)
        } catch let wrong as WrongLength {
            return .damaged(.size(listed: size, came: wrong.came))
        }
    }

    private struct WrongLength: Error { var came: String }

    private struct Hashers {
        var sha256 = ContentHasher(.sha256)
        private let stored: StoredChecksum?
        private var other: ContentHasher?

        init(_ stored: StoredChecksum?) {
            self.stored = stored
            if let stored { other = ContentHasher(stored.algorithm) }
        }

        mutating func update(_ bytes: [UInt8]) {
            bytes.withUnsafeBytes {
                sha256.update($0)
                other?.update($0)
            }
        }

        /// Call once.
        var damage: ContentDamage? {
            guard let stored, let digest = other?.digest, digest != stored.digest else { return nil }
            return .checksum(stored, digest)
        }
    }

    /// A part of the object, in memory; a transfer that breaks off is begun anew.
    private func part(
        _ entry: CopyEntry, _ source: any CopySource, _ range: Range<Int64>
    ) async throws -> (bytes: [UInt8], answer: HTTPResponse?) {
        let size = Int(range.count)
        var attempt = 1
        while true {
            let buffer = PartBuffer(limit: size)
            do {
                let answer = try await source.read(entry.key, entry.reading, range) { try buffer.append($0) }
                let bytes = buffer.bytes
                guard bytes.count == size else {
                    throw WrongLength(came: "\(range.lowerBound + Int64(bytes.count)) bytes read")
                }
                return (bytes, answer)
            } catch let error where CopyFile.TooLong.isCause(of: error) {
                throw WrongLength(came: "more than \(entry.reading.sizeBytes) bytes read")
            } catch let error as DrillError {
                guard let failure = error.cause as? HTTPFailure, failure.isTransient, attempt < 6 else { throw error }
                attempt += 1
                try await clock.sleep(for: .milliseconds(Int.random(in: 0...(20 << attempt))))
            }
        }
    }

    private final class PartBuffer: Sendable {
        private let held: Mutex<[UInt8]>
        private let limit: Int

        init(limit: Int) {
            self.limit = limit
            held = Mutex([])
        }

        var bytes: [UInt8] { held.withLock { $0 } }

        func append(_ bytes: UnsafeRawBufferPointer) throws {
            try held.withLock { held in
                guard held.count + bytes.count <= limit else { throw CopyFile.TooLong() }
                if held.isEmpty { held.reserveCapacity(limit) }
                held.append(contentsOf: bytes)
            }
        }
    }

    // MARK: The copies

    func has(_ key: ObjectKey, bucket: String) async throws -> Bool {
        switch try await scratch.reader.head(ObjectKey(name(of: key, bucket: bucket))) {
        case .present: true
        case .absent, .denied: false
        }
    }

    func content(
        of key: ObjectKey, bucket: String, sizeBytes: Int64, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        try await scratch.reader.content(
            of: ObjectKey(name(of: key, bucket: bucket)), ObjectReading(sizeBytes: sizeBytes), algorithm: algorithm)
    }

    func appendToManifest(_ lines: [UInt8]) async throws { try await manifest.append(lines) }
    func finishManifest() async throws { try await manifest.finish() }

    /// Whole sentences for the report.
    var notes: [String] {
        let state = state.withLock { $0 }
        var notes = state.refused.sorted { $0.key < $1.key }.map { place, reason in
            "The store refused to copy \(place) by itself (\(reason)): bytes passed through this machine."
        }
        let passed = state.throughHere.values.reduce(0, +)
        if passed > 0 {
            notes.append("\(grouped(passed)) objects passed through this machine on their way to \(place).")
        }
        if state.incomparable > 0 {
            notes.append(
                "\(grouped(state.incomparable)) copies in \(place) were compared by size alone: the store keeps no checksum of both "
                    + "sides that can be compared.")
        }
        return notes
    }
}
