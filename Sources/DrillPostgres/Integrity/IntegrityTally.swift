import DrillCore

/// Collects what the passes of the integrity probe find and could not look at, applies the drill file's waivers, and says what it
/// comes to.
actor IntegrityTally {
    private struct Identity: Hashable {
        var database: String
        var oid: UInt32
    }

    private let probe: IntegrityProbe
    private let sink: any FindingSink
    private var waiting: [Finding] = []
    private var marks: Set<String> = []
    /// Findings of one relation are recorded up to this; its verdict is known long before.
    private static let most = 1000
    private var recorded: [Identity: Int] = [:]

    private var examined: Set<Identity> = []
    private var failed: Set<Identity> = []
    private var unknown: Set<Identity> = []
    private var corrupt: Set<Identity> = []
    private var kinds: [RelationEntry.Kind: Int64] = [:]
    private var pages: Int64 = 0
    private var systemRelations: Int64 = 0
    private var databases: [String] = []
    private var defects: Int64 = 0
    private var reportedOnly: Int64 = 0
    private var otherFailures: Int64 = 0
    private var waived: [String: Int64] = [:]
    /// Names in `ignore` that a relation or a finding bears.
    private var known: Set<String> = []
    /// What was looked at, in order, and how many of it.
    private var done: [(what: String, count: Int64?)] = []
    private var asides: [String] = []
    private struct Doubt {
        var subject: String?
        var reason: String
        var isOfSystem: Bool
    }
    private var doubts: [Doubt] = []
    private var doubtCounts: [String: Int64] = [:]

    init(_ probe: IntegrityProbe, findings: any FindingSink) {
        self.probe = probe
        sink = findings
    }

    func add(_ inventory: DatabaseInventory) {
        databases.append(inventory.database)
        for entry in inventory.ordered {
            pages += entry.pages
            for name in probe.ignored where name == entry.name || name == "\(inventory.database).\(entry.name)" {
                known.insert(name)
            }
            guard !entry.isSystem, !isOfSystem(entry, inventory) else {
                systemRelations += 1
                continue
            }
            examined.insert(Identity(database: inventory.database, oid: entry.oid))
            kinds[inventory.owner(entry)?.kind == .toast ? .toast : entry.kind, default: 0] += 1
        }
        if inventory.foreignTables > 0 {
            aside("\(grouped(inventory.foreignTables)) foreign tables were skipped: their rows are not in the backup")
        }
    }

    private func isOfSystem(_ entry: RelationEntry, _ inventory: DatabaseInventory) -> Bool {
        inventory.owner(entry)?.isSystem ?? false
    }

    // MARK: - What passes say

    /// Records a defect unless it is known by its mark.
    func record(_ defect: IntegrityDefect) async throws {
        if let mark = defect.mark, !marks.insert("\(defect.database) \(mark)").inserted { return }
        let waiver = waiver([defect.relation].compactMap { $0 } + defect.otherNames, of: defect.database)
        let counts = defect.counts && waiver == nil && !probe.reported.contains(defect.kind)
        if let waiver {
            waived[waiver, default: 0] += 1
            known.insert(waiver)
        } else if !counts {
            reportedOnly += 1
        }
        let identity = defect.oid.map { Identity(database: defect.database, oid: $0) }
        if defect.kind == .corruption, let identity { corrupt.insert(identity) }
        if counts {
            defects += 1
            if let identity, examined.contains(identity) { failed.insert(identity) } else { otherFailures += 1 }
        }
        if let identity {
            recorded[identity, default: 0] += 1
            guard recorded[identity, default: 0] <= Self.most else { return }
        }
        waiting.append(
            Finding(
                probe: probe.name, kind: .integrity, relation: defect.relation, rowID: defect.rowID,
                expected: defect.expected, observed: defect.observed, evidence: defect.evidence, repair: defect.repair,
                counts: counts))
        if waiting.count >= 500 { try await flush() }
    }

    /// Whether that relation is corrupt, waived or not.
    func hasFailed(_ oid: UInt32, of database: String) -> Bool {
        corrupt.contains(Identity(database: database, oid: oid))
    }

    /// A relation that could not be looked at, with the reason in words.
    func couldNotLook(at oid: UInt32, of database: String, names: [String], _ reason: String) {
        if let waiver = waiver(names, of: database) {
            waived[waiver, default: 0] += 1
            return
        }
        let identity = Identity(database: database, oid: oid)
        let isOwn = examined.contains(identity)
        if isOwn { unknown.insert(identity) }
        doubt(Doubt(subject: names.first, reason: reason, isOfSystem: !isOwn))
    }

    private func waiver(_ names: [String], of database: String) -> String? {
        probe.ignored.first { ignored in names.contains { $0 == ignored || "\(database).\($0)" == ignored } }
    }

    /// Something beside single relations that could not be looked at.
    func couldNotLook(_ what: String) { doubt(Doubt(subject: nil, reason: what, isOfSystem: false)) }

    private func doubt(_ doubt: Doubt) {
        doubtCounts[doubt.reason, default: 0] += 1
        if doubtCounts[doubt.reason] == 1 { doubts.append(doubt) }
    }

    /// What was looked at, for the summary; numbers of several databases are added up.
    func did(_ what: String, count: Int64? = nil) {
        guard let index = done.firstIndex(where: { $0.what == what }) else {
            done.append((what, count))
            return
        }
        done[index].count = done[index].count.map { $0 + (count ?? 0) }
    }

    /// What a reader should know and what changes no verdict.
    func aside(_ what: String) { if !asides.contains(what) { asides.append(what) } }

    func flush() async throws {
        guard !waiting.isEmpty else { return }
        let batch = waiting
        waiting = []
        try await sink.record(batch)
    }

    // MARK: - What it comes to

    func outcome() async throws -> ProbeOutcome {
        try await flush()
        let open = unknown.subtracting(failed)
        let doubt = doubts.isEmpty ? nil : "not looked at: " + doubtTexts.joined(separator: "; ")
        return ProbeOutcome(
            examined: Int64(examined.count), passed: Int64(examined.count - failed.count - open.count),
            failed: Int64(failed.count), unknown: Int64(open.count), otherFailures: otherFailures,
            minimumExamined: probe.minimum, summary: summary, relaxations: relaxations, doubt: doubt)
    }

    private var doubtTexts: [String] {
        let most = 5
        // The user's own relations first.
        let texts = (doubts.filter { !$0.isOfSystem } + doubts.filter(\.isOfSystem)).map { doubt in
            let text = doubt.subject.map { "\($0): \(doubt.reason)" } ?? doubt.reason
            let more = (doubtCounts[doubt.reason] ?? 1) - 1
            return more > 0 ? "\(text) (and \(grouped(more)) more)" : text
        }
        return texts.prefix(most) + (texts.count > most ? ["\(grouped(Int64(texts.count - most))) other reasons"] : [])
    }

    private var summary: String {
        func count(_ kinds: RelationEntry.Kind..., noun: String) -> String? {
            let number = kinds.reduce(0) { $0 + (self.kinds[$1] ?? 0) }
            return number == 0 ? nil : "\(grouped(number)) \(noun)\(number == 1 ? "" : "s")"
        }
        let counted = [
            count(.table, .partitionedTable, noun: "table"), count(.materializedView, noun: "materialized view"),
            count(.index, .partitionedIndex, noun: "index").map { $0.replacing("indexs", with: "indexes") },
            count(.sequence, noun: "sequence"), count(.toast, noun: "relation").map { $0 + " of TOAST" },
        ].compactMap { $0 }
        let what = counted.isEmpty ? "no relation of its own" : counted.joined(separator: ", ")
        var parts = [
            "level \(probe.level.rawValue): \(what) in \(databases.count == 1 ? "the database" : "\(databases.count) databases"), and "
                + "\(grouped(systemRelations)) of the system's"
        ]
        if !done.isEmpty {
            parts.append(
                "looked at "
                    + done.map { part in part.count.map { "\(part.what) (\(grouped($0)))" } ?? part.what }.joined(
                        separator: ", "))
        }
        parts += asides
        parts.append(defects == 0 ? "nothing is wrong" : "\(grouped(defects)) defect\(defects == 1 ? "" : "s")")
        if reportedOnly > 0 { parts.append("\(grouped(reportedOnly)) reported that do not count") }
        return parts.joined(separator: "; ")
    }

    private var relaxations: [String] {
        var sentences = probe.ignored.map { name in
            guard known.contains(name) || waived[name] != nil else {
                return "`ignore` names \(printable(name.utf8)), which is not there."
            }
            let number = waived[name] ?? 0
            return "Findings on \(printable(name.utf8)) do not count, as `ignore` says: there "
                + (number == 1 ? "was 1." : "were \(grouped(number)).")
        }
        let words = probe.reported.subtracting([.unvalidatedConstraint]).map(\.rawValue).sorted()
        if !words.isEmpty {
            sentences.append("Findings of \(words.joined(separator: ", ")) do not count, as `report` says.")
        }
        if let databases = probe.databases {
            sentences.append(
                "Only the databases \(databases.joined(separator: ", ")) were looked at, as `databases` says.")
        }
        return sentences
    }
}
