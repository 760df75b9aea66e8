import DrillCore

/// Looks for pages of tables that hold nothing but zeros, or are gone from the end of the file, though an index still has entries for
/// rows in them. No checksum tells of such a page, and amcheck passes over it (P24).
///
/// Zeros alone are no fault: a server that crashes while a table grows leaves such pages.
struct LostPagePass: Sendable {
    let scope: IntegrityScope
    let modules: ServerModules
    private static let most = 10_000

    func run() async throws {
        // Before 14, pageinspect describes entries of indexes in another way.
        guard scope.access.serverVersion >= 140_000, let page = modules.functions["get_raw_page"] else {
            let reason = modules.missing[.pageinspect] ?? "pageinspect of PostgreSQL before 14 does not tell"
            await scope.tally.aside("pages of zeros were not looked for: \(reason)")
            return
        }
        var heaps: [RelationEntry] = []
        for entry in scope.inventory.ordered where entry.kind.hasRows && entry.accessMethod == "heap" {
            guard await !scope.tally.hasFailed(entry.oid, of: scope.inventory.database) else { continue }
            if entry.pages > 0 || entry.pagesOnce > 0 { heaps.append(entry) }
        }
        scope.step("look for lost pages", pages: heaps.reduce(0) { $0 + $1.pages })
        let survey = Survey<RelationEntry>(scope: scope) {
            $0.pages
        } ask: { session, batch in
            try await ask(session, batch, page.name)
        } failed: { entry, error in
            try await scope.judge(error, of: entry, while: "while lost pages were looked for")
        }
        try await survey.run(heaps)
        await scope.tally.did("pages of zeros")
    }

    private func ask(_ session: IntegritySession, _ batch: [RelationEntry], _ page: String) async throws {
        let parts = batch.filter { $0.pages > 0 }.map { entry in
            """
            SELECT \(entry.oid)::pg_catalog.oid, block FROM pg_catalog.generate_series(0, \(entry.pages - 1)) AS block
            WHERE \(page)(\(quotedLiteral(entry.name)), 'main', block) =
                pg_catalog.decode(pg_catalog.repeat('00', pg_catalog.current_setting('block_size')::pg_catalog.int4), 'hex')
            """
        }
        var zeros: [UInt32: [Int64]] = [:]
        if !parts.isEmpty {
            let found = try await session.rows(of: parts.joined(separator: " UNION ALL "), limit: Self.most)
            for row in found.rows {
                guard let oid = row[0].flatMap({ UInt32($0) }), let block = row[1].flatMap(strictInteger) else {
                    continue
                }
                zeros[oid, default: []].append(block)
            }
        }
        for entry in batch where zeros[entry.oid] != nil || entry.pagesOnce > entry.pages {
            try await hold(entry, against: zeros[entry.oid] ?? [], session)
        }
    }

    /// Asks the table's B-trees for entries of rows in those blocks, or behind the table's end.
    private func hold(_ entry: RelationEntry, against zeros: [Int64], _ session: IntegritySession) async throws {
        guard let stats = modules.functions["bt_page_stats"], let items = modules.functions["bt_page_items"] else {
            return
        }
        let trees = scope.inventory.ordered.filter {
            $0.owner == entry.oid && $0.accessMethod == "btree" && $0.pages > 1
        }
        for tree in trees.reversed() {
            let name = quotedLiteral(tree.name)
            let found = try await session.query(
                """
                SELECT count(*), min(block), count(DISTINCT block) FROM (
                    SELECT pg_catalog.split_part(pg_catalog.btrim(tid::pg_catalog.text, '()'), ',', 1)::pg_catalog.int8
                    FROM pg_catalog.generate_series(1, \(tree.pages - 1)) AS page,
                        LATERAL \(stats.name)(\(name), page) AS s, LATERAL \(items.name)(\(name), page) AS i,
                        LATERAL pg_catalog.unnest(coalesce(i.tids, ARRAY[i.htid])) AS tid
                    WHERE s.type IN ('l', 'r') AND s.btpo_level = 0 AND i.dead IS NOT TRUE
                        -- The first item of a page that has a right neighbour is its upper bound, and no entry.
                        AND (i.itemoffset > 1 OR s.btpo_next = 0)
                ) AS entry (block) WHERE block >= \(entry.pages) OR block = ANY ($1::pg_catalog.int8[])
                """, ["{" + zeros.map(String.init).joined(separator: ",") + "}"])
            guard let row = found.rows.first, let count = row[0].flatMap(strictInteger), count > 0,
                let block = row[1].flatMap(strictInteger), let blocks = row[2]
            else { continue }
            try await scope.record(
                .corruption, of: entry, expected: "the rows that its indexes have entries for",
                observed: block >= entry.pages
                    ? "the table ends before block \(block), and its rows there are gone"
                    : "block \(block) holds nothing but zeros, and its rows are gone",
                evidence: "The index \(tree.name) has \(grouped(count)) entries for rows in \(blocks) such blocks.",
                repair: IntegrityScope.repair(entry), mark: IntegrityScope.mark(entry, block))
            return
        }
    }
}
