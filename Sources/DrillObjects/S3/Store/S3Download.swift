import DrillCore
import Foundation

/// Brings backup files from a bucket into scratch, verified.
struct S3Download: Sendable {
    private let reader: BucketReader
    private let settings: S3Settings
    private let scratch: Scratch
    /// Only what was read whole and agrees gets its name.
    private static let unfinished = ".part"

    init(_ reader: BucketReader, settings: S3Settings, scratch: Scratch) {
        self.reader = reader
        self.settings = settings
        self.scratch = scratch
    }

    /// The path in scratch of that file, or of a directory with all files below it.
    func localPath(_ path: String, key: [UInt8], progress: @Sendable (Int64) -> Void) async throws -> String {
        let root =
            scratch.directory + "/sets/" + hexadecimal(ContentHasher.sha256(of: Array(settings.place.utf8)).prefix(8))
        let target = path.isEmpty ? root : try Self.safe(path, below: root)
        if FileManager.default.fileExists(atPath: target) { return target }
        if !path.isEmpty, case .present(let head) = try await reader.head(ObjectKey(path)) {
            try await download(ObjectKey(path), head.reading, to: target)
            progress(head.reading.sizeBytes)
            return target
        }
        try await directory(key, path, to: target, progress)
        return target
    }

    /// Files that come at a time.
    private static let width = 8

    private func directory(
        _ key: [UInt8], _ path: String, to target: String, _ progress: @Sendable (Int64) -> Void
    ) async throws {
        let prefix = key.isEmpty ? [] : key + Array("/".utf8)
        let source = ListingSource(reader.client, .objects, prefix: prefix, place: settings.place)
        var cursor = ListingCursor()
        var done: Int64 = 0
        var files = 0
        while true {
            let page = try await source.page(cursor)
            var wanted: [(key: ObjectKey, reading: ObjectReading, file: String)] = []
            for index in 0..<page.entries.count {
                let relative = Array(page.entries.keys[index].dropFirst(prefix.count))
                guard !relative.isEmpty, relative.last != UInt8(ascii: "/") else { continue }
                let file = try Self.safe(String(decoding: relative, as: UTF8.self), below: target, exactly: relative)
                let reading = ObjectReading(
                    sizeBytes: page.entries.sizes[index],
                    etag: String(decoding: page.entries.etags[index], as: UTF8.self))
                wanted.append((ObjectKey(page.entries.keys[index].dropFirst(settings.prefix.count)), reading, file))
            }
            files += wanted.count
            try await withThrowingTaskGroup(of: Int64.self) { group in
                var waiting = wanted[...]
                func start() {
                    guard let next = waiting.popFirst() else { return }
                    group.addTask {
                        try await download(next.key, next.reading, to: next.file)
                        return next.reading.sizeBytes
                    }
                }
                for _ in 0..<Self.width { start() }
                while let size = try await group.next() {
                    done += size
                    progress(done)
                    start()
                }
            }
            guard let next = page.next else { break }
            cursor = next
        }
        guard files > 0 else { throw DrillError(.backupUnusable, "nothing is there", at: settings.place + path) }
    }

    private func download(_ key: ObjectKey, _ reading: ObjectReading, to target: String) async throws {
        let place = settings.place + key.description
        let expected = try await reader.expectedDigest(key, reading)
        let manager = FileManager.default
        let part = target + Self.unfinished
        do {
            try manager.createDirectory(
                atPath: (target as NSString).deletingLastPathComponent, withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700])
        } catch {
            throw DrillError(.couldNotLook, "cannot make the folder for it", at: target, cause: error)
        }
        do {
            var isAsKept = try await fetch(key, reading, to: part, expected, place)
            // Something on the way may have changed them: twice the same is what the store has.
            if !isAsKept { isAsKept = try await fetch(key, reading, to: part, expected, place) }
            guard isAsKept else {
                throw DrillError(
                    .backupUnusable,
                    "its bytes do not have the \(expected?.name ?? "checksum") that the store keeps of it",
                    at: place)
            }
            try manager.moveItem(atPath: part, toPath: target)
        } catch let unreadable as ContentUnreadable {
            throw DrillError(.backupUnusable, unreadable.reason, at: place, cause: unreadable)
        } catch {
            throw DrillError(wrapping: error, at: place)
        }
    }

    /// - Returns: Whether the bytes are those that the store keeps a digest of; true where it keeps none that is comparable.
    private func fetch(
        _ key: ObjectKey, _ reading: ObjectReading, to part: String, _ expected: ExpectedDigest?, _ place: String
    ) async throws -> Bool {
        let (size, isAsKept) = try await reader.afresh {
            let file = try DownloadFile(part, expected)
            try await reader.readWhole(key, reading) { try file.write($0) }
            return try file.close()
        }
        guard size == reading.sizeBytes else {
            throw DrillError(.couldNotLook, "\(size) of \(reading.sizeBytes) bytes came", at: place)
        }
        return isAsKept
    }

    /// That path below the root; refused where a part of it would lead elsewhere or two keys would meet in one file
    /// (X4).
    private static func safe(_ path: String, below root: String, exactly bytes: [UInt8]? = nil) throws -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        let isSafe = parts.allSatisfy {
            !["", ".", ".."].contains($0) && !$0.utf8.contains(0) && $0.utf8.count <= 255 - unfinished.utf8.count
        }
        guard isSafe, bytes.map({ $0 == Array(path.utf8) }) ?? true else {
            throw DrillError(
                .couldNotLook, "no path on this machine can hold the key", at: printable(bytes ?? Array(path.utf8)))
        }
        return root + "/" + path
    }
}

extension ContentHasher {
    static func sha256(of bytes: [UInt8]) -> [UInt8] {
        var hasher = ContentHasher(.sha256)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hasher.digest
    }
}
