import DrillCore

/// The SELECT that yields references in any order, and what its columns are.
struct ReferenceStatement: Sendable {
    var sql: String
    var layout: ReferenceLayout
    var idForm: RowIDForm?
    /// Whether checksums stream as a `bytea`'s own bytes.
    var checksumIsRaw: Bool
    var keyType: UInt32

    /// Puts the statement together. Pure: types were asked of the server before.
    init(_ query: ReferenceQuery, source: ReferenceSource, types: ReferenceTypes) {
        let key = source.expression(query.key)
        var columns: [String] = []
        layout = ReferenceLayout()
        keyType = types.key
        checksumIsRaw = query.checksum != nil && types.checksum == PostgresType.bytea
        if let bucket = query.bucketColumn {
            columns.append(Self.bytes(of: source.expression(bucket), type: types.bucket))
            layout.hasBucket = true
        }
        columns.append(Self.bytes(of: key, type: types.key))
        if let size = query.size {
            layout.sizeForm = SizeForm(type: types.size)
            columns.append(layout.sizeForm.column(source.expression(size), type: types.size))
            layout.hasSize = true
        }
        if let checksum = query.checksum {
            columns.append(
                source.expression(checksum) + (types.checksum == PostgresType.bytea ? "" : "::pg_catalog.text"))
            layout.hasChecksum = true
        }
        if let version = query.version {
            columns.append("\(source.expression(version))::pg_catalog.text")
            layout.hasVersion = true
        }
        if let changedAt = query.changedAt {
            // A timestamp without time zone is UTC, as the session's TimeZone is: the same number.
            columns.append("\(source.expression(changedAt))::pg_catalog.timestamptz")
            layout.hasChanged = true
        }
        let id = (query.id ?? source.primaryKey).map { source.expression($0) }
        if let (column, form) = Self.rowID(id, types: types.id) {
            columns.append(column)
            idForm = form
            layout.hasID = true
        }
        var conditions = ["\(key) IS NOT NULL"]
        if let condition = query.condition {
            if query.includesExcludedRows {
                columns.append("(\n\(condition)\n) IS TRUE")
                layout.hasIncluded = true
            } else {
                conditions.append("(\n\(condition)\n)")
            }
        }
        sql = """
            SELECT \(columns.joined(separator: ", ")) FROM \(source.sql) \
            WHERE \(conditions.joined(separator: " AND "))
            """
    }

    /// That value as the bytes that are meant: text in the session's encoding, which is UTF-8, or that of a database without one.
    private static func bytes(of expression: String, type: UInt32) -> String {
        type == PostgresType.bytea ? expression : "\(expression)::pg_catalog.text"
    }

    /// That value so that the server orders it by the bytes that it sends (S4): `COLLATE "C"` orders by the bytes of the server's
    /// encoding, which for UTF-8, Latin-1 and no encoding at all is the order of what arrives.
    static func ordered(_ expression: String, type: UInt32, encoding: String) -> String {
        if type == PostgresType.bytea { return expression }
        return isOrderedAsBytes(type: type, encoding: encoding)
            ? "pg_catalog.convert_to(\(expression)::pg_catalog.text, 'UTF8')"
            : "\(expression)::pg_catalog.text COLLATE pg_catalog.\"C\""
    }

    /// Whether what ``ordered(_:type:encoding:)`` yields is a `bytea`.
    static func isOrderedAsBytes(type: UInt32, encoding: String) -> Bool {
        type == PostgresType.bytea || !["UTF8", "LATIN1", "SQL_ASCII"].contains(encoding)
    }

    private static func rowID(_ columns: [String], types: [UInt32]) -> (column: String, form: RowIDForm)? {
        guard let first = columns.first, let type = types.first else { return nil }
        if columns.count > 1 {
            return ("pg_catalog.json_build_array(\(columns.joined(separator: ", ")))::pg_catalog.text", .text)
        }
        if let form = RowIDForm(type: type) { return (first, form) }
        return ("\(first)::pg_catalog.text", .text)
    }
}

/// Types of the expressions of a query, as the server described them.
struct ReferenceTypes: Sendable {
    var key: UInt32 = PostgresType.text
    var bucket: UInt32 = PostgresType.text
    var checksum: UInt32 = PostgresType.text
    var size: UInt32 = PostgresType.int8
    /// One for each part of the id.
    var id: [UInt32] = []
}

extension PostgresDatabase {
    /// Looks everything up that the query names, so that what is missing is told by name before a row streams.
    func statement(
        for query: ReferenceQuery, source: ReferenceSource, _ connection: PostgresConnection
    ) async throws -> ReferenceStatement {
        func type(_ words: String, _ setting: String) async throws -> UInt32 {
            try await self.type(of: words, setting: setting, in: source, connection)
        }
        var types = ReferenceTypes()
        types.key = try await type(query.key, "key")
        try await requireText(types.key, "key", query.key, connection)
        if let bucket = query.bucketColumn {
            types.bucket = try await type(bucket, "bucket_column")
            try await requireText(types.bucket, "bucket_column", bucket, connection)
        }
        if let checksum = query.checksum { types.checksum = try await type(checksum, "checksum") }
        if let size = query.size { types.size = try await type(size, "size") }
        for (words, setting) in [(query.version, "version"), (query.changedAt, "changed_at")] {
            if let words { _ = try await type(words, setting) }
        }
        for words in query.id ?? source.primaryKey { types.id.append(try await type(words, "id")) }
        if let condition = query.condition { _ = try await type(condition, "where") }
        let statement = ReferenceStatement(query, source: source, types: types)
        do throws(PostgresError) {
            // Parsed on its own first: text that closes our parentheses to go on behind them is a syntax error here (X6).
            guard try await connection.columns(of: statement.sql).count == statement.layout.fieldCount else {
                throw PostgresError(.malformed, "the statement yields other columns than asked for")
            }
        } catch {
            throw await explained(error)
        }
        return statement
    }

    /// Refuses what is text only by a cast that nobody meant, such as JSON with its quotation marks (P11).
    private func requireText(
        _ type: UInt32, _ setting: String, _ words: String, _ connection: PostgresConnection
    ) async throws {
        let found: [String?]
        do throws(PostgresError) {
            found =
                try await connection.query(
                    "SELECT typcategory, pg_catalog.format_type(oid, NULL) FROM pg_catalog.pg_type WHERE oid = $1::pg_catalog.oid",
                    ["\(type)"]
                ).rows.first ?? ["", nil]
        } catch {
            throw error.drillError(at: place)
        }
        // Strings, numbers, enumerations; and text that is no more than a constant.
        let isText = ["S", "N", "E", "X"].contains(found[0]) || [PostgresType.bytea, PostgresType.uuid].contains(type)
        guard isText || found[1] == "citext" else {
            throw DrillError(
                .couldNotLook,
                "\(setting): \(printable(words.utf8)) is of type \(found[1] ?? "\(type)"), which is no text",
                at: place, hints: ["Write an expression that yields text, such as `data ->> 'key'` for JSON."])
        }
    }
}
