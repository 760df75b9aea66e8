import DrillCore
import Foundation

/// Brings archived WAL to a sealed server that asks for it by name, and what comes next before it is asked for.
///
/// A file is fetched into a folder of Muster's own, checked, given to the server's account, and moved to where the server may
/// take it by rename. What a source throws is kept as ``failure`` and ends recovery: it never looks like the end of the archive.
actor WALCourier {
    struct Plan: Sendable {
        var source: any WALSource
        /// Of the server; the courier's own folder is made in it.
        var serverFolder: String
        /// Not the server's; files are fetched into a folder made in it. On the same file system.
        var ownFolder: String
        var account: ServerAccount
        var segmentBytes: UInt64
        /// Of the cluster to be recovered: a segment of another one is refused.
        var systemIdentifier: UInt64?
        /// Timelines that recovery goes along, the oldest first, with where each was left. What an old one wrote after that is
        /// of another history, and absent for the server, which would replay it where the younger timeline has a gap (P21).
        var chain: [(timeline: UInt32, end: LSN?)] = []
    }

    private typealias Outcome = Result<WALFetch, DrillError>
    private enum Fetch {
        case running([CheckedContinuation<Outcome, Never>])
        case ready(WALFetch)
    }

    private let plan: Plan
    private nonisolated let script: CourierScript
    private let stage: String
    private let pipes: CourierPipes
    private let ahead: UInt64
    private var fetches: [String: Fetch] = [:]
    private var isOver = false
    private(set) var deliveries = WALDeliveries()
    /// The first error of the source.
    private(set) var failure: DrillError?

    /// The server's `restore_command`.
    nonisolated var setting: String { script.setting }

    /// Bytes that are fetched ahead, and files at most.
    private static let aheadBytes: UInt64 = 128 << 20
    private static let mostAhead: UInt64 = 4

    /// Serves while `body` runs. Where `body` throws and a source had failed, what is thrown is the source's error.
    static func with<Value: Sendable>(
        _ plan: Plan, _ body: (WALCourier) async throws -> Value
    ) async throws -> Value {
        let courier = try WALCourier(plan)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await courier.serve() }
            do {
                let value = try await body(courier)
                await courier.close()
                return value
            } catch {
                await courier.close()
                if let failure = await courier.failure, !(error is CancellationError) { throw failure }
                throw error
            }
        }
    }

    private init(_ plan: Plan) throws {
        self.plan = plan
        script = CourierScript(folder: plan.serverFolder + "/wal-courier")
        stage = plan.ownFolder + "/wal-stage"
        ahead = max(1, min(Self.mostAhead, Self.aheadBytes / plan.segmentBytes))
        try plan.account.makeFolder(script.folder)
        guard mkdir(stage, 0o700) == 0 else {
            throw DrillError(.couldNotLook, "cannot be made: \(String(cString: strerror(errno)))", at: stage)
        }
        try writeOwnFile(script.path, script.text)
        try plan.account.give(script.path)
        pipes = try CourierPipes(requests: script.requests, answers: script.answers, account: plan.account)
    }

    private func serve() async {
        await withDiscardingTaskGroup { group in
            for await name in pipes.names {
                group.addTask { await self.answer(name) }
                for next in following(name) where fetches[next] == nil {
                    group.addTask { _ = await self.obtain(next) }
                }
            }
            group.cancelAll()
        }
    }

    /// Ends serving, and the wait of a script that is still asking.
    func close() {
        isOver = true
        pipes.close()
    }

    /// Writes to whoever waits for an answer.
    func say(_ lines: String) throws { try pipes.answer(lines) }

    // MARK: - One file

    private func answer(_ name: String) async {
        guard let word = await answered(name), !isOver else { return }
        do {
            try say("\(word) \(name)\n")
        } catch {
            failure = failure ?? DrillError(wrapping: error)
            close()
        }
    }

    private func answered(_ name: String) async -> String? {
        guard !isOfOtherHistory(name) else {
            deliveries.record(name, .absent)
            return "absent"
        }
        switch await obtain(name) {
        case .success(let fetch):
            fetches[name] = nil
            if fetch == .found, let younger = timelineThatLacks(name) {
                failure = failure ?? younger
                return "failed"
            }
            deliveries.record(name, fetch)
            return fetch == .absent ? "absent" : "found"
        case .failure(let error):
            if !isOver { failure = failure ?? error }
            return "failed"
        }
    }

    private func isOfOtherHistory(_ name: String) -> Bool {
        guard let segment = WALSegment(name), let link = plan.chain.first(where: { $0.timeline == segment.timeline }),
            let end = link.end
        else { return false }
        return segment.number(segmentBytes: plan.segmentBytes) > end.segmentNumber(plan.segmentBytes)
    }

    /// Of the segment in which a timeline was left, only the younger one's copy ends there. Where the server did not get that,
    /// it would go on with the old timeline's, to its end.
    private func timelineThatLacks(_ name: String) -> DrillError? {
        guard let segment = WALSegment(name),
            let index = plan.chain.firstIndex(where: { $0.timeline == segment.timeline }),
            let end = plan.chain[index].end,
            segment.number(segmentBytes: plan.segmentBytes) == end.segmentNumber(plan.segmentBytes)
        else { return nil }
        let younger = plan.chain[index + 1].timeline
        let copy = WALSegment(timeline: younger, high: segment.high, low: segment.low)
        guard deliveries.absent.contains(copy) else { return nil }
        return DrillError(
            .backupUnusable,
            "the WAL segment \(copy.name) (timeline \(younger)) is missing, and what timeline \(segment.timeline) wrote in it "
                + "after \(end) is of another history", at: plan.source.place)
    }

    private func following(_ name: String) -> [String] {
        guard let segment = WALSegment(name) else { return [] }
        let number = segment.number(segmentBytes: plan.segmentBytes)
        return (1...ahead).map {
            WALSegment(timeline: segment.timeline, number: number + $0, segmentBytes: plan.segmentBytes).name
        }.filter { !isOfOtherHistory($0) }
    }

    /// Fetches it, or waits for whoever is fetching it. Only what was found is remembered.
    private func obtain(_ name: String) async -> Outcome {
        switch fetches[name] {
        case .ready(let fetch): return .success(fetch)
        case .running(let waiting):
            return await withCheckedContinuation { fetches[name] = .running(waiting + [$0]) }
        case nil: break
        }
        fetches[name] = .running([])
        let outcome: Outcome
        do { outcome = .success(try await fetch(name)) } catch { outcome = .failure(DrillError(wrapping: error)) }
        if case .running(let waiting) = fetches[name] { for one in waiting { one.resume(returning: outcome) } }
        switch outcome {
        case .success(.absent), .failure: fetches[name] = nil
        case .success(let fetch): fetches[name] = .ready(fetch)
        }
        return outcome
    }

    private nonisolated func fetch(_ name: String) async throws -> WALFetch {
        let staged = "\(stage)/\(name)"
        do {
            let fetch = try await plan.source.fetch(name, to: staged)
            guard fetch != .absent else {
                try removeIfThere(staged)
                return .absent
            }
            if let segment = WALSegment(name) {
                let check = SegmentCheck(
                    segment: segment, segmentBytes: plan.segmentBytes, systemIdentifier: plan.systemIdentifier)
                try check.look(at: staged, isFinished: fetch == .found, place: plan.source.place)
            }
            try plan.account.give(staged)
            guard rename(staged, "\(script.folder)/\(name)") == 0 else {
                throw DrillError(.couldNotLook, "cannot be moved: \(String(cString: strerror(errno)))", at: staged)
            }
            return fetch
        } catch {
            do { try removeIfThere(staged) } catch let second {
                var first = DrillError(wrapping: error)
                first.hints.append("Besides, \(second)")
                throw first
            }
            throw error
        }
    }

    private nonisolated func removeIfThere(_ path: String) throws {
        guard unlink(path) != 0, errno != ENOENT else { return }
        throw DrillError(.couldNotLook, "cannot be removed: \(String(cString: strerror(errno)))", at: path)
    }
}
