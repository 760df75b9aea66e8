import DrillCore

/// A backup tool that others wrote, asked through its own commands. It only ever reads its repository here.
protocol BackupTool: Sendable {
    /// The word in the drill file.
    static var kind: String { get }
    static var title: String { get }
    /// Beside what all tools have.
    static var fields: [SettingsField] { get }
    init(_ settings: SettingsReader, _ context: PartContext) throws

    var program: ToolProgram { get }
    /// The repository, for a person.
    var place: String { get }

    /// What the catalog lists, in any order. Throws `couldNotLook` where the repository is not there or does not answer.
    func backups() async throws -> [ToolBackup]
    /// That backup with what only a closer look tells; nothing is restored.
    func examined(_ backup: ToolBackup) async throws -> ToolBackup
    /// Restores the data directory to ``ToolFolder/data``, without WAL. Throws `backupUnusable` where the tool says that the
    /// backup is at fault.
    /// - Returns: What the tool said, and whole sentences for the report.
    func restore(_ backup: ToolBackup, into folder: ToolFolder) async throws -> ToolRestore
    /// The WAL that goes with that backup.
    /// - Parameter dataDirectory: What was restored of it.
    func archive(
        of backup: ToolBackup, in folder: ToolFolder, control dataDirectory: String
    ) async throws -> any ToolArchive
    /// What `muster plan` says of the command.
    func plan(_ backup: ToolBackup) -> [String]
}

struct ToolRestore: Sendable {
    /// For the run's folder, without secrets.
    var log: String
    var notes: [String] = []
    /// The manifest of pg_basebackup, and files that the tool itself changed or added since.
    var manifest: (path: String, ignored: [String])?
}
