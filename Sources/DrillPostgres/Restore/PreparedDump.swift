import DrillCore
import Foundation

/// A dump on this machine, unpacked, looked through, and ready to be restored.
struct PreparedDump: Sendable {
    var path: String
    var facts: DumpFacts
    var needs: DumpRequirements
    /// What was unpacked into scratch, to be removed once it is restored.
    private var unpackedPath: String?

    /// As PostgreSQL names it.
    var encoding: String { needs.database?.encoding ?? needs.encodingName ?? "UTF8" }

    /// - Throws: `DumpFault` or `backupUnusable` where the dump is at fault.
    init(
        _ inspector: DumpInspector, in scratch: Scratch, environment: DrillEnvironment, progress: any ProgressSink
    ) async throws {
        facts = try await inspector.facts()
        progress.step("fetch the dump", total: facts.sizeBytes, unit: .bytes)
        path = try await inspector.folder.localPath(inspector.path, in: scratch) { progress.advance(to: $0) }
        if case .packed(let packing) = facts.format {
            let unpacked = scratch.directory + "/unpacked.dump"
            progress.step("unpack the dump", total: nil, unit: .bytes)
            try await Self.unpack(path, by: packing, to: unpacked, environment)
            (path, unpackedPath) = (unpacked, unpacked)
            facts = try await DumpInspector(folder: LocalFolder(directory: scratch.directory), path: "unpacked.dump")
                .facts()
            if case .packed = facts.format { throw DumpFault(what: "the dump is packed twice") }
        }
        if let toc = facts.toc {
            needs = DumpRequirements(toc)
        } else {
            let plain = try await PlainRestore(path: path, sizeBytes: facts.sizeBytes).scan(progress: progress)
            facts.plain = plain
            needs = plain.requirements
        }
    }

    func removeUnpacked() throws {
        guard let unpackedPath else { return }
        do { try FileManager.default.removeItem(atPath: unpackedPath) } catch {
            throw DrillError(.couldNotLook, "cannot be removed", at: unpackedPath, cause: error)
        }
    }

    private static func unpack(
        _ path: String, by packing: DumpFormat.Packing, to unpacked: String, _ environment: DrillEnvironment
    ) async throws {
        guard let tool = environment.processes.find(packing.rawValue) else {
            throw DrillError(
                .couldNotLook,
                "the dump is packed by \(packing.rawValue), and there is no `\(packing.rawValue)` to unpack it",
                at: path,
                hints: ["Install it: `apt-get install \(packing.package)`."])
        }
        var command = Command(tool, ["-dc"])
        command.input = .file(path: path)
        command.output = .file(path: unpacked)
        command.network = .sealed
        let result = try await environment.processes.run(command)
        guard !result.succeeded else { return }
        let words = result.errorText.split(whereSeparator: \.isNewline).map(String.init)
        if words.contains(where: { $0.contains("No space left on device") }) {
            throw DrillError(
                .couldNotLook, "scratch is full: the dump could not be unpacked", at: unpacked, hints: words)
        }
        if case .signalled = result.ending {
            throw DrillError(.couldNotLook, "\(packing.rawValue) \(result.endingText)", at: path, hints: words)
        }
        throw DrillError(
            .backupUnusable,
            "the dump cannot be unpacked: \(words.first ?? "\(packing.rawValue) \(result.endingText)")", at: path,
            hints: words)
    }
}
