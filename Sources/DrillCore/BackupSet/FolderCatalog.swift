import Foundation

/// Sets that are folders below `backup.sets`, one a backup, dated by their own names.
package struct FolderCatalog: BackupCatalog {
    /// Names of sets from elsewhere than the folder, which may not even be there yet.
    package typealias Listing = @Sendable () async throws -> [String]

    private let listing: Listing?
    private let folder: any BackupFolder
    private let name: SetName
    private let examiner: SetExaminer
    private let target: RecoveryTarget
    private let settle: Duration
    private let clock: any DrillClock

    package init(
        folder: any BackupFolder, name: SetName, database: any Restorer, objects: [any ObjectBackup],
        target: RecoveryTarget, settle: Duration, clock: any DrillClock, listing: Listing? = nil
    ) {
        self.init(
            folder: folder, name: name, examiner: SetExaminer(database: database, objects: objects), target: target,
            settle: settle, clock: clock, listing: listing)
    }

    init(
        folder: any BackupFolder, name: SetName, examiner: SetExaminer, target: RecoveryTarget, settle: Duration,
        clock: any DrillClock, listing: Listing? = nil
    ) {
        self.listing = listing
        self.folder = folder
        self.name = name
        self.examiner = examiner
        self.target = target
        self.settle = settle
        self.clock = clock
    }

    package var place: String { folder.place }

    private var rules: SetRules { SetRules(now: clock.now(), settle: settle, target: target) }

    package func candidates() async throws -> [BackupSet] {
        let names: [String]
        var kinds: [String: FolderEntry.Kind] = [:]
        if let listing {
            names = try await listing()
            for name in names { kinds[name] = .directory }
        } else {
            (names, kinds) = try await namesInFolder()
        }
        let rules = self.rules
        return rules.ordered(
            names.map { name in
                let time = self.name.instant(of: name)
                return BackupSet(
                    id: name, time: time, place: folder.folder(name).place, folder: folder.folder(name),
                    state: rules.state(time: time, kind: kinds[name], pattern: self.name.pattern))
            })
    }

    private func namesInFolder() async throws -> ([String], [String: FolderEntry.Kind]) {
        let hint =
            "Look at `backup.sets` in the drill file, and whether this user may read that place (is it mounted?)."
        do {
            guard let entry = try await folder.entry("") else {
                throw DrillError(.couldNotLook, "there is no such directory", at: place, hints: [hint])
            }
            guard entry.kind == .directory else {
                throw DrillError(.couldNotLook, "this is not a directory", at: place, hints: [hint])
            }
            let names = try await folder.names(in: "")
            var kinds: [String: FolderEntry.Kind] = [:]
            for name in names where self.name.instant(of: name) != nil {
                kinds[name] = try await folder.entry(name)?.kind
            }
            return (names, kinds)
        } catch {
            var error = DrillError(wrapping: error, at: place)
            if error.code == .couldNotLook, error.hints.isEmpty { error.hints = [hint] }
            throw error
        }
    }

    package func examined(_ set: BackupSet) async throws -> BackupSet {
        guard set.state == .usable, let folder = set.folder else { return set }
        let found = try await examiner.examine(set)
        var set = set
        if name.tellsHour, let time = set.time, let takenAt = found.database.takenAt,
            let note = SetRules.zoneNote(name: time, header: takenAt)
        {
            set.notes.append(note)
        }
        let newest = found.isIncomplete ? try await folder.newestModification(limit: 20_000) : nil
        return rules.judge(set, found, newestFile: newest)
    }
}

/// The one set of a drill whose file names no `sets`.
package struct FixedCatalog: BackupCatalog {
    package let place: String
    private let id: String
    private let examiner: SetExaminer

    /// - Parameters:
    ///   - id: The database's file name, or `fixed` where it has none.
    ///   - place: For a person: the drill file.
    package init(id: String? = nil, database: any Restorer, objects: [any ObjectBackup], place: String) {
        self.init(id: id, examiner: SetExaminer(database: database, objects: objects), place: place)
    }

    init(id: String?, examiner: SetExaminer, place: String) {
        self.id = id ?? "fixed"
        self.examiner = examiner
        self.place = place
    }

    package func candidates() async throws -> [BackupSet] { [BackupSet(id: id, time: nil, place: place)] }

    package func examined(_ set: BackupSet) async throws -> BackupSet {
        guard set.state == .usable else { return set }
        let found = try await examiner.examine(set)
        var set = set
        set.time = found.database.takenAt
        return found.judged(set)
    }
}

extension Collection where Element == BackupSet {
    /// The set that `--set` asks for. Throws `usage` where there is none of that name, with the nearest and the newest ones.
    package func named(_ id: String, at place: String) throws -> BackupSet {
        if let found = first(where: { $0.id.utf8.elementsEqual(id.utf8) }) { return found }
        var hints: [String] = []
        if let nearest = nearestWord(to: id, among: map(\.id)) {
            hints.append("Did you mean `\(printable(nearest.utf8))`?")
        }
        let dated = filter { $0.time != nil }.prefix(10).map { printable($0.id.utf8) }
        hints.append(dated.isEmpty ? "No set is there." : "Newest first: \(dated.joined(separator: ", ")).")
        throw DrillError(.usage, "there is no backup set `\(printable(id.utf8))`", at: place, hints: hints)
    }
}
