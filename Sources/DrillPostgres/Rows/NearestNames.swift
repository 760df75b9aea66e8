import DrillCore

extension PostgresDatabase {
    /// That error with what to do about it: the nearest tables, or who may read.
    func explained(_ error: PostgresError) async -> DrillError {
        var hints: [String] = []
        switch error.sqlState {
        case PostgresError.undefinedTable:
            hints = await relationHints(error.quotedName.map { [$0] } ?? [])
        case PostgresError.insufficientPrivilege where error.message.contains("row-level security"):
            hints = ["Give the role BYPASSRLS; rows that a policy hides would be missing from the answer."]
        case PostgresError.insufficientPrivilege:
            hints = ["Give the role pg_read_all_data, or SELECT on what the probe names."]
        case PostgresError.readOnlyTransaction:
            hints = ["Probes read only; what has to write is a `command` probe."]
        default: break
        }
        return error.drillError(at: place, hints: hints)
    }

    /// The nearest of the database's own tables and views for those names that are none of them.
    func relationHints(_ names: [String]) async -> [String] {
        let known: [(schema: String, name: String)]
        do throws(PostgresError) {
            let connection = try await session()
            known = try await connection.query(
                """
                SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
                    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
                ORDER BY 1, 2 LIMIT 10000
                """
            ).rows.map { ($0[0] ?? "", $0[1] ?? "") }
            await connection.close()
        } catch {
            return ["Its tables could not be listed: \(error)."]
        }
        if known.isEmpty { return ["The database has no tables."] }
        let qualified = known.map { "\($0.schema).\($0.name)" }
        return names.filter { !qualified.contains($0) }.compactMap { name in
            let bare = name.split(separator: ".").last.map(String.init) ?? name
            // The name without its schema comes first: it is what people leave out.
            let nearest =
                known.first { $0.name == bare }.map { "\($0.schema).\($0.name)" }
                ?? nearestWord(to: name, among: qualified)
                ?? nearestWord(to: bare, among: known.map(\.name)).flatMap { near in
                    known.first { $0.name == near }.map { "\($0.schema).\($0.name)" }
                }
            return nearest.map { "Did you mean \($0)?" }
        }
    }
}

extension PostgresError {
    /// The first name that the message quotes, such as the relation that does not exist. Quotes differ between languages, the
    /// straight ones are those of English, French and most others.
    var quotedName: String? {
        let parts = message.split(separator: "\"", maxSplits: 2, omittingEmptySubsequences: false)
        return parts.count == 3 ? String(parts[1]) : nil
    }
}

/// The nearest of a source's columns for the name that an expression got wrong, and all of them.
func columnHints(_ expression: String, _ error: PostgresError, columns: [String]) -> [String] {
    let name = error.quotedName ?? expression.split(separator: ".").last.map(String.init) ?? expression
    let nearest = nearestWord(to: name, among: columns).map { ["Did you mean \($0)?"] } ?? []
    return nearest + ["Columns here: \(columns.prefix(50).joined(separator: ", "))\(columns.count > 50 ? ", …" : "")."]
}
