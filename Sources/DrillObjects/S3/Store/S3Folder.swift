import DrillCore
import Foundation

/// A prefix of a bucket as a folder of backup files (`sets: s3://bucket/prefix`); `/` parts its levels.
struct S3Folder: BackupFolder {
    /// Their prefix is this folder's, with its slash; empty for the whole bucket.
    let settings: S3Settings
    private let reader: BucketReader
    private let environment: DrillEnvironment

    init(_ settings: S3Settings, _ environment: DrillEnvironment) {
        self.init(settings, BucketReader(settings, environment), environment)
    }

    private init(_ settings: S3Settings, _ reader: BucketReader, _ environment: DrillEnvironment) {
        self.settings = settings
        self.reader = reader
        self.environment = environment
    }

    var place: String { settings.place }

    /// The full key at that path, without a slash at its end.
    func key(_ path: String) -> [UInt8] {
        var key = settings.prefix + Array(path.utf8)
        while key.last == UInt8(ascii: "/") { key.removeLast() }
        return key
    }

    func folder(_ path: String) -> any BackupFolder {
        guard !path.isEmpty else { return self }
        var inner = settings
        inner.prefix = key(path) + Array("/".utf8)
        return S3Folder(inner, environment)
    }

    /// An object is a file; where there is none, a prefix with anything below it is a directory.
    func entry(_ path: String) async throws -> FolderEntry? {
        if !path.isEmpty, !path.hasSuffix("/") {
            switch try await reader.head(ObjectKey(path)) {
            case .present(let head):
                return FolderEntry(kind: .file, sizeBytes: head.reading.sizeBytes, modifiedAt: head.reading.modifiedAt)
            case .absent: break
            case .denied:
                throw DrillError(
                    .couldNotLook, "access is denied (HTTP 403)", at: "\(place)\(path)",
                    hints: ["Grant \(S3Operation.headObject.permissions) to the reader of the backup."])
            }
        }
        let below = try await children(key(path), limit: 1)
        return below.isEmpty ? nil : FolderEntry(kind: .directory, sizeBytes: 0, modifiedAt: nil)
    }

    func names(in path: String) async throws -> [String] {
        try await children(key(path), limit: nil).map { String(decoding: $0, as: UTF8.self) }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Names of the next level, each once.
    private func children(_ key: [UInt8], limit: Int?) async throws -> Set<[UInt8]> {
        let prefix = key.isEmpty ? [] : key + Array("/".utf8)
        var names: Set<[UInt8]> = []
        var level = FolderListing(reader.client, prefix: prefix, place: place)
        while limit.map({ names.count < $0 }) ?? true, let page = try await level.next() {
            for index in 0..<page.entries.count {
                names.insert(Array(page.entries.keys[index].dropFirst(prefix.count)))
            }
            for index in 0..<page.commonPrefixes.count {
                names.insert(Array(page.commonPrefixes[index].dropFirst(prefix.count).dropLast()))
            }
            // The "folder" object of some consoles is the level itself.
            names.remove([])
        }
        return names
    }

    func read(_ path: String, offset: Int64, count: Int) async throws -> [UInt8] {
        guard count > 0 else { return [] }
        var call = S3Call(.getObject, key: key(path))
        call.headers = [("range", "bytes=\(offset)-\(offset + Int64(count) - 1)")]
        do {
            let response = try await reader.client.send(call)
            // A server may send the whole object instead (S27).
            guard response.status == 200 else { return response.body }
            return Array(response.body.dropFirst(Int(offset)).prefix(count))
        } catch let error as S3ServiceError where error.status == 416 {
            return []
        } catch {
            throw await reader.described(error)
        }
    }

    func localPath(_ path: String, in scratch: Scratch, progress: @Sendable (Int64) -> Void) async throws -> String {
        try await S3Download(reader, settings: settings, scratch: scratch).localPath(
            path, key: key(path), progress: progress)
    }

    func newestModification(limit: Int) async throws -> Date? {
        let source = ListingSource(reader.client, .objects, prefix: settings.prefix, place: place)
        var newest: Int64?
        var seen = 0
        var cursor = ListingCursor()
        while seen < limit {
            let page = try await source.page(cursor)
            newest = [newest, page.entries.modified.max()].compactMap { $0 }.max()
            seen += page.entries.count
            guard let next = page.next else { break }
            cursor = next
        }
        return newest.map(Date.init(microseconds:))
    }
}

/// `s3://bucket/prefix` as a place of backups. Endpoint, region and credentials are those of the drill file's mapping, where
/// there is one, else of the AWS tools' own variables and files: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_PROFILE.
enum S3FolderKind: BackupFolderKind {
    static let scheme = "s3"

    static func open(
        _ location: String, settings: SettingsReader?, environment: DrillEnvironment
    ) throws -> any BackupFolder {
        guard let (bucket, prefix) = S3Settings.location(location) else {
            throw DrillError(
                .usage, "'\(location)' is not of the form s3://bucket/prefix", at: settings?.place() ?? "backup.sets")
        }
        guard let settings else {
            return S3Folder(try S3Settings(bucket: bucket, prefix: prefix, environment), environment)
        }
        var own = try S3Settings(settings, bucket: bucket, environment)
        own.prefix = prefix
        return S3Folder(own, environment)
    }
}
