import CDataFiles
import DrillCore
import Foundation

/// Brings a snapshot into scratch as a data directory that a server of ours may recover. The snapshot is only read (P26).
struct SnapshotCopy: Sendable {
    var layout: SnapshotLayout
    var environment: DrillEnvironment
    var account: ServerAccount
    var scratch: Scratch

    private var folder: String { scratch.directory + "/server" }
    private var dataDirectory: String { folder + "/pgdata" }
    private var copier: DataDirectoryCopy { DataDirectoryCopy(environment: environment, account: account) }

    /// Directories of a server that start out empty.
    private static let emptied = [
        "pg_stat_tmp", "pg_notify", "pg_dynshmem", "pg_replslot", "pg_serial", "pg_snapshots",
    ]

    struct Copied: Sendable {
        var bytes: Int64
        var seconds: Double
        /// Whole sentences for the report.
        var notes: [String]
    }

    func copy(_ progress: any ProgressSink) async throws -> Copied {
        let began = environment.clock.monotonicSeconds()
        let (wal, tablespaces) = try layout.trees()
        let bytes = ([layout.tree, wal].compactMap { $0 } + tablespaces.map(\.tree)).reduce(0) { $0 + $1.bytes }
        try DataDirectoryCopy.requireSpace(bytes, in: scratch.directory)
        progress.step("copy the snapshot", total: bytes, unit: .bytes)
        var data = layout.tree
        if layout.wal != nil {
            // The declared directory's WAL is the one that counts.
            data.directories.removeAll { $0 == "pg_wal" || $0.hasPrefix("pg_wal/") }
            data.files.removeAll { $0.path.hasPrefix("pg_wal/") }
        }
        try await copy(data, from: layout.data, to: dataDirectory, progress)
        if let wal, let source = layout.wal {
            try account.makeFolder(dataDirectory + "/pg_wal")
            try await copy(wal, from: source, to: dataDirectory + "/pg_wal", progress)
        }
        for (source, tree) in tablespaces {
            let place = "\(folder)/tablespaces/\(source.number)"
            try account.makeFolder(place)
            try await copy(tree, from: source.directory, to: place, progress)
            try copier.link("\(dataDirectory)/pg_tblspc/\(source.number)", to: place)
        }
        for name in Self.emptied where !FileManager.default.fileExists(atPath: "\(dataDirectory)/\(name)") {
            try account.makeFolder("\(dataDirectory)/\(name)")
        }
        let seconds = environment.clock.monotonicSeconds() - began
        try requireUnchanged()
        try copier.removeForeignState(dataDirectory)
        let leftOut =
            layout.leftOut.isEmpty
            ? []
            : [
                "Symbolic links in the data directory that the server's data do not lie behind were left out of the copy: "
                    + "\(layout.leftOut.joined(separator: ", "))."
            ]
        return Copied(bytes: bytes, seconds: seconds, notes: leftOut)
    }

    private func copy(
        _ tree: FileTree, from source: String, to destination: String, _ progress: any ProgressSink
    ) async throws {
        try await TreeCopy(
            tree: tree, source: source, destination: destination, account: account, progress: progress
        ).run()
    }

    /// A control file that changes while it is copied belongs to a server that runs.
    private func requireUnchanged() throws {
        let name = "/global/pg_control"
        guard FileManager.default.contents(atPath: dataDirectory + name) == (try Self.read(layout.data + name)) else {
            throw DrillError(
                .couldNotLook, "the control file changed while it was copied: something writes there", at: layout.data,
                hints: ["A snapshot stands still; copy it, or mount it read-only."])
        }
    }

    /// Without a trace in the access time.
    static func read(_ path: String, limitBytes: Int = 1 << 16) throws -> Data {
        let descriptor = df_open_source(path, 0)
        guard descriptor >= 0 else { throw FileTree.unreadable(path) }
        defer { close(descriptor) }
        var data = Data(count: limitBytes)
        let got = data.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, limitBytes) }
        guard got >= 0 else { throw FileTree.unreadable(path) }
        return data.prefix(got)
    }
}
