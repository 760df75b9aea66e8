import DrillCore

/// Has the server read every page of every table, TOAST table, materialized view, index and sequence, and verify each page's header
/// and, where they are on, its checksum (P24).
///
/// `pg_prewarm` in mode `buffer` reads through shared buffers, where pages are verified; its mode `read` verifies nothing. What this
/// leaves out of what `pg_checksums` reads on a server that is shut down: free space and visibility maps, which the server
/// mends by itself, and databases that allow no connections.
struct PagePass: Sendable {
    let scope: IntegrityScope
    let modules: ServerModules
    /// Pieces of 1 GiB: a table of a terabyte shows progress, and several sessions share it.
    private static let piece: Int64 = 131_072
    /// So many bad blocks of one piece tell enough.
    private static let most = 200

    private struct Piece: Sendable {
        var entry: RelationEntry
        var first: Int64
        /// The last block; nil to the end.
        var last: Int64?
        var pages: Int64
    }

    func run() async throws {
        guard let read = modules.functions["pg_prewarm"] else {
            await scope.tally.couldNotLook("pages of indexes: \(modules.missing[.prewarm] ?? "pg_prewarm is missing")")
            return
        }
        let pieces = scope.inventory.ordered.filter(\.kind.hasPages).flatMap(Self.pieces)
        scope.step("read every page", pages: pieces.reduce(0) { $0 + $1.pages })
        let survey = Survey<Piece>(scope: scope) {
            $0.pages
        } ask: { session, batch in
            try await ask(session, batch, read.name)
        } failed: { piece, error in
            try await scope.judge(error, of: piece.entry, while: "while its pages were read")
        }
        try await survey.run(pieces)
        let session = IntegritySession(scope.access)
        for name in IntegrityAccess.hiding {
            guard try await session.query("SELECT pg_catalog.current_setting($1)", [name]).scalar != "off" else {
                continue
            }
            await scope.tally.couldNotLook("pages: the server runs with \(name), which hides damage")
        }
        let checksums = try await session.query("SELECT pg_catalog.current_setting('data_checksums')").scalar == "on"
        await scope.tally.did(checksums ? "every page (data checksums are on)" : "every page (data checksums are off)")
        if checksums { try await lookAtCounter(session) }
        await session.close()
    }

    private static func pieces(_ entry: RelationEntry) -> [Piece] {
        guard entry.pages > piece else { return [Piece(entry: entry, first: 0, last: nil, pages: entry.pages)] }
        return stride(from: 0, to: entry.pages, by: Int(piece)).map { first in
            let end = min(first + piece, entry.pages)
            return Piece(entry: entry, first: first, last: end == entry.pages ? nil : end - 1, pages: end - first)
        }
    }

    private func ask(_ session: IntegritySession, _ batch: [Piece], _ read: String) async throws {
        guard batch.count == 1, let piece = batch.first else {
            // Small relations, all of them whole.
            let oids = "{" + batch.map { "\($0.entry.oid)" }.joined(separator: ",") + "}"
            _ = try await session.query(
                "SELECT count(\(read)(one::pg_catalog.regclass, 'buffer')) FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS one",
                [oids])
            return
        }
        var first = piece.first
        for _ in 0..<Self.most {
            do throws(PostgresError) {
                _ = try await session.query(
                    "SELECT \(read)($1::pg_catalog.oid::pg_catalog.regclass, 'buffer', 'main', $2, $3)",
                    ["\(piece.entry.oid)", "\(first)", piece.last.map { "\($0)" }])
                return
            } catch {
                // The pages behind a bad one are read as well.
                guard ServerComplaint.isCorruption(error), let block = ServerComplaint.block(error.message),
                    block >= first
                else { throw error }
                try await scope.recordCorruption(error, of: piece.entry, while: "while its pages were read")
                first = block + 1
                guard first <= piece.last ?? (piece.entry.pages - 1) else { return }
            }
        }
    }

    /// Where the server has met more bad pages than are known, such as in a visibility map, a reader should know.
    private func lookAtCounter(_ session: IntegritySession) async throws {
        guard scope.access.serverVersion >= 120_000 else { return }
        let failures = try await session.query(
            """
            SELECT checksum_failures FROM pg_catalog.pg_stat_database
            WHERE datname = pg_catalog.current_database() AND checksum_failures > 0
            """
        ).scalar
        guard let failures else { return }
        await scope.tally.aside(
            "the server counts \(failures) pages of \(scope.inventory.database) whose checksum was wrong")
    }
}
