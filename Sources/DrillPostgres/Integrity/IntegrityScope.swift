import DrillCore
import Foundation
import Synchronization

/// What the passes over one database share.
final class IntegrityScope: Sendable {
    let access: IntegrityAccess
    let inventory: DatabaseInventory
    let tally: IntegrityTally
    let progress: any ProgressSink
    let clock: any DrillClock
    /// How many sessions ask at once.
    let sessions = min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 4)
    private let done = Atomic<Int64>(0)
    private let scale = Atomic<Int64>(1)

    init(
        _ access: IntegrityAccess, _ inventory: DatabaseInventory, _ tally: IntegrityTally,
        _ progress: any ProgressSink,
        _ clock: any DrillClock
    ) {
        self.access = access
        self.inventory = inventory
        self.tally = tally
        self.progress = progress
        self.clock = clock
    }

    /// Begins a step of the progress; ``advance(by:)`` is told what the elements weigh.
    func step(_ name: String, items: Int64) { step(name, items, .items, scale: 1) }

    /// The same where elements weigh as much as their pages.
    func step(_ name: String, pages: Int64) { step(name, pages, .bytes, scale: Self.pageBytes) }

    private func step(_ name: String, _ total: Int64, _ unit: ProgressUnit, scale: Int64) {
        done.store(0, ordering: .relaxed)
        self.scale.store(scale, ordering: .relaxed)
        progress.step(inventory.isNamed ? "\(name) of \(inventory.database)" : name, total: total * scale, unit: unit)
    }

    func advance(by amount: Int64) {
        progress.advance(to: done.wrappingAdd(amount, ordering: .relaxed).newValue * scale.load(ordering: .relaxed))
    }

    /// Of nearly every server: a progress need not be more exact.
    private static let pageBytes: Int64 = 8192

    // MARK: - Defects

    /// A defect of that relation; what is wrong at a page bears the block in its mark, so that it is found once.
    func record(
        _ kind: DefectKind, of entry: RelationEntry, otherNames: [String] = [], rowID: String? = nil, expected: String,
        observed: String, evidence: String? = nil, repair: String, counts: Bool = true, mark: String? = nil
    ) async throws {
        let place = inventory.place(entry).map { entry.isIndex ? "It is \($0)." : "It lies in \($0)." }
        let words = [place, evidence].compactMap { $0 }
        try await tally.record(
            IntegrityDefect(
                kind: kind, database: inventory.database, oid: entry.oid, relation: inventory.name(entry),
                otherNames: [entry.name] + otherNames, rowID: rowID, expected: expected, observed: observed,
                evidence: words.isEmpty ? nil : words.joined(separator: " "), repair: repair, counts: counts,
                mark: mark))
    }

    /// Data that the server could not read, in its own words. Where it names another relation's file, that one is at fault.
    func recordCorruption(_ error: PostgresError, of entry: RelationEntry, while what: String) async throws {
        let culprit = ServerComplaint.path(error.message).flatMap { inventory.relation(atPath: $0) } ?? entry
        let block = ServerComplaint.block(error.message)
        try await record(
            .corruption, of: culprit, expected: "what the server stored, and can read again",
            observed: error.description, evidence: "The server said so \(what).", repair: Self.repair(culprit),
            mark: block.map { Self.mark(culprit, $0) } ?? "\(culprit.oid) \(error.message)")
        guard culprit.oid != entry.oid, !entry.isIndex else { return }
        await couldNotLook(at: entry, "not read to its end because of \(culprit.name)")
    }

    static func mark(_ entry: RelationEntry, _ block: Int64) -> String { "\(entry.oid) block \(block)" }

    static func repair(_ entry: RelationEntry) -> String {
        entry.isIndex
            ? "See whether the live index has the same fault (amcheck); there REINDEX mends it. Restore an older set and look again."
            : "See whether the live table has the same fault; if not, the backup or its medium is damaged. Restore an older set and "
                + "look again."
    }

    func couldNotLook(at entry: RelationEntry, _ reason: String) async {
        await tally.couldNotLook(
            at: entry.oid, of: inventory.database, names: [inventory.name(entry), entry.name], reason)
    }

    /// Judges what the server answered in place of what it was asked for.
    func judge(
        _ error: PostgresError, of entry: RelationEntry, while what: String, readingRows: Bool = false
    ) async throws {
        if ServerComplaint.isCorruption(error, readingRows: readingRows) {
            try await recordCorruption(error, of: entry, while: what)
        } else if error.kind == .connectionLost, let words = crashWords() {
            try await record(
                .corruption, of: entry, expected: "what the server stored, and can read again",
                observed: "the server went down twice \(what), the second time with nothing else to do",
                evidence: words, repair: Self.repair(entry))
        } else {
            await couldNotLook(at: entry, "\(error)")
        }
    }

    // MARK: - The server

    /// The server's last words where it says that one of its processes died of its own; nil where it was killed or says nothing.
    private func crashWords() -> String? {
        guard let server = access.database.rights?.server else { return nil }
        return Self.crash(in: server.logTail(40))
    }

    static func crash(in lines: [String]) -> String? {
        lines.last { line in
            line.contains("PANIC:") || line.contains("TRAP:")
                || line.contains(#/was terminated by signal (4|6|7|8|11)\b/#)
        }
    }

    /// After a crash the server of our own starts its processes again, which may take a while.
    func waitForServer() async throws {
        guard let server = access.database.rights?.server else { return }
        let deadline = clock.monotonicSeconds() + 600
        while true {
            try server.requireRunning()
            do {
                let connection = try await PostgresConnection.connect(server.parameters, timeout: .seconds(5))
                await connection.close()
                return
            } catch {
                if error.kind == .interrupted { throw CancellationError() }
                guard clock.monotonicSeconds() < deadline else { throw error.drillError(at: server.parameters.place) }
            }
            try await clock.sleep(for: .milliseconds(200))
        }
    }
}
