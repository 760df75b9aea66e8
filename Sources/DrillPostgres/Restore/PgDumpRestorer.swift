import DrillCore
import Foundation

/// Restores what pg_dump wrote, in any of its formats.
struct PgDumpRestorer: Restorer {
    static let kind = "pg_dump"
    static let shape = SettingsShape(
        "what pg_dump wrote: custom, directory or tar format, or plain SQL, which may be packed by gzip, zstd, lz4, xz or bzip2",
        [
            SettingsField(
                "path", .text, required: true,
                "The dump, in the set's folder; without `sets`, relative to the drill file."),
            SettingsField(
                "time_zone", .text, "The zone of the machine that ran pg_dump, such as Europe/Berlin. Default: UTC."),
            SettingsField(
                "bin", .text, "The directory of PostgreSQL's programs. Default: the installed ones that fit."),
            SettingsField("jobs", .integer(1...256), "How many tables are restored at once. Default: one a processor."),
            SettingsField(
                "globals", .text,
                "What `pg_dumpall --globals-only` wrote, beside the dump: its roles are made, without login and password."
            ),
        ])

    let strategy = "maintenance_window"
    let path: String
    let globalsPath: String?
    let time: DumpTime
    let bin: String?
    let jobs: Int
    let scratchKind: ScratchKind
    let context: PartContext

