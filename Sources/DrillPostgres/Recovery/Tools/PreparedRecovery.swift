import DrillCore
import Foundation

/// A data directory that a tool restored, ready to be recovered.
struct PreparedRecovery: Sendable {
    var cluster: RecoveredCluster
    var control: ControlData
    var label: BackupLabel
    var archive: any ToolArchive
    var place: String
    var notes: [String]

    func recover<Result: Sendable>(
        to target: RecoveryTarget, _ replay: ReplaySettings,
        _ body: (RestoreHost, PointInTimeRecovery.Outcome) async throws -> Result
    ) async throws -> Result {
        let listed = try await WALArchive.listed(
            askedFor(try await archive.names(), target), archive, segmentBytes: control.segmentBytes,
            in: cluster.scratch)
        let choice = try TimelineChoice(listed, base: label.timeline, wanted: replay.timeline)
        let recovery = PointInTimeRecovery(
            cluster: cluster, source: archive, archive: listed, choice: choice, label: label, target: target,
            isInclusive: replay.isInclusive, archivedUntil: replay.archivedUntil, control: control)
        return try await recovery.run { host, outcome in
            var outcome = outcome
            outcome.notes += choice.notes
            return try await body(host, outcome)
        }
    }

    /// Asks the server that it is the one that was made here, on what was restored here, and no other (V7).
    func requireOwn(_ host: RestoreHost) async throws {
        let found = try await host.withSession { connection in
            try await connection.query(
                """
                SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
                pg_catalog.current_setting('data_directory')
                """
            ).rows.first ?? []
        }
        guard found.count == 2, found[0] == control.systemIdentifier.map({ String($0) }),
            let directory = found[1], Self.isSame(directory, cluster.dataDirectory)
        else {
            throw DrillError(
                .couldNotLook, "the server that answers is not the scratch server", at: host.administration.place,
                hints: ["It is on \(found.last.flatMap { $0 } ?? "an unknown data directory")."])
        }
    }

    /// Whether two paths, however they are written, lead to one directory.
    private static func isSame(_ left: String, _ right: String) -> Bool {
        var first = stat(), second = stat()
        return stat(left, &first) == 0 && stat(right, &second) == 0 && first.st_dev == second.st_dev
            && first.st_ino == second.st_ino
    }

    /// A tool is slow to ask: of backups' histories only those may be of use that show an idle database beyond the last commit.
    private func askedFor(_ names: [String], _ target: RecoveryTarget) -> [String] {
        let first = label.startSegment
        return names.filter { name in
            guard name.hasSuffix(".backup") else { return true }
            guard case .instant = target, let segment = WALSegment(name.prefix(24)) else { return false }
            return (segment.high, segment.low) > (first.high, first.low)
        }
    }
}
