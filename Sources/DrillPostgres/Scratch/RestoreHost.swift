import DrillCore

/// A server with a session to make databases and roles in: our own, or one that others run.
struct RestoreHost: Sendable {
    let administration: PostgresParameters
    /// nil where others run it.
    let server: ServerProcess?
    let isSuperuser: Bool
    let mayCreateRoles: Bool
    let major: Int
    let environment: DrillEnvironment

    init(
        _ administration: PostgresParameters, server: ServerProcess?, environment: DrillEnvironment
    ) async throws {
        self.administration = administration
        self.server = server
        self.environment = environment
        let rights: TextResult
        do {
            let connection = try await PostgresConnection.connect(administration)
            major = try await connection.serverVersion() / 10000
            rights = try await connection.query(
                "SELECT rolsuper::text, (rolcreaterole OR rolsuper)::text FROM pg_catalog.pg_roles WHERE rolname = current_user"
            )
            await connection.close()
        } catch {
            throw error.drillError(at: administration.place)
        }
        isSuperuser = rights.rows.first?[0] == "true"
        mayCreateRoles = rights.rows.first?[1] == "true"
    }

    /// A session that ends with `body`; what the server says becomes `couldNotLook`.
    func withSession<Result: Sendable>(
        database: String? = nil, _ body: (PostgresConnection) async throws -> Result
    ) async throws -> Result {
        var parameters = administration
        if let database { parameters["dbname"] = database }
        do {
            let connection = try await PostgresConnection.connect(parameters)
            let outcome: Swift.Result<Result, any Error>
            do { outcome = .success(try await body(connection)) } catch { outcome = .failure(error) }
            await connection.close()
            return try outcome.get()
        } catch let error as PostgresError {
            try server?.requireRunning()
            if error.message.contains("No space left on device") {
                throw DrillError(
                    .couldNotLook, "the disk of the scratch server is full", at: parameters.place, cause: error)
            }
            throw error.drillError(at: parameters.place)
        }
    }

    /// Names what this server lacks before anything is restored (P3).
    func requireExtensions(_ wanted: Set<String>) async throws {
        let available = try await withSession { connection in
            try await connection.query("SELECT name::text FROM pg_catalog.pg_available_extensions").rows.compactMap {
                $0[0]
            }
        }
        let missing = wanted.subtracting(available).sorted()
        guard !missing.isEmpty else { return }
        let names = missing.joined(separator: ", ")
        throw DrillError(
            .couldNotLook, "the dump needs extensions that PostgreSQL \(major) does not have here: \(names)",
            at: administration.place,
            hints: [
                "Install them for PostgreSQL \(major), such as `apt-get install postgresql-contrib` for those that PostgreSQL "
                    + "itself brings, or `apt-cache search postgresql-\(major)` for others."
            ])
    }

    /// Makes the database with the dump's encoding and, where this machine has it, locale.
    /// - Returns: A sentence where the locale is another one.
    func createDatabase(_ name: String, _ traits: DatabaseTraits?, encoding: String) async throws -> String? {
        try await withSession { connection in
            var base =
                "CREATE DATABASE \(quotedIdentifier(name)) TEMPLATE template0 ENCODING \(quotedLiteral(encoding))"
            // Where nothing is synced, files are copied faster than they go through the log.
            if server != nil, major >= 15 { base += " STRATEGY file_copy" }
            var refusal: PostgresError?
            if let traits, let options = Self.localeOptions(traits, major: major) {
                do throws(PostgresError) {
                    try await connection.execute(base + options)
                    return nil
                } catch {
                    guard Self.isAboutLocale(error) else { throw error }
                    refusal = error
                }
            }
            for locale in ["UTF8", "UTF-8"].contains(encoding.uppercased()) ? ["C.UTF-8", "C.utf8", "C"] : ["C"] {
                do throws(PostgresError) {
                    let provider = major >= 15 ? " LOCALE_PROVIDER libc" : ""
                    let text = quotedLiteral(locale)
                    try await connection.execute(base + provider + " LC_COLLATE \(text) LC_CTYPE \(text)")
                    return Self.note(traits, locale, refusal)
                } catch {
                    guard Self.isAboutLocale(error) else { throw error }
                    refusal = refusal ?? error
                }
            }
            throw refusal ?? PostgresError(.server, "no locale fits the encoding \(encoding)")
        }
    }

    private static func localeOptions(_ traits: DatabaseTraits, major: Int) -> String? {
        guard let collate = traits.collate else { return nil }
        var options = " LC_COLLATE \(quotedLiteral(collate)) LC_CTYPE \(quotedLiteral(traits.characterType ?? collate))"
        guard major >= 15 else { return options }
        let provider = traits.provider ?? "libc"
        options += " LOCALE_PROVIDER \(quotedIdentifier(provider))"
        if let locale = traits.providerLocale {
            options += (provider == "builtin" ? " BUILTIN_LOCALE " : " ICU_LOCALE ") + quotedLiteral(locale)
        }
        return options
    }

    /// Wrong object type and invalid parameter: no such locale, or one of another encoding; feature not supported: no ICU.
    private static func isAboutLocale(_ error: PostgresError) -> Bool {
        ["42809", "22023", "0A000"].contains(error.sqlState ?? "")
    }

    private static func note(_ traits: DatabaseTraits?, _ locale: String, _ refusal: PostgresError?) -> String? {
        guard let traits, let collate = traits.collate else {
            return
                "The dump does not say its database's locale; it was restored with \(locale), which orders text by bytes."
        }
        let wanted = traits.providerLocale ?? collate
        let reason = refusal.map { " (\($0.message))" } ?? ""
        return
            "The dump's database has the locale \(wanted), which this server lacks\(reason); it was restored with \(locale). "
            + "Rows are the same; their order, and what lower(), ILIKE and regular expressions make of letters, may differ."
    }
}
