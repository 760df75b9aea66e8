/// The parts that this build knows, by the word in the drill file. Each part module registers its own in one place.
package struct Registry: Sendable {
    package private(set) var restorers: [String: any Restorer.Type] = [:]
    package private(set) var objectBackups: [String: any ObjectBackup.Type] = [:]
    package private(set) var probes: [String: any Probe.Type] = [:]
    package private(set) var folders: [String: any BackupFolderKind.Type] = [:]
    package private(set) var removers: [String: any ScratchRemover.Type] = [:]
    /// What `muster mark` writes to production with.
    package private(set) var markerRows: (any MarkerRows.Type)?
    package private(set) var markerObjects: [String: any MarkerObjects.Type] = [:]
    /// `scratch.database` and `scratch.objects`: kind to shape.
    package private(set) var scratchDatabases: [String: SettingsShape] = [:]
    package private(set) var scratchObjects: [String: SettingsShape] = [:]
    package private(set) var copiers: [String: any ObjectCopier.Type] = [:]

    package init() {}

    package mutating func register(_ type: any Restorer.Type) { restorers[type.kind] = type }
    package mutating func register(_ type: any ObjectBackup.Type) { objectBackups[type.kind] = type }
    package mutating func register(_ type: any Probe.Type) { probes[type.kind] = type }
    package mutating func register(_ type: any BackupFolderKind.Type) { folders[type.scheme] = type }
    package mutating func register(_ type: any ScratchRemover.Type) { removers[type.itemKind] = type }
    package mutating func register(_ type: any MarkerRows.Type) { markerRows = type }
    package mutating func register(_ type: any MarkerObjects.Type) { markerObjects[type.kind] = type }
    package mutating func register(_ type: any ObjectCopier.Type) {
        copiers[type.kind] = type
        scratchObjects[type.kind] = type.shape
    }
    package mutating func register(scratchDatabase kind: String, _ shape: SettingsShape) {
        scratchDatabases[kind] = shape
    }
    package mutating func register(scratchObjects kind: String, _ shape: SettingsShape) { scratchObjects[kind] = shape }

    /// The shapes of a category, by kind.
    package func shapes(_ category: KindCategory) -> [String: SettingsShape] {
        switch category {
        case .database: restorers.mapValues { $0.shape }
        case .objects: objectBackups.mapValues { $0.shape }
        case .probe: probes.mapValues { $0.shape }
        case .scratchDatabase: scratchDatabases
        case .scratchObjects: scratchObjects
        case .markerObjects: markerObjects.mapValues { $0.shape }
        }
    }
}

/// The parts that need nothing but this module.
package func registerCoreParts(_ registry: inout Registry) {
    registry.register(ReferencesProbe.self)
    registry.register(CommandProbe.self)
    registry.register(VolumeRemover.self)
    registry.register(scratchObjects: "view", SettingsShape("view: nothing is copied", []))
}
