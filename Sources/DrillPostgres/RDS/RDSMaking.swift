import DrillCore
import Foundation

/// Makes the new instance (and for Aurora the new cluster) of one run, tagged with it.
struct RDSMaking: Sendable {
    let settings: RDSSettings
    let control: RDSControl
    let production: RDSProduction
    let instant: Date
    let runID: String
    let host: String

    private var instance: String { RDSNames.instance(ofRun: runID) }
    private var cluster: String? {
        if case .cluster = settings.source { RDSNames.cluster(ofRun: runID) } else { nil }
    }

    var locator: RDSRemover.Locator {
        RDSRemover.Locator(
            instance: instance, cluster: cluster, region: control.api.region, endpoint: settings.service.endpoint,
            profile: settings.service.profile)
    }

    /// What exists already is somebody else's, whatever its name (P28).
    func refuseExisting() async throws {
        if try await control.instance(instance) != nil { throw taken("instance \(instance)") }
        if let cluster, try await control.cluster(cluster) != nil { throw taken("cluster \(cluster)") }
    }

    private func taken(_ what: String) -> DrillError {
        DrillError(
            .couldNotLook, "there is an \(what) already, which this run did not make; it was left alone",
            at: control.api.place)
    }

    /// The new instance once it is available and is what was asked for.
    func make(_ progress: any ProgressSink) async throws -> RDSInstance {
        progress.step("ask RDS to restore the \(settings.source.text)", total: nil, unit: .items)
        if let cluster { try await makeCluster(cluster, progress) } else { try await makeInstance() }
        try Task.checkCancellation()
        let (control, instance) = (control, instance)
        let made = try await control.wait(for: "RDS instance \(instance)", progress, status: { $0.status }) {
            try await control.instance(instance)
        }
        guard made.tags[RDSTags.runID] == runID else {
            throw DrillError(
                .couldNotLook, "the instance \(instance) does not bear the run's tag", at: control.api.place,
                hints: ["Tags may be refused by a policy: grant rds:AddTagsToResource."])
        }
        guard !made.isPubliclyAccessible else {
            throw DrillError(
                .couldNotLook, "the instance \(instance) is publicly accessible though that was ruled out",
                at: control.api.place)
        }
        return made
    }

    private func makeInstance() async throws {
        var parameters: [(name: String, value: String)] = [
            ("SourceDBInstanceIdentifier", settings.source.identifier), ("TargetDBInstanceIdentifier", instance),
            ("RestoreTime", restoreTime), ("UseLatestRestorableTime", "false"),
        ]
        parameters += network
        // A copy of some hours needs no backups, no standby and no upgrades of its own.
        parameters += [
            ("PubliclyAccessible", "false"), ("MultiAZ", "false"), ("BackupRetentionPeriod", "0"),
            ("AutoMinorVersionUpgrade", "false"), ("CopyTagsToSnapshot", "false"), ("DeletionProtection", "false"),
        ]
        if let instanceClass = settings.instanceClass { parameters.append(("DBInstanceClass", instanceClass)) }
        if let group = settings.parameterGroup { parameters.append(("DBParameterGroupName", group)) }
        if settings.login.usesIAM { parameters.append(("EnableIAMDatabaseAuthentication", "true")) }
        parameters += RDSTags.parameters(ofRun: runID, host: host)
        try await make("RestoreDBInstanceToPointInTime", parameters)
    }

    private func makeCluster(_ cluster: String, _ progress: any ProgressSink) async throws {
        guard let instanceClass = settings.instanceClass ?? production.instanceClass else {
            throw DrillError(
                .couldNotLook, "the class of the new instance is not known: the cluster has no instance",
                at: control.api.place, hints: ["Name `instance_class`."])
        }
        var parameters: [(name: String, value: String)] = [
            ("SourceDBClusterIdentifier", settings.source.identifier), ("DBClusterIdentifier", cluster),
            ("RestoreType", "full-copy"), ("RestoreToTime", restoreTime), ("UseLatestRestorableTime", "false"),
            ("CopyTagsToSnapshot", "false"), ("DeletionProtection", "false"),
        ]
        parameters += network
        if let group = settings.parameterGroup { parameters.append(("DBClusterParameterGroupName", group)) }
        if settings.login.usesIAM { parameters.append(("EnableIAMDatabaseAuthentication", "true")) }
        parameters += RDSTags.parameters(ofRun: runID, host: host)
        try await make("RestoreDBClusterToPointInTime", parameters)
        try Task.checkCancellation()
        let control = control
        _ = try await control.wait(for: "RDS cluster \(cluster)", progress, status: { $0.status }) {
            try await control.cluster(cluster)
        }
        // The network and the backups are the cluster's.
        try await make(
            "CreateDBInstance",
            [
                ("DBInstanceIdentifier", instance), ("DBClusterIdentifier", cluster), ("Engine", production.engine),
                ("DBInstanceClass", instanceClass), ("DBSubnetGroupName", settings.subnetGroup),
                ("PubliclyAccessible", "false"), ("AutoMinorVersionUpgrade", "false"),
            ] + RDSTags.parameters(ofRun: runID, host: host))
    }

    /// A repeated request may find what the first one made, of which no answer came; whose it is shows in its tags later.
    private func make(_ action: String, _ parameters: [(name: String, value: String)]) async throws {
        do {
            try await control.make(action, parameters)
        } catch let error as DrillError {
            let refusal = error.cause as? CloudRefusal
            guard let refusal, ["DBInstanceAlreadyExists", "DBClusterAlreadyExistsFault"].contains(refusal.code) else {
                throw error
            }
        }
    }

    private var network: [(name: String, value: String)] {
        [("DBSubnetGroupName", settings.subnetGroup)]
            + settings.securityGroups.enumerated().map {
                ("VpcSecurityGroupIds.VpcSecurityGroupId.\($0.offset + 1)", $0.element)
            }
    }

    /// Without a fraction where there is none: RDS's own examples have whole seconds.
    private var restoreTime: String {
        let text = rfc3339(instant)
        return text.hasSuffix(".000Z") ? String(text.dropLast(5)) + "Z" : text
    }
}
