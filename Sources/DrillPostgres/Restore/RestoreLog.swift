import DrillCore
import Foundation
import Synchronization

/// What a tool says while it restores: kept for restore.log, and counted for progress as it comes.
final class RestoreLog: Sendable {
    private struct Content {
        var text: [UInt8] = []
        var unfinishedLine: [UInt8] = []
        var wasCut = false
        var tablesDone: Int64 = 0
    }

    /// More than that is dropped from the middle: errors stand at the end, versions and settings at the start.
    private static let limitBytes = 4 << 20
    private let content = Mutex(Content())
    private let progress: any ProgressSink

    init(progress: any ProgressSink) { self.progress = progress }

    func append(_ bytes: [UInt8]) {
        let done = content.withLock { content -> Int64? in
            let before = content.tablesDone
            content.unfinishedLine += bytes
            while let end = content.unfinishedLine.firstIndex(of: 0x0A) {
                let line = content.unfinishedLine[..<end]
                if Self.isTableDone(line) { content.tablesDone += 1 }
                content.unfinishedLine.removeFirst(end + 1)
            }
            content.text += bytes
            if content.text.count > Self.limitBytes {
                content.text.removeSubrange((Self.limitBytes / 4)..<(Self.limitBytes / 2))
                content.wasCut = true
            }
            return content.tablesDone > before ? content.tablesDone : nil
        }
        if let done { progress.advance(to: done) }
    }

    func append(line: String) { append(Array((line + "\n").utf8)) }

    /// A parallel pg_restore tells when an item is finished; a serial one when it begins with a table.
    private static func isTableDone(_ line: ArraySlice<UInt8>) -> Bool {
        let text = String(decoding: line.prefix(80), as: UTF8.self)
        return (text.contains("finished item") && text.contains("TABLE DATA"))
            || text.hasPrefix("pg_restore: processing data for table")
    }

    var text: String {
        content.withLock { content in
            (content.wasCut ? "(lines in the middle were dropped)\n" : "")
                + String(decoding: content.text, as: UTF8.self)
        }
    }

    /// The first error with the entry it is about and what follows it, without the values of rows.
    var errorLines: [String] {
        let lines = text.split(whereSeparator: \.isNewline).map(String.init)
        guard
            let first = lines.firstIndex(where: {
                $0.contains("error:") || $0.contains("ERROR:") || $0.contains("FATAL:")
            })
        else { return lines.suffix(4).map(withoutValues) }
        let start = first > 0 && lines[first - 1].contains("from TOC entry") ? first - 1 : first
        return lines[start..<min(start + 8, lines.count)].filter { !$0.hasPrefix("DETAIL:") }.map(withoutValues)
    }

    /// `CONTEXT:  COPY t, line 3, column a: "…"` quotes the row.
    private func withoutValues(_ line: String) -> String {
        guard line.hasPrefix("CONTEXT:"), let quote = line.range(of: ": \"") else { return String(line.prefix(300)) }
        return String(line[..<quote.lowerBound])
    }
}

/// Tells what is the backup's fault from what is this machine's.
struct RestoreFailure {
    /// Of our own superuser: then a refused right is the backup's doing.
    var isSuperuser: Bool

    private static let machine = [
        "No space left on device": "the disk of the scratch server is full",
        "Disk quota exceeded": "the disk quota of scratch is used up",
        "could not extend file": "the disk of the scratch server is full",
        "server closed the connection": "the scratch server went away",
        "connection to server": "the scratch server went away",
        "terminating connection": "the scratch server went away",
        "could not connect": "the scratch server went away", "the database system is": "the scratch server went away",
        "out of memory": "the scratch server has too little memory",
        "Cannot allocate memory": "this machine has too little memory",
        "out of shared memory":
            "the scratch server has too few locks; raise max_locks_per_transaction in scratch.database.settings",
        "too many clients": "the scratch server has too few connections",
    ]
    private static let rights = [
        "permission denied", "must be superuser", "must be owner", "must be able to SET ROLE", "must be member",
    ]

    /// What kept us from looking, if it is in that error; nil where the backup is at fault.
    func obstacle(in lines: [String]) -> String? {
        for line in lines {
            // The statement that failed may hold any words.
            if line.hasPrefix("Command was:") { break }
            if let known = Self.machine.first(where: { line.contains($0.key) }) { return known.value }
            if !isSuperuser, Self.rights.contains(where: line.contains) {
                return "the role on the scratch server may not do what the dump needs"
            }
        }
        return nil
    }
}
