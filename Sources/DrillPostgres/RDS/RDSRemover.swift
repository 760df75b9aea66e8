import DrillCore
import Foundation

/// Deletes what a run made on RDS, and only where its tags name that run. An instance that is still being created cannot be
/// deleted yet: then it is waited for.
struct RDSRemover: ScratchRemover {
    static let itemKind = "rds"

    /// Where to find it again. No secret.
    struct Locator: Codable, Sendable {
        /// The new instance.
        var instance: String
        /// Of Aurora: the new cluster that the instance belongs to.
        var cluster: String?
        var region: String
        var endpoint: String?
        var profile: String?

        var text: String {
            get throws {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
                return String(decoding: try encoder.encode(self), as: UTF8.self)
            }
        }
    }

    /// The longest that creating and then deleting may take before it is left to `muster gc`.
    private static let patience = 7200.0

    private let environment: DrillEnvironment

    init(environment: DrillEnvironment) { self.environment = environment }

    func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        let locator: Locator
        do {
            locator = try JSONDecoder().decode(Locator.self, from: Data(item.locator.utf8))
        } catch {
            throw DrillError(.cleanupFailed, "cannot be understood", at: item.locator, cause: error)
        }
        for name in [locator.instance, locator.cluster].compactMap({ $0 })
        where !name.hasPrefix(RDSNames.prefix(ofRun: runID)) {
            throw DrillError(
                .cleanupFailed, "`\(name)` does not bear the run's id \(runID)", at: "rds:\(locator.region)")
        }
        let service = CloudService(
            name: "rds", version: "2014-10-31", region: locator.region, endpoint: locator.endpoint,
            profile: locator.profile)
        let control = RDSControl(api: try environment.cloud.api(service, environment), clock: environment.clock)
        let deadline = environment.clock.monotonicSeconds() + Self.patience
        try await delete(instance: locator.instance, isMember: locator.cluster != nil, runID, control, deadline)
        if let cluster = locator.cluster { try await delete(cluster: cluster, runID, control, deadline) }
    }

    private func delete(
        instance name: String, isMember: Bool, _ runID: String, _ control: RDSControl, _ deadline: Double
    ) async throws {
        // A member's data and backups are its cluster's.
        let parameters =
            [("DBInstanceIdentifier", name), ("SkipFinalSnapshot", "true")]
            + (isMember ? [] : [("DeleteAutomatedBackups", "true")])
        try await delete("instance \(name)", control, deadline) {
            try await control.instance(name).map { ($0.status, $0.isProtected, $0.tags) }
        } call: { isProtected in
            isProtected
                ? (
                    "ModifyDBInstance",
                    [("DBInstanceIdentifier", name), ("DeletionProtection", "false"), ("ApplyImmediately", "true")]
                ) : ("DeleteDBInstance", parameters)
        } runID: {
            runID
        }
    }

    private func delete(
        cluster name: String, _ runID: String, _ control: RDSControl, _ deadline: Double
    ) async throws {
        try await delete("cluster \(name)", control, deadline) {
            try await control.cluster(name).map { ($0.status, $0.isProtected, $0.tags) }
        } call: { isProtected in
            isProtected
                ? (
                    "ModifyDBCluster",
                    [("DBClusterIdentifier", name), ("DeletionProtection", "false"), ("ApplyImmediately", "true")]
                )
                : (
                    "DeleteDBCluster",
                    [("DBClusterIdentifier", name), ("SkipFinalSnapshot", "true"), ("DeleteAutomatedBackups", "true")]
                )
        } runID: {
            runID
        }
    }

    /// Asks until it is gone.
    private func delete(
        _ what: String, _ control: RDSControl, _ deadline: Double,
        look: () async throws -> (status: String, isProtected: Bool, tags: [String: String])?,
        call: (_ isProtected: Bool) -> (action: String, parameters: [(name: String, value: String)]),
        runID: () -> String
    ) async throws {
        var pause = 1.0
        while let found = try await look() {
            guard found.tags[RDSTags.runID] == runID() else {
                throw DrillError(
                    .cleanupFailed, "the \(what) does not say that run \(runID()) made it, and was left alone",
                    at: control.api.place, hints: ["If it is a leftover, delete it by hand: it costs money."])
            }
            guard environment.clock.monotonicSeconds() < deadline else {
                throw DrillError(
                    .cleanupFailed, "the \(what) is still there: its status is \(found.status)", at: control.api.place,
                    hints: ["`muster gc` goes on with it. It costs money until it is deleted."])
            }
            if found.status != "deleting" {
                let (action, parameters) = call(found.isProtected)
                do {
                    _ = try await control.api.call(action, parameters)
                    // What deletes at once needs no pause.
                    if try await look() == nil { return }
                } catch let refusal as CloudRefusal where Self.passing.contains(refusal.code) {
                    // Looked at once more.
                } catch let refusal as CloudRefusal {
                    throw DrillError(rds: refusal, action, at: control.api.place)
                }
            }
            try await environment.clock.sleep(for: .seconds(pause))
            pause = min(30, pause * 1.5)
        }
    }

    /// Still being created, changed or backed up, or gone in between.
    private static let passing: Set<String> = [
        "InvalidDBInstanceState", "InvalidDBInstanceStateFault", "InvalidDBClusterStateFault", "DBInstanceNotFound",
        "DBClusterNotFoundFault",
    ]
}

/// How what a run makes on RDS is named.
enum RDSNames {
    /// `muster-20261114t023000z-a1b2c3`: lower case, letters, digits and single hyphens, at most 63 (Amazon RDS API Reference).
    static func prefix(ofRun runID: String) -> String { "muster-" + runID.lowercased() }
    static func instance(ofRun runID: String) -> String { prefix(ofRun: runID) }
    static func cluster(ofRun runID: String) -> String { prefix(ofRun: runID) + "-cluster" }
}
