import Crypto
import Foundation

/// A checksum as S3 keeps it beside an object (Amazon S3 API Reference, Checksum).
package struct ObjectChecksum: Sendable, Hashable {
    package enum Algorithm: String, Sendable, CaseIterable {
        case crc32 = "CRC32"
        case crc32c = "CRC32C"
        case crc64nvme = "CRC64NVME"
        case sha1 = "SHA1"
        case sha256 = "SHA256"

        var headerName: String { "x-amz-checksum-\(rawValue.lowercased())" }

        /// The checksum's bytes, big-endian for the CRCs.
        package func digest(of bytes: [UInt8]) -> [UInt8] {
            switch self {
            case .crc32: Self.bigEndian(CRCTable.crc32.checksum(of: bytes), count: 4)
            case .crc32c: Self.bigEndian(CRCTable.crc32c.checksum(of: bytes), count: 4)
            case .crc64nvme: Self.bigEndian(CRCTable.crc64nvme.checksum(of: bytes), count: 8)
            case .sha1: [UInt8](Insecure.SHA1.hash(data: bytes))
            case .sha256: [UInt8](SHA256.hash(data: bytes))
            }
        }

        private static func bigEndian(_ value: UInt64, count: Int) -> [UInt8] {
            (0..<count).reversed().map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
        }
    }
    package enum Kind: String, Sendable {
        case fullObject = "FULL_OBJECT"
        /// A checksum of the parts' checksums, which is no hash of the content (S25).
        case composite = "COMPOSITE"
    }

    package var algorithm: Algorithm
    /// Base64; a composite one ends in `-` and the number of parts.
    package var value: String
    package var kind: Kind

    package init(_ algorithm: Algorithm, value: String, kind: Kind = .fullObject) {
        self.algorithm = algorithm
        self.value = value
        self.kind = kind
    }

    /// The checksum of exactly these bytes.
    package init(_ algorithm: Algorithm, of bytes: [UInt8]) {
        self.init(algorithm, value: Bytes.base64(algorithm.digest(of: bytes)))
    }

    /// What S3 keeps for an object put together from `parts`.
    package init(_ algorithm: Algorithm, ofParts parts: [[UInt8]], kind: Kind) {
        switch kind {
        case .fullObject: self.init(algorithm, of: parts.flatMap { $0 })
        case .composite:
            let joined = algorithm.digest(of: parts.flatMap { algorithm.digest(of: $0) })
            self.init(algorithm, value: "\(Bytes.base64(joined))-\(parts.count)", kind: .composite)
        }
    }
}

/// Bitwise-reflected CRCs with all-ones start and finish, by table.
private struct CRCTable {
    static let crc32 = CRCTable(polynomial: 0xEDB8_8320, mask: 0xFFFF_FFFF)
    static let crc32c = CRCTable(polynomial: 0x82F6_3B78, mask: 0xFFFF_FFFF)
    static let crc64nvme = CRCTable(polynomial: 0x9A6C_9329_AC4B_C9B5, mask: .max)

    private let table: [UInt64]
    private let mask: UInt64

    init(polynomial: UInt64, mask: UInt64) {
        self.mask = mask
        table = (0..<256).map { start in
            (0..<8).reduce(UInt64(start)) { value, _ in value & 1 == 1 ? value >> 1 ^ polynomial : value >> 1 }
        }
    }

    func checksum(of bytes: [UInt8]) -> UInt64 {
        var value = mask
        for byte in bytes { value = value >> 8 ^ table[Int(UInt8(truncatingIfNeeded: value) ^ byte)] }
        return value ^ mask
    }
}
