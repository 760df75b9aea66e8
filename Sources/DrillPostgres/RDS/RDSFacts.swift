import DrillCore
import Foundation

/// What RDS says of an instance.
struct RDSInstance: Sendable {
    var identifier: String
    var status: String
    var engine: String
    var engineVersion: String
    var instanceClass: String
    var storageGiB: Int64?
    var storageType: String?
    var masterUser: String?
    var databaseName: String?
    var cluster: String?
    var address: String?
    var port: Int?
    var backupRetentionDays: Int64?
    var latestRestorable: Date?
    var isPubliclyAccessible: Bool
    var isProtected: Bool
    var tags: [String: String]

    init(_ element: CloudElement) throws {
        guard let identifier = element.text("DBInstanceIdentifier"), let engine = element.text("Engine") else {
            throw DrillError(.couldNotLook, "RDS describes an instance without identifier or engine")
        }
        self.identifier = identifier
        self.engine = engine
        // A new instance has none for a moment.
        status = element.text("DBInstanceStatus") ?? "creating"
        engineVersion = element.text("EngineVersion") ?? "?"
        instanceClass = element.text("DBInstanceClass") ?? "?"
        storageGiB = element.text("AllocatedStorage").flatMap(strictInteger)
        storageType = element.text("StorageType")
        masterUser = element.text("MasterUsername")
        databaseName = element.text("DBName")
        cluster = element.text("DBClusterIdentifier")
        address = element["Endpoint"]?.text("Address")
        port = element["Endpoint"]?.text("Port").flatMap(strictInteger).flatMap { Int(exactly: $0) }
        backupRetentionDays = element.text("BackupRetentionPeriod").flatMap(strictInteger)
        latestRestorable = element.text("LatestRestorableTime").flatMap(parseInstant)
        isPubliclyAccessible = element.text("PubliclyAccessible") == "true"
        isProtected = element.text("DeletionProtection") == "true"
        tags = RDSTags.read(element)
    }
}

/// What RDS says of an Aurora cluster.
struct RDSCluster: Sendable {
    var identifier: String
    var status: String
    var engine: String
    var engineVersion: String
    var masterUser: String?
    var databaseName: String?
    var backupRetentionDays: Int64?
    var earliestRestorable: Date?
    var latestRestorable: Date?
    /// The writer first.
    var members: [String]
    var isProtected: Bool
    var tags: [String: String]

    init(_ element: CloudElement) throws {
        guard let identifier = element.text("DBClusterIdentifier"), let engine = element.text("Engine") else {
            throw DrillError(.couldNotLook, "RDS describes a cluster without identifier or engine")
        }
        self.identifier = identifier
        self.engine = engine
        status = element.text("Status") ?? "creating"
        engineVersion = element.text("EngineVersion") ?? "?"
        masterUser = element.text("MasterUsername")
        databaseName = element.text("DatabaseName")
        backupRetentionDays = element.text("BackupRetentionPeriod").flatMap(strictInteger)
        earliestRestorable = element.text("EarliestRestorableTime").flatMap(parseInstant)
        latestRestorable = element.text("LatestRestorableTime").flatMap(parseInstant)
        let found = element.list("DBClusterMembers")
        let writers = found.filter { $0.text("IsClusterWriter") == "true" }
        let others = found.filter { $0.text("IsClusterWriter") != "true" }
        members = (writers + others).compactMap { $0.text("DBInstanceIdentifier") }
        isProtected = element.text("DeletionProtection") == "true"
        tags = RDSTags.read(element)
    }
}

/// The marker on what a run makes.
enum RDSTags {
    static let runID = "muster-run-id"
    static let host = "muster-host"

    static func read(_ element: CloudElement) -> [String: String] {
        Dictionary(
            element.list("TagList").compactMap { tag in tag.text("Key").map { ($0, tag.text("Value") ?? "") } }
        ) { first, _ in first }
    }

    static func parameters(ofRun runID: String, host: String) -> [(name: String, value: String)] {
        // What tags may hold: letters, digits, spaces and `_.:/=+-@`.
        let plainHost = String(host.map { $0.isASCII && ($0.isLetter || $0.isNumber || ".-_".contains($0)) ? $0 : "-" })
        return [(Self.runID, runID), (Self.host, plainHost)].enumerated().flatMap { index, tag in
            [("Tags.Tag.\(index + 1).Key", tag.0), ("Tags.Tag.\(index + 1).Value", tag.1)]
        }
    }
}

/// The production instance or cluster, and the span to whose instants it can be restored.
struct RDSProduction: Sendable {
    var source: RDSSettings.Source
    var engine: String
    var engineVersion: String
    /// Of an Aurora cluster its writer's; nil where it has no instance.
    var instanceClass: String?
    var storageGiB: Int64?
    var storageType: String?
    var masterUser: String?
    var databaseName: String?
    var backupRetentionDays: Int64?
    var earliest: Date?
    var latest: Date?
    var notes: [String] = []
}
