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
}
