import DrillCore

/// One relation of a database, as its catalogs describe it.
struct RelationEntry: Sendable {
    enum Kind: String, Sendable {
        case table = "r"
        case materializedView = "m"
        case partitionedTable = "p"
        case index = "i"
        case partitionedIndex = "I"
        case toast = "t"
        case sequence = "S"

        var hasPages: Bool { self != .partitionedTable && self != .partitionedIndex }
        /// Whether its rows can be selected.
        var hasRows: Bool { self == .table || self == .materializedView }
    }

    var oid: UInt32
    /// `schema.name`, quoted where needed.
    var name: String
    var kind: Kind
    var isUnlogged: Bool
    var isPopulated: Bool
    var isPartition: Bool
    /// Of the whole server, such as the list of its roles.
    var isShared: Bool
    /// pg_class.reltuples: rows at the last VACUUM or ANALYZE; -1 (before PostgreSQL 14: 0) where there was none.
    var estimatedRows: Double
    /// How the server stores rows or index entries: heap, btree, gin …
    var accessMethod: String?
    var pages: Int64
    /// pg_class.relpages: pages at the last VACUUM or ANALYZE.
    var pagesOnce: Int64
    /// Below the data directory.
    var path: String?
    /// The table of an index, or the one that a TOAST table belongs to.
    var owner: UInt32?
    /// Of an index, what keeps it from being used; empty where nothing does.
    var indexFaults: [String]

    /// Whether `initdb` made it. (FirstNormalObjectId in PostgreSQL's access/transam.h.)
    var isSystem: Bool { oid < 16384 }
    var isIndex: Bool { kind == .index || kind == .partitionedIndex }
}

/// Everything that a database holds in pages, and what has pages elsewhere.
struct DatabaseInventory: Sendable {
    var database: String
    /// Whether its relations are named with the database before them: it is not the one that other probes read.
    var isNamed: Bool
    var relations: [UInt32: RelationEntry]
    /// By size, the largest first.
    var ordered: [RelationEntry]
    var foreignTables: Int64
    private let paths: [String: UInt32]

    /// Reads the catalogs.
    /// - Parameter includesShared: Whether relations of the whole server are listed too.
    static func read(
        _ session: IntegritySession, database: String, isNamed: Bool, includesShared: Bool
    ) async throws(PostgresError) -> Self {
        let found = try await session.query(
            """
            SELECT c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind, c.relpersistence, c.relispopulated,
                c.relispartition, c.relisshared, c.reltuples, a.amname,
                CASE WHEN c.relkind IN ('p', 'I') THEN 0
                    ELSE pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::pg_catalog.int8 END,
                pg_catalog.pg_relation_filepath(c.oid), coalesce(x.indrelid, holder.oid),
                x.indisvalid, x.indisready, x.indislive, c.relpages
            FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
                LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid
                LEFT JOIN pg_catalog.pg_class holder ON holder.reltoastrelid = c.oid AND c.relkind = 't'
            WHERE c.relkind IN ('r', 'm', 'p', 'i', 'I', 't', 'S') AND c.relpersistence <> 't'
                AND (NOT c.relisshared OR $1::pg_catalog.bool)
            """, [includesShared ? "true" : "false"])
        var relations: [UInt32: RelationEntry] = [:]
        for row in found.rows {
            guard let oid = row[0].flatMap({ UInt32($0) }), let kind = row[2].flatMap(RelationEntry.Kind.init) else {
                throw PostgresError(.malformed, "a relation without a number or kind")
            }
            let faults = [(row[12], "not valid"), (row[13], "not ready"), (row[14], "being dropped")]
            relations[oid] = RelationEntry(
                oid: oid, name: row[1] ?? "", kind: kind, isUnlogged: row[3] == "u", isPopulated: row[4] == "t",
                isPartition: row[5] == "t", isShared: row[6] == "t", estimatedRows: row[7].flatMap(Double.init) ?? -1,
                accessMethod: row[8], pages: row[9].flatMap(strictInteger) ?? 0,
                pagesOnce: row[15].flatMap(strictInteger) ?? 0, path: row[10],
                owner: row[11].flatMap { UInt32($0) }, indexFaults: faults.filter { $0.0 == "f" }.map(\.1))
        }
        let foreign = try await session.query("SELECT count(*) FROM pg_catalog.pg_foreign_table").scalar
        return Self(
            database: database, isNamed: isNamed, relations: relations,
            ordered: relations.values.sorted { ($1.pages, $0.oid) < ($0.pages, $1.oid) },
            foreignTables: foreign.flatMap(strictInteger) ?? 0,
            paths: Dictionary(
                relations.values.compactMap { entry in entry.path.map { ($0, entry.oid) } },
                uniquingKeysWith: { first, _ in first }))
    }

    /// The relation that a file below the data directory belongs to.
    func relation(atPath path: String) -> RelationEntry? { paths[path].flatMap { relations[$0] } }

    /// Its name for the report: of a TOAST table that of the table whose long values it holds.
    func name(_ entry: RelationEntry) -> String {
        var shown = entry
        if entry.kind == .toast || owner(entry)?.kind == .toast, let table = table(of: entry) { shown = table }
        return isNamed ? "\(quotedWhereNeeded(database)).\(shown.name)" : shown.name
    }

    /// What that relation is to the one that ``name(_:)`` names; nil where it is the same.
    func place(_ entry: RelationEntry) -> String? {
        switch entry.kind {
        case .toast: return "its TOAST table \(entry.name)"
        case .index:
            if let owner = owner(entry), owner.kind == .toast { return "the index of its TOAST table \(owner.name)" }
            return owner(entry).map { "an index of \($0.name)" }
        default: return nil
        }
    }

    func owner(_ entry: RelationEntry) -> RelationEntry? { entry.owner.flatMap { relations[$0] } }

    /// The table that a person knows.
    private func table(of entry: RelationEntry) -> RelationEntry? {
        var current = entry
        // An index, its TOAST table, its table: no more.
        for _ in 0..<3 {
            guard let owner = owner(current) else { break }
            current = owner
        }
        return current.oid == entry.oid ? nil : current
    }
}

/// A name as PostgreSQL's `format('%I')` writes it, keywords aside.
func quotedWhereNeeded(_ name: String) -> String {
    let isPlain =
        !name.isEmpty
        && name.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == UInt8(ascii: "_")
        } && !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(name.utf8.first ?? 0)
    return isPlain ? name : quotedIdentifier(name)
}
