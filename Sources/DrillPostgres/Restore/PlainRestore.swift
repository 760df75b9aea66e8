import DrillCore
import Foundation

/// Restores a plain SQL dump, statement by statement, by libpq. It is read twice: first to refuse what must not run and to learn
/// what it needs, then to run it.
struct PlainRestore: Sendable {
    /// A path on this machine, unpacked.
    var path: String
    var sizeBytes: Int64

    /// Reads the whole dump without running anything.
    /// - Throws: `backupUnusable` where it is cut off or holds psql commands; nothing of it has run then (P5).
    func scan(progress: any ProgressSink) async throws -> PlainFacts {
        progress.step("read the dump", total: sizeBytes, unit: .bytes)
        var facts = PlainFacts()
        try await eachPiece(keepsData: false, progress) { facts.add($0) }
        if facts.isCluster || Set(facts.connections).count > 1 {
            throw DrillError(
                .couldNotLook, "the dump holds several databases, as pg_dumpall writes them", at: path,
                hints: ["Dump each database by pg_dump; the roles by `pg_dumpall --globals-only` go under `globals:`."])
        }
        guard facts.isComplete else {
            throw DrillError(
                .backupUnusable, "the dump is cut off: it does not end with `PostgreSQL database dump complete`",
                at: path)
        }
        return facts
    }

    /// - Returns: Whole sentences on what was left out.
    func run(into target: RestoreTarget, log: RestoreLog, progress: any ProgressSink) async throws -> [String] {
        progress.step("restore the dump", total: sizeBytes, unit: .bytes)
        let connection: PostgresConnection
        do {
            connection = try await PostgresConnection.connect(target.owner)
        } catch {
            throw error.drillError(at: target.place)
        }
        var left = LeftOut()
        do {
            try await eachPiece(keepsData: true, progress) { piece in
                try await self.run(piece, on: connection, target, log, &left)
            }
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
        return left.notes
    }

    private func run(
        _ piece: PlainScript.Piece, on connection: PostgresConnection, _ target: RestoreTarget, _ log: RestoreLog,
        _ left: inout LeftOut
    ) async throws {
        do throws(PostgresError) {
            switch piece {
            case .statement(let bytes, _):
                if left.leavesOut(bytes, target) { return }
                left.line = piece.line ?? left.line
                try await connection.execute(bytes: bytes)
            case .copyStatement(let bytes, _):
                left.line = piece.line ?? left.line
                try await connection.beginCopyIn(bytes)
            case .copyData(let bytes): try await connection.put(copyData: bytes)
            case .copyEnd:
                let rows = try await connection.endCopyIn()
                log.append(line: "line \(left.line): COPY \(rows)")
            case .comment, .metaCommand: break
            }
        } catch {
            log.append(line: "line \(left.line): ERROR: \(error)")
            throw self.error(error, line: left.line, target)
        }
    }

    private func error(_ error: PostgresError, line: Int, _ target: RestoreTarget) -> any Error {
        if error.kind == .interrupted { return CancellationError() }
        do { try target.requireRunning() } catch { return error }
        let place = "\(path):\(line)"
        let words = "\(error)"
        if error.kind != .server {
            return DrillError(.couldNotLook, "the scratch server went away: \(words)", at: place, cause: error)
        }
        if let obstacle = RestoreFailure(isSuperuser: target.isSuperuser).obstacle(in: [error.message]) {
            return DrillError(.couldNotLook, obstacle, at: target.place, hints: ["\(place): \(words)"], cause: error)
        }
        return DrillError(.backupUnusable, "the dump does not restore: \(words)", at: place, cause: error)
    }

    private func eachPiece(
        keepsData: Bool, _ progress: any ProgressSink, _ receive: (PlainScript.Piece) async throws -> Void
    ) async throws {
        let file = try LocalFile(path)
        var script = PlainScript(keepsData: keepsData)
        var done: Int64 = 0
        var isOver = false
        while !isOver {
            try Task.checkCancellation()
            let bytes = try await file.next()
            isOver = bytes.isEmpty
            let pieces: [PlainScript.Piece]
            do {
                pieces = isOver ? try script.finish() : try script.feed(bytes)
            } catch {
                throw DrillError(.backupUnusable, error.what, at: "\(path):\(error.line)")
            }
            for piece in pieces { try await receive(piece) }
            done += Int64(bytes.count)
            progress.advance(to: done)
        }
    }
}

extension PlainScript.Piece {
    fileprivate var line: Int? {
        switch self {
        case .statement(_, let line), .copyStatement(_, let line), .metaCommand(_, _, let line): line
        case .copyData, .copyEnd, .comment: nil
        }
    }
}

/// Statements of a plain dump that are not run: those about the database as a whole, which gets another name here, those that
/// would reach out (P27), and those that pg_restore is told to leave out.
private struct LeftOut {
    var line = 0
    private var counts: [String: Int] = [:]

    mutating func leavesOut(_ statement: [UInt8], _ target: RestoreTarget) -> Bool {
        guard let reason = Self.reason(sqlTokens(statement.prefix(4096), limit: 64), target) else { return false }
        counts[reason, default: 0] += 1
        return true
    }

    var notes: [String] {
        counts.sorted { $0.key < $1.key }.map { "Left out of the plain dump: \($0.value) statements on \($0.key)." }
    }

    private static func reason(_ tokens: [SQLToken], _ target: RestoreTarget) -> String? {
        guard tokens.count > 2, case .word(let verb) = tokens[0], case .word(let noun) = tokens[1] else { return nil }
        if ["create", "alter", "drop"].contains(verb) {
            if noun == "database" { return "the database as a whole" }
            if noun == "publication" || noun == "subscription" { return "publications and subscriptions" }
        }
        if verb == "security", noun == "label" { return "security labels" }
        if verb == "set", noun == "default_tablespace" { return "tablespaces" }
        let isGrant = verb == "grant" || verb == "revoke" || (verb == "alter" && noun == "default")
        if isGrant || verb == "comment" {
            let objects = zip(tokens, tokens.dropFirst()).first { $0.0.isWord("on") }?.1
            if objects?.isWord("database") == true { return "the database as a whole" }
            if objects?.isWord("publication") == true || objects?.isWord("subscription") == true {
                return "publications and subscriptions"
            }
        }
        if isGrant, !target.setsGrants { return "rights" }
        if verb == "alter", !target.setsOwners,
            zip(tokens, tokens.dropFirst()).contains(where: { $0.0.isWord("owner") && $0.1.isWord("to") })
        {
            return "owners"
        }
        return nil
    }
}
