/// What may be done with a restored database that is scratch of ours, beyond reading it.
struct ScratchRights: Sendable {
    /// To the restored database, as the role that restored it: on a server of our own a superuser.
    var owner: PostgresParameters
    /// nil where others run the server.
    var server: ServerProcess?
    /// Whether all of the server's databases came out of the backup, not only the restored one.
    var coversServer = false
    /// Modules that may be put in where they are missing.
    var modules = Set(ServerModules.Module.allCases)
}
