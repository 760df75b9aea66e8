import DrillCore

/// Registers what this module knows: PostgreSQL restorers, scratch servers and databases, and probes in SQL.
package func registerPostgresParts(_ registry: inout Registry) {
    registry.register(RestoredRestorer.self)
    registry.register(SQLProbe.self)
    registry.register(FreshnessProbe.self)
    registry.register(IntegrityProbe.self)
    registry.register(PgDumpRestorer.self)
    registry.register(BaseBackupRestorer.self)
    registry.register(RDSRestorer.self)
    registry.register(ToolRestorer<PgBackRest>.self)
    registry.register(ToolRestorer<Barman>.self)
    registry.register(ToolRestorer<WalG>.self)
    registry.register(SnapshotRestorer.self)
    registry.register(scratchDatabase: "cluster", ScratchCluster.shape)
    registry.register(scratchDatabase: "database", ScratchDatabase.shape)
    registry.register(ServerRemover.self)
    registry.register(SocketDirectoryRemover.self)
    registry.register(DatabaseRemover.self)
    registry.register(RoleRemover.self)
    registry.register(RDSRemover.self)
    registry.register(ProductionMarkerRows.self)
}
