import Foundation
import Testing

@testable import DrillCore

@Suite struct FolderCatalogTests {
    static let now = Date(timeIntervalSince1970: 1_794_000_000)  // 2026-11-06T21:20:00Z
    let pattern = "%Y-%m-%d-%H-%M"

    private func catalog(
        _ folders: [String: FolderEntry.Kind], newest: [String: Date] = [:], target: RecoveryTarget = .latest,
        objects: [String: ComponentState] = [:], database: @escaping SetExaminer.Look
    ) throws -> FolderCatalog {
        FolderCatalog(
            folder: ScriptedFolder(place: "/backups", children: folders, newest: newest), name: try SetName(pattern),
            examiner: SetExaminer(
                database: database,
                objects: objects.sorted { $0.key < $1.key }.map { entry in (entry.key, { _ in entry.value }) }),
            target: target, settle: .seconds(600), clock: FixedClock(instant: Self.now))
    }

    private let usable: SetExaminer.Look = { _ in ComponentState(.usable) }

    @Test func newestFirstByTheirOwnNames() async throws {
        let catalog = try catalog(
            [
                "2026-11-04-02-00": .directory, "2026-11-06-02-00": .directory, "2026-11-05-02-00": .directory,
                "lost+found": .directory,
            ],
            database: usable)
        let sets = try await catalog.sets()
        #expect(sets.map(\.id) == ["2026-11-06-02-00", "2026-11-05-02-00", "2026-11-04-02-00", "lost+found"])
        #expect(
            sets.map(\.state) == [
                .usable, .usable, .usable, .passedOver("Its name does not match '%Y-%m-%d-%H-%M'."),
            ])
        #expect(sets[0].time.map(rfc3339) == "2026-11-06T02:00:00.000Z")
        #expect(sets[0].place == "/backups/2026-11-06-02-00")
    }

    @Test func aSetFromTheFutureIsRefusedWithANoteButClocksMayDifferALittle() async throws {
        let catalog = try catalog(["2026-11-06-21-26": .directory, "2026-11-06-21-25": .directory], database: usable)
        let sets = try await catalog.sets()
        #expect(
            sets[0].state
                == .passedOver(
                    "It is dated 2026-11-06T21:26:00.000Z, in the future (now is 2026-11-06T21:20:00.000Z): refused. "
                        + "Names are read in UTC."))
        #expect(sets[1].state == .usable)
    }

    @Test func setsNewerThanTheTargetArePassedOver() async throws {
        let target = try #require(parseInstant("2026-11-05T02:00:00Z"))
        let catalog = try catalog(
            ["2026-11-05-02-01": .directory, "2026-11-05-02-00": .directory], target: .instant(target), database: usable
        )
        let sets = try await catalog.sets()
        #expect(sets[0].state == .passedOver("It is newer than the recovery target 2026-11-05T02:00:00.000Z."))
        #expect(sets[1].state == .usable)
    }

    @Test func whatIsNoFolderIsUnusable() async throws {
        let catalog = try catalog(
            ["2026-11-06-02-00": .file, "2026-11-05-02-00": .symbolicLink, "2026-11-04-02-00": .other], database: usable
        )
        #expect(
            try await catalog.sets().map(\.state) == [
                .unusable("it is a file, and a set is a folder"),
                .unusable("it is a symbolic link, and a set is a folder of its own"),
                .unusable("it is a special file, and a set is a folder"),
            ])
    }

    @Test func everyComponentsReasonIsTold() async throws {
        let catalog = try catalog(
            ["2026-11-04-02-00": .directory],
            objects: [
                "docs": ComponentState(.incomplete("no object tree")),
                "uploads": ComponentState(.usable, notes: ["A note."], sizeBytes: 7),
            ],
            database: { _ in ComponentState(.unusable("no PostgreSQL dump")) })
        let set = try #require(try await catalog.sets().first)
        #expect(set.state == .unusable("database: no PostgreSQL dump; objects of docs: no object tree"))
        #expect(set.notes == ["A note."])
        #expect(set.sizeBytes == nil)
    }

    @Test(arguments: [
        (599.0, true), (601.0, false), (0.0, true), (-100.0, true), (-1000.0, false),
    ])
    func anIncompleteSetIsBeingWrittenWhileItsNewestFileIsYoung(age: Double, isBeingWritten: Bool) async throws {
        let name = "2026-11-06-21-10"
        let catalog = try catalog(
            [name: .directory], newest: [name: Self.now.addingTimeInterval(-age)],
            database: { _ in ComponentState(.incomplete("no dump")) })
        let state = try #require(try await catalog.sets().first).state
        if case .beingWritten(let note) = state {
            #expect(isBeingWritten)
            #expect(note.hasPrefix("Still being written: database: no dump; its newest file is of 2026-11-06T21:"))
        } else {
            #expect(!isBeingWritten)
            #expect(state == .unusable("database: no dump"))
        }
    }

    @Test func aBrokenSetIsNotBeingWrittenHoweverYoung() async throws {
        let name = "2026-11-06-21-10"
        let catalog = try catalog(
            [name: .directory], newest: [name: Self.now],
            database: { _ in ComponentState(.unusable("no PostgreSQL dump")) })
        #expect(try await catalog.sets().first?.state == .unusable("database: no PostgreSQL dump"))
    }

    @Test func theNewestSetThatCannotBeLookedAtIsAnError() async throws {
        let silent = DrillError(.couldNotLook, "cannot read the file: permission denied", at: "/backups/x")
        let catalog = try catalog(
            ["2026-11-06-02-00": .directory, "2026-11-05-02-00": .directory], database: { _ in throw silent })
        let error = await #expect(throws: DrillError.self) { try await catalog.sets() }
        #expect(error?.code == .couldNotLook)
    }

    @Test func anOlderSetThatCannotBeLookedAtDoesNotHideTheNewest() async throws {
        let catalog = try catalog(
            ["2026-11-06-02-00": .directory, "2026-11-05-02-00": .directory],
            database: { set in
                if set.id == "2026-11-06-02-00" { return ComponentState(.usable) }
                throw DrillError(.couldNotLook, "cannot read the file: permission denied", at: set.place)
            })
        #expect(
            try await catalog.sets().map(\.state) == [
                .usable, .unusable("it could not be looked at: cannot read the file: permission denied"),
            ])
    }

    @Test func noSuchPlaceCouldNotBeLookedAt() async throws {
        let catalog = FolderCatalog(
            folder: ScriptedFolder(place: "/backups", children: nil, newest: [:]), name: try SetName(pattern),
            examiner: SetExaminer(database: usable, objects: []), target: .latest, settle: .seconds(600),
            clock: FixedClock(instant: Self.now))
        let error = await #expect(throws: DrillError.self) { try await catalog.sets() }
        #expect(error?.code == .couldNotLook)
        #expect(error?.what == "there is no such directory")
        #expect(error?.place == "/backups")
        #expect(error?.hints.isEmpty == false)
    }

    @Test(arguments: [
        (3600.0, "1 hour later"), (-6960.0, "2 hours earlier"), (18590.0, "5 hours later"),
    ])
    func wholeHoursBetweenHeaderAndNameAreNoted(difference: Double, text: String) async throws {
        let named = try #require(parseInstant("2026-11-06T02:00:00Z"))
        let catalog = try catalog(
            ["2026-11-06-02-00": .directory],
            database: { _ in ComponentState(.usable, takenAt: named.addingTimeInterval(difference)) })
        let set = try #require(try await catalog.sets().first)
        #expect(set.time == named)
        #expect(set.notes.count == 1)
        #expect(set.notes.first?.contains("is \(text) than the set's name (2026-11-06T02:00:00.000Z)") == true)
    }

    @Test(arguments: [0.0, 300, 1800, -900, 54000, 4300])
    func otherDifferencesAreNoMatterOfZones(difference: Double) throws {
        let named = try #require(parseInstant("2026-11-06T02:00:00Z"))
        #expect(SetRules.zoneNote(name: named, header: named.addingTimeInterval(difference)) == nil)
    }

    @Test func theFixedSetHasTheTimeThatItsDumpStates() async throws {
        let taken = try #require(parseInstant("2026-11-06T02:00:07Z"))
        let catalog = FixedCatalog(
            id: nil,
            examiner: SetExaminer(
                database: { _ in ComponentState(.usable, sizeBytes: 5, takenAt: taken) },
                objects: [("uploads", { @Sendable _ in ComponentState(.usable, sizeBytes: 8) })]),
            place: "drills/app.yaml")
        let set = try #require(try await catalog.sets().first)
        #expect(set.id == "fixed")
        #expect(set.time == taken)
        #expect(set.sizeBytes == 13)
        #expect(set.state == BackupSet.State.usable)
    }

    @Test func anUnknownSetNamesItsNeighbours() async throws {
        let sets = try await catalog(
            ["2026-11-06-02-00": .directory, "2026-11-05-02-00": .directory], database: usable
        ).sets()
        #expect(try sets.named("2026-11-05-02-00", at: "/backups").id == "2026-11-05-02-00")
        let error = #expect(throws: DrillError.self) { try sets.named("2026-11-05-02-01", at: "/backups") }
        #expect(error?.code == .usage)
        #expect(
            error?.description == """
                /backups: there is no backup set `2026-11-05-02-01`
                  Did you mean `2026-11-05-02-00`?
                  Newest first: 2026-11-06-02-00, 2026-11-05-02-00.
                """)
    }
}

