import DrillCore
import Foundation

/// A crash-consistent copy of a running server's data directory, such as a volume's snapshot that is mounted somewhere.
struct SnapshotRestorer: Restorer {
    static let kind = "pgdata_snapshot"
    static let shape = SettingsShape(
        "pgdata_snapshot: a snapshot of a running server's data directory, with its WAL and tablespaces",
        [
            SettingsField(
                "path", .text, required: true,
                "The data directory, in the set's folder; without `sets`, relative to the drill file."),
            SettingsField(
                "wal", .text,
                "The directory of its WAL where that was another volume. Default: pg_wal, or where its link leads in the set."
            ),
        ] + ClusterSettings.fields)

    let strategy = "snapshot"
    let places: SnapshotPlaces
    let cluster: ClusterSettings
    let context: PartContext

    init(_ settings: SettingsReader, _ context: PartContext) throws {
        self.context = context
        places = try SnapshotPlaces(settings, context)
        cluster = try ClusterSettings(settings, context)
        switch context.target {
        case .latest, .instant: break
        case .lsn, .name:
            throw settings.error(
                "kind", "a snapshot comes back to its own moment, not to \(context.target.text)",
                hints: ["Only `base_backup` and the like can be recovered to a place in the WAL."])
        }
    }

    /// Volumes of different instants may come up and show only in what no longer fits together (P25).
    var requiredProbes: [RequiredProbe] {
        let isDeepest: @Sendable (any Probe) -> Bool = { probe in
            guard let probe = probe as? IntegrityProbe else { return false }
            return probe.level == .deep && probe.databases == nil
        }
        return [RequiredProbe(name: "integrity", isMet: isDeepest) { IntegrityProbe.deepest(name: $0) }]
    }

    func catalog() throws -> (any BackupCatalog)? { nil }

    // MARK: - Looking

    /// What can be told of a snapshot before it is copied.
    private struct Found {
        var layout: SnapshotLayout
        var tools: PostgresTools
        var control: ControlData
    }

    private func look(_ set: BackupSet) async throws -> Found {
        let layout = try SnapshotLayout(places, in: try folder(of: set))
        let data = layout.data
        guard layout.tree.files.contains(where: { $0.path == "PG_VERSION" }),
            let major = majorVersion(String(decoding: try SnapshotCopy.read(data + "/PG_VERSION"), as: UTF8.self))
        else {
            throw DrillError(.backupUnusable, "is no data directory of PostgreSQL: it has no PG_VERSION", at: data)
        }
        guard layout.tree.files.contains(where: { $0.path == "global/pg_control" }) else {
            throw DrillError(
                .backupUnusable, "is no whole data directory: global/pg_control, the control file, is missing", at: data
            )
        }
        try refuseOthers(layout)
        let tools = try await RecoveredCluster.tools(major: major, bin: cluster.bin, at: data, context.environment)
        let control = try await ControlData.read(data, tools, context.environment)
        if let fault = try SnapshotWAL(layout.walDirectory, control).fault(control) {
            throw DrillError(.backupUnusable, fault, at: data)
        }
        return Found(layout: layout, tools: tools, control: control)
    }

    private func folder(of set: BackupSet) throws -> String {
        guard let folder = set.folder else { return context.drillFileDirectory }
        guard folder.place.hasPrefix("/") else {
            throw DrillError(
                .couldNotLook, "a snapshot of a data directory must be a directory of this machine", at: folder.place)
        }
        return folder.place
    }

    /// What is a data directory and yet no snapshot.
    private func refuseOthers(_ layout: SnapshotLayout) throws {
        if layout.tree.files.contains(where: { $0.path == "backup_label" }) {
            throw DrillError(
                .couldNotLook, "holds backup_label: this is a base backup, not a snapshot", at: layout.data,
                hints: [
                    "Drill it as `database: { kind: base_backup, base: … }`, which recovers from where that file says."
                ])
        }
        guard layout.tree.files.contains(where: { $0.path == "postmaster.pid" }),
            let line = String(decoding: try SnapshotCopy.read(layout.data + "/postmaster.pid"), as: UTF8.self)
                .split(whereSeparator: \.isNewline).first, let number = Int32(line), number > 1,
            let directory = realpath("/proc/\(number)/cwd", nil)
        else { return }
        defer { free(directory) }
        guard String(cString: directory) == layout.data else { return }
        throw DrillError(
            .couldNotLook, "a server runs on this very directory (process \(number)): it is no snapshot",
            at: layout.data,
            hints: ["Copied file by file under a running server it would be torn. Name the snapshot of it."])
    }

