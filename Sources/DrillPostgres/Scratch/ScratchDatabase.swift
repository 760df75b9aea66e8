import DrillCore
import Foundation

/// A scratch database on a server that others run: made by us under the run's name, marked, and dropped when the run ends.
struct ScratchDatabase: Sendable {
    static let shape = SettingsShape(
        "a scratch database on a server that exists",
        [
            SettingsField(
                "server", .text, required: true,
                "The server, as keyword=value pairs without a password: `host=drill-db user=drill`."),
            SettingsField("password_file", .text, "A file with the password on its first line. Default: ~/.pgpass."),
            SettingsField("maintenance_db", .text, "The database to connect to for making another. Default: postgres."),
        ])

    /// What scratch items of this kind say of where they are. No secret.
    struct Locator: Codable, Sendable {
        var server: String
        var passwordFile: String?
        var name: String

        var text: String {
            get throws {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
                return String(decoding: try encoder.encode(self), as: UTF8.self)
            }
        }

        init(server: String, passwordFile: String?, name: String) {
            (self.server, self.passwordFile, self.name) = (server, passwordFile, name)
        }

        init(_ text: String) throws {
            do {
                self = try JSONDecoder().decode(Self.self, from: Data(text.utf8))
            } catch {
                throw DrillError(.cleanupFailed, "cannot be understood", at: text, cause: error)
            }
        }

        func parameters(_ environment: DrillEnvironment) throws -> PostgresParameters {
            try PostgresParameters.parse(server, variables: environment.variables, passwordFile: passwordFile)
        }
    }

    var environment: DrillEnvironment
    /// To the maintenance database.
    var parameters: PostgresParameters
    var passwordFile: String?

    init(_ settings: SettingsReader, environment: DrillEnvironment) throws {
        self.environment = environment
        passwordFile = try settings.file("password_file")
        parameters = try PostgresParameters.parse(
            settings, variables: environment.variables, passwordFile: passwordFile)
        parameters["dbname"] = try settings.string("maintenance_db") ?? parameters["dbname"] ?? "postgres"
    }

    /// `muster_20261114t023000z_a1b2c3`
    static func name(ofRun runID: String) -> String { "muster_" + runID.lowercased().replacing("-", with: "_") }

    func locator(_ name: String) -> Locator {
        Locator(server: parameters.conninfo, passwordFile: passwordFile, name: name)
    }

    /// Makes the database by `make`, hands it to `body`, and drops it unless scratch is kept.
    func withDatabase<Result: Sendable>(
        in scratch: Scratch, on host: RestoreHost, make: (String) async throws -> Void,
        _ body: (String) async throws -> Result
    ) async throws -> Result {
        let name = try await freeName(scratch, host)
        let item = ScratchItem(kind: DatabaseRemover.itemKind, locator: try locator(name).text)
        try await scratch.journal.willCreate(item)
        let remover = DatabaseRemover(environment: environment)
        return try await withCleanUp {
            try await make(name)
            let marker = RoleStubs.marker(ofRun: scratch.runID)
            try await host.withSession { connection in
                _ = try await connection.execute(
                    "COMMENT ON DATABASE \(quotedIdentifier(name)) IS \(quotedLiteral(marker))")
            }
            return try await body(name)
        } cleanUp: {
            // What is kept on purpose is no leftover.
            if !scratch.keeping.isKept { try await remover.remove(item, ofRun: scratch.runID) }
            try await scratch.journal.didRemove(item)
        }
    }

    /// The run's name; with a number behind it where the run has kept databases of other sets. Another's is never used.
    private func freeName(_ scratch: Scratch, _ host: RestoreHost) async throws -> String {
        let comments = try await host.withSession { connection in
            try await connection.query(
                """
                SELECT datname::text, coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '')
                FROM pg_catalog.pg_database
                """
            ).rows
        }
        let base = Self.name(ofRun: scratch.runID)
        var name = base
        var number = 1
        while let taken = comments.first(where: { $0[0] == name }) {
            guard taken[1] == RoleStubs.marker(ofRun: scratch.runID) else {
                throw DrillError(
                    .couldNotLook, "a database `\(name)` is there already and is not ours to use", at: parameters.place)
            }
            number += 1
            name = "\(base)_\(number)"
        }
        return name
    }

