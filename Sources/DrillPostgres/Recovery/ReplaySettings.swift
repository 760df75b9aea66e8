import DrillCore
import Foundation

/// How far replay goes beyond what the recovery target says.
struct ReplaySettings: Sendable {
    static let fields = [
        SettingsField(
            "timeline", .integer(1...Int64(UInt32.max)),
            "The timeline to follow. Default: the newest, refused where the archive has two histories."),
        SettingsField(
            "archived_until", .instant(words: []),
            "The archive is complete up to this instant: a target after the last commit then is no fault."),
        SettingsField(
            "inclusive", .boolean, "Whether a transaction committed exactly at the target counts. Default: true."),
    ]

    var timeline: UInt32?
    var archivedUntil: Date?
    var isInclusive: Bool

    init(_ settings: SettingsReader) throws {
        timeline = try settings.integer("timeline", in: 1...Int64(UInt32.max)).flatMap { UInt32(exactly: $0) }
        archivedUntil = try settings.string("archived_until").map { text in
            guard let instant = parseInstant(text) else {
                throw settings.error(
                    "archived_until", "'\(text)' is no instant with an offset",
                    hints: ["Write RFC 3339, such as 2026-11-14T14:30:05Z."])
            }
            return instant
        }
        isInclusive = try settings.bool("inclusive") ?? true
    }
}
