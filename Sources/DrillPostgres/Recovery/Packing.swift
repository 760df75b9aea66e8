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

/// A file that is read unpacked.
struct PackedFile: Sendable {
    var path: String
    var packing: Packing
    var environment: DrillEnvironment

    /// So much of the packed file is enough to unpack the first block of any packer.
    private static let headBytes = 8 << 20

    /// The first bytes of the content, fewer where it is shorter or broken.
    func head(_ count: Int) async throws -> [UInt8] {
        let packed = try await LocalFile(path).next(packing == .none ? count : Self.headBytes)
        guard packing != .none else { return packed }
        var command = Command(try packing.tool(environment, for: path), ["-dc"])
        command.input = .bytes(packed)
        command.output = .collected(limitBytes: count)
        command.network = .sealed
        // What it was given ends early, so how it ends says nothing.
        return try await environment.processes.run(command).output
    }

    /// Hands on the whole content in order. What `receive` throws is thrown; a broken file is `backupUnusable`.
    func read(_ receive: @escaping @Sendable ([UInt8]) throws -> Void) async throws {
        guard packing != .none else {
            let file = try LocalFile(path)
            while true {
                let bytes = try await file.next()
                if bytes.isEmpty { return }
                try Task.checkCancellation()
                try receive(bytes)
            }
        }
        let failure = FirstFailure()
        var command = Command(try packing.tool(environment, for: path), ["-dc"])
        command.input = .file(path: path)
        command.network = .sealed
        command.output = .chunks { bytes in failure.attempt { try receive(bytes) } }
        let result = try await environment.processes.run(command)
        if let error = failure.error { throw error }
        guard result.succeeded else {
            let words = result.errorText.split(whereSeparator: \.isNewline).map(String.init)
            throw DrillError(
                .backupUnusable, "cannot be unpacked: \(words.first ?? "\(packing.rawValue) \(result.endingText)")",
                at: path)
        }
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
