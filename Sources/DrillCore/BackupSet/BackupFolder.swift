import Foundation

/// A place that holds backup files, read only: a directory, or a prefix of a bucket. Paths are relative, with `/` between.
package protocol BackupFolder: Sendable {
    /// For a person.
    var place: String { get }
    /// What is at that path; nil where nothing is. The empty path is the folder itself.
    func entry(_ path: String) async throws -> FolderEntry?
    /// Names directly below that path, sorted by bytes.
    func names(in path: String) async throws -> [String]
    /// Bytes of a file from an offset on; fewer than asked for only at its end.
    func read(_ path: String, offset: Int64, count: Int) async throws -> [UInt8]
    /// A path on this machine with that file's (or directory's) content: the place itself where it is local, else a verified
    /// download into scratch. `progress` gets bytes done.
    func localPath(_ path: String, in scratch: Scratch, progress: @Sendable (Int64) -> Void) async throws -> String
    /// When the newest file below was last changed; looks at no more than `limit` entries. nil where there is none.
    func newestModification(limit: Int) async throws -> Date?
    func folder(_ path: String) -> any BackupFolder
}

package struct FolderEntry: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case file, directory, symbolicLink, other }
    package var kind: Kind
    package var sizeBytes: Int64
    package var modifiedAt: Date?
    package init(kind: Kind, sizeBytes: Int64, modifiedAt: Date?) {
        self.kind = kind
        self.sizeBytes = sizeBytes
        self.modifiedAt = modifiedAt
    }
}

/// Opens the place that `backup.sets` names; one for each scheme (`file`, `s3`).
package protocol BackupFolderKind: Sendable {
    /// `file` for paths.
    static var scheme: String { get }
    static func open(_ location: String, environment: DrillEnvironment) throws -> any BackupFolder
}
