import DrillTestKit
import Testing

@testable import DrillObjects

private let second: Int64 = 1_000_000

@Suite struct VersionResolverTests {
    /// 12:00:00.400 of some day.
    private let target = 1_794_657_600 * second + 400_000

    private func resolver(skew: Int64 = 0, window: Int64 = 86400 * second) -> VersionResolver {
        VersionResolver(target: target, skewTolerance: skew, uploadWindow: window)
    }

    /// Stamps as Amazon S3 keeps them: whole seconds, relative to that of the target.
    private func put(
        _ offset: Int64, etag: String = "e", size: Int64 = 1, multipart: Bool = false, null: Bool = false
    ) -> VersionFacts {
        VersionFacts(
            modified: (target / second + offset) * second, isNull: null, isMultipart: multipart, sizeBytes: size,
            etag: Array(etag.utf8)[...])
    }

    private func delete(_ offset: Int64, null: Bool = false) -> VersionFacts {
        VersionFacts(modified: (target / second + offset) * second, isDeleteMarker: true, isNull: null)
    }

    private enum When: Int64, CaseIterable { case before = -10, sameSecond = 0, after = 10 }

    /// What was current, by the definition: the newest event that must have happened, and each one that may have.
    private func expected(
        _ newest: (put: Bool, when: When), _ older: (put: Bool, when: When)
    ) -> VersionResolution.Outcome {
        var readings: [Int?] = []
        for (index, event) in [newest, older].enumerated() {
            switch event.when {
            case .after: continue
            case .sameSecond: readings.append(event.put ? index : nil)
            case .before:
                readings.append(event.put ? index : nil)
                return conclude(readings, newest, older)
            }
        }
        return conclude(readings + [nil], newest, older)
    }

    private func conclude(
        _ readings: [Int?], _ newest: (put: Bool, when: When), _ older: (put: Bool, when: When)
    ) -> VersionResolution.Outcome {
        var distinct: [Int?] = []
        for reading in readings where !distinct.contains(reading) { distinct.append(reading) }
        if distinct == [nil] {
            if newest.when != .after { return .deleted(0) }
            return older.when != .after ? .deleted(1) : .notYetCreated(1)
        }
        if distinct.count == 1, let only = distinct[0] { return .current(only) }
        return .ambiguous(distinct)
    }

