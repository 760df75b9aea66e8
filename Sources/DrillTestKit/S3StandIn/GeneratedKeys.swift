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
        String(repeating: String(decoding: Self.hex(Self.mark(index, version)), as: UTF8.self), count: 4)
    }

    package func versionID(_ index: Int, version: Int) -> String {
        guard versionsPerKey > 1 else { return "null" }
        let mark = String(decoding: Self.hex(Self.mark(index, version)), as: UTF8.self)
        return String(repeating: mark, count: 3) + String(decoding: Self.digits(version), as: UTF8.self)
    }

    package func lastModified(_ index: Int, version: Int = 0) -> Date {
        Date(timeIntervalSince1970: Double(Self.firstInstant + version * 86400 + index % 86400))
    }

    package func body(_ index: Int, version: Int = 0) -> [UInt8] {
        let line = Self.hex(Self.mark(index, version)) + [UInt8(ascii: "\n")]
        let size = size(index, version: version)
        return [UInt8](unsafeUninitializedCapacity: size) { body, count in
            for position in stride(from: 0, to: size, by: line.count) {
                let length = min(line.count, size - position)
                for offset in 0..<length { body[position + offset] = line[offset] }
            }
            count = size
        }
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

    private func omittedBefore(_ index: Int) -> Int {
        var low = 0
        var high = omitted.count
        while low < high {
            let middle = (low + high) / 2
            if omitted[middle] < index { low = middle + 1 } else { high = middle }
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

    /// The number of the object with this key, read from the key itself; `nil` when there is no such object.
    func index(of key: [UInt8]) -> Int? {
        guard case .literal(let before)? = pieces.first, key.count >= before.count + 8 else { return nil }
        var index = 0
        for digit in key[before.count..<(before.count + 8)] {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
            index = index * 10 + Int(digit - UInt8(ascii: "0"))
        }
        guard index < count, self.key(index) == key else { return nil }
        return self.index(at: index - omittedBefore(index)) == index ? index : nil
    }

    func versions(of key: [UInt8]) -> [StandInVersion] {
        guard let index = index(of: key) else { return [] }
        return (0..<versionsPerKey).reversed().map { version in
            var object = StandInObject(body(index, version: version), eTag: eTag(index, version: version))
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

    static func digits(_ value: Int) -> [UInt8] {
        var rest = value
        return [UInt8](unsafeUninitializedCapacity: 8) { digits, count in
            for place in (0..<8).reversed() {
                digits[place] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            }
            count = 8
        }
    }

    static func hex(_ value: UInt32) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 8) { digits, count in
            for place in 0..<8 {
                let digit = UInt8(truncatingIfNeeded: value >> UInt32(28 - 4 * place)) & 15
                digits[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
            }
            count = 8
        }
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
