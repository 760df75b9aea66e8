import DrillCore

/// Looks whether the next values of sequences are free: one that stands behind its column makes the first inserts after a
/// restore collide (P10).
///
/// A sequence is held against the columns that it numbers: identity columns, those whose default is exactly `nextval` of it, and
/// those that own it and have no default. Sequences that cycle, and columns of other types than numbers, are not judged.
struct SequencePass: Sendable {
    let scope: IntegrityScope

    private struct Link: Sendable {
        var sequence: RelationEntry
        var table: RelationEntry
        var column: String
        var increment: Int64
        /// What nextval yields next.
        var next: Int64 = 0

        /// A row with a value that the sequence has yet to yield. Unless it counts by one, only values that it will hit.
        var statement: String {
            let side = increment > 0 ? "max" : "min"
            let name = quotedIdentifier(column)
            let isAhead = "\(name) \(increment > 0 ? ">=" : "<=") \(next)"
            let hits =
                abs(increment) == 1
                ? "" : " WHERE \(isAhead) AND mod(\(name)::pg_catalog.numeric - \(next), \(increment)) = 0"
            let extreme = "(SELECT \(side)(\(name)) AS extreme FROM \(table.name)\(hits)) AS found"
            return
                "SELECT extreme::pg_catalog.text, extreme \(increment > 0 ? ">=" : "<=") \(next) FROM \(extreme)"
        }
    }

    func run() async throws {
        let session = IntegritySession(scope.access, usesIndexes: true)
        let links = try await links(session)
        await session.close()
        var sequences: [UInt32: RelationEntry] = [:]
        for link in links { sequences[link.sequence.oid] = link.sequence }
        scope.step("read sequences", items: Int64(sequences.count + links.count))
        let states = try await states(sequences.values.sorted { $0.oid < $1.oid })
        let judged = links.compactMap { link -> Link? in
            guard let state = states[link.sequence.oid] else { return nil }
            var link = link
            let (next, isOver) = state.last.addingReportingOverflow(state.isCalled ? link.increment : 0)
            link.next = next
            return isOver ? nil : link
        }
        let survey = Survey<Link>(scope: scope) { _ in
            1
        } ask: { session, batch in
            // A statement's columns are the same for all links.
            let sql = batch.map { "(\($0.statement))" }.joined(separator: " UNION ALL ")
            let rows = try await session.query(sql).rows
            guard rows.count == batch.count else { throw PostgresError(.malformed, "a sequence without an answer") }
            for (link, row) in zip(batch, rows) where row[1] == "t" { try await record(link, extreme: row[0] ?? "") }
        } failed: { link, error in
            try await scope.judge(error, of: link.table, while: "while it was held against its sequence")
        }
        try await survey.run(judged, size: 100)
        if !judged.isEmpty { await scope.tally.did("columns with sequences", count: Int64(judged.count)) }
    }

    private func links(_ session: IntegritySession) async throws -> [Link] {
        let found = try await session.query(
            """
            SELECT DISTINCT link.sequence, link.relation, a.attname, q.seqincrement
            FROM (
                SELECT d.objid, d.refobjid, d.refobjsubid, d.deptype = 'i' FROM pg_catalog.pg_depend d
                WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
                UNION ALL
                SELECT d.refobjid, ad.adrelid, ad.adnum, false
                FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef ad ON ad.oid = d.objid
                WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass
                    AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'n'
            ) AS link (sequence, relation, number, is_identity)
                JOIN pg_catalog.pg_sequence q ON q.seqrelid = link.sequence
                JOIN pg_catalog.pg_class c ON c.oid = link.relation AND c.relkind IN ('r', 'p')
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = link.number AND NOT a.attisdropped
                LEFT JOIN pg_catalog.pg_attrdef own ON own.adrelid = c.oid AND own.adnum = a.attnum
            WHERE NOT q.seqcycle AND NOT c.relispartition AND a.atttypid IN (20, 21, 23, 1700)
                AND CASE WHEN own.oid IS NULL THEN link.is_identity OR a.attidentity = ''
                    ELSE pg_catalog.pg_get_expr(own.adbin, own.adrelid) ~ '^nextval\\(''[^()]*''::regclass\\)$'
                        AND EXISTS (SELECT FROM pg_catalog.pg_depend u
                            WHERE u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND u.objid = own.oid
                                AND u.refobjid = link.sequence) END
            ORDER BY 1, 2, 3
            """)
        return found.rows.compactMap { row in
            guard let sequence = row[0].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }),
                let table = row[1].flatMap({ UInt32($0) }).flatMap({ scope.inventory.relations[$0] }),
                let column = row[2], let increment = row[3].flatMap(strictInteger)
            else { return nil }
            return Link(sequence: sequence, table: table, column: column, increment: increment)
        }
    }

    private func states(_ sequences: [RelationEntry]) async throws -> [UInt32: (last: Int64, isCalled: Bool)] {
        let states = SequenceStates()
        let survey = Survey<RelationEntry>(scope: scope) { _ in
            1
        } ask: { session, batch in
            let sql = batch.map { "SELECT \($0.oid)::pg_catalog.oid, last_value, is_called FROM \($0.name)" }
            for row in try await session.query(sql.joined(separator: " UNION ALL ")).rows {
                guard let oid = row[0].flatMap({ UInt32($0) }), let last = row[1].flatMap(strictInteger) else {
                    continue
                }
                await states.set(oid, last, isCalled: row[2] == "t")
            }
        } failed: { entry, error in
            try await scope.judge(error, of: entry, while: "while the sequence was read")
        }
        try await survey.run(sequences)
        return await states.all
    }

    private func record(_ link: Link, extreme: String) async throws {
        let column = printable(link.column.utf8)
        try await scope.record(
            .sequenceBehind, of: link.sequence,
            otherNames: [
                link.table.name, "\(link.table.name).\(link.column)",
                "\(link.table.name).\(quotedIdentifier(link.column))",
            ],
            expected: "a next value that no row of \(link.table.name) has taken",
            observed: "the next value is \(link.next), and column \(column) of \(link.table.name) goes to \(extreme)",
            repair:
                "setval() the sequence past the column's last value; see whether the dump lacks the sequence's own data."
        )
    }
}

private actor SequenceStates {
    private(set) var all: [UInt32: (last: Int64, isCalled: Bool)] = [:]
    func set(_ oid: UInt32, _ last: Int64, isCalled: Bool) { all[oid] = (last, isCalled) }
}
