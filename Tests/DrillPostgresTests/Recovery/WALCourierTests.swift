import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillPostgres

/// What a server's `restore_command` gets, run as the server runs it, but without a server.
@Suite struct WALCourierTests {
    @Test func aFileThatIsThereComesByRename() async throws {
        try await Desk.with(["000000010000000000000003": .found]) { desk async throws in
            #expect(try await desk.ask("000000010000000000000003") == 0)
            #expect(try desk.received() == Desk.segment("000000010000000000000003"))
            #expect(try desk.waiting() == [])
        }
    }

    @Test func onlyTheSourcesOwnWordEndsTheArchive() async throws {
        try await Desk.with(["000000010000000000000003": .found]) { desk async throws in
            #expect(try await desk.ask("000000010000000000000004") == 1)
            #expect(try await desk.ask("00000002.history") == 1)
            #expect(await desk.courier.failure == nil)
            let deliveries = await desk.courier.deliveries
            #expect(deliveries.absent.map(\.name) == ["000000010000000000000004"])
        }
    }

    @Test("an error of the source is 126, which ends recovery, and is kept (P14, V10)")
    func anErrorOfTheSourceIsNoAbsence() async throws {
        let error = DrillError(.couldNotLook, "the network is down", at: "s3://wal/")
        do {
            try await Desk.with(["000000010000000000000003": .fails(error)]) { desk async throws in
                #expect(try await desk.ask("000000010000000000000003") == 126)
                #expect(await desk.courier.failure?.what == "the network is down")
                throw DrillError(.backupUnusable, "the server ended")
            }
            Issue.record("nothing was thrown")
        } catch let thrown as DrillError {
            #expect(thrown.code == .couldNotLook)
            #expect(thrown.what == "the network is down")
        }
    }

    @Test func theNextSegmentsAreFetchedBeforeTheyAreAskedFor() async throws {
        let names = (3...9).map { "00000001000000000000000\($0)" }
        try await Desk.with(Dictionary(uniqueKeysWithValues: names.map { ($0, Desk.Script.found) })) {
            desk async throws in
            #expect(try await desk.ask(names[0]) == 0)
            try await desk.waitUntil { Set(names[1...4]).isSubset(of: desk.source.asked) }
            try await desk.waitUntil { try desk.waiting() == Array(names[1...4]) }
            #expect(!desk.source.asked.contains(names[5]))
            #expect(try await desk.ask(names[1]) == 0)
            #expect(desk.source.asked.filter { $0 == names[1] }.count == 1)
            // Asked for once more, as the server does at the end of recovery.
            #expect(try await desk.ask(names[1]) == 0)
            #expect(desk.source.asked.filter { $0 == names[1] }.count == 2)
        }
    }

    @Test func aSegmentThatIsStillOnItsWayIsWaitedFor() async throws {
        let name = "000000010000000000000004"
        try await Desk.with(["000000010000000000000003": .found, name: .held]) { desk async throws in
            #expect(try await desk.ask("000000010000000000000003") == 0)
            try await desk.waitUntil { desk.source.asked.contains(name) }
            async let status = desk.ask(name)
            try await desk.waitUntil { await desk.isAsking }
            desk.source.release()
            let ended = try await status
            #expect(ended == 0)
            #expect(desk.source.asked.filter { $0 == name }.count == 1)
        }
    }

    @Test func theWaitEndsWhenMusterIsGone() async throws {
        let held = "000000010000000000000003"
        let desk = try await Desk.with([held: .held]) { desk async throws in
            async let status = desk.ask(held)
            try await desk.waitUntil { desk.source.asked.contains(held) }
            await desk.courier.close()
            let ended = try await status
            #expect(ended == 126)
            return desk
        }
        desk.source.release()
    }

    @Test func withoutMusterNothingIsWaitedFor() async throws {
        try await RestoreFixture.with { fixture async throws in
            let script = CourierScript(folder: fixture.folder)
            try writeOwnFile(script.path, script.text)
            #expect(try await Desk.run(script.setting, "000000010000000000000003", fixture) == 126)
            for path in [script.requests, script.answers] {
                // Opened for reading and writing, a file that is not there is made.
                unlink(path)
                #expect(mkfifo(path, 0o600) == 0)
            }
            #expect(try await Desk.run(script.setting, "000000010000000000000003", fixture) == 126)
            try FileManager.default.removeItem(atPath: script.path)
            #expect(try await Desk.run(script.setting, "000000010000000000000003", fixture) == 126)
        }
    }

