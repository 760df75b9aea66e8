import Foundation

/// One drill, as its file says, with everything that can be refused already refused.
package struct Drill: Sendable {
    package var name: String
    package var description: String?
    /// The drill file as the user gave it, and SHA-256 of its text (hex), for the ledger.
    package var path: String
    package var digest: String
    package var objectives: Objectives
    package var deadline: Duration?
    package var backup: BackupSettings
    package var scratch: ScratchSettings
    package var probes: [any Probe]
    /// What its parts ask of object stores, with the limits of the drill file.
    package var traffic: TrafficMeter

    package init(
        name: String, description: String?, path: String, digest: String, objectives: Objectives, deadline: Duration?,
        backup: BackupSettings, scratch: ScratchSettings, probes: [any Probe], traffic: TrafficMeter = TrafficMeter()
    ) {
        self.name = name
        self.description = description
        self.path = path
        self.digest = digest
        self.objectives = objectives
        self.deadline = deadline
        self.backup = backup
        self.scratch = scratch
        self.probes = probes
        self.traffic = traffic
    }
}

package struct Objectives: Sendable {
    package var rpo: Duration?
    package var rto: Duration?
    /// Counts from the set's own time.
    package var maxBackupAge: Duration?
    package init(rpo: Duration? = nil, rto: Duration? = nil, maxBackupAge: Duration? = nil) {
        self.rpo = rpo
        self.rto = rto
        self.maxBackupAge = maxBackupAge
    }
}

package struct BackupSettings: Sendable {
    package var target: RecoveryTarget
    package var fallBack: Bool
    package var settle: Duration
    package var database: any Restorer
    package var objects: [any ObjectBackup]
    package var catalog: any BackupCatalog
    /// Make the volume of a set appear and disappear; nil where sets are simply there.
    package var hooks: VolumeHooks?

    package init(
        target: RecoveryTarget, fallBack: Bool, settle: Duration, database: any Restorer, objects: [any ObjectBackup],
        catalog: any BackupCatalog, hooks: VolumeHooks? = nil
    ) {
        self.target = target
        self.fallBack = fallBack
        self.settle = settle
        self.database = database
        self.objects = objects
        self.catalog = catalog
        self.hooks = hooks
    }
}

package struct ScratchSettings: Sendable {
    package enum Keep: String, Sendable, CaseIterable { case never, onFailure = "on_failure", always }
    /// Absolute. Default: `$TMPDIR`, else `/var/tmp`.
    package var directory: String
    package var keep: Keep
    /// `scratch.database`: its kind and settings, for the part that makes servers and databases.
    package var database: SettingsReader?
    package var databaseKind: String
    /// `scratch.objects`: `view`, `directory` or `s3`.
    package var objects: SettingsReader?
    package var objectsKind: String
    /// Brings the objects into scratch; nil where they are only looked at.
    package var copier: (any ObjectCopier)?

    package init(
        directory: String, keep: Keep, databaseKind: String = "cluster", database: SettingsReader? = nil,
        objectsKind: String = "view", objects: SettingsReader? = nil
    ) {
        self.directory = directory
        self.keep = keep
        self.databaseKind = databaseKind
        self.database = database
        self.objectsKind = objectsKind
        self.objects = objects
    }
}
