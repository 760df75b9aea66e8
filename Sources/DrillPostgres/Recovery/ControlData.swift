import DrillCore
import Foundation

/// What pg_controldata says of a data directory.
struct ControlData: Sendable {
    let text: String
    private let fields: [String: String]

    init(_ text: String) {
        self.text = text
        var fields: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            fields[String(line[..<colon])] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        }
        self.fields = fields
    }

    /// Runs the program of the data directory's own version.
    static func read(
        _ dataDirectory: String, _ tools: PostgresTools, _ environment: DrillEnvironment
    ) async throws
        -> ControlData
    {
        let result = try await environment.processes.run(
            Command(tools.path("pg_controldata"), ["-D", dataDirectory], environment: ["LC_ALL": "C", "TZ": "UTC"]))
        let data = ControlData(result.outputText)
        guard result.succeeded, data.systemIdentifier != nil, !result.outputText.contains("WARNING") else {
            let words = (result.outputText + result.errorText).split(whereSeparator: \.isNewline).prefix(3)
            throw DrillError(
                .backupUnusable, "the control file cannot be read: \(words.joined(separator: " "))",
                at: dataDirectory + "/global/pg_control")
        }
        return data
    }

    func value(_ name: String) -> String? { fields[name] }
    private func integer(_ name: String) -> Int64? { fields[name].flatMap(strictInteger) }
    private func lsn(_ name: String) -> LSN? { fields[name].flatMap { LSN($0) } }

    var systemIdentifier: UInt64? { fields["Database system identifier"].flatMap { UInt64($0) } }
    var state: String { fields["Database cluster state"] ?? "unknown" }
    var checkpoint: LSN? { lsn("Latest checkpoint location") }
    var redo: LSN? { lsn("Latest checkpoint's REDO location") }
    var timeline: UInt32? { integer("Latest checkpoint's TimeLineID").flatMap { UInt32(exactly: $0) } }
    var segmentBytes: UInt64 { UInt64(integer("Bytes per WAL segment") ?? 16 << 20) }
    var hasChecksums: Bool { (integer("Data page checksum version") ?? 0) > 0 }
    var minimumRecoveryEnd: LSN? { lsn("Minimum recovery ending location").flatMap { $0.value == 0 ? nil : $0 } }

    /// When the checkpoint began, to the second.
    var checkpointTime: Date? {
        guard let text = fields["Time of latest checkpoint"] else { return nil }
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(secondsFromGMT: 0)
        formatter.dateFormat = "EEE MMM d HH:mm:ss yyyy"
        return formatter.date(from: text.split(separator: " ").joined(separator: " "))
    }

    /// Settings that a server which replays this log must not have lower than its primary (P18), with room for what the
    /// primary was given later.
    var floors: [(name: String, value: String)] {
        func floor(_ field: String, _ least: Int64) -> String { String(max(integer(field) ?? 0, least)) }
        return [
            ("max_connections", floor("max_connections setting", 100)),
            ("max_worker_processes", floor("max_worker_processes setting", 8)),
            ("max_prepared_transactions", floor("max_prepared_xacts setting", 256)),
            ("max_locks_per_transaction", floor("max_locks_per_xact setting", 256)),
        ]
    }
}
