import Crypto
import DrillCore
import DrillPostgres
import Foundation
import Synchronization

/// A service as there are many: users with avatars and documents, rows in PostgreSQL, files in two buckets. Like most it uploads
/// before it commits, and deletes the row before the object: between the two stores nothing is atomic.
struct SampleApplication: Sendable {
    let database: SampleDatabase
    /// One directory a bucket.
    let buckets: String

    static let schema = [
        """
        CREATE TABLE users (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL,
            avatar_key text, avatar_bytes bigint, avatar_sha256 text, updated_at timestamptz NOT NULL DEFAULT clock_timestamp())
        """,
        """
        CREATE TABLE documents (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, owner_id bigint NOT NULL REFERENCES users,
            object_key text NOT NULL, size_bytes bigint NOT NULL, sha256 text NOT NULL,
            updated_at timestamptz NOT NULL DEFAULT clock_timestamp())
        """,
    ]

    func prepare(_ session: SampleSession) async throws {
        for statement in Self.schema { try await session.run(statement) }
        for bucket in ["avatars", "documents"] {
            try FileManager.default.createDirectory(atPath: "\(buckets)/\(bucket)", withIntermediateDirectories: true)
        }
    }

    /// A new user; one in eight has no avatar.
    func signUp(_ session: SampleSession, _ random: inout SeededRandom) async throws {
        let name = "user-\(hexadecimal(random.bytes(4)))"
        guard random.next() % 8 != 0 else {
            try await session.run("INSERT INTO users (name) VALUES ($1)", [name])
            return
        }
        let object = try upload(to: "avatars", folder: String(name.suffix(2)), suffix: "png", &random)
        try await session.run(
            "INSERT INTO users (name, avatar_key, avatar_bytes, avatar_sha256) VALUES ($1, $2, $3, $4)",
            [name, object.key, "\(object.sizeBytes)", object.sha256])
    }

    func addDocument(_ session: SampleSession, _ random: inout SeededRandom) async throws {
        let year = "\(2020 + random.next() % 7)"
        let object = try upload(to: "documents", folder: year, suffix: "pdf", &random)
        try await session.run(
            """
            INSERT INTO documents (owner_id, object_key, size_bytes, sha256)
            VALUES ((SELECT min(id) + $1::bigint % count(*) FROM users), $2, $3, $4)
            """, ["\(random.next() % 1_000_000)", object.key, "\(object.sizeBytes)", object.sha256])
    }

    /// Deletes the oldest document: first the row, then the object.
    func deleteDocument(_ session: SampleSession) async throws {
        let deleted = try await session.run(
            "DELETE FROM documents WHERE id = (SELECT min(id) FROM documents) RETURNING object_key")
        guard let key = deleted.first?.first ?? nil else { return }
        try FileManager.default.removeItem(atPath: "\(buckets)/documents/\(key)")
    }

    private func upload(
        to bucket: String, folder: String, suffix: String, _ random: inout SeededRandom
    ) throws -> (key: String, sizeBytes: Int, sha256: String) {
        let content = random.bytes(200 + Int(random.next() % 3800))
        let key = "\(folder)/\(hexadecimal(random.bytes(10))).\(suffix)"
        let path = "\(buckets)/\(bucket)/\(key)"
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(content).write(to: URL(fileURLWithPath: path))
        return (key, content.count, hexadecimal(SHA256.hash(data: content)))
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 8)
        while bytes.count < count { withUnsafeBytes(of: next().littleEndian) { bytes.append(contentsOf: $0) } }
        return Array(bytes.prefix(count))
    }
}

/// Users of the application who do not stop while a backup runs.
final class Traffic: Sendable {
    private struct Counts {
        var signUps = 0
        var deletions = 0
        var isStopped = false
    }
    private let counts = Mutex(Counts())

    var signUps: Int { counts.withLock { $0.signUps } }
    var deletions: Int { counts.withLock { $0.deletions } }
    func stop() { counts.withLock { $0.isStopped = true } }

    /// Two writers side by side, until ``stop()``.
    func run(_ application: SampleApplication, seed: UInt64) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                var random = SeededRandom(seed: seed)
                let session = try await application.database.session()
                while !isStopped {
                    try Task.checkCancellation()
                    try await application.signUp(session, &random)
                    counts.withLock { $0.signUps += 1 }
                }
                await session.close()
            }
            group.addTask { [self] in
                var random = SeededRandom(seed: seed ^ 0xD0C5)
                let session = try await application.database.session()
                while !isStopped {
                    try Task.checkCancellation()
                    try await application.addDocument(session, &random)
                    try await application.deleteDocument(session)
                    counts.withLock { $0.deletions += 1 }
                }
                await session.close()
            }
            try await group.waitForAll()
        }
    }

    private var isStopped: Bool { counts.withLock { $0.isStopped } }
}
