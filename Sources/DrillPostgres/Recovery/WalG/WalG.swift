import DrillCore
import Foundation

/// A WAL-G storage, asked by `wal-g backup-list`, `backup-fetch`, `wal-show` and `wal-fetch`.
struct WalG: BackupTool {
    static let kind = "wal_g"
    static let title = "wal_g: a storage of WAL-G's, fetched by WAL-G itself"
    static let fields = [
        SettingsField(
            "config", .text,
            "WAL-G's configuration file (.json, .yaml). Default: ~/.walg.json of its user. Variables `WALG_…`, `AWS_…` and the "
                + "like reach it as well."),
        SettingsField("prefix", .text, "Where its files are, as `WALG_FILE_PREFIX` says it: a directory."),
    ]

    /// Of where the storage is and how it is reached. `PG…` is not among them: nothing here connects to a server.
    private static let prefixes = [
        "WALG_", "WALE_", "AWS_", "GOOGLE_", "GCS_", "AZURE_", "AZ_", "OS_", "SWIFT_", "SSH_", "YC_", "TOTAL_BG_",
    ]

    var program: ToolProgram
    let config: String?
    let prefix: String?

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        config = try settings.string("config").map { settings.source.absolute($0) }
        prefix = try settings.string("prefix").map { settings.source.absolute($0) }
        program = try ToolProgram(
            "wal-g",
            installation: [
                "Get WAL-G for PostgreSQL from its project's releases and put it on `PATH` as `wal-g`, or name it with `program:`."
            ], settings, context, environmentPrefixes: Self.prefixes)
        program.variables["WALG_FILE_PREFIX"] = prefix ?? program.variables["WALG_FILE_PREFIX"]
        program.user = try ToolProgram.user(settings) { try ServerAccount.current().user }
        if let directory = program.variables["WALG_FILE_PREFIX"],
            let refusal = SourceGuard(sources: [.init(what: "WAL-G's storage", directory: directory)])
                .refusal(scratch: context.scratch.directory)
        {
            throw settings.error("prefix", refusal, hints: ["Set `scratch.directory` to a place apart."])
        }
    }

    var place: String {
        let storage = prefix ?? program.variables.filter { $0.key.hasSuffix("_PREFIX") }.values.sorted().first
        return "wal-g(\([config.map { "config=\($0)" }, storage].compactMap { $0 }.joined(separator: " ")))"
    }

    func run(_ arguments: [String], in folder: ToolFolder? = nil) async throws -> ToolResult {
        // What it fetches ahead would else go below the data directory.
        let variables = folder.map { ["WALG_PREFETCH_DIR": $0.spool] } ?? [:]
        var command = try program.command(
            (config.map { ["--config", $0] } ?? []) + arguments, variables: variables, at: place)
        command.output = .collected(limitBytes: 64 << 20)
        return try await program.run(command)
    }

    // MARK: - Catalog

    func backups() async throws -> [ToolBackup] {
        let result = try await run(["backup-list", "--detail", "--json"])
        guard result.succeeded else { throw failure(result, "backup-list") }
        if result.text.allSatisfy(\.isWhitespace), result.errors.contains("No backups found") { return [] }
        let listed = try result.decoded([WalGBackup]?.self, at: place) ?? []
        let names = Set(listed.map(\.name))
        return listed.map { $0.backup(among: names) }
    }

    func failure(_ result: ToolResult, _ command: String) -> DrillError {
        result.failure(.couldNotLook, "wal-g \(command): \(result.firstWords)", at: place)
    }

    func examined(_ backup: ToolBackup) async throws -> ToolBackup {
        guard case .done = backup.state else { return backup }
        return try await WalGWAL(tool: self, folder: nil).withGapJudged(backup)
    }

    func plan(_ backup: ToolBackup) -> [String] { ["wal-g backup-fetch would bring \(backup.label) back."] }

    // MARK: - Restore

    func restore(_ backup: ToolBackup, into folder: ToolFolder) async throws -> ToolRestore {
        var options: [String] = []
        if let spec = try await tablespaces(of: backup, in: folder) {
            options = ["--restore-spec", try folder.write("restore-spec.json", spec)]
        }
        let result = try await run(["backup-fetch", folder.data, backup.label] + options, in: folder)
        guard result.succeeded else {
            let words = result.errors
            let marks = [
                "checksum", "unexpected EOF", "corrupt", "invalid", "does not exist", "not found", "decompress",
            ]
            let isStorage = [
                "dial tcp", "connection refused", "timeout", "AccessDenied", "Forbidden", "no such host",
                "permission denied",
            ]
            .contains(where: words.contains)
            let isDamage = !isStorage && marks.contains(where: words.contains)
            throw result.failure(
                isDamage ? .backupUnusable : .couldNotLook, "wal-g backup-fetch: \(result.firstWords)",
                at: "\(place) \(backup.label)")
        }
        return ToolRestore(
            log: result.errors,
            notes: [
                "WAL-G keeps no checksum of each file: one that is changed shows only to probes that read it, such as `integrity`."
            ])
    }

    /// Where each tablespace is to go, as WAL-G wants it said: without it, it writes to where they were in production (P20).
    /// - Returns: nil where the backup has none.
    private func tablespaces(of backup: ToolBackup, in folder: ToolFolder) async throws -> String? {
        let sentinel = "basebackups_005/\(backup.label)_backup_stop_sentinel.json"
        let result = try await run(["st", "cat", sentinel], in: folder)
        guard result.succeeded else {
            throw result.failure(
                .couldNotLook, "wal-g st cat \(sentinel): \(result.firstWords)", at: place,
                hints: ["It tells the backup's tablespaces, which must be led into scratch."])
        }
        return try WalGSentinel(result, at: place).spec(data: folder.data, tablespaces: folder.tablespaces)
    }

    func archive(
        of backup: ToolBackup, in folder: ToolFolder, control dataDirectory: String
    ) async throws -> any ToolArchive {
        WalGWAL(tool: self, folder: folder)
    }
}
