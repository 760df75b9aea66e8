import DrillCore
import Foundation

/// What `backup_label`, or the backup history file in the archive, says of a base backup.
struct BackupLabel: Sendable {
    var start: LSN
    /// Name of the segment in which replay starts.
    var startSegment: WALSegment
    var timeline: UInt32
    var label: String
    /// Only pg_combinebackup makes it whole, from PostgreSQL 17 on.
    var isIncremental: Bool
    /// As written: a time and a zone's abbreviation.
    var startTimeText: String
    /// Only a history file knows these.
    var stop: LSN?
    var stopTimeText: String?

    /// nil where it is not what PostgreSQL writes.
    init?(_ bytes: [UInt8]) {
        var fields: [String: String] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
            guard let colon = line.firstRange(of: ": ") else { continue }
            fields[String(line[..<colon.lowerBound])] = String(line[colon.upperBound...])
        }
        guard let location = fields["START WAL LOCATION"], let open = location.firstRange(of: " (file "),
            location.hasSuffix(")"), let start = LSN(location[..<open.lowerBound]),
            let segment = WALSegment(location[open.upperBound...].dropLast()), let time = fields["START TIME"]
        else { return nil }
        self.start = start
        startSegment = segment
        timeline = fields["START TIMELINE"].flatMap { UInt32($0) } ?? segment.timeline
        label = fields["LABEL"] ?? ""
        isIncremental = fields["INCREMENTAL FROM LSN"] != nil
        startTimeText = time
        stop = fields["STOP WAL LOCATION"].flatMap { $0.split(separator: " ").first }.flatMap { LSN($0) }
        stopTimeText = fields["STOP TIME"]
    }

    /// An instant as the server's log_timezone writes it. Its zone is an abbreviation, which may mean more than one.
    /// - Parameter offsetSeconds: East of UTC, where something else tells it; nil believes the abbreviation.
    /// - Returns: nil where the abbreviation is not known.
    static func instant(_ text: String, offsetSeconds: Int? = nil) -> Date? {
        guard let asUTC = clock(text) else { return nil }
        if let offsetSeconds { return asUTC.addingTimeInterval(-Double(offsetSeconds)) }
        guard let zone = text.split(separator: " ").dropFirst(2).first.map(String.init) else { return nil }
        if let certain = certainOffset(zone) { return asUTC.addingTimeInterval(-certain) }
        guard let known = TimeZone(abbreviation: zone) else { return nil }
        return asUTC.addingTimeInterval(-Double(known.secondsFromGMT(for: asUTC)))
    }

    /// The same, only where the zone can mean nothing else; `IST` and `CST` are several.
    static func certainInstant(_ text: String) -> Date? {
        guard let zone = text.split(separator: " ").dropFirst(2).first, let offset = certainOffset(String(zone)) else {
            return nil
        }
        return clock(text)?.addingTimeInterval(-offset)
    }

    /// Seconds east of UTC. Zones without an abbreviation are written as `-03` or `+0545`.
    private static func certainOffset(_ zone: String) -> TimeInterval? {
        if ["UTC", "GMT", "Z"].contains(zone) { return 0 }
        let digits = zone.dropFirst()
        guard zone.hasPrefix("+") || zone.hasPrefix("-"), [2, 4].contains(digits.utf8.count),
            let number = strictInteger(String(digits))
        else { return nil }
        let minutes = digits.utf8.count == 2 ? number * 60 : number / 100 * 60 + number % 100
        return Double(zone.hasPrefix("-") ? -minutes * 60 : minutes * 60)
    }

    /// What the clock showed, read as if it were UTC.
    static func clock(_ text: String) -> Date? {
        let words = text.split(separator: " ")
        guard words.count >= 2 else { return nil }
        return parseInstant("\(words[0])T\(words[1])Z")
    }

    /// How far the clock was ahead of UTC, from the same moment written in both ways: zones differ by quarters of an hour.
    static func offsetSeconds(local: String, instant: Date) -> Int? {
        guard let clock = clock(local) else { return nil }
        let quarters = (clock.timeIntervalSince(instant) / 900).rounded()
        return abs(quarters) <= 56 ? Int(quarters) * 900 : nil
    }
}

/// What is read of a `backup_manifest` without reading all of it.
struct ManifestFacts: Sendable {
    /// When `backup_label` was written, in UTC: the backup's start.
    var labelWrittenAt: Date?
    /// Where replay must have come to before the data are consistent.
    var end: LSN?
    /// From PostgreSQL 17 on.
    var systemIdentifier: UInt64?

    init(_ text: String) {
        if let match = text.firstMatch(of: /"Path": "backup_label"[^}]*"Last-Modified": "([0-9: -]+) GMT"/) {
            labelWrittenAt = BackupLabel.clock(String(match.1))
        }
        if let match = text.firstMatch(of: /"End-LSN": "([0-9A-F\/]+)"/) { end = LSN(match.1) }
        if let match = text.firstMatch(of: /"System-Identifier": ([0-9]+)/) { systemIdentifier = UInt64(match.1) }
    }
}
