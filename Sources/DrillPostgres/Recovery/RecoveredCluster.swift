import DrillCore
import Foundation

/// Settings that every kind of physical backup has.
struct ClusterSettings: Sendable {
    static let fields = [
        SettingsField(
            "tablespaces", .map(.text),
            "Where tablespaces are in the backup, by number or by their place on the server. Those inside the backup are found."
        ),
        SettingsField("bin", .text, "The directory of PostgreSQL's programs. Default: the installed ones that fit."),
        SettingsField(
            "dbname", .text, "The database that probes read. Default: the only one beside `postgres`, or `postgres`."),
        SettingsField("superuser", .text, "A superuser of the cluster. Default: postgres."),
    ]

    var tablespaces: [String: String] = [:]
    var bin: String?
    var database: String?
    var superuser: String
    var extra: [(name: String, value: String)]

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        for (name, node) in try settings.map("tablespaces") ?? [] {
            guard let path = try settings.source.text(node) else {
                throw settings.error("tablespaces", "`\(printable(name.utf8))` must name a directory")
            }
            tablespaces[name] = settings.source.absolute(path)
        }
        let scratch = context.scratch.database
        guard context.scratch.databaseKind == "cluster" else {
            throw settings.error(
                "kind", "restores a whole server, not a database", hints: ["Use `scratch.database: { kind: cluster }`."]
            )
        }
        bin = try settings.directory("bin") ?? scratch?.directory("bin")
        database = try settings.string("dbname")
        superuser = try settings.string("superuser") ?? "postgres"
        extra = try ServerSettings.extra(scratch)
    }
}

/// A data directory below scratch, copied from a backup, and the server that recovers it and then answers probes.
struct RecoveredCluster: Sendable {
    var environment: DrillEnvironment
    var tools: PostgresTools
    var settings: ClusterSettings
    var scratch: Scratch
    var account: ServerAccount

    /// Everything that the server may write to lies below it.
    var folder: String { scratch.directory + "/server" }
    var dataDirectory: String { folder + "/pgdata" }
    var logPath: String { folder + "/server.log" }
    func tablespace(_ number: String) -> String { folder + "/tablespaces/" + number }

    /// The installed version that runs such data. Throws `couldNotLook` with the package to install where there is none.
    static func tools(
        major: Int, bin: String?, at place: String, _ environment: DrillEnvironment
    ) async throws
        -> PostgresTools
    {
        let search = PostgresToolSearch(environment: environment, setting: bin)
        let found = try await search.installations(having: ["postgres", "pg_controldata"])
        if let tools = found.first(where: { $0.major == major }) { return tools }
        let others = found.isEmpty ? "none" : found.map { String($0.major) }.joined(separator: ", ")
        throw DrillError(
            .couldNotLook,
            "the backup is of PostgreSQL \(major), whose server is not installed here (installed: \(others))",
            at: place,
            hints: PostgresToolSearch.installation(of: "postgresql-\(major)", or: "PostgreSQL \(major)"))
    }

    /// Makes the folders below scratch, all of them the server's.
    static func makeFolders(in scratch: Scratch) throws -> ServerAccount {
        let account = try ServerAccount.current()
        try account.letThrough(scratch.directory)
        for name in ["server", "server/pgdata", "server/tablespaces"] {
            try account.makeFolder(scratch.directory + "/" + name)
        }
        return account
    }

    /// Starts the server with these settings besides, waits until recovery is over and it takes connections, hands it to
    /// `body`, and ends it. Where it does not come up, what it logged is at ``logPath``.
    func withServer<Result: Sendable>(
        _ more: [(name: String, value: String)], _ body: (ServerProcess) async throws -> Result
    ) async throws -> Result {
        let item = ScratchItem(kind: ServerRemover.itemKind, locator: dataDirectory)
        let cluster = ScratchCluster(environment: environment, tools: tools)
        try await scratch.journal.willCreate(item)
        return try await withCleanUp {
            try await cluster.withSocketDirectory(folder, scratch, account) { socketDirectory in
                var server = ServerSettings(
                    major: tools.major, socketDirectory: socketDirectory,
                    memoryBytes: Int64(clamping: ProcessInfo.processInfo.physicalMemory))
                // Without a hot standby nobody can ask before the target is reached (P14), and no setting can be too low (P18).
                server.extra = settings.extra + more + [("hot_standby", "off")]
                var plan = ServerProcess.Plan(
                    dataDirectory: dataDirectory, folder: folder, tools: tools, account: account, settings: server)
                plan.superuser = settings.superuser
                plan.database = "template1"
                // The run's own deadline is the one that counts.
                plan.patience = .seconds(7 * 86_400)
                let process = try await ServerProcess.start(plan, environment: environment)
                return try await withCleanUp {
                    try await body(process)
                } cleanUp: {
                    await process.stop(isKept: scratch.keeping.isKept)
                }
            }
        } cleanUp: {
            try await scratch.journal.didRemove(item)
        }
    }

