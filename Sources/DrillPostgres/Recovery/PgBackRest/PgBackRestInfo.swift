import DrillCore
import Foundation

/// What `pgbackrest info --output=json` says of one stanza. (pgBackRest manual, Info Command.)
struct PgBackRestStanza: Decodable, Sendable {
    struct Status: Decodable, Sendable {
        var code: Int
        var message: String
    }
    struct Repository: Decodable, Sendable {
        var key: Int
        var cipher: String?
        var status: Status
    }
    struct Database: Decodable, Sendable {
        var id: Int
        var repository: Int?
        var systemIdentifier: UInt64
        var version: String
        enum CodingKeys: String, CodingKey {
            case id, version
            case repository = "repo-key"
            case systemIdentifier = "system-id"
        }
    }
    struct DatabaseKey: Decodable, Sendable {
        var id: Int
        var repository: Int?
        enum CodingKeys: String, CodingKey {
            case id
            case repository = "repo-key"
        }
    }
    struct Archive: Decodable, Sendable {
        var id: String
        var database: DatabaseKey
    }
    struct Range<Value: Decodable & Sendable>: Decodable, Sendable {
        var start: Value?
        var stop: Value?
    }
    struct Sizes: Decodable, Sendable {
        struct Stored: Decodable, Sendable {
            /// Absent where files were bundled by a version that could not tell.
            var size: Int64?
            var delta: Int64?
        }
        var size: Int64?
        var repository: Stored?
    }
    struct Backup: Decodable, Sendable {
        var label: String
        var type: String
        var error: Bool?
        var archive: Range<String>?
        var lsn: Range<String>?
        /// Seconds since 1970.
        var timestamp: Range<Double>?
        var database: DatabaseKey
        var info: Sizes?
        var reference: [String]?
    }

    var name: String
    var status: Status
    var repo: [Repository]?
    var db: [Database]
    var archive: [Archive]
    var backup: [Backup]

    /// Codes of `status`. (pgBackRest source, command/info/info.c.)
    static let missingStanza = 1
    static let missingData = 3
    static let other = 99

    /// - Parameter repository: Only what is in it; nil is all.
    func backups(in repository: Int?) -> [ToolBackup] {
        let labels = Set(backup.map(\.label))
        return backup.filter { repository == nil || ($0.database.repository ?? 1) == repository }.map { backup in
            let database = db.first { $0.id == backup.database.id && $0.repository == backup.database.repository }
            var found = ToolBackup(label: backup.label, type: backup.type)
            found.startedAt = backup.timestamp?.start.map { Date(timeIntervalSince1970: $0) }
            found.stoppedAt = backup.timestamp?.stop.map { Date(timeIntervalSince1970: $0) }
            found.start = backup.lsn?.start.flatMap { LSN($0) }
            found.stop = backup.lsn?.stop.flatMap { LSN($0) }
            found.startSegment = backup.archive?.start.flatMap { WALSegment($0) }
            found.stopSegment = backup.archive?.stop.flatMap { WALSegment($0) }
            found.sizeBytes = backup.info?.size
            found.storedBytes = backup.info?.repository?.size ?? backup.info?.repository?.delta
            found.version = database?.version
            found.major = database.flatMap { majorVersion($0.version) }
            found.systemIdentifier = database?.systemIdentifier
            found.reference = backup.reference ?? []
            found.repository = backup.database.repository
            found.archive =
                archive.first {
                    $0.database.id == backup.database.id && $0.database.repository == backup.database.repository
                }?.id
            if backup.error == true {
                found.state = .refused(
                    "pgBackRest says `error: true`: pages with wrong checksums were found while it was made")
            } else if let absent = found.reference.first(where: { !labels.contains($0) }) {
                found.state = .refused("it builds on the backup \(absent), which is not in the repository")
            } else if found.start == nil {
                found.state = .refused("it was made offline, without WAL: it cannot be recovered to a target")
            }
            return found
        }
    }
}

/// What pgBackRest's error classes say of the backup. They stand in brackets in its messages, and as exit statuses.
/// (pgBackRest source, build/error/error.yaml.)
enum PgBackRestFault {
    /// The file is there, and its content is not what it should be; or a file of the backup is not there.
    private static let ofBackup: [Int32: String] = [
        26: "ChecksumError", 28: "FileInvalidError", 29: "FormatError", 55: "FileMissingError", 69: "LinkExpectedError",
        70: "LinkDestinationError", 75: "BackupSetInvalidError", 95: "CryptoError", 99: "JsonFormatError",
    ]

    static func isOfBackup(status: Int32?) -> Bool { status.map { ofBackup[$0] != nil } ?? false }
    static func isOfBackup(message: String) -> Bool {
        ofBackup.values.contains { message.contains("[\($0)]") }
    }
}
