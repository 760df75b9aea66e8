import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillObjects

/// Remembers what was made and not removed.
final class RecordedItems: ScratchJournal {
    private let items = Mutex<[ScratchItem]>([])
    var open: [ScratchItem] { items.withLock { $0 } }
    func willCreate(_ item: ScratchItem) async throws { items.withLock { $0.append(item) } }
    func didRemove(_ item: ScratchItem) async throws { items.withLock { $0.removeAll { $0 == item } } }
}

/// A line of a manifest, as a program reads it.
struct ManifestLine: Decodable, Equatable {
    var bucket: String
    var key: String?
    var key_base64: String
    var state: String
    var file: String?
    var size: Int64
    var sha256: String?
    var version: String?
    var reason: String?

    var bytes: [UInt8] { Data(base64Encoded: key_base64).map(Array.init) ?? [] }
}

/// A run's scratch in a directory of one test.
struct CopyFixture {
    static let runID = "20261121T120450Z-03ee65"

    var tree: TestTree
    var environment: DrillEnvironment
    let journal = RecordedItems()
    let keeping = KeepDecision(isKept: false)

    var scratch: Scratch {
        Scratch(runID: Self.runID, directory: tree.path, journal: journal, keeping: keeping)
    }

    func context(_ sources: [any ObjectBackup] = [], urls: [String] = []) -> CopyContext {
        CopyContext(environment: environment, sources: sources, bucketURLs: urls)
    }

    func reader(_ shape: SettingsShape, _ settings: [String: String] = [:]) throws -> SettingsReader {
        let pairs = settings.sorted { $0.key < $1.key }.map { name, value in
            (name: name, nameLine: 1, value: SettingsNode(.scalar(value, isPlain: true), line: 1))
        }
        return try SettingsReader(
            SettingsNode(.mapping(pairs), line: 1), shape: shape, path: "scratch.objects",
            source: DrillFileSource(path: "drill.yaml", directory: "/", variables: [:]), extraKeys: ["kind"])
    }

    func withCopies(
        _ stores: [any ObjectStore], _ use: @escaping @Sendable (CopiedObjects) async throws -> Void = { _ in }
    ) async throws {
        try await DirectoryCopier(reader(DirectoryCopier.shape), context()).withCopies(
            of: Dictionary(uniqueKeysWithValues: stores.map { ($0.bucket, $0) }), in: scratch, progress: NoProgress(),
            use)
    }

    func manifest() throws -> [ManifestLine] {
        try String(contentsOfFile: tree.path + "/objects/manifest.jsonl", encoding: .utf8).split(separator: "\n").map {
            try JSONDecoder().decode(ManifestLine.self, from: Data($0.utf8))
        }
    }

    func bytes(_ line: ManifestLine) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(fileURLWithPath: "\(tree.path)/objects/\(try #require(line.file))")))
    }
}

/// The error that `body` throws, as ours.
func refusal(_ body: () async throws -> Void) async -> DrillError? {
    do {
        try await body()
        return nil
    } catch {
        return DrillError(wrapping: error)
    }
}
