import Foundation

/// Millions of objects that nobody stores: everything about object `i` follows from `i`, here and in SQL.
///
/// With `i` from 0 below `count` and `v` from 0 (oldest) below `versionsPerKey`, both `bigint` in SQL:
///
/// | | SQL |
/// | --- | --- |
/// | `{i}` in the key | `lpad(i::text, 8, '0')` |
/// | `{hash}` in the key | `lpad(to_hex((i * 2654435761) % 4294967296), 8, '0')` |
/// | the default key | `'users/' \|\| {i} \|\| '/avatar-' \|\| {hash} \|\| '.png'` |
/// | size | `1000 + (i * 7919 + v) % 9000` |
/// | mark(i, v) | `lpad(to_hex((i * 2654435761 + v * 40503) % 4294967296), 8, '0')` |
/// | ETag | `repeat(mark, 4)`, no MD5: the objects say that they are encrypted with `aws:kms` |
/// | version id | `repeat(mark, 3) \|\| lpad(v::text, 8, '0')`; `null` where there is one version a key |
/// | last modified | `timestamptz '2026-01-01Z' + v * interval '1 day' + (i % 86400) * interval '1 second'` |
/// | body | `left(repeat(mark \|\| E'\n', 1112), size)` |
///
/// `{i}` stands before `{hash}`, so keys are in byte order by `i`.
package struct GeneratedKeys: KeySpace, Sendable {
    enum Piece: Sendable {
        case literal([UInt8])
        case index, hash
    }
    package static let defaultFormat = "users/{i}/avatar-{hash}.png"
    /// 2026-01-01T00:00:00Z in seconds since 1970.
    static let firstInstant = 1_767_225_600

    package let count: Int
    package let versionsPerKey: Int
    let pieces: [Piece]
    /// Indices that have no object, ascending.
    let omitted: [Int]

    /// - Parameter keyFormat: Text with `{i}` and, behind it, `{hash}`, each at most once.
    init(count: Int, keyFormat: String, versionsPerKey: Int, omitting: [Int]) {
        precondition((0...100_000_000).contains(count) && versionsPerKey >= 1, "8 digits and at least one version")
        self.count = count
        self.versionsPerKey = versionsPerKey
        omitted = Set(omitting).filter { (0..<count).contains($0) }.sorted()
        pieces = Self.pieces(of: keyFormat)
    }

    package func key(_ index: Int) -> [UInt8] {
        var key: [UInt8] = []
        for piece in pieces {
            switch piece {
            case .literal(let bytes): key += bytes
            case .index: key += Self.digits(index)
            case .hash: key += Self.hex(Self.hash(index))
            }
        }
        return key
    }

    package func size(_ index: Int, version: Int = 0) -> Int { 1000 + (index * 7919 + version) % 9000 }

    package func eTag(_ index: Int, version: Int = 0) -> String {
        String(decoding: repeatElement(Self.hex(Self.mark(index, version)), count: 4).joined(), as: UTF8.self)
    }

    package func versionID(_ index: Int, version: Int) -> String {
        guard versionsPerKey > 1 else { return "null" }
        let marks = repeatElement(Self.hex(Self.mark(index, version)), count: 3).joined()
        return String(decoding: marks + Self.digits(version), as: UTF8.self)
    }

    package func lastModified(_ index: Int, version: Int = 0) -> Date {
        Date(timeIntervalSince1970: Double(Self.firstInstant + version * 86400 + index % 86400))
    }

    package func body(_ index: Int, version: Int = 0) -> [UInt8] {
        let line = Self.hex(Self.mark(index, version)) + [UInt8(ascii: "\n")]
        return [UInt8](repeatElement(line, count: 1112).joined().prefix(size(index, version: version)))
    }

    // MARK: KeySpace

    var keyCount: Int { count - omitted.count }

    func key(at position: Int) -> [UInt8] { key(index(at: position)) }

    func history(at position: Int) -> [ListedVersion] {
        let index = index(at: position)
        return (0..<versionsPerKey).reversed().map { version in
            ListedVersion(
                key: key(index), versionID: versionID(index, version: version),
                isLatest: version == versionsPerKey - 1, lastModified: lastModified(index, version: version),
                object: .init(
                    eTag: eTag(index, version: version), size: size(index, version: version), storageClass: "STANDARD",
                    checksum: nil))
        }
    }

    func position(notBelow key: [UInt8]) -> Int {
        var low = 0
        var high = keyCount
        while low < high {
            let middle = (low + high) / 2
            if Bytes.compare(self.key(at: middle), key) < 0 { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The object number at this position, which is further on by as many as are left out before it.
    func index(at position: Int) -> Int {
        var low = 0
        var high = omitted.count
        while low < high {
            let middle = (low + high) / 2
            if omitted[middle] - middle <= position { low = middle + 1 } else { high = middle }
        }
        return position + low
    }

    func versions(of key: [UInt8]) -> [StandInVersion] {
        let position = position(notBelow: key)
        guard position < keyCount, self.key(at: position) == key else { return [] }
        let index = index(at: position)
        return (0..<versionsPerKey).reversed().map { version in
            var object = StandInObject(body(index, version: version))
            object.eTag = eTag(index, version: version)
            object.encryption = "aws:kms"
            return StandInVersion(
                versionID: versionID(index, version: version), lastModified: lastModified(index, version: version),
                sequence: version, object: object)
        }
    }

    // MARK: Formulas

    static func hash(_ index: Int) -> UInt32 { UInt32(truncatingIfNeeded: index &* 2_654_435_761) }

    static func mark(_ index: Int, _ version: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: index &* 2_654_435_761 &+ version &* 40503)
    }

    static func digits(_ value: Int) -> [UInt8] { [UInt8](S3Time.pad(value, 8).utf8) }

    static func hex(_ value: UInt32) -> [UInt8] {
        [UInt8](Bytes.hex((0..<4).reversed().map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }).utf8)
    }

    private static func pieces(of format: String) -> [Piece] {
        guard let index = format.range(of: "{i}") else { preconditionFailure("a key format needs {i}") }
        let rest = format[index.upperBound...]
        let head = [Piece.literal([UInt8](format[..<index.lowerBound].utf8)), .index]
        guard let hash = rest.range(of: "{hash}") else { return head + [.literal([UInt8](rest.utf8))] }
        return head + [
            .literal([UInt8](rest[..<hash.lowerBound].utf8)), .hash, .literal([UInt8](rest[hash.upperBound...].utf8)),
        ]
    }
}
