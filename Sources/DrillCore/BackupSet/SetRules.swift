import Foundation

/// Which candidates may be drilled: pure judging, without looking at anything.
package struct SetRules: Sendable {
    /// Now, for ages and for sets from the future.
    package var now: Date
    /// An incomplete set whose newest file is younger is still being written.
    package var settle: Duration
    /// Sets newer than this are passed over; nil where the newest is wanted.
    package var target: Date?

    /// Where the drill file says nothing of `settle`.
    package static let standardSettle = Duration.seconds(600)

    /// Two machines' clocks may differ by so many seconds before a set counts as dated in the future.
    private static let clockSkew: TimeInterval = 300

    package init(now: Date, settle: Duration, target: RecoveryTarget) {
        self.now = now
        self.settle = settle
        if case .instant(let instant) = target { self.target = instant } else { self.target = nil }
    }

    /// What is known of a candidate before its components are looked at.
    /// - Parameters:
    ///   - time: What its name states; nil where the name does not match.
    ///   - kind: What stands under that name; nil where nothing does any more.
    package func state(time: Date?, kind: FolderEntry.Kind?, pattern: String) -> BackupSet.State {
        guard let time else { return .passedOver("Its name does not match '\(printable(pattern.utf8))'.") }
        switch kind {
        case .directory: break
        case .file: return .unusable("it is a file, and a set is a folder")
        case .symbolicLink: return .unusable("it is a symbolic link, and a set is a folder of its own")
        case .other: return .unusable("it is a special file, and a set is a folder")
        case nil: return .unusable("it vanished while sets were listed")
        }
        if time.timeIntervalSince(now) > Self.clockSkew {
            return .passedOver(
                "It is dated \(rfc3339(time)), in the future (now is \(rfc3339(now))): refused. Names are read in UTC.")
        }
        if let target, time > target {
            return .passedOver("It is newer than the recovery target \(rfc3339(target)).")
        }
        return .usable
    }

    /// Newest first by their own time, then by the bytes of the name; what has no time comes last.
    package func ordered(_ sets: [BackupSet]) -> [BackupSet] {
        sets.sorted { left, right in
            let leftTime = left.time ?? .distantPast, rightTime = right.time ?? .distantPast
            if leftTime != rightTime { return leftTime > rightTime }
            return left.id.utf8.lexicographicallyPrecedes(right.id.utf8)
        }
    }

    /// The set with the state that its components and its age give it.
    package func judge(_ set: BackupSet, _ found: ExaminedComponents, newestFile: Date?) -> BackupSet {
        var set = found.judged(set)
        guard case .unusable(let reason) = set.state else { return set }
        if found.isIncomplete, let newestFile, isSettling(newestFile) {
            set.state = .beingWritten(
                "Still being written: \(reason); its newest file is of \(rfc3339(newestFile)), "
                    + "and a set may take \(spanText(settle.seconds)) to settle.")
        }
        return set
    }

    /// Whether what is incomplete and was last changed then may still be being written. A file dated after now says nothing of its
    /// age: a set must not stay "being written" for ever.
    package func isSettling(_ lastChange: Date) -> Bool {
        lastChange.timeIntervalSince(now) <= Self.clockSkew && now.timeIntervalSince(lastChange) < settle.seconds
    }

    /// A note where a dump's header and the set's name differ by whole hours: one of the two is no UTC.
    package static func zoneNote(name: Date, header: Date) -> String? {
        let difference = header.timeIntervalSince(name)
        let hours = (difference / 3600).rounded()
        // A dump begins some minutes after its folder was named; no zone is further than 14 hours from UTC.
        guard hours != 0, abs(hours) <= 14, abs(difference - hours * 3600) <= 600 else { return nil }
        let count = Int(abs(hours))
        return "The dump's header (\(rfc3339(header))) is \(count) hour\(count == 1 ? "" : "s") "
            + "\(hours > 0 ? "later" : "earlier") than the set's name (\(rfc3339(name))). A header bears no zone: set "
            + "database.time_zone where the server that wrote the dump does not run in UTC."
    }
}

/// What looking at the components of one set found.
package struct ExaminedComponents: Sendable {
    package var database: ComponentState
    package var objects: [(bucket: String, state: ComponentState)]

    package init(database: ComponentState, objects: [(bucket: String, state: ComponentState)]) {
        self.database = database
        self.objects = objects
    }

    private var all: [(label: String, state: ComponentState)] {
        [("database", database)] + objects.map { ("objects of \($0.bucket)", $0.state) }
    }

    /// Whether something is not there (yet); what is broken besides does not mend by waiting, but is told once it is whole.
    var isIncomplete: Bool { all.contains { if case .incomplete = $0.state.state { true } else { false } } }

    /// The set with what its components say, whatever its age; every component's reason is told.
    func judged(_ set: BackupSet) -> BackupSet {
        var set = set
        set.notes += all.flatMap(\.state.notes)
        set.sizeBytes = sizeBytes
        let reasons = all.compactMap { label, component -> String? in
            switch component.state {
            case .usable: nil
            case .incomplete(let reason), .unusable(let reason): "\(label): \(reason)"
            }
        }
        if !reasons.isEmpty { set.state = .unusable(reasons.joined(separator: "; ")) }
        return set
    }

    /// Of all components; nil where one does not know.
    private var sizeBytes: Int64? {
        let sizes = all.compactMap(\.state.sizeBytes)
        return sizes.count == all.count ? sizes.reduce(0, +) : nil
    }
}

/// Looks at each component of a set.
package struct SetExaminer: Sendable {
    package typealias Look = @Sendable (BackupSet) async throws -> ComponentState
    private let database: Look
    private let objects: [(bucket: String, look: Look)]

    package init(database: @escaping Look, objects: [(bucket: String, look: Look)]) {
        self.database = database
        self.objects = objects
    }

    package init(database: any Restorer, objects: [any ObjectBackup]) {
        self.init(
            database: { try await database.examine($0) },
            objects: objects.map { backup in (backup.bucket, { try await backup.examine($0) }) })
    }

    func examine(_ set: BackupSet) async throws -> ExaminedComponents {
        var found = ExaminedComponents(database: try await database(set), objects: [])
        for (bucket, look) in objects { found.objects.append((bucket, try await look(set))) }
        return found
    }
}
