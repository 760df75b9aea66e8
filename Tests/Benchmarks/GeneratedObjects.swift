import DrillCore
import Foundation

/// Objects of which only the listing exists, made up as it is read: what a probe costs by itself when listing costs nothing.
///
/// With `i` from 0 below `keys`, a `bigint` in SQL, in key-byte order by `i`:
///
/// | | SQL |
/// | --- | --- |
/// | key | `'uploads/app/users/' \|\| lpad(i::text, 8, '0') \|\| '/avatar-' \|\| {hash} \|\| '.png'` |
/// | `{hash}` | `lpad(to_hex((i * 2654435761) % 4294967296), 8, '0')` |
/// | size | `1000 + (i * 7919) % 9000` |
struct GeneratedObjects: ObjectBackup {
    static let kind = "generated"
    static let shape = SettingsShape(
        "generated: a listing without objects, for benchmarks",
        [SettingsField("keys", .integer(1...100_000_000), required: true, "How many keys there are.")])

    let bucket: String
    private let keys: Int

    init(bucket: String, _ settings: SettingsReader, _ context: PartContext) throws {
        self.bucket = bucket
        keys = Int(try settings.required("keys", settings.integer("keys", in: 1...100_000_000)))
    }

    func examine(_ set: BackupSet) async throws -> ComponentState { ComponentState(.usable) }
    func plan(_ set: BackupSet) async throws -> [String] { ["Makes \(keys) keys up."] }
    func open(_ set: BackupSet, recoveryPoint: Date?, in scratch: Scratch?) async throws -> any ObjectStore {
        GeneratedStore(bucket: bucket, keys: keys)
    }
}

private struct GeneratedStore: ObjectStore {
    let bucket: String
    let keys: Int
    let copiedBetween: ClosedRange<Date>? = nil
    let usage: [String: Int64] = [:]
    let notes: [String] = []
    var place: String { "\(keys) generated keys" }

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream { GeneratedInventory(keys: keys) }

    /// The listing is all there is.
    func presence(of key: ObjectKey) async throws -> Presence { .absent }
    func cannotHold(_ key: ObjectKey) -> String? { nil }
    func content(
        of key: ObjectKey, reading: ObjectReading, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        throw DrillError(.couldNotLook, "generated objects have no content", at: place)
    }
    func storedChecksum(
        of key: ObjectKey, reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum? { nil }
    func evidence(about key: ObjectKey, finding: FindingKind) async throws -> KeyEvidence? { nil }
}

private actor GeneratedInventory: InventoryStream {
    private static let batchKeys = 8192
    private static let template = [UInt8]("uploads/app/users/00000000/avatar-00000000.png".utf8)
    private static let indexEnd = 26, hashEnd = 42

    private var rest: Range<Int>

    init(keys: Int) { rest = 0..<keys }

    func cancel() { rest = 0..<0 }

    func next() -> ObjectBatch? {
        guard !rest.isEmpty else { return nil }
        let indices = rest.prefix(Self.batchKeys)
        rest = rest.dropFirst(Self.batchKeys)
        var batch = ObjectBatch()
        batch.keys.bytes = Self.keys(indices)
        batch.keys.ends = (1...indices.count).map { Int32($0 * Self.template.count) }
        batch.sizes = indices.map { Int64(1000 + ($0 * 7919) % 9000) }
        batch.modified = [Int64](repeating: .min, count: indices.count)
        return batch
    }

    private static func keys(_ indices: Range<Int>) -> [UInt8] {
        let digits = [UInt8]("0123456789abcdef".utf8)
        let length = template.count
        return [UInt8](unsafeUninitializedCapacity: indices.count * length) { bytes, filled in
            for index in indices {
                let key = UnsafeMutableBufferPointer(rebasing: bytes[filled..<filled + length])
                _ = key.initialize(from: template)
                var number = index
                var hash = UInt32(truncatingIfNeeded: index &* 2_654_435_761)
                for place in 1...8 {
                    key[indexEnd - place] = digits[number % 10]
                    key[hashEnd - place] = digits[Int(hash & 15)]
                    number /= 10
                    hash >>= 4
                }
                filled += length
            }
        }
    }
}