    /// Makes the roles that are missing, and drops those it made when `body` has ended.
    func withRoles<Result: Sendable>(
        for needs: DumpRequirements, globals: Globals, in scratch: Scratch, on host: RestoreHost,
        _ body: (RoleStubs.Made) async throws -> Result
    ) async throws -> Result {
        let items = MadeItems()
        let remover = RoleRemover(environment: environment)
        return try await withCleanUp {
            let stubs = RoleStubs(host: host, runID: scratch.runID)
            let made = try await stubs.make(for: needs, globals: globals) { role in
                let item = ScratchItem(kind: RoleRemover.itemKind, locator: try locator(role).text)
                try await scratch.journal.willCreate(item)
                await items.add(item)
            }
            return try await body(made)
        } cleanUp: {
            for item in await items.all.reversed() {
                if !scratch.keeping.isKept { try await remover.remove(item, ofRun: scratch.runID) }
                try await scratch.journal.didRemove(item)
            }
        }
    }
}

private actor MadeItems {
    private(set) var all: [ScratchItem] = []
    func add(_ item: ScratchItem) { all.append(item) }
}

/// Drops a scratch database, and only one whose comment names the run.
struct DatabaseRemover: ScratchRemover {
    static let itemKind = "database"
    let environment: DrillEnvironment

    init(environment: DrillEnvironment) { self.environment = environment }

    func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        let locator = try ScratchDatabase.Locator(item.locator)
        guard locator.name.hasPrefix(ScratchDatabase.name(ofRun: runID)) else {
            throw DrillError(
                .cleanupFailed, "`\(locator.name)` does not bear the run's id \(runID)", at: locator.server)
        }
        try await removing(locator, environment) { connection in
            let found = try await connection.query(
                """
                SELECT coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '')
                FROM pg_catalog.pg_database WHERE datname = $1
                """, [locator.name])
            guard let comment = found.scalar else { return }
            guard comment == RoleStubs.marker(ofRun: runID) else { throw unmarked("database", locator, runID) }
            let name = quotedIdentifier(locator.name)
            if try await connection.serverVersion() >= 130_000 {
                try await connection.execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
            } else {
                _ = try await connection.query(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = $1",
                    [locator.name])
                try await connection.execute("DROP DATABASE IF EXISTS \(name)")
            }
        }
    }
}

/// Drops a role that a run made for owners and grants of its dump, and only one whose comment names the run.
struct RoleRemover: ScratchRemover {
    static let itemKind = "role"
    let environment: DrillEnvironment

    init(environment: DrillEnvironment) { self.environment = environment }

    func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        let locator = try ScratchDatabase.Locator(item.locator)
        try await removing(locator, environment) { connection in
            let found = try await connection.query(
                """
                SELECT coalesce(pg_catalog.shobj_description(oid, 'pg_authid'), '') FROM pg_catalog.pg_roles WHERE rolname = $1
                """, [locator.name])
            guard let comment = found.scalar else { return }
            guard comment == RoleStubs.marker(ofRun: runID) else { throw unmarked("role", locator, runID) }
            try await connection.execute("DROP ROLE IF EXISTS \(quotedIdentifier(locator.name))")
        }
    }
}

private func unmarked(_ noun: String, _ locator: ScratchDatabase.Locator, _ runID: String) -> DrillError {
    DrillError(
        .cleanupFailed, "the \(noun) `\(locator.name)` does not say that run \(runID) made it, and was left alone",
        at: locator.server, hints: ["If it is a leftover, drop it by hand."])
}

private func removing(
    _ locator: ScratchDatabase.Locator, _ environment: DrillEnvironment,
    _ body: (PostgresConnection) async throws -> Void
) async throws {
    let parameters = try locator.parameters(environment)
    do {
        let connection = try await PostgresConnection.connect(parameters)
        do {
            try await body(connection)
        } catch {
            await connection.close()
            throw error
        }
        await connection.close()
    } catch let error as PostgresError {
        throw DrillError(
            .cleanupFailed, "`\(locator.name)` could not be dropped: \(error)", at: parameters.place, cause: error)
    }
}
