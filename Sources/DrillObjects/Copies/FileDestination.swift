import DrillCore
import Foundation
import Glibc
import Synchronization

/// Copies as files below the run's scratch directory, with which they go.
///
/// A file's name comes from its key's SHA-256, never from the key itself: no key leads out of the directory, no two keys meet in
/// one file, and no key is too long (S13, X4).
struct FileDestination: CopyDestination {
    static let manifestName = "manifest.jsonl"
    /// Beside what the objects need (X9).
    private static let headroom = 1.2
    /// Of a file, whatever its size, on most file systems.
    private static let blockBytes: Int64 = 4096

    let place: String
    private let concurrency: Int
    private let clock: any DrillClock
    private let manifest: CopyFile

    init(_ place: String, concurrency: Int, clock: any DrillClock) throws {
        self.place = place
        self.concurrency = concurrency
        self.clock = clock
        guard mkdir(place, 0o700) == 0 else {
            throw FileFailure(number: errno).whileCopying("make the directory of the copies", at: place)
        }
        manifest = try CopyFile(place + "/" + Self.manifestName)
    }

    var isLocal: Bool { true }

    func concurrency(for source: any CopySource) -> Int { min(concurrency, source.preferredConcurrency) }

    func prepare(objects: Int64, bytes: Int64) async throws {
        var system = statvfs()
        guard statvfs(place, &system) == 0 else {
            throw FileFailure(number: errno).whileCopying("ask for the free space", at: place)
        }
        let free = Double(system.f_bavail) * Double(system.f_frsize)
        let needed = (Double(bytes) + Double(objects * Self.blockBytes)) * Self.headroom
        guard free >= needed else {
            throw DrillError(
                .couldNotLook,
                "\(grouped(objects)) objects of \(grouped(bytes)) bytes need \(grouped(Int64(needed))) bytes of room, and "
                    + "\(grouped(Int64(free))) are free",
                at: place, hints: ["Set scratch.directory to a larger disk, or drill a view (scratch.objects)."])
        }
        guard system.f_files == 0 || Double(system.f_favail) >= Double(objects) * Self.headroom else {
            throw DrillError(
                .couldNotLook,
                "\(grouped(objects)) objects need a file each, and the file system has room for "
                    + "\(grouped(Int64(clamping: system.f_favail))) more",
                at: place, hints: ["Set scratch.directory to a file system with more inodes."])
        }
    }

    func name(of key: ObjectKey, bucket: String) -> [UInt8] {
        let digest = hexadecimal(ContentHasher.sha256(of: key.bytes))
        return Array("\(folderName(ofBucket: bucket))/\(digest.prefix(2))/\(digest)".utf8)
    }

    private func path(of key: ObjectKey, bucket: String) -> String {
        place + "/" + String(decoding: name(of: key, bucket: bucket), as: UTF8.self)
    }

    func copy(_ entry: CopyEntry, of source: any CopySource) async throws -> CopyOutcome {
        let path = path(of: entry.key, bucket: source.bucket)
        if let there = try CopyFile(reading: path), there.sizeBytes == entry.reading.sizeBytes {
            return .copied(sha256: try await digests(there, [.sha256])[0])
        }
        let file = try make(path + ".part", bucket: source.bucket)
        let ending: ObjectDownload.Ending
        do {
            ending = try await ObjectDownload(source: source, entry: entry, file: file, clock: clock).run()
        } catch let unreadable as ContentUnreadable {
            try file.remove()
            return .unreadable(unreadable)
        }
        guard case .whole(let answer) = ending else {
            try file.remove()
            if case .damaged(let damage) = ending { return .damaged(damage) }
            throw DrillError(.couldNotLook, "its bytes did not come", at: path)
        }
        let stored = try await storedChecksum(entry, answer, source)
        let digests = try await digests(file, [.sha256] + (stored.map { [$0.algorithm] } ?? []))
        if let stored, digests[1] != stored.digest {
            try file.remove()
            return .damaged(.checksum(stored, digests[1]))
        }
        try file.rename(to: path)
        return .copied(sha256: digests[0])
    }

    /// The folder of the bucket is made with its first object.
    private func make(_ path: String, bucket: String) throws -> CopyFile {
        let folder = place + "/" + folderName(ofBucket: bucket)
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else {
            throw FileFailure(number: errno).whileCopying("make the folder", at: folder)
        }
        return try CopyFile(path)
    }

    /// The store's own checksum of the whole content: the answer told it, or is asked for where several answers brought it.
    private func storedChecksum(
        _ entry: CopyEntry, _ answer: HTTPResponse?, _ source: any CopySource
    ) async throws -> StoredChecksum? {
        if let answer {
            return BucketReader.storedChecksum(answer.head, etag: entry.reading.etag, preferring: nil)
        }
        guard source.keepsChecksums else { return nil }
        return try await source.storedChecksum(of: entry.key, reading: entry.reading, preferring: nil)
    }

    private func digests(_ file: CopyFile, _ algorithms: [ChecksumAlgorithm]) async throws -> [[UInt8]] {
        try await BlockingCalls.run { flag in try file.digests(algorithms, flag) }
    }

    func has(_ key: ObjectKey, bucket: String) async throws -> Bool {
        try CopyFile(reading: path(of: key, bucket: bucket)) != nil
    }

    func content(
        of key: ObjectKey, bucket: String, sizeBytes: Int64, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        let path = path(of: key, bucket: bucket)
        guard let file = try CopyFile(reading: path) else {
            throw DrillError(.couldNotLook, "the copy of the object is not there any more: \(key)", at: path)
        }
        return ContentReading(sizeBytes: file.sizeBytes, digest: try await digests(file, [algorithm])[0])
    }

    func appendToManifest(_ lines: [UInt8]) async throws {
        try lines.withUnsafeBytes { try manifest.append($0, limit: .max) }
    }

    func finishManifest() async throws {}
}
