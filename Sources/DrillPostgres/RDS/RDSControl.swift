import DrillCore
import Foundation

/// The calls of RDS that a drill needs, and no other. Nothing here changes what another made but ``delete``, which looks at the
/// marker first.
struct RDSControl: Sendable {
    let api: any CloudAPI
    let clock: any DrillClock

    // MARK: Looking

    func instance(_ identifier: String) async throws -> RDSInstance? {
        try await described("DescribeDBInstances", "DBInstanceIdentifier", identifier, "DBInstances").map(
            RDSInstance.init)
    }

    func cluster(_ identifier: String) async throws -> RDSCluster? {
        try await described("DescribeDBClusters", "DBClusterIdentifier", identifier, "DBClusters").map(RDSCluster.init)
    }

    private func described(
        _ action: String, _ parameter: String, _ identifier: String, _ list: String
    ) async throws -> CloudElement? {
        do {
            let found = try await api.call(action, [(parameter, identifier)]).list(list)
            // Another than the one asked for would be somebody else's.
            return found.first { $0.text(parameter)?.lowercased() == identifier }
        } catch let refusal as CloudRefusal where Self.absent.contains(refusal.code) {
            return nil
        } catch let refusal as CloudRefusal {
            throw DrillError(rds: refusal, action, at: api.place)
        }
    }

    private static let absent: Set<String> = [
        "DBInstanceNotFound", "DBInstanceNotFoundFault", "DBClusterNotFoundFault", "DBClusterNotFound",
    ]

    /// What can be restored. Throws where it is not there, or is no PostgreSQL.
    func production(_ source: RDSSettings.Source) async throws -> RDSProduction {
        let found: RDSProduction
        switch source {
        case .instance(let name): found = try await instanceProduction(name, source)
        case .cluster(let name): found = try await clusterProduction(name, source)
        }
        guard found.engine == "postgres" || found.engine == "aurora-postgresql" else {
            throw DrillError(
                .couldNotLook, "the \(source.text) runs \(found.engine), and drills are of PostgreSQL", at: api.place)
        }
        return found
    }

    private func instanceProduction(_ name: String, _ source: RDSSettings.Source) async throws -> RDSProduction {
        guard let instance = try await instance(name) else { throw absent(source) }
        if let cluster = instance.cluster {
            throw DrillError(
                .couldNotLook, "instance \(name) belongs to the cluster \(cluster), which is restored as a whole",
                at: api.place, hints: ["Write `cluster: \(cluster)` in place of `instance: \(name)`."])
        }
        var found = RDSProduction(
            source: source, engine: instance.engine, engineVersion: instance.engineVersion,
            instanceClass: instance.instanceClass, storageGiB: instance.storageGiB, storageType: instance.storageType,
            masterUser: instance.masterUser, databaseName: instance.databaseName,
            backupRetentionDays: instance.backupRetentionDays, latest: instance.latestRestorable)
        do {
            let backups = try await api.call("DescribeDBInstanceAutomatedBackups", [("DBInstanceIdentifier", name)])
            let active = backups.list("DBInstanceAutomatedBackups").first { $0.text("Status") != "retained" }
            found.earliest = active?["RestoreWindow"]?.text("EarliestTime").flatMap(parseInstant)
        } catch let refusal as CloudRefusal {
            found.notes.append(
                "How far back the backups reach was not told (\(refusal.code); rds:DescribeDBInstanceAutomatedBackups)."
            )
        }
        return found
    }

    private func clusterProduction(_ name: String, _ source: RDSSettings.Source) async throws -> RDSProduction {
        guard let cluster = try await cluster(name) else { throw absent(source) }
        var found = RDSProduction(
            source: source, engine: cluster.engine, engineVersion: cluster.engineVersion,
            masterUser: cluster.masterUser,
            databaseName: cluster.databaseName, backupRetentionDays: cluster.backupRetentionDays,
            earliest: cluster.earliestRestorable, latest: cluster.latestRestorable)
        if let writer = cluster.members.first { found.instanceClass = try await instance(writer)?.instanceClass }
        return found
    }

    private func absent(_ source: RDSSettings.Source) -> DrillError {
        DrillError(
            .couldNotLook, "there is no RDS \(source.text) in \(api.region)", at: api.place,
            hints: ["Check the identifier, `region` and `profile`: each region and account has instances of its own."])
    }

    // MARK: Making

    /// One call that makes something. It is not cut off by the end of the run: an answer that nobody waited for could still
    /// have made it.
    func make(_ action: String, _ parameters: [(name: String, value: String)]) async throws {
        let api = api
        let outcome = await Task { () -> Result<Void, any Error> in
            do {
                _ = try await api.call(action, parameters)
                return .success(())
            } catch let refusal as CloudRefusal {
                return .failure(DrillError(rds: refusal, action, at: api.place))
            } catch { return .failure(error) }
        }.value
        try outcome.get()
    }

    // MARK: Waiting

    /// States from which an instance or cluster does not come up any more, and whether the backup is at fault.
    static func failure(_ status: String) -> DrillError.Code? {
        switch status {
        case "failed", "incompatible-restore", "restore-error": .backupUnusable
        case "incompatible-network", "incompatible-parameters", "incompatible-option-group", "incompatible-create",
            "incompatible-credentials", "insufficient-capacity", "storage-full", "inaccessible-encryption-credentials",
            "inaccessible-encryption-credentials-recoverable", "deleting", "stopped":
            .couldNotLook
        default: nil
        }
    }

    /// Polls until `look` says `available`; pauses grow from one second to thirty.
    func wait<Thing: Sendable>(
        for name: String, _ progress: any ProgressSink, status: @Sendable (Thing) -> String,
        _ look: @Sendable () async throws -> Thing?
    ) async throws -> Thing {
        var pause = 1.0
        var shown: String?
        while true {
            guard let thing = try await look() else {
                throw DrillError(.couldNotLook, "\(name) is gone while it was waited for", at: api.place)
            }
            let now = status(thing)
            if now == "available" { return thing }
            if let code = Self.failure(now) {
                throw DrillError(
                    code, "\(name) did not come up: its status is \(now)", at: api.place,
                    hints: ["The events of the instance in the RDS console say more."])
            }
            if shown != now {
                progress.step("wait for \(name): \(now)", total: nil, unit: .items)
                shown = now
            }
            try await clock.sleep(for: .seconds(pause))
            pause = min(30, pause * 1.5)
        }
    }
}
