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

/// Opens a place that a drill file names; one for each scheme (`file`, `s3`).
package protocol BackupFolderKind: Sendable {
    /// `file` for paths.
    static var scheme: String { get }
    /// - Parameter settings: The mapping in the drill file that names the place and may hold ``BackupFolderAccess/fields``; nil
    ///   where only the environment says how to reach it.
    static func open(
        _ location: String, settings: SettingsReader?, environment: DrillEnvironment
    ) throws -> any BackupFolder
}

/// How a place that is not of this machine is reached, beside its URL: the words are those of `s3` objects.
package enum BackupFolderAccess {
    package static let fields = [
        SettingsField(
            "endpoint", .text,
            "`https://host:port` of an S3-compatible store. Default: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's "
                + "endpoint_url, else Amazon's."
        ),
        SettingsField(
            "region", .text,
            "Default: AWS_REGION, AWS_DEFAULT_REGION, the profile's, else us-east-1; a wrong one is corrected once by what "
                + "the bucket answers."
        ),
        SettingsField(
            "path_style", .boolean,
            "Whether the bucket stands in the path of the URL. Default: true with an endpoint that is not Amazon's."),
        SettingsField("profile", .text, "A profile of the AWS files; then credentials are looked for nowhere else."),
        SettingsField(
            "ca_file", .text, "A PEM file of the authorities to believe. Default: AWS_CA_BUNDLE, else the system's."),
        SettingsField(
            "insecure", .boolean, "true accepts any certificate; every report prints it as a waiver. Default: false."),
        SettingsField(
            "request_payer", .boolean, "true agrees to pay for requests to a Requester Pays bucket. Default: false."),
    ]
}

extension Registry {
    /// Opens a directory, or a place by its URL (`s3://bucket/prefix`). nil where no part knows its scheme.
    package func folder(
        _ location: String, settings: SettingsReader? = nil, environment: DrillEnvironment
    ) throws -> (any BackupFolder)? {
        let scheme = location.firstRange(of: "://").map { String(location[..<$0.lowerBound]) } ?? "file"
        return try folders[scheme]?.open(location, settings: settings, environment: environment)
    }
}
