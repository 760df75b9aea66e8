import DrillCore

/// Registers what this module knows: PostgreSQL restorers, scratch servers and databases, and probes in SQL.
package func registerPostgresParts(_ registry: inout Registry) {
    registry.register(RestoredRestorer.self)
    registry.register(SQLProbe.self)
    registry.register(FreshnessProbe.self)
}