    /// Clears what a server that ended left in the folder, so that another can be started there. Its log is kept.
    func prepareRestart() throws {
        do {
            for name in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
                try FileManager.default.removeItem(atPath: folder + "/" + name)
            }
            try FileManager.default.moveItem(atPath: logPath, toPath: folder + "/server.first.log")
        } catch {
            throw DrillError(.couldNotLook, "the scratch server's files cannot be removed", at: folder, cause: error)
        }
    }

    /// What the recovered server says of itself.
    struct Recovered: Sendable {
        var recoveryPoint: Date?
        var database: String
        var notes: [String]
    }

    /// Asks the server that recovery is really over (P14), and which database probes read.
    func look(_ host: RestoreHost) async throws -> Recovered {
        let place = host.administration.place
        return try await host.withSession { connection in
            guard try await connection.query("SELECT pg_catalog.pg_is_in_recovery()").scalar == "f" else {
                throw DrillError(.couldNotLook, "the scratch server is still in recovery", at: place)
            }
            let point = try await connection.query(
                """
                SELECT (pg_catalog.date_part('epoch', pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::pg_catalog.int8
                """
            ).scalar
            let names = try await connection.query(
                "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
            ).rows.compactMap { $0[0] }
            let prepared = try await connection.query("SELECT count(*) FROM pg_catalog.pg_prepared_xacts").scalar
            var notes: [String] = []
            if let prepared, prepared != "0" {
                notes.append("\(prepared) prepared transactions came back with the backup and hold their locks.")
            }
            return Recovered(
                recoveryPoint: point.flatMap(strictInteger).map { Date(microseconds: $0) },
                database: try chooseDatabase(names, place: place), notes: notes)
        }
    }

    private func chooseDatabase(_ names: [String], place: String) throws -> String {
        let list = "The backup holds: \(names.joined(separator: ", "))."
        if let wanted = settings.database {
            if names.contains(wanted) { return wanted }
            throw DrillError(.couldNotLook, "the backup has no database `\(wanted)`", at: place, hints: [list])
        }
        let own = names.filter { $0 != "postgres" }
        if own.count > 1 {
            throw DrillError(
                .couldNotLook, "the backup holds \(own.count) databases, and the drill file names none", at: place,
                hints: ["Set `dbname`.", list])
        }
        guard let only = own.first ?? names.first else {
            throw DrillError(.couldNotLook, "the backup has no database that can be connected to", at: place)
        }
        return only
    }

    /// Hands on the recovered database, to be read by a role of ours.
    func withDatabase<Result: Sendable>(
        _ host: RestoreHost, _ recovered: Recovered, notes: [String], recoveryPoint: Date?, logs: [String: String],
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        let roles = try await host.withSession { connection in
            try await connection.query("SELECT rolname::text FROM pg_catalog.pg_roles").rows.compactMap { $0[0] }
        }
        let role = try await ProbeRole(host: host, database: recovered.database).make(avoiding: Set(roles))
        var owner = host.administration
        owner["dbname"] = recovered.database
        var probe = owner
        if let name = role.name { probe["user"] = name }
        let database = try await PostgresDatabase(
            probe, place: "\(owner.place) of PostgreSQL \(host.major)", notes: role.notes,
            commandEnvironment: owner.commandVariables,
            rights: ScratchRights(owner: owner, server: host.server, coversServer: true))
        let restored = Restored(
            database: database, recoveryPoint: recoveryPoint,
            notes: notes + recovered.notes + [ServerSettings.note] + (host.server?.notes ?? []), logs: logs)
        return try await withCleanUp {
            let result = try await use(restored)
            try host.server?.requireRunning()
            return result
        } cleanUp: {
            await database.close()
        }
    }
}
