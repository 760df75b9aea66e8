import DrillCore
import Foundation

/// Barman's archive: names from its directory, since its own list (`xlog.db`) still names what is gone; content by `get-wal`.
struct BarmanWAL: ToolArchive {
    let tool: Barman
    /// Where Barman keeps its locks and what it fetches; nil where nothing is fetched.
    private var folder: ToolFolder?

    var place: String { "\(tool.place) wals" }

    init(_ tool: Barman) { self.tool = tool }

    /// Barman unpacks beside what it unpacks: so it gets a directory of ours that only points to the files of its own.
    func fetching(into folder: ToolFolder) async throws -> BarmanWAL {
        let wals = folder.directory + "/wals"
        try folder.account.makeFolder(wals)
        let directory = try tool.configuration().wals(tool.server)
        for name in try await find(directory, ["-mindepth", "1", "-maxdepth", "1"]) where name != "xlog.db" {
            guard symlink("\(directory)/\(name)", "\(wals)/\(name)") == 0 else {
                throw DrillError(
                    .couldNotLook, "cannot be made: \(String(cString: strerror(errno)))", at: "\(wals)/\(name)")
            }
        }
        var archive = self
        archive.folder = folder
        return archive
    }

    func names() async throws -> [String] {
        try await find(tool.configuration().wals(tool.server), ["-type", "f"]).filter { $0 != "xlog.db" }
    }

    private func find(_ directory: String, _ tests: [String]) async throws -> [String] {
        let result = try await tool.find([directory] + tests + ["-printf", "%f\\n"])
        guard result.succeeded, !result.outputWasCut else {
            throw DrillError(
                .couldNotLook, "Barman's archive of WAL is not there or cannot be listed", at: directory,
                hints: ["Is it mounted? \(printable(result.errorText.utf8.prefix { $0 != UInt8(ascii: "\n") }))"])
        }
        return result.outputText.split(whereSeparator: \.isNewline).map(String.init)
    }

    func fetch(_ name: String, to path: String) async throws -> WALFetch {
        guard let folder else { throw DrillError(.couldNotLook, "no folder to fetch WAL into", at: place) }
        let own = folder.fetchPath()
        try folder.account.makeFolder(own)
        let result = try await tool.run(
            ["get-wal", "--partial", "--output-directory", own, tool.server, name], in: folder,
            wals: folder.directory + "/wals")
        let fetched = "\(own)/\(name)"
        guard result.succeeded else {
            // (Barman 3.4: status 1 is any error. It leaves an empty file where it has none.)
            if result.errors.contains("WAL file '\(name)' not found in server '\(tool.server)'") { return .absent }
            let isDamage = result.errors.contains("decompressing") || result.errors.contains("decrypting")
            throw result.failure(
                isDamage ? .backupUnusable : .couldNotLook, "barman get-wal \(name): \(result.firstWords)", at: place)
        }
        try folder.handOver(fetched, to: path)
        rmdir(own)
        // What a receiver has not finished yet ends somewhere.
        let sent = result.text.firstMatch(of: /Sending WAL '([^']+)'/).map { String($0.1) }
        return sent?.hasSuffix(".partial") ?? false ? .foundUnfinished : .found
    }
}
