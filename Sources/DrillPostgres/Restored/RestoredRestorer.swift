import DrillCore
import Foundation

/// A database that something else restored: it is read in one snapshot, and never made, changed or removed.
struct RestoredRestorer: Restorer {
    static let kind = "restored"
    static let shape = SettingsShape(
        "restored: a database that something else restored, which is only read",
        [
            SettingsField(
                "server", .text, required: true,
                "Where it is, as libpq reads it: host=… port=… dbname=… user=…; host and dbname must be there."),
            SettingsField(
                "password_file", .text,
                "A file with the password alone on its first line. Else ~/.pgpass, or the file that PGPASSFILE names."),
        ])

    let strategy = "restored"
    private let parameters: PostgresParameters
    private let clock: any DrillClock

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        clock = context.environment.clock
        parameters = try PostgresParameters.parse(
            settings, variables: context.environment.variables, passwordFile: settings.file("password_file"))
        // A place left to libpq's defaults could be any database of this machine (V7).
        guard parameters["host"] != nil || parameters["hostaddr"] != nil, parameters["dbname"] != nil else {
            throw settings.error("server", "must name host and dbname")
        }
        switch context.target {
        case .latest, .instant: break
        case .lsn, .name:
            throw DrillError(
                .usage, "a database that something else restored has the recovery point that it has",
                at: settings.place(),
                hints: ["Leave out `target` and --at, or give the instant that it was restored to."])
        }
    }

    func catalog() throws -> (any BackupCatalog)? { nil }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        let database = try await open()
        await database.close()
        return ComponentState(.usable)
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        ["Reads the database at \(parameters.place) in one read-only snapshot; nothing is created."]
    }

    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        let database = try await open()
        do {
            var restored = Restored(
                database: database, recoveryPoint: try await recoveryPoint(database),
                clockAhead: try await clockAhead(database),
                notes: ["Muster did not restore this database; it only read it, so there is no RTO."])
            if case .instant(let asked) = target { try take(asked, &restored) }
            let result = try await use(restored)
            await database.close()
            return result
        } catch {
            await database.close()
            throw error
        }
    }

    /// Where the server cannot tell what it was restored to, whoever runs the drill says so.
    private func take(_ asked: Date, _ restored: inout Restored) throws {
        guard let replayed = restored.recoveryPoint else {
            restored.recoveryPoint = asked
            restored.notes.append(
                "The recovery point is what the drill asks for: this server has replayed no WAL since its start, so nothing in it tells."
            )
            return
        }
        guard replayed <= asked else {
            throw DrillError(
                .couldNotLook,
                "the server has replayed up to \(rfc3339(replayed)), beyond the target \(rfc3339(asked))",
                at: parameters.place)
        }
    }

    private func open() async throws -> PostgresDatabase {
        let database = try await PostgresDatabase(
            parameters, place: parameters.place, commandEnvironment: nil)
        do {
            try await refuseReplay(database)
        } catch {
            await database.close()
            throw error
        }
        return database
    }

    /// A server that replays WAL answers before it has reached its target, and another answer a moment later (P14).
    private func refuseReplay(_ database: PostgresDatabase) async throws {
        guard try await scalar("SELECT pg_catalog.pg_is_in_recovery()", database) == "t" else { return }
        let isPaused =
            database.serverVersion >= 140_000
            ? try await scalar("SELECT pg_catalog.pg_get_wal_replay_pause_state() = 'paused'", database)
            : try await scalar("SELECT pg_catalog.pg_is_wal_replay_paused()", database)
        guard isPaused == "t" else {
            throw DrillError(
                .couldNotLook, "the server is still replaying WAL, so its recovery point moves", at: database.place,
                hints: ["Wait until it has reached its target and was promoted, or pause it by pg_wal_replay_pause()."])
        }
    }

    /// When the last transaction that was replayed had been committed; nil where the server replayed none since its start.
    private func recoveryPoint(_ database: PostgresDatabase) async throws -> Date? {
        let sql =
            "SELECT (pg_catalog.date_part('epoch', pg_catalog.pg_last_xact_replay_timestamp()) * 1000000)::pg_catalog.int8"
        return try await scalar(sql, database).flatMap(strictInteger).map { Date(microseconds: $0) }
    }

    /// Seconds; what the answer took is half of it on the way there.
    private func clockAhead(_ database: PostgresDatabase) async throws -> Double? {
        let sql = "SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) * 1000000)::pg_catalog.int8"
        let asked = clock.now().timeIntervalSince1970
        guard let there = try await scalar(sql, database).flatMap(strictInteger) else { return nil }
        let answered = clock.now().timeIntervalSince1970
        return Double(there) / 1_000_000 - (asked + answered) / 2
    }

    private func scalar(_ sql: String, _ database: PostgresDatabase) async throws -> String? {
        try await database.rows(sql, searchPath: [], limit: 1).rows.first?.first ?? nil
    }
}
