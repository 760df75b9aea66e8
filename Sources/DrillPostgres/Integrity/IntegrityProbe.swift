import DrillCore

/// Looks whether the restored database is whole: its catalogs, its pages, what its constraints promise, its B-trees.
struct IntegrityProbe: Probe {
    static let kind = "integrity"
    static let shape = SettingsShape(
        "integrity: catalogs, pages, constraints and indexes of the restored database",
        [
            SettingsField(
                "level", .choice(IntegrityLevel.allCases.map(\.rawValue)),
                "catalog: what the catalogs say, and sequences. read: also every page, row and constraint. deep: also "
                    + "amcheck of heaps and B-trees. Default: deep. A level that cannot be reached is inconclusive."),
            SettingsField(
                "databases", .list(.text),
                "Of a physical backup, the databases to look at. Default: all that allow connections."),
            SettingsField(
                "ignore", .list(.text),
                "Names (`schema.table`, of an index or sequence, or `schema.table.constraint`) whose findings do not count."
            ),
            SettingsField(
                "report", .list(.choice(DefectKind.reportable.map(\.rawValue))),
                "Kinds of findings that are reported and do not count. Default: [unvalidated_constraints]."),
            SettingsField(
                "min_relations", .integer(0...Int64.max),
                "Fewer tables, indexes and sequences of the user's own are inconclusive. Default: 1."),
        ])

    let name: String
    var level = IntegrityLevel.deep
    /// nil: all there are.
    var databases: [String]?
    var ignored: [String] = []
    var reported: Set<DefectKind> = [.unvalidatedConstraint]
    var minimum: Int64 = 1

    /// The deepest look at all databases, as what follows the restore of something that may be torn (P25).
    static func deepest(name: String) -> Self { Self(name: name) }

    private init(name: String) { self.name = name }

    init(name: String, _ settings: SettingsReader, _ context: ProbeContext) throws {
        self.init(name: name)
        level = try settings.choice("level", IntegrityLevel.self) ?? level
        databases = try settings.strings("databases")
        if let databases, databases.isEmpty || databases.contains("") {
            throw settings.error("databases", "names no database", hints: ["Leave it out to look at all of them."])
        }
        ignored = try settings.strings("ignore") ?? []
        for entry in ignored where !entry.contains(".") {
            throw settings.error(
                "ignore", "`\(printable(entry.utf8))` has no schema", hints: ["Write it as public.\(entry)."])
        }
        if let words = try settings.strings("report") {
            reported = Set(
                try words.map { word in
                    guard let kind = DefectKind.reportable.first(where: { $0.rawValue == word }) else {
                        throw settings.source.unknown(
                            "value", word, at: settings.joined("report"), known: DefectKind.reportable.map(\.rawValue),
                            line: settings.node("report")?.line ?? 0)
                    }
                    return kind
                })
        }
        minimum = try settings.integer("min_relations") ?? minimum
    }

    var plan: [String] {
        let which = databases.map { "the databases \($0.joined(separator: ", "))" } ?? "every database that came back"
        return ["Looks at \(which) at level \(level.rawValue): \(level.meaning)."]
    }

    func run(against set: RestoredSet) async throws -> ProbeOutcome {
        guard let database = set.database.internals as? PostgresDatabase else {
            throw DrillError(.couldNotLook, "only a PostgreSQL database has this", at: set.database.place)
        }
        let tally = IntegrityTally(self, findings: set.findings)
        let run = IntegrityRun(
            probe: self, database: database, tally: tally, progress: set.progress, clock: set.environment.clock)
        try await run.everything()
        return try await tally.outcome()
    }
}

/// How deep the probe looks; each level includes those before it.
enum IntegrityLevel: String, CaseIterable, Comparable, Sendable {
    case catalog, read, deep

    static func < (left: Self, right: Self) -> Bool { left.depth < right.depth }

    private var depth: Int {
        switch self {
        case .catalog: 0
        case .read: 1
        case .deep: 2
        }
    }

    var meaning: String {
        switch self {
        case .catalog: "what catalogs and sequences say"
        case .read: "catalogs, every page, every row, foreign keys and CHECK constraints"
        case .deep: "catalogs, every page, every row, constraints, heaps and B-trees by amcheck"
        }
    }
}