    func examine(_ set: BackupSet) async throws -> ComponentState {
        do {
            let found = try await look(set)
            let (wal, tablespaces) = try found.layout.trees()
            let trees = [found.layout.tree, wal].compactMap { $0 } + tablespaces.map(\.tree)
            return ComponentState(
                .usable, sizeBytes: trees.reduce(0) { $0 + $1.bytes },
                takenAt: set.time == nil ? found.control.checkpointTime : nil)
        } catch let absent as SnapshotLayout.Absent {
            return ComponentState(.incomplete(absent.what))
        } catch let error as DrillError where error.code == .backupUnusable {
            return ComponentState(.unusable(([error.what] + error.hints).joined(separator: " ")))
        }
    }

    func plan(_ set: BackupSet) async throws -> [String] {
        let found: Found
        do {
            found = try await look(set)
        } catch let absent as SnapshotLayout.Absent {
            return ["The snapshot cannot be restored: \(absent.what)."]
        } catch let error as DrillError where error.code == .backupUnusable {
            return ["The snapshot cannot be restored: \(error.what)."]
        }
        let layout = found.layout
        var sentences = [
            "The snapshot \(layout.data) of \(grouped(set.sizeBytes ?? layout.tree.bytes)) bytes (control file "
                + "`\(found.control.state)`) would be copied below \(context.scratch.directory), sharing blocks where the file "
                + "system can."
        ]
        if let wal = layout.wal { sentences.append("Its WAL is in \(wal).") }
        for tablespace in layout.tablespaces {
            sentences.append("Its tablespace \(tablespace.number) is in \(tablespace.directory).")
        }
        sentences.append("A server of PostgreSQL \(found.tools.version) would recover the copy as after a crash.")
        return sentences
    }

    // MARK: - Restoring

    func withRestored<Result: Sendable>(
        _ set: BackupSet, to target: RecoveryTarget, in scratch: Scratch?, progress: any ProgressSink,
        _ use: @Sendable (Restored) async throws -> Result
    ) async throws -> Result {
        guard let scratch else { throw DrillError(.couldNotLook, "a snapshot can only be restored into scratch") }
        let found: Found
        do { found = try await look(set) } catch let absent as SnapshotLayout.Absent {
            throw DrillError(.backupUnusable, absent.what, at: set.place)
        }
        let environment = context.environment
        let account = try RecoveredCluster.makeFolders(in: scratch)
        let copy = SnapshotCopy(layout: found.layout, environment: environment, account: account, scratch: scratch)
        let copied = try await copy.copy(progress)
        let recovered = RecoveredCluster(
            environment: environment, tools: found.tools, settings: cluster, scratch: scratch, account: account)
        // Of the copy: what the server will see.
        let control = try await ControlData.read(recovered.dataDirectory, found.tools, environment)
        progress.step("look at every page's place in the WAL", total: nil, unit: .items)
        let pages = try await PageLSNs.scan(["pgdata", "tablespaces"], in: recovered.folder, control)
        let commits = try await self.commits(recovered, control)
        let recovery = CrashRecovery(
            cluster: recovered, control: control, pages: pages, commits: commits, copied: copied,
            place: found.layout.data)
        progress.step("replay WAL", total: nil, unit: .items)
        return try await recovery.run { host, outcome in
            let database = try await recovered.look(host)
            let (point, note) = recoveryPoint(commits.last, control, set)
            return try await recovered.withDatabase(
                host, database, notes: copied.notes + outcome.notes + note, recoveryPoint: point, logs: outcome.logs,
                use)
        }
    }

    /// Where nothing committed after the checkpoint, what is left of the WAL before it may still tell of a commit.
    private func commits(_ recovered: RecoveredCluster, _ control: ControlData) async throws -> CommitTimes.Found {
        let reader = CommitTimes(environment: context.environment, tools: recovered.tools)
        let directory = recovered.dataDirectory + "/pg_wal"
        guard let timeline = control.timeline, let redo = control.redo else { return .init(last: nil, end: "") }
        var found = try await reader.read(directory, timeline: timeline, from: redo)
        if found.last == nil, let oldest = try SnapshotWAL(directory, control).oldest(before: redo, timeline: timeline)
        {
            found.last = try await reader.read(directory, timeline: timeline, from: oldest, to: redo).last
        }
        return found
    }

    private func recoveryPoint(_ commit: Date?, _ control: ControlData, _ set: BackupSet) -> (Date?, [String]) {
        if let commit {
            guard let time = set.time, places.isPerSet, commit.timeIntervalSince(time) > 300 else {
                return (commit, [])
            }
            return (
                commit,
                [
                    "The last commit is of \(rfc3339(commit)), later than the set's own name says (\(rfc3339(time))): the name is "
                        + "in another zone, or the volumes were taken later."
                ]
            )
        }
        let checkpoint = control.checkpointTime
        let told = checkpoint.map { " Its latest checkpoint is of \(rfc3339($0))." } ?? ""
        guard set.time == nil || !places.isPerSet else {
            return (nil, ["No commit stands in the WAL of the snapshot.\(told)"])
        }
        return (
            checkpoint, ["No commit stands in the WAL of the snapshot: the recovery point is its latest checkpoint."]
        )
    }
}
