import DrillCore

/// The database that a dump goes into, and what may be done there.
struct RestoreTarget: Sendable {
    /// With rights to write, in the new database.
    var owner: PostgresParameters
    /// nil where it is a server that others run.
    var server: ServerProcess?
    var isSuperuser: Bool
    var serverMajor: Int
    /// Whether owners and grants of the dump are set: not where roles are missing and may not be made.
    var setsOwners = true
    var setsGrants = true

    /// For a person: of a server of our own, where it lies.
    var place: String {
        server == nil ? owner.place : "scratch server in \(owner["host"] ?? "")"
    }

    /// Throws where our own server has ended.
    func requireRunning() throws { try server?.requireRunning() }
}