    enum ScratchKind: Sendable {
        case cluster(bin: String?, settings: [(name: String, value: String)])
        case database(ScratchDatabase)
    }

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        self.context = context
        path = try settings.requiredString("path")
        globalsPath = try settings.string("globals")
        for (key, value) in [("path", path), ("globals", globalsPath ?? "")]
        where context.hasSets && value.hasPrefix("/") {
            throw settings.error(
                key, "is absolute, but each set has its own", hints: ["Write it relative to the set's folder."])
        }
        var time = DumpTime()
        if let name = try settings.string("time_zone") {
            guard let zone = TimeZone(identifier: name) else {
                throw settings.error(
                    "time_zone", "`\(name)` is not a time zone", hints: ["Write it as Europe/Berlin or UTC."])
            }
            time.zone = zone
        }
        self.time = time
        try Self.requireTarget(context, settings)
        bin = try settings.directory("bin")
        jobs =
            try settings.integer("jobs", in: 1...256).flatMap { Int(exactly: $0) }
            ?? ProcessInfo.processInfo.activeProcessorCount
        scratchKind = try Self.scratchKind(context)
    }

    /// A dump is of one instant: only which set is taken can depend on the target.
    private static func requireTarget(_ context: PartContext, _ settings: SettingsReader) throws {
        switch context.target {
        case .latest: return
        case .instant where context.hasSets: return
        case .instant:
            throw DrillError(
                .usage, "a single dump cannot be recovered to an instant", at: settings.place(),
                hints: [
                    "Name `sets`, of which the newest one before that instant is taken; or leave out `target` and --at."
                ])
        case .lsn, .name:
            throw DrillError(
                .usage, "a dump knows no WAL location and no restore point", at: settings.place(),
                hints: ["Only base backups with WAL are recovered to one."])
        }
    }

    private static func scratchKind(_ context: PartContext) throws -> ScratchKind {
        let settings = context.scratch.database
        switch context.scratch.databaseKind {
        case "database":
            guard let settings else { throw DrillError(.usage, "scratch.database: `server` is missing") }
            return .database(try ScratchDatabase(settings, environment: context.environment))
        default:
            return .cluster(
                bin: try settings?.directory("bin"),
                settings: try ServerSettings.extra(settings))
        }
    }

    func catalog() throws -> (any BackupCatalog)? { nil }

    // MARK: - Looking

    private func inspector(_ set: BackupSet) -> DumpInspector {
        DumpInspector(folder: set.folder ?? LocalFolder(directory: context.drillFileDirectory), path: path)
    }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let facts: DumpFacts
        do {
            facts = try await inspector(set).facts()
        } catch let fault as DumpFault {
            return ComponentState(fault.isAbsent ? .incomplete(fault.what) : .unusable(fault.what))
        }
        let (takenAt, note) = takenAt(facts)
        return ComponentState(
            .usable, notes: [note].compactMap { $0 }, sizeBytes: facts.sizeBytes, takenAt: takenAt)
    }

    private func takenAt(_ facts: DumpFacts) -> (instant: Date?, note: String?) {
        if let header = facts.toc?.header { return (time.instant(header.created), nil) }
        guard let text = facts.plain?.startedOn, let found = time.instant(startedOn: text) else { return (nil, nil) }
        return (found.instant, found.note)
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        let facts: DumpFacts
        do {
            facts = try await inspector(set).facts()
        } catch let fault as DumpFault {
            return ["The dump cannot be restored: \(fault.what)."]
        }
        var sentences = ["The dump `\(path)` is \(facts.format.text) of \(facts.sizeBytes) bytes."]
        if let version = facts.dumpVersion { sentences.append("pg_dump \(version) made it.") }
        switch scratchKind {
        case .cluster(let bin, _):
            let tools = try await search(bin).tools(having: Self.serverTools, forDump: facts.dumpVersion)
            sentences.append(
                "A server of PostgreSQL \(tools.version) would be made below \(context.scratch.directory), with a Unix socket alone."
            )
        case .database(let scratch):
            sentences.append(
                "A database `muster_<run id>` would be made on \(scratch.parameters.place), and dropped at the end.")
        }
        if let toc = facts.toc {
            let needs = DumpRequirements(toc)
            sentences.append("Data of \(toc.entries.count { $0.kind == "TABLE DATA" }) tables would be restored.")
            if !needs.extensions.isEmpty {
                sentences.append("The dump needs the extensions \(needs.extensions.sorted().joined(separator: ", ")).")
            }
            if !needs.roles.isEmpty {
                sentences.append(
                    "Missing roles of these would be made without login: \(needs.roles.sorted().joined(separator: ", "))."
                )
            }
        }
        return sentences
    }

    static let serverTools = ["initdb", "postgres", "pg_restore"]

    private func search(_ bin: String?) -> PostgresToolSearch {
        PostgresToolSearch(environment: context.environment, setting: bin ?? self.bin)
    }

    // MARK: - Restoring

    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        guard let scratch else { throw DrillError(.couldNotLook, "a dump can only be restored into scratch") }
        let dump: PreparedDump
        do {
            dump = try await PreparedDump(
                inspector(set), in: scratch, environment: context.environment, progress: progress)
        } catch let fault as DumpFault {
            throw DrillError(.backupUnusable, fault.what, at: "\(inspector(set).folder.place)/\(path)")
        }
        let globals = try await globals(set, in: scratch)
        switch scratchKind {
        case .cluster(let bin, let settings):
            let tools = try await search(bin).tools(having: Self.serverTools, forDump: dump.facts.dumpVersion)
            try requireSpace(for: dump, in: scratch)
            let cluster = ScratchCluster(environment: context.environment, tools: tools, extraSettings: settings)
            progress.step("start the scratch server", total: nil, unit: .items)
            return try await cluster.withServer(in: scratch) { server in
                let host = try await RestoreHost(server.parameters, server: server, environment: context.environment)
                try await host.requireExtensions(dump.needs.extensions)
                let stubs = RoleStubs(host: host, runID: scratch.runID)
                let made = try await stubs.make(for: dump.needs, globals: globals) { _ in }
                let name = ScratchDatabase.name(ofRun: scratch.runID)
                let note = try await host.createDatabase(name, dump.needs.database, encoding: dump.encoding)
                let notes = server.notes + [ServerSettings.note] + made.notes + [note].compactMap { $0 }
                return try await restore(
                    dump, tools: tools, host: host, database: name, roles: made, notes: notes, progress: progress, use)
            }
        case .database(let database):
            let tools = try await search(nil).tools(having: ["pg_restore"], forDump: dump.facts.dumpVersion)
            return try await withDatabase(database, dump, globals, tools, scratch, progress, use)
        }
    }

    private func withDatabase<Result: Sendable>(
        _ database: ScratchDatabase, _ dump: PreparedDump, _ globals: Globals, _ tools: PostgresTools,
        _ scratch: Scratch,
        _ progress: any ProgressSink, _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        let parameters = try database.parameters.withPasswordFile(in: scratch.directory)
        let host = try await RestoreHost(parameters, server: nil, environment: context.environment)
        if let needed = dump.facts.dumpMajorVersion, host.major < needed {
            throw DrillError(
                .couldNotLook,
                "the dump was made by pg_dump \(needed), and the scratch server is PostgreSQL \(host.major)",
                at: parameters.place, hints: ["Drill it on a server of PostgreSQL \(needed), or with `kind: cluster`."])
        }
        try await host.requireExtensions(dump.needs.extensions)
        var needs = dump.needs
        // Without a superuser, owners are not set: only grants and policies need their roles.
        if !host.isSuperuser { needs.roles = needs.grantees }
        return try await database.withRoles(for: needs, globals: globals, in: scratch, on: host) { made in
            let note = LateNote()
            return try await database.withDatabase(in: scratch, on: host) { name in
                await note.set(try await host.createDatabase(name, dump.needs.database, encoding: dump.encoding))
            } _: { name in
                let notes = [
                    "What the dump contains ran with the rights of `\(parameters["user"] ?? "")` on \(parameters.place), a server "
                        + "that Muster cannot seal off."
                ]
                return try await restore(
                    dump, tools: tools, host: host, database: name, roles: made,
                    notes: notes + made.notes + [await note.text].compactMap { $0 }, progress: progress, use)
            }
        }
    }

    private func restore<Result: Sendable>(
        _ dump: PreparedDump, tools: PostgresTools, host: RestoreHost, database: String, roles: RoleStubs.Made,
        notes: [String], progress: any ProgressSink, _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        var owner = host.administration
        owner["dbname"] = database
        let target = RestoreTarget(
            owner: owner, server: host.server, isSuperuser: host.isSuperuser, serverMajor: host.major,
            setsOwners: host.isSuperuser && roles.isComplete, setsGrants: roles.isComplete)
        var notes = notes
        if !target.setsOwners, roles.isComplete {
            notes.append("Owners of the dump were not restored: `\(owner["user"] ?? "")` is no superuser.")
        }
        if !dump.needs.tablespaces.isEmpty {
            notes.append(
                "The dump's tablespaces were not made; everything went into the default one: "
                    + "\(dump.needs.tablespaces.sorted().joined(separator: ", ")).")
        }
        let log = RestoreLog(progress: progress)
        log.append(line: "PostgreSQL \(tools.version) at \(tools.directory); the dump is \(dump.facts.format.text).")
        if dump.needs.makesPublicSchema {
            try await host.withSession(database: database) { _ = try await $0.execute("DROP SCHEMA IF EXISTS public") }
        }
        if let toc = dump.facts.toc {
            try await ArchiveRestore(
                environment: context.environment, tools: tools, path: dump.path, format: dump.facts.format, toc: toc,
                jobs: jobs, target: target
            ).run(log: log, progress: progress)
        } else {
            notes += try await PlainRestore(path: dump.path, sizeBytes: dump.facts.sizeBytes)
                .run(into: target, log: log, progress: progress)
        }
        try dump.removeUnpacked()
        let finished = try await RestoredTables(host: host, database: database, jobs: jobs).finish(
            dump.facts.toc, progress: progress)
        let probeRole = try await ProbeRole(host: host, database: database).make(avoiding: dump.needs.roles)
        var probe = owner
        if let name = probeRole.name { probe["user"] = name }
        let restoredDatabase = try await PostgresDatabase(
            probe,
            place: host.server == nil
                ? "\(target.place) of PostgreSQL \(host.major)" : "scratch server of PostgreSQL \(host.major)",
            notes: probeRole.notes, commandEnvironment: owner.commandVariables,
            rights: ScratchRights(owner: owner, server: host.server))
        var restored = Restored(
            database: restoredDatabase, recoveryPoint: takenAt(dump.facts).instant,
            notes: notes + finished.notes, rowCounts: finished.rowCounts, logs: ["restore.log": log.text])
        if let server = host.server { restored.logs["server.log"] = server.logTail(2000).joined(separator: "\n") }
        return try await withCleanUp {
            let result = try await use(restored)
            // A server that died meanwhile answered nothing after that.
            try await host.server?.requireAnswer()
            return result
        } cleanUp: {
            await restoredDatabase.close()
        }
    }

    private func globals(_ set: BackupSet, in scratch: Scratch) async throws -> Globals {
        guard let globalsPath else { return Globals() }
        let folder = set.folder ?? LocalFolder(directory: context.drillFileDirectory)
        guard try await folder.entry(globalsPath) != nil else {
            throw DrillError(.backupUnusable, "the globals `\(globalsPath)` are not there", at: folder.place)
        }
        return try await Globals(contentsOf: folder.localPath(globalsPath, in: scratch) { _ in })
    }

    private func requireSpace(for dump: PreparedDump, in scratch: Scratch) throws {
        var status = statvfs()
        guard statvfs(scratch.directory, &status) == 0 else { return }
        let free = Int64(clamping: UInt64(status.f_bavail) * UInt64(status.f_frsize))
        // What is compressed grows when it is restored; 1.2 is the least that any dump needs.
        let needed = dump.facts.sizeBytes / 5 * 6
        guard free < needed else { return }
        throw DrillError(
            .couldNotLook,
            "scratch has \(free) bytes free, and the dump of \(dump.facts.sizeBytes) bytes needs \(needed) at least",
            at: scratch.directory, hints: ["Set `scratch.directory` to a place with more room."])
    }
}

/// What making a database had to say, for the report.
private actor LateNote {
    private(set) var text: String?
    func set(_ text: String?) { self.text = text }
}
