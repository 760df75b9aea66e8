import DrillCore
import Foundation
import Synchronization

/// When the last transaction in a stretch of WAL committed, as pg_waldump reads it: a server that recovers from a crash does
/// not tell.
struct CommitTimes: Sendable {
    var environment: DrillEnvironment
    var tools: PostgresTools

    struct Found: Sendable {
        /// nil where nothing committed there.
        var last: Date?
        /// What stopped pg_waldump: the end of the WAL, in its words.
        var end: String
    }

    /// - Parameter end: nil reads on until the WAL ends.
    func read(_ directory: String, timeline: UInt32, from start: LSN, to end: LSN? = nil) async throws -> Found {
        let tail = Mutex(LastCommit())
        var command = Command(
            tools.path("pg_waldump"),
            ["--path", directory, "--timeline", String(timeline), "--start", "\(start)", "--rmgr", "Transaction"]
                + (end.map { ["--end", "\($0)"] } ?? []),
            environment: ["LC_ALL": "C", "TZ": "UTC"])
        command.output = .chunks { chunk in tail.withLock { $0.add(chunk) } }
        // Its status is 1 at the end of the WAL, as always.
        let result = try await environment.processes.run(command)
        return Found(
            last: tail.withLock { $0.instant },
            end: result.errorText.split(whereSeparator: \.isNewline).last.map(String.init) ?? "")
    }
}

/// Keeps the last line that tells of a commit, out of output that comes in pieces.
struct LastCommit: Sendable {
    private var rest: [UInt8] = []
    private var line = ""

    mutating func add(_ chunk: [UInt8]) {
        rest += chunk
        guard let end = rest.lastIndex(of: 0x0A) else { return }
        for candidate in rest[..<end].split(separator: 0x0A).reversed() {
            let text = String(decoding: candidate, as: UTF8.self)
            guard text.contains("desc: COMMIT") else { continue }
            line = text
            break
        }
        rest.removeFirst(end + 1)
    }

    /// `… desc: COMMIT 2026-11-14 14:30:05.123456 UTC; …`
    var instant: Date? {
        guard let found = line.firstMatch(of: /desc: COMMIT.*?(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(\.\d+)?) UTC/) else {
            return nil
        }
        return parseInstant("\(found.1)T\(found.2)Z")
    }
}
