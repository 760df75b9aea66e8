import Foundation
import Testing

@testable import DrillCore

@Suite struct MarkerJudgeTests {
    private static let base: Int64 = 1_800_000_000_000_000
    private static let minute: Int64 = 60_000_000

    private let judge: MarkerJudge

    init() throws {
        let source = DrillFileSource(path: "drill.yaml", directory: "/drills", variables: [:])
        let node = try DrillFileText.parse(Array("every: 5m\n".utf8), source)
        let reader = try SettingsReader(node, shape: MarkerSettings.shape, path: "markers", source: source)
        judge = MarkerJudge(settings: try MarkerSettings(reader, buckets: ["uploads"]), probe: "markers")
    }

    private func key(_ minutes: Int64) -> ObjectKey {
        MarkerKey.make(
            prefix: "muster-markers/", at: Date(microseconds: Self.base + minutes * Self.minute), random: [1, 2, 3])
    }

    private func row(_ minutes: Int64) -> MarkerRow {
        let at = Self.base + minutes * Self.minute
        return MarkerRow(number: minutes, key: key(minutes), begunAt: at, insertedAt: at + 200_000)
    }

    private func object(_ minutes: Int64, _ state: MarkerObject.State = .present) -> MarkerObject {
        MarkerObject(key: key(minutes), at: Self.base + minutes * Self.minute, state: state)
    }

    private func judged(
        rows: [Int64], objects: [MarkerObject], point: Int64?, target: Int64? = nil
    ) -> MarkerJudge.Judgement {
        judge.judge(
            MarkerFacts(
                rows: rows.map(row), objects: objects,
                recoveryPoint: point.map { Self.base + $0 * Self.minute },
                target: target.map { Self.base + $0 * Self.minute }))
    }

    private func kinds(_ judgement: MarkerJudge.Judgement) -> [String] {
        judgement.findings.map { $0.kind.rawValue + ($0.counts ? "" : " (reported)") }
    }

    @Test func pairsInBothStoresAndTheNextInNeitherPass() {
        let found = judged(
            rows: [0, 5, 10], objects: [object(0), object(5), object(10), object(15, .later(nil))], point: 12)
        #expect(kinds(found) == [])
        #expect((found.passed, found.failed, found.unknown) == (3, 0, 0))
        #expect(found.doubts == [])
        #expect(found.newestPair?.number == 10)
        #expect(found.remarks == ["the next pair, of 2027-01-15T08:15:00.000Z, is in neither"])
    }

    @Test func aRowWithoutItsObjectIsMissing() {
        let found = judged(rows: [0, 5, 10], objects: [object(0), object(5)], point: 11)
        #expect(kinds(found) == ["missing"])
        #expect(found.findings.first?.rowID == "10")
        #expect(found.failed == 1)
    }

    @Test func rowsWithoutAnyObjectAreAllMissing() {
        #expect(kinds(judged(rows: [0, 5], objects: [], point: 6)) == ["missing", "missing"])
    }

    @Test func anObjectThatWasPutBehindTheRecoveryPointIsAnOrphan() {
        let found = judged(rows: [0, 5], objects: [object(0), object(5), object(10)], point: 6)
        #expect(kinds(found) == ["orphan"])
        #expect(found.failed == 1)
    }

    @Test("a pair that was being written right at T is no finding, on either side of T")
    func aPairBeingWritten() {
        let point: Int64 = 10
        for state in [MarkerObject.State.present, .later(Self.base + 10 * Self.minute), .doubtful] {
            let found = judged(rows: [0, 5], objects: [object(0), object(5), object(10, state)], point: point)
            #expect(kinds(found) == [])
            #expect(found.failed + found.unknown == 0)
        }
        let early = judged(
            rows: [0, 5, 10], objects: [object(0), object(5), object(10, .later(Self.base + 10 * Self.minute + 1))],
            point: point)
        #expect(kinds(early) == [])
    }

    @Test func oneObjectWithoutRowAtTheEndIsInDoubtAndTwoAreStaleData() {
        let one = judged(rows: [0, 5], objects: [object(0), object(5), object(10)], point: 14)
        #expect(kinds(one) == [])
        #expect(one.unknown == 1)
        #expect(one.doubts.count == 1)
        let two = judged(rows: [0, 5], objects: [object(0), object(5), object(10), object(15)], point: 17)
        #expect(kinds(two) == ["stale_data", "stale_data"])
    }

    @Test func anInterruptedMarkBetweenSoundPairsIsOnlyReported() {
        let found = judged(rows: [0, 10], objects: [object(0), object(5), object(10)], point: 11)
        #expect(kinds(found) == ["orphan (reported)"])
        #expect((found.passed, found.failed, found.unknown) == (2, 0, 0))
    }

    @Test func whatProductionPrunedInEitherStoreIsNoFinding() {
        let rowsPruned = judged(rows: [10, 15], objects: [object(0), object(5), object(10), object(15)], point: 16)
        #expect(kinds(rowsPruned) == [])
        let objectsPruned = judged(rows: [0, 5, 10, 15], objects: [object(10), object(15)], point: 16)
        #expect(kinds(objectsPruned) == [])
        #expect(objectsPruned.passed == 2)
    }

    @Test func theLastPairMuchOlderThanTheIntervalIsInDoubt() {
        let found = judged(rows: [0, 5], objects: [object(0), object(5)], point: 25)
        #expect(found.doubts.count == 1)
        #expect(found.doubts.first?.contains("one is written every 5m") ?? false)
        #expect(judged(rows: [0, 5], objects: [object(0), object(5)], point: 14).doubts == [])
    }

    @Test func aRowBehindTheRecoveryPointOrTheTargetIsStaleData() {
        #expect(kinds(judged(rows: [0, 5], objects: [object(0), object(5)], point: 1)) == ["stale_data"])
        #expect(kinds(judged(rows: [0, 5], objects: [object(0), object(5)], point: 6, target: 4)) == ["stale_data"])
    }

    @Test("the history of a versioned bucket shows that the database stopped before T")
    func aDatabaseThatStoppedBeforeTheTarget() {
        let objects = [object(0), object(5), object(10, .later(nil)), object(15, .later(nil)), object(25, .later(nil))]
        #expect(kinds(judged(rows: [0, 5], objects: objects, point: 6, target: 20)) == ["stale_data", "stale_data"])
    }

    @Test func nothingToJudgeIsInDoubt() {
        let found = judged(rows: [], objects: [], point: 5)
        #expect(found.passed + found.failed + found.unknown == 0)
        #expect(found.doubts.count == 1)
    }

    @Test func keysBearTheirInstantToTheMicrosecondAndNothingElseIsTakenForOne() {
        let at: Int64 = Self.base + 123_456
        let key = MarkerKey.make(prefix: "m/", at: Date(microseconds: at), random: [0xAB, 0, 1])
        #expect(key.description == "m/20270115T080000.123456Z-ab0001")
        #expect(MarkerKey.instant(of: key.bytes, prefix: "m/") == at)
        for other in [
            "m/20270115T080000.123456Z", "x/20270115T080000.123456Z-ab0001", "m/20271315T080000.123456Z-ab0001",
        ] {
            #expect(MarkerKey.instant(of: Array(other.utf8), prefix: "m/") == nil)
        }
    }
}
