import Foundation

/// One candidate of a catalog, and whether it can be drilled.
package struct BackupSet: Sendable {
    package enum State: Sendable, Hashable {
        case usable
        /// Incomplete, and its newest file is younger than `settle`: passed over with a note.
        case beingWritten(String)
        /// Not to be drilled and no fault of the backup: dated in the future, a name that does not match. A note.
        case passedOver(String)
        /// Incomplete or broken: a `restore` finding when it is the newest.
        case unusable(String)
    }

    /// Its own name or label.
    package var id: String
    /// The instant that its name or catalog states; nil where there is none.
    package var time: Date?
    /// For a person.
    package var place: String
    package var folder: (any BackupFolder)?
    package var state: State
    /// Whole sentences for `muster sets` and the report.
    package var notes: [String]
    package var sizeBytes: Int64?
    /// What the catalog of a tool says besides (timeline, LSN …), for `muster sets`.
    package var facts: [(name: String, value: String)]

    package init(
        id: String, time: Date?, place: String, folder: (any BackupFolder)? = nil, state: State = .usable,
        notes: [String] = [], sizeBytes: Int64? = nil, facts: [(name: String, value: String)] = []
    ) {
        self.id = id
        self.time = time
        self.place = place
        self.folder = folder
        self.state = state
        self.notes = notes
        self.sizeBytes = sizeBytes
        self.facts = facts
    }
}

/// What looking at one component of a set found, without restoring it.
package struct ComponentState: Sendable {
    package enum State: Sendable, Hashable {
        case usable
        /// Something is not there (yet): no dump, an empty dump, no object tree.
        case incomplete(String)
        /// There, but broken.
        case unusable(String)
    }
    package var state: State
    package var notes: [String] = []
    package var sizeBytes: Int64?
    /// Where the component itself states it (a dump's header): the instant of its snapshot.
    package var takenAt: Date?
    package init(_ state: State, notes: [String] = [], sizeBytes: Int64? = nil, takenAt: Date? = nil) {
        self.state = state
        self.notes = notes
        self.sizeBytes = sizeBytes
        self.takenAt = takenAt
    }
}

/// Lists backup sets, newest first by their own time.
package protocol BackupCatalog: Sendable {
    /// For a person.
    var place: String { get }
    /// Every candidate, newest first, judged by what the catalog alone says. Cheap. Throws where the catalog cannot be read.
    func candidates() async throws -> [BackupSet]
    /// That candidate with its components looked at: its state, notes, size and, where only they tell it, its time. Throws where
    /// it could not be looked at.
    func examined(_ set: BackupSet) async throws -> BackupSet
    /// Every candidate, also those that cannot be used, with the reason. Throws where the catalog, or the set that would be
    /// drilled, cannot be looked at.
    func sets() async throws -> [BackupSet]
}

extension BackupCatalog {
    package func sets() async throws -> [BackupSet] {
        var sets: [BackupSet] = []
        var newestIsKnown = false
        for candidate in try await candidates() {
            do {
                sets.append(try await examined(candidate))
            } catch {
                let error = DrillError(wrapping: error)
                // What cannot be looked at is no fault of the backup; but an older set must not hide what the newest one is.
                guard newestIsKnown, error.code == .couldNotLook else { throw error }
                var set = candidate
                set.state = .unusable("it could not be looked at: \(error.what)")
                sets.append(set)
            }
            switch sets.last?.state {
            case .usable, .unusable: newestIsKnown = true
            case .beingWritten, .passedOver, nil: break
            }
        }
        return sets
    }
}

/// The instant asked for.
package enum RecoveryTarget: Sendable, Hashable {
    case latest
    case instant(Date)
    case lsn(String)
    case name(String)

    /// Whether it is no instant but a place in the write-ahead log.
    package var isPlaceInLog: Bool {
        switch self {
        case .latest, .instant: false
        case .lsn, .name: true
        }
    }

    /// As the command line takes it: `latest`, an instant with an offset, `lsn:0/1A2B3C4D`, `name:before-upgrade`. nil for
    /// anything else.
    package init?(argument text: String) {
        if text == "latest" {
            self = .latest
        } else if text.hasPrefix("lsn:") {
            let lsn = String(text.dropFirst(4))
            guard isLSN(lsn) else { return nil }
            self = .lsn(lsn)
        } else if text.hasPrefix("name:") {
            guard text.utf8.count > 5 else { return nil }
            self = .name(String(text.dropFirst(5)))
        } else if let instant = parseInstant(text) {
            self = .instant(instant)
        } else {
            return nil
        }
    }
}

/// Whether it is a place in the write-ahead log as PostgreSQL writes it: two hexadecimal numbers with a slash between.
func isLSN(_ text: String) -> Bool {
    let halves = text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return halves.count == 2
        && halves.allSatisfy { half in
            (1...8).contains(half.count)
                && half.allSatisfy {
                    (0x30...0x39).contains($0) || (0x41...0x46).contains($0) || (0x61...0x66).contains($0)
                }
        }
}