    @Test("what was sent for an earlier question is not taken for this one's answer")
    func answersAreToldByName() async throws {
        try await Desk.with(["000000010000000000000003": .found]) { desk async throws in
            try await desk.courier.say("absent 000000010000000000000002\nfound 000000010000000000000001\n")
            #expect(try await desk.ask("000000010000000000000003") == 0)
        }
    }

    @Test("a damaged, misnamed or foreign segment is an error, never the end of WAL", arguments: Damage.allCases)
    func aSegmentThatIsNotWhatItsNameSays(damage: Damage) async throws {
        let name = "000000010000000000000003"
        await #expect {
            try await Desk.with([name: .bytes(damage.bytes(name))]) { desk async throws in
                #expect(try await desk.ask(name) == 126)
                throw DrillError(.couldNotLook, "the server ended")
            }
        } throws: { error in
            guard let error = error as? DrillError else { return false }
            return error.code == .backupUnusable && error.what.hasPrefix("the WAL segment \(name) (timeline 1) ")
                && error.what.contains(damage.words)
        }
    }

    enum Damage: CaseIterable {
        case short, foreign, misnamed, noWAL
        func bytes(_ name: String) -> [UInt8] {
            switch self {
            case .short: Array(Desk.segment(name).prefix(5000))
            case .foreign: Desk.segment(name, system: 8)
            case .misnamed: Desk.segment("000000010000000000000004")
            case .noWAL: [UInt8](repeating: 0, count: Desk.segmentBytes)
            }
        }
        var words: String {
            switch self {
            case .short: "has 5000 bytes instead of 1048576"
            case .foreign: "is of another cluster: its system identifier is 8, that of the base backup 7"
            case .misnamed: "is damaged or misnamed: its first page is of 0/400000, not of 0/300000"
            case .noWAL: "is damaged: its first page is none of WAL"
            }
        }
    }

    @Test func anUnfinishedSegmentIsFilledUp() async throws {
        let name = "000000010000000000000003"
        try await Desk.with([name: .unfinished(Array(Desk.segment(name).prefix(9000)))]) { desk async throws in
            #expect(try await desk.ask(name) == 0)
            #expect(try desk.received().count == Desk.segmentBytes)
            #expect(await desk.courier.deliveries.unfinished.map(\.name) == [name])
        }
    }

    @Test("what a timeline wrote after it was left is of another history (P21)")
    func anotherHistoryIsNotDelivered() async throws {
        let left = "000000010000000000000004", later = "000000010000000000000005"
        let chain: [(timeline: UInt32, end: LSN?)] = [(1, LSN(0x48_0000)), (2, nil)]
        try await Desk.with([left: .found, later: .found], chain: chain) { desk async throws in
            #expect(try await desk.ask(left) == 0)
            #expect(try await desk.ask(later) == 1)
            #expect(!desk.source.asked.contains(later))
        }
    }

    @Test("the old timeline's whole copy of the segment that the younger one lacks is not replayed (P21)")
    func theSegmentOfThePromotionIsOnlyTheYoungerOnes() async throws {
        let old = "000000010000000000000004", young = "000000020000000000000004"
        let chain: [(timeline: UInt32, end: LSN?)] = [(1, LSN(0x48_0000)), (2, nil)]
        do {
            try await Desk.with([old: .found], chain: chain) { desk async throws in
                #expect(try await desk.ask(young) == 1)
                #expect(try await desk.ask(old) == 126)
                throw DrillError(.couldNotLook, "the server ended")
            }
            Issue.record("another history was replayed")
        } catch {
            let error = DrillError(wrapping: error)
            #expect(error.code == .backupUnusable)
            #expect(error.what.hasPrefix("the WAL segment \(young) (timeline 2) is missing"))
        }
        // What the primary had of it when it was promoted ends where it was left.
        try await Desk.with([old: .unfinished(Desk.segment(old))], chain: chain) { desk async throws in
            #expect(try await desk.ask(young) == 1)
            #expect(try await desk.ask(old) == 0)
        }
    }

    @Test("names that are none never reach the source (X6)", arguments: ["../x", "a b", "$(id)", ".", "a/b", "'"])
    func hostileNamesAreRefused(name: String) async throws {
        try await Desk.with([:]) { desk async throws in
            let status = try await desk.ask(name)
            #expect(status == 126)
            #expect(desk.source.asked == [])
            #expect(!CourierPipes.isName(Array(name.utf8)))
        }
    }
}

