import DrillCore
import Foundation
import Synchronization

/// How a file of a base backup or a WAL archive is packed: told by its name, unpacked by the tool of that name.
enum Packing: String, Sendable, CaseIterable {
    case none, gzip, zstd, lz4

    var suffix: String {
        switch self {
        case .none: ""
        case .gzip: ".gz"
        case .zstd: ".zst"
        case .lz4: ".lz4"
        }
    }

    /// Splits a name into what it was before it was packed, and how it was.
    static func of(_ name: String) -> (name: String, packing: Packing) {
        for packing in [Packing.gzip, .zstd, .lz4] where name.hasSuffix(packing.suffix) {
            return (String(name.dropLast(packing.suffix.utf8.count)), packing)
        }
        return (name, .none)
    }

    /// The program that unpacks it. Throws `couldNotLook` where this machine has none.
    func tool(_ environment: DrillEnvironment, for path: String) throws -> String {
        guard let tool = environment.processes.find(rawValue) else {
            throw DrillError(
                .couldNotLook, "is packed by \(rawValue), and there is no `\(rawValue)` to unpack it", at: path,
                hints: ["Install it: `apt-get install \(rawValue)`."])
        }
        return tool
    }
}

/// A file of a backup that is read unpacked.
struct PackedFile: Sendable {
    var folder: any BackupFolder
    /// Below the folder.
    var path: String
    var environment: DrillEnvironment

    var place: String { (folder.place.hasSuffix("/") ? folder.place : folder.place + "/") + path }
    var packing: Packing { Packing.of(path).packing }

    /// So much of the packed file is enough to unpack the first block of any packer.
    private static let headBytes = 8 << 20

    /// The first bytes of the content, fewer where it is shorter or broken.
    func head(_ count: Int) async throws -> [UInt8] {
        let packed = try await folder.read(path, offset: 0, count: packing == .none ? count : Self.headBytes)
        guard packing != .none else { return packed }
        var command = Command(try packing.tool(environment, for: place), ["-dc"])
        command.input = .bytes(packed)
        command.output = .collected(limitBytes: count)
        command.network = .sealed
        // What it was given ends early, so how it ends says nothing.
        return try await environment.processes.run(command).output
    }

    /// Hands on the whole content in order. What `receive` throws is thrown; a broken file is `backupUnusable`.
    /// - Parameter scratch: Where a bucket's file is brought to for as long as that takes.
    func read(in scratch: Scratch, _ receive: @escaping @Sendable ([UInt8]) throws -> Void) async throws {
        try await withLocalFile(in: scratch) { local, _ in
            guard packing != .none else {
                let file = try LocalFile(local)
                while true {
                    let bytes = try await file.next()
                    if bytes.isEmpty { return }
                    try Task.checkCancellation()
                    try receive(bytes)
                }
            }
            let failure = FirstFailure()
            try await unpack(local, .chunks { bytes in failure.attempt { try receive(bytes) } }) { failure.error }
        }
    }

    /// Writes the whole content to a new file. A broken file is `backupUnusable`.
    func write(to target: String, in scratch: Scratch) async throws {
        try await withLocalFile(in: scratch) { local, isCopy in
            if packing != .none { return try await unpack(local, .file(path: target)) { nil } }
            if isCopy {
                guard rename(local, target) == 0 else {
                    throw DrillError(.couldNotLook, "cannot be moved: \(String(cString: strerror(errno)))", at: local)
                }
                return
            }
            let result = try await environment.processes.run(
                Command("cp", ["--reflink=auto", "--", local, target], environment: ["LC_ALL": "C"]))
            guard result.succeeded else {
                throw DrillError(.couldNotLook, "cannot be copied: \(Self.firstLine(result))", at: place)
            }
        }
    }

    private func withLocalFile(in scratch: Scratch, _ body: (String, _ isCopy: Bool) async throws -> Void) async throws
    {
        let local = try await folder.localPath(path, in: scratch) { _ in }
        let isCopy = local.hasPrefix(scratch.directory + "/")
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(local, isCopy)) } catch { outcome = .failure(error) }
        if isCopy, unlink(local) != 0, errno != ENOENT {
            throw DrillError(.couldNotLook, "cannot be removed: \(String(cString: strerror(errno)))", at: local)
        }
        try outcome.get()
    }

    private func unpack(
        _ local: String, _ output: Command.Output, failure: () -> (any Error)?
    ) async throws {
        var command = Command(try packing.tool(environment, for: place), ["-dc"])
        command.input = .file(path: local)
        command.network = .sealed
        command.output = output
        let result = try await environment.processes.run(command)
        if let error = failure() { throw error }
        guard !result.succeeded else { return }
        let words = Self.firstLine(result)
        let isFull = words.contains("No space left on device")
        throw DrillError(
            isFull ? .couldNotLook : .backupUnusable,
            isFull ? "scratch is full" : "cannot be unpacked: \(words)", at: place)
    }

    private static func firstLine(_ result: CommandResult) -> String {
        result.errorText.split(whereSeparator: \.isNewline).first.map(String.init)
            ?? "\(result.executable) \(result.endingText)"
    }
}

/// Runs nothing more once something has thrown.
private final class FirstFailure: Sendable {
    private let state = Mutex<(any Error)?>(nil)
    var error: (any Error)? { state.withLock { $0 } }
    func attempt(_ body: () throws -> Void) {
        state.withLock { failure in
            guard failure == nil else { return }
            do { try body() } catch { failure = error }
        }
    }
}