private struct FixedClock: DrillClock {
    var instant: Date
    func now() -> Date { instant }
    func monotonicSeconds() -> Double { instant.timeIntervalSince1970 }
    func sleep(for duration: Duration) async throws { Issue.record("nothing here waits") }
}

/// One level of folders, by name; nil where the folder itself is not there.
private struct ScriptedFolder: BackupFolder {
    var place: String
    var children: [String: FolderEntry.Kind]?
    var newest: [String: Date]
    var name = ""

    func entry(_ path: String) async throws -> FolderEntry? {
        let kind = path.isEmpty ? children.map { _ in FolderEntry.Kind.directory } : children?[path]
        return kind.map { FolderEntry(kind: $0, sizeBytes: 0, modifiedAt: nil) }
    }
    func names(in path: String) async throws -> [String] {
        (children ?? [:]).keys.sorted()
    }
    func read(_ path: String, offset: Int64, count: Int) async throws -> [UInt8] {
        Issue.record("the catalog reads no file")
        return []
    }
    func localPath(_ path: String, in scratch: Scratch, progress: @Sendable (Int64) -> Void) async throws -> String {
        Issue.record("the catalog fetches no file")
        return ""
    }
    func newestModification(limit: Int) async throws -> Date? { newest[name] }
    func folder(_ path: String) -> any BackupFolder {
        ScriptedFolder(place: "\(place)/\(path)", children: [:], newest: newest, name: path)
    }
}