    @Test("S14, S16: {put, delete} x {before, in the same second as, after T}, squared")
    func truthTable() {
        var cases = 0
        for newestIsPut in [true, false] {
            for olderIsPut in [true, false] {
                for newestWhen in When.allCases {
                    for olderWhen in When.allCases where olderWhen.rawValue <= newestWhen.rawValue {
                        let history = [
                            newestIsPut ? put(newestWhen.rawValue, etag: "new") : delete(newestWhen.rawValue),
                            olderIsPut ? put(olderWhen.rawValue, etag: "old") : delete(olderWhen.rawValue),
                        ]
                        let outcome = resolver().resolve(history).outcome
                        #expect(
                            outcome == expected((newestIsPut, newestWhen), (olderIsPut, olderWhen)),
                            "newest put=\(newestIsPut) \(newestWhen), older put=\(olderIsPut) \(olderWhen)")
                        cases += 1
                    }
                }
            }
        }
        #expect(cases == 24)
    }

    @Test("S14: put, delete, put within the second of T may be any of them, or nothing")
    func threeInOneSecond() {
        let resolution = resolver().resolve([put(0, etag: "c"), delete(0), put(0, etag: "a")])
        #expect(resolution.outcome == .ambiguous([0, nil, 2]))
        #expect(resolution.doubts == .sameSecond)
    }

    @Test("A change in the second before T is done; one at exactly T counts; the next second is later")
    func secondsAreHalfOpen() {
        let exact = VersionResolver(target: 100 * second, skewTolerance: 0, uploadWindow: 0)
        func put(_ stamp: Int64) -> VersionFacts { VersionFacts(modified: stamp, etag: Array("e".utf8)[...]) }
        #expect(exact.resolve([put(99 * second)]).outcome == .current(0))
        // Within [100 s, 101 s): at T itself, or after it.
        #expect(exact.resolve([put(100 * second)]).outcome == .ambiguous([0, nil]))
        #expect(exact.resolve([put(101 * second)]).outcome == .notYetCreated(0))
        // Milliseconds, as a gateway keeps them.
        #expect(exact.resolve([put(100 * second - 1000)]).outcome == .current(0))
        #expect(exact.resolve([put(100 * second + 1000)]).outcome == .notYetCreated(0))
    }

    @Test("S19: within the skew tolerance neither reading is taken, and the key is counted as skew-sensitive")
    func skew() {
        let resolver = resolver(skew: 5 * second)
        for offset in [-3, 3] as [Int64] {
            let resolution = resolver.resolve([put(offset, etag: "new"), put(-60, etag: "old")])
            #expect(resolution.outcome == .ambiguous([0, 1]))
            #expect(resolution.doubts == .skew)
            #expect(resolution.isSkewSensitive)
        }
        let sure = resolver.resolve([put(-7, etag: "new"), put(-60, etag: "old")])
        #expect(sure.outcome == .current(0))
        #expect(!sure.isSkewSensitive)
        #expect(resolver.resolve([put(7, etag: "new"), put(-60, etag: "old")]).outcome == .current(1))
    }

    @Test("Two readings with the same bytes are no doubt")
    func sameContent() {
        let resolution = resolver().resolve([put(0, etag: "same"), put(-60, etag: "same")])
        #expect(resolution.outcome == .current(0))
        #expect(resolution.equivalents == [0, 1])
        #expect(
            resolver().resolve([put(0, etag: "same", size: 2), put(-60, etag: "same")]).outcome == .ambiguous([0, 1]))
        #expect(resolver().resolve([put(0, etag: ""), put(-60, etag: "")]).outcome == .ambiguous([0, 1]))
    }

    @Test("S15: a multipart upload that began before T may have been completed after it")
    func multipart() {
        let history = [put(-60, etag: "m-2", multipart: true), put(-7200, etag: "old")]
        let resolution = resolver(window: 3600 * second).resolve(history)
        #expect(resolution.outcome == .ambiguous([0, 1]))
        #expect(resolution.doubts == .multipart)
        #expect(resolver(window: 30 * second).resolve(history).outcome == .current(0))
        // Begun after T: it cannot have been there.
        #expect(
            resolver().resolve([put(60, etag: "m-2", multipart: true), put(-7200, etag: "old")]).outcome == .current(1))
        // What came after it in the stack hides it, whenever it was completed.
        #expect(
            resolver().resolve([put(-30, etag: "new"), put(-60, etag: "m-2", multipart: true)]).outcome == .current(0))
    }

    @Test("S17: a null version written after T may have destroyed the one that was current")
    func nullVersions() {
        let later = resolver().resolve([put(60, etag: "n", null: true), put(-60, etag: "v")])
        #expect(later.outcome == .ambiguous([1]))
        #expect(later.doubts == .nullOverwritten)
        #expect(resolver().resolve([delete(60, null: true), put(-60, etag: "v")]).outcome == .ambiguous([1]))
        // The null version was current at T: nothing has destroyed it since.
        #expect(resolver().resolve([put(60, etag: "v"), put(-60, etag: "n", null: true)]).outcome == .current(1))
        #expect(resolver().resolve([put(-30, etag: "v"), put(-60, etag: "n", null: true)]).outcome == .current(0))
        // Whatever it destroyed cannot be restored: not met either way.
        #expect(resolver().resolve([put(60, etag: "n", null: true)]).outcome == .notYetCreated(0))
        #expect(resolver().resolve([put(60, etag: "n", null: true), delete(-60)]).outcome == .deleted(1))
    }

    @Test(
        "S14: a list that contradicts its stamps or its latest mark is put in the order of the stamps, ties being open")
    func disorder() {
        var marker = delete(-60)
        marker.isLatest = true
        // All versions before all markers, as one stand-in lists them.
        #expect(resolver().resolve([put(-60), marker]).outcome == .deleted(1))
        #expect(resolver().resolve([put(-90, etag: "a"), put(-60, etag: "b")]).outcome == .current(1))
        let tie = resolver().resolve([put(-90, etag: "z"), put(-60, etag: "a"), put(-60, etag: "b")])
        #expect(tie.outcome == .ambiguous([1, 2]))
        #expect(tie.doubts == .order)
    }

    @Test("The answer never rests on an entry that is certainly later, and never skips one that is certainly earlier")
    func randomHistories() {
        var random = RepeatableRandom(seed: 14)
        for _ in 0..<20_000 {
            var history: [VersionFacts] = []
            var offset = Int64.random(in: -20...30, using: &random)
            for rank in 0..<Int.random(in: 1...6, using: &random) {
                let isPut = Bool.random(using: &random)
                history.append(
                    isPut
                        ? put(offset, etag: "e\(rank)", multipart: Int.random(in: 0..<5, using: &random) == 0)
                        : delete(offset))
                offset -= Int64.random(in: 0...9, using: &random)
            }
            let skew = Int64.random(in: 0...6, using: &random) * second
            let resolution = VersionResolver(target: target, skewTolerance: skew, uploadWindow: 10 * second).resolve(
                history)
            let isLate = { (index: Int) in history[index].modified > target + skew }
            let isSure = { (entry: VersionFacts) in
                entry.modified + second + (entry.isMultipart ? 10 * second : 0) <= target - skew
            }
            let firstSure = history.firstIndex(where: isSure) ?? history.count
            switch resolution.outcome {
            case .current(let index):
                #expect(!isLate(index) && index <= firstSure && !history[index].isDeleteMarker)
            case .deleted(let index): #expect(!isLate(index) && history[index].isDeleteMarker)
            case .notYetCreated(let index):
                #expect(isLate(index) && index == history.count - 1 && firstSure == history.count)
            case .ambiguous(let readings):
                #expect(readings.count > 1)
                for case let index? in readings { #expect(!isLate(index) && index <= firstSure) }
            }
        }
    }
}
