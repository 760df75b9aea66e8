import DrillCore
import Foundation

/// Amazon RDS and Aurora: the provider restores to an instant into a new instance of ours, which is probed over TLS and deleted.
struct RDSRestorer: Restorer {
    static let kind = "rds"
    static let shape = RDSSettings.shape

    let strategy = "point_in_time"
    private let settings: RDSSettings
    private let context: PartContext
    private let control: RDSControl

    init(_ reader: SettingsReader, _ context: PartContext) throws {
        self.context = context
        settings = try RDSSettings(reader, context.environment)
        switch context.target {
        case .latest, .instant: break
        case .lsn, .name:
            throw reader.error(settings.key, "RDS restores to an instant, not to an LSN or a restore point")
        }
        var service = settings.service
        service.endpoint = nil
        _ = try Self.api(service, "region", reader, context.environment)
        control = RDSControl(
            api: try Self.api(settings.service, "endpoint", reader, context.environment),
            clock: context.environment.clock)
    }

    /// - Parameter key: What is to blame where there can be no such API.
    private static func api(
        _ service: CloudService, _ key: String, _ reader: SettingsReader, _ environment: DrillEnvironment
    ) throws -> any CloudAPI {
        do {
            return try environment.cloud.api(service, environment)
        } catch let error as DrillError where error.code == .usage {
            throw reader.error(key, error.what, hints: error.hints)
        }
    }

    func catalog() throws -> (any BackupCatalog)? {
        RDSCatalog(control: control, source: settings.source, target: context.target)
    }

    func examine(_ set: BackupSet) async throws -> ComponentState { ComponentState(.usable, takenAt: set.time) }

    func plan(_ set: BackupSet) async throws -> [String] {
        let production = try await control.production(settings.source)
        let window = RDSWindow(production: production, now: context.environment.clock.now())
        let instanceClass = settings.instanceClass ?? production.instanceClass ?? "(name `instance_class`)"
        let storage = production.storageGiB.map { " with \($0) GiB of \(production.storageType ?? "storage")" } ?? ""
        let isCluster = if case .cluster = settings.source { true } else { false }
        let instant = window.instant(of: context.target).map(rfc3339) ?? "the latest restorable time"
        let action =
            isCluster
            ? "RestoreDBClusterToPointInTime and CreateDBInstance would make a cluster with one instance"
            : "RestoreDBInstanceToPointInTime would make an instance"
        let span = context.deadline.map { "at most \(spanText($0.seconds)), the deadline" } ?? "no deadline ends it"
        return [
            "\(action) `muster-<run id>` in \(control.api.region): the \(settings.source.text) at \(instant).",
            "It would be a \(instanceClass)\(storage), Single-AZ, in subnet group \(settings.subnetGroup) with security groups "
                + "\(settings.securityGroups.joined(separator: ", ")); not publicly accessible, without backups of its own.",
            "It would be probed over TLS, and deleted without a final snapshot when the run ends.",
            "Cost: the hours of one \(instanceClass) from when it is available until it is deleted (\(span); billed by the second, "
                + "10 minutes at least)\(isCluster ? ", and the cluster's I/O" : storage.isEmpty ? "" : ", and its storage for that time"). "
                + "The price depends on class, engine and region: see the price list of Amazon RDS.",
        ]
    }

    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        guard let scratch else { throw DrillError(.couldNotLook, "an RDS restore needs a run to belong to") }
        let production = try await control.production(settings.source)
        let window = RDSWindow(production: production, now: context.environment.clock.now())
        if let fault = try window.fault(target, at: control.api.place) {
            throw DrillError(.backupUnusable, fault, at: set.place)
        }
        guard let instant = window.instant(of: target) else {
            throw DrillError(.backupUnusable, "there is no restorable time", at: set.place)
        }
        let making = RDSMaking(
            settings: settings, control: control, production: production, instant: instant, runID: scratch.runID,
            host: context.environment.hostName)
        try await making.refuseExisting()
        let item = ScratchItem(kind: RDSRemover.itemKind, locator: try making.locator.text)
        try await scratch.journal.willCreate(item)
        let remover = RDSRemover(environment: context.environment)
        return try await withCleanUp {
            let instance = try await making.make(progress)
            return try await withDatabase(instance, production, stated: instant, scratch, progress, use)
        } cleanUp: {
            if !scratch.keeping.isKept {
                progress.step("delete RDS instance \(making.locator.instance)", total: nil, unit: .items)
                try await remover.remove(item, ofRun: scratch.runID)
            }
            try await scratch.journal.didRemove(item)
        }
    }

    private func withDatabase<Result: Sendable>(
        _ instance: RDSInstance, _ production: RDSProduction, stated: Date, _ scratch: Scratch,
        _ progress: any ProgressSink, _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        guard let address = instance.address, let port = instance.port else {
            throw DrillError(.couldNotLook, "RDS states no address of \(instance.identifier)", at: control.api.place)
        }
        guard let user = settings.login.user ?? production.masterUser else {
            throw DrillError(.couldNotLook, "RDS states no master user: name `user`", at: control.api.place)
        }
        progress.step("connect to \(instance.identifier)", total: nil, unit: .items)
        let connection = RDSConnection(
            login: settings.login, address: address, port: port, user: user,
            database: settings.login.database ?? production.databaseName ?? "postgres")
        let parameters = try await connection.parameters(control.api)
        let database = try await PostgresDatabase(
            parameters, place: parameters.place,
            commandEnvironment: try await parameters.commandVariables(of: scratch.directory),
            rights: try await RDSRights.read(parameters))
        let outcome: Swift.Result<Result, any Error>
        do {
            let point = try await RDSRecoveryPoint.read(database, stated: stated)
            outcome = .success(
                try await use(
                    Restored(
                        database: database, recoveryPoint: point.instant,
                        notes: [point.note] + notes(instance, production, scratch))))
        } catch { outcome = .failure(error) }
        await database.close()
        return try outcome.get()
    }

    private func notes(_ instance: RDSInstance, _ production: RDSProduction, _ scratch: Scratch) -> [String] {
        var notes = [
            "RDS restored the \(settings.source.text) (\(production.engine) \(production.engineVersion)) to \(instance.identifier), a "
                + "\(instance.instanceClass). Amazon runs that server in your network, so Muster cannot seal it: what its scheduled "
                + "jobs, subscriptions and foreign servers can reach is up to its security groups "
                + "\(settings.securityGroups.joined(separator: ", "))."
        ]
        if let own = production.instanceClass, own != instance.instanceClass {
            notes.append(
                "Production has the class \(own): the RTO and the duration of probes are those of \(instance.instanceClass)."
            )
        }
        if scratch.keeping.isKept {
            notes.append(
                "scratch.keep may keep \(instance.identifier): it then costs money until you delete it by hand.")
        }
        return notes
    }
}

extension RDSSettings {
    /// The key that names the source.
    var key: String {
        switch source {
        case .instance: "instance"
        case .cluster: "cluster"
        }
    }
}

extension PostgresParameters {
    /// For `command` probes: the verified connection, and where the password is, if one is kept in memory.
    func commandVariables(of folder: String) async throws -> [String: String] {
        let filed = try await withCurrentPassword().withPasswordFile(in: folder)
        var variables = filed.commandVariables
        for (keyword, variable) in [
            ("sslmode", "PGSSLMODE"), ("sslrootcert", "PGSSLROOTCERT"), ("hostaddr", "PGHOSTADDR"),
        ] {
            variables[variable] = filed[keyword]
        }
        return variables
    }
}