/// A courier with a scripted source, and a folder where a server would be.
private struct Desk: Sendable {
    enum Script: Sendable {
        case found, held, fails(DrillError), bytes([UInt8]), unfinished([UInt8])
    }

    static let segmentBytes = 1 << 20
    let fixture: RestoreFixture
    let courier: WALCourier
    let source: ScriptedSource
    private let asking = AskingFlag()

    @discardableResult
    static func with<Value: Sendable>(
        _ scripts: [String: Script], chain: [(timeline: UInt32, end: LSN?)] = [], _ body: (Desk) async throws -> Value
    ) async throws -> Value {
        try await RestoreFixture.with { fixture async throws in
            let source = ScriptedSource(scripts)
            let server = fixture.folder + "/server"
            try FileManager.default.createDirectory(atPath: server, withIntermediateDirectories: false)
            var plan = WALCourier.Plan(
                source: source, serverFolder: server, ownFolder: fixture.folder, account: ServerAccount(user: nil),
                segmentBytes: UInt64(segmentBytes), systemIdentifier: 7)
            plan.chain = chain
            return try await WALCourier.with(plan) { courier in
                try await body(Desk(fixture: fixture, courier: courier, source: source))
            }
        }
    }

    /// The first page of a segment, and zeros. (xlog_internal.h)
    static func segment(_ name: String, system: UInt64 = 7) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: segmentBytes)
        func put(_ value: UInt64, at offset: Int, count: Int) {
            for index in 0..<count { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        let number = WALSegment(name)?.number(segmentBytes: UInt64(segmentBytes)) ?? 0
        put(0xD110, at: 0, count: 2)
        put(2, at: 2, count: 2)
        put(1, at: 4, count: 4)
        put(number * UInt64(segmentBytes), at: 8, count: 8)
        put(system, at: 24, count: 8)
        put(UInt64(segmentBytes), at: 32, count: 4)
        put(8192, at: 36, count: 4)
        return bytes
    }

    /// Runs the `restore_command` for that file as the server would, and returns its exit status.
    func ask(_ name: String) async throws -> Int32 {
        await asking.set(true)
        let status = try await Self.run(courier.setting, name, fixture)
        await asking.set(false)
        return status
    }

    static func run(_ setting: String, _ name: String, _ fixture: RestoreFixture) async throws -> Int32 {
        // PostgreSQL puts names in as they are; those of this test may be anything, so they are quoted.
        let command = setting.replacing("\"%f\"", with: CourierScript.quoted(name)).replacing("%p", with: "received")
            .replacing("%%", with: "%")
        var shell = Command("/bin/sh", ["-c", command])
        shell.workingDirectory = fixture.folder
        let result = try await fixture.environment.processes.run(shell)
        guard case .exited(let status) = result.ending else { return -1 }
        return status
    }

    var isAsking: Bool { get async { await asking.value } }

    func received() throws -> [UInt8] { try fixture.bytes(of: "received") }
    /// Segments that lie ready for the server.
    func waiting() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: fixture.folder + "/server/wal-courier")
            .filter { WALSegment($0) != nil }.sorted()
    }

    func waitUntil(_ condition: () async throws -> Bool) async throws {
        let end = Date() + 20
        while try await !condition() {
            guard Date() < end else { throw DrillError(.couldNotLook, "the condition did not come true") }
            await Task.yield()
        }
    }
}

private actor AskingFlag {
    private(set) var value = false
    func set(_ new: Bool) { value = new }
}

private final class ScriptedSource: WALSource {
    let place = "a script"
    private let scripts: [String: Desk.Script]
    private let names = Mutex<[String]>([])
    private let gate = AsyncStream<Void>.makeStream()

    init(_ scripts: [String: Desk.Script]) { self.scripts = scripts }

    var asked: [String] { names.withLock { $0 } }
    func release() { gate.continuation.finish() }

    func fetch(_ name: String, to path: String) async throws -> WALFetch {
        names.withLock { $0.append(name) }
        func write(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }
        switch scripts[name] {
        case nil: return .absent
        case .found: try write(Desk.segment(name))
        case .held:
            for await _ in gate.stream {}
            try write(Desk.segment(name))
        case .fails(let error): throw error
        case .bytes(let bytes): try write(bytes)
        case .unfinished(let bytes):
            try write(bytes)
            return .foundUnfinished
        }
        return .found
    }
}
