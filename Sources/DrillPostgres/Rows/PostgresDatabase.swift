import DrillCore

/// A restored PostgreSQL database as probes see it. Each question has a session of its own, so that none leaves anything behind
/// for the next; all of them see the snapshot that was taken when this was made.
struct PostgresDatabase: RestoredDatabase {
    let place: String
    let notes: [String]
    /// Where the server is and as whom to connect.
    let parameters: PostgresParameters
    /// As `SHOW server_encoding` says.
    let encoding: String
    /// Number such as 150012 for 15.12.
    let serverVersion: Int
    /// What may be done beside reading; nil where the database is only to be read.
    let rights: ScratchRights?
    private let writableEnvironment: [String: String]?
    /// Its open transaction keeps the snapshot alive. It runs nothing that can fail: an error would end the snapshot.
    private let anchor: PostgresConnection
    private let snapshot: String
    /// Settings for every session here.
    private let settings: [(name: String, value: String)]

    /// Connects and takes the snapshot.
    /// - Parameters:
    ///   - parameters: Of a role that should be no superuser and bypass row-level security.
    ///   - place: For a person, without secrets.
    ///   - notes: Whole sentences for the report; what is seen here is added.
    ///   - commandEnvironment: For `command` probes; nil where nothing may write.
    ///   - rights: Where the database is scratch of ours.
    init(
        _ parameters: PostgresParameters, place: String, notes: [String] = [], commandEnvironment: [String: String]?,
        rights: ScratchRights? = nil
    ) async throws(DrillError) {
        self.parameters = parameters
        self.place = place
        self.rights = rights
        writableEnvironment = commandEnvironment
        do throws(PostgresError) {
            anchor = try await ProbeSession.open(parameters, snapshot: nil, settings: [])
            encoding = try await anchor.reported("server_encoding") ?? "UTF8"
            serverVersion = try await anchor.serverVersion()
            guard let exported = try await anchor.query("SELECT pg_catalog.pg_export_snapshot()").scalar else {
                throw PostgresError(.malformed, "the server exported no snapshot")
            }
            snapshot = exported
            let collation = try await Self.collationMismatch(anchor, serverVersion: serverVersion)
            // An index whose order is not the C library's any more finds wrong rows (P23).
            settings =
                collation == nil ? [] : ["indexscan", "indexonlyscan", "bitmapscan"].map { ("enable_" + $0, "off") }
            var seen = collation.map { [$0] } ?? []
            if try await anchor.reported("is_superuser") == "on" {
                seen.append("Probes ran as a superuser; a role with pg_read_all_data and BYPASSRLS is enough.")
            }
            if try await !anchor.isPrivate() {
                seen.append("The connection to \(place) was not encrypted.")
            }
            self.notes = notes + seen
        } catch {
            throw error.drillError(at: place, what: "cannot read the restored database")
        }
    }

    /// Ends the snapshot. Sessions under way go on.
    func close() async { await anchor.close() }

    var commandEnvironment: [String: String] {
        get throws {
            guard let writableEnvironment else {
                throw DrillError(
                    .couldNotLook, "a command may write, and this database is only to be read", at: place,
                    hints: ["Let Muster restore a copy of its own for `command` probes."])
            }
            return writableEnvironment
        }
    }

    var internals: any Sendable { self }

    /// A session in the snapshot.
    func session(
        searchPath: [String] = [], timeout: String = ProbeSession.queryTimeout,
        settings more: [(name: String, value: String)] = []
    ) async throws(PostgresError) -> PostgresConnection {
        var all = settings + [("statement_timeout", timeout)] + more
        if !searchPath.isEmpty {
            all.append(("search_path", searchPath.map(quotedIdentifier).joined(separator: ", ")))
        }
        return try await ProbeSession.open(parameters, snapshot: snapshot, settings: all)
    }

    func rows(_ sql: String, searchPath: [String], limit: Int) async throws -> SQLRows {
        do throws(PostgresError) {
            let connection = try await session(searchPath: searchPath)
            guard try await !connection.columns(of: sql).isEmpty else {
                throw PostgresError(.server, "the statement yields no rows; a SELECT is needed")
            }
            let rows = try await connection.rows(of: sql, limit: limit)
            await connection.close()
            return rows
        } catch {
            throw await explained(error)
        }
    }

    /// A sentence where text is ordered by another version of the operating system's collation than indexes were built with.
    private static func collationMismatch(
        _ connection: PostgresConnection, serverVersion: Int
    ) async throws(PostgresError) -> String? {
        guard serverVersion >= 150_000 else { return nil }
        let found = try await connection.query(
            """
            SELECT datcollversion, coalesce(pg_catalog.pg_database_collation_actual_version(oid), 'none')
            FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database() AND datcollversion IS NOT NULL
                AND datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(oid)
            """)
        guard let row = found.rows.first, let built = row[0], let actual = row[1] else { return nil }
        return """
            The database was built with collation version \(built) and runs with \(actual), so its text indexes may be wrong; \
            probes did not use indexes.
            """
    }
}
