import DrillCore
import Foundation

/// What `barman --format json list-backup` says of one backup: of one that is not done its state alone.
struct BarmanListed: Decodable, Sendable {
    var id: String
    var status: String
    /// Seconds since 1970, as text.
    var endTime: String?
    var sizeBytes: Int64?
    enum CodingKeys: String, CodingKey {
        case status
        case id = "backup_id"
        case endTime = "end_time_timestamp"
        case sizeBytes = "size_bytes"
    }

    /// A list of Barman's holds the server's backups, and messages besides.
    static func backups(_ result: ToolResult, server: String, at place: String) throws -> [BarmanListed] {
        try BarmanAnswer<[BarmanListed]>(result, server: server, at: place).value
    }

    /// - Parameters:
    ///   - writtenAt: When its folder was last changed.
    ///   - rules: What ended, or was written, less than their `settle` ago may still be under way.
    func backup(writtenAt: Date?, _ rules: SetRules) -> ToolBackup {
        var backup = ToolBackup(label: id, type: "full")
        backup.stoppedAt = endTime.flatMap(strictInteger).map { Date(timeIntervalSince1970: Double($0)) }
        backup.sizeBytes = sizeBytes
        if backup.stoppedAt == nil { backup.startedAt = writtenAt }
        backup.state = Self.state(status, since: backup.stoppedAt ?? writtenAt, rules)
        return backup
    }

    static func state(_ status: String, since: Date?, _ rules: SetRules) -> ToolBackup.State {
        let isYoung = since.map(rules.isSettling) ?? false
        switch status {
        case "DONE": return .done
        case "WAITING_FOR_WALS":
            let reason = "Barman says WAITING_FOR_WALS: WAL that it needs to be consistent is not archived yet"
            return isYoung ? .running("\(reason).") : .refused(reason)
        case "EMPTY", "STARTED", "SYNCING":
            return isYoung
                ? .running("Barman says \(status): it has not ended yet.")
                : .refused("Barman says \(status): it was begun and never ended")
        default: return .refused("Barman says \(status)")
        }
    }
}

/// What `barman --format json show-backup` says.
struct BarmanShown: Decodable, Sendable {
    struct Base: Decodable, Sendable {
        var beginLSN: String?
        var endLSN: String?
        var beginWAL: String?
        var endWAL: String?
        var beginTime: String?
        var endTime: String?
        var bytes: Int64?
        var storedBytes: Int64?
        enum CodingKeys: String, CodingKey {
            case beginLSN = "begin_lsn"
            case endLSN = "end_lsn"
            case beginWAL = "begin_wal"
            case endWAL = "end_wal"
            case beginTime = "begin_time_timestamp"
            case endTime = "end_time_timestamp"
            case bytes = "disk_usage_bytes"
            case storedBytes = "incremental_size_bytes"
        }
    }
    struct Tablespace: Decodable, Sendable {
        var name: String
    }
    var status: String
    var error: String?
    var version: Int?
    var base: Base?
    var tablespaces: [Tablespace]?
    enum CodingKeys: String, CodingKey {
        case status, error, tablespaces
        case version = "postgresql_version"
        case base = "base_backup_information"
    }

    func complete(_ listed: ToolBackup) -> ToolBackup {
        var backup = listed
        func instant(_ text: String?) -> Date? {
            text.flatMap(strictInteger).map { Date(timeIntervalSince1970: Double($0)) }
        }
        backup.startedAt = instant(base?.beginTime) ?? listed.startedAt
        backup.stoppedAt = instant(base?.endTime) ?? listed.stoppedAt
        backup.start = base?.beginLSN.flatMap { LSN($0) }
        backup.stop = base?.endLSN.flatMap { LSN($0) }
        backup.startSegment = base?.beginWAL.flatMap { WALSegment($0) }
        backup.stopSegment = base?.endWAL.flatMap { WALSegment($0) }
        backup.sizeBytes = base?.bytes ?? listed.sizeBytes
        backup.storedBytes = base?.storedBytes
        // 150018; before version 10 90624.
        backup.major = version.map { $0 / 10_000 }
        backup.version = version.map { $0 >= 100_000 ? "\($0 / 10_000).\($0 % 10_000)" : "\($0)" }
        backup.tablespaces = (tablespaces ?? []).map(\.name)
        if let error, case .refused(let reason) = backup.state { backup.state = .refused("\(reason): \(error)") }
        return backup
    }
}

/// Barman's answer in JSON: what was asked for stands under the server's name, and messages under `_ERROR` and the like.
struct BarmanAnswer<Value: Decodable> {
    let value: Value

    /// - Throws: `backupUnusable` where the catalog itself is damaged; else `couldNotLook`.
    init(_ result: ToolResult, server: String, at place: String) throws {
        // A wrong user, or a configuration that it does not read, it tells without JSON.
        if !result.succeeded, result.output.isEmpty {
            throw result.failure(.couldNotLook, "Barman says: \(result.firstWords)", at: place)
        }
        let answer = try result.decoded([String: Part].self, at: place)
        let errors = (answer["_EXCEPTION"]?.messages ?? []) + (answer["_ERROR"]?.messages ?? [])
        if !errors.isEmpty || !result.succeeded {
            let what = errors.first.map { String(printable($0.utf8).prefix(400)) } ?? "barman \(result.endingText)"
            let isDamage = what.contains("invalid line") && what.contains("backup.info")
            throw result.failure(isDamage ? .backupUnusable : .couldNotLook, "Barman says: \(what)", at: place)
        }
        guard let value = answer[server]?.value else {
            throw result.failure(.couldNotLook, "Barman said nothing of server `\(server)`", at: place)
        }
        self.value = value
    }

    private struct Part: Decodable {
        var value: Value?
        var messages: [String]?
        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            // Which of the two it is, its name says; here only one can fit.
            if let messages = try? container.decode([String].self), !messages.isEmpty {
                self.messages = messages
            } else {
                value = try container.decode(Value.self)
            }
        }
    }
}
