/// The three CRCs that S3 knows, all bit-reflected, with all bits set before and inverted after; eight bytes a step.
struct CyclicRedundancyCheck {
    enum Kind: CaseIterable {
        /// ISO 3309, as in gzip and PNG.
        case crc32
        /// Castagnoli (RFC 3720).
        case crc32c
        /// NVM Express NVM Command Set Specification 1.0, section 5.2.1.3.4.
        case crc64nvme

        fileprivate var reflectedPolynomial: UInt64 {
            switch self {
            case .crc32: 0xEDB8_8320
            case .crc32c: 0x82F6_3B78
            case .crc64nvme: 0x9A6C_9329_AC4B_C9B5
            }
        }
        var digestBytes: Int { self == .crc64nvme ? 8 : 4 }
        fileprivate var mask: UInt64 { self == .crc64nvme ? .max : 0xFFFF_FFFF }

        fileprivate var tables: [UInt64] {
            switch self {
            case .crc32: Self.crc32Tables
            case .crc32c: Self.crc32cTables
            case .crc64nvme: Self.crc64nvmeTables
            }
        }
        private static let crc32Tables = makeTables(.crc32)
        private static let crc32cTables = makeTables(.crc32c)
        private static let crc64nvmeTables = makeTables(.crc64nvme)

        /// Eight tables of 256: table `k` says what a byte does that `k` more bytes follow.
        private static func makeTables(_ kind: Kind) -> [UInt64] {
            var tables = [UInt64](repeating: 0, count: 8 * 256)
            for byte in 0..<256 {
                var value = UInt64(byte)
                for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ kind.reflectedPolynomial : value >> 1 }
                tables[byte] = value
            }
            for index in 256..<8 * 256 {
                let before = tables[index - 256]
                tables[index] = before >> 8 ^ tables[Int(before & 0xFF)]
            }
            return tables
        }
    }

    let kind: Kind
    private let tables: [UInt64]
    private var state: UInt64

    init(_ kind: Kind) {
        self.kind = kind
        tables = kind.tables
        state = kind.mask
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var state = self.state
        tables.withUnsafeBufferPointer { tables in
            var offset = 0
            while offset + 8 <= bytes.count {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) ^ state
                state = 0
                for lane in 0..<8 { state ^= tables[(7 - lane) << 8 | Int(word >> (8 * UInt64(lane)) & 0xFF)] }
                offset += 8
            }
            while offset < bytes.count {
                state = state >> 8 ^ tables[Int((state ^ UInt64(bytes[offset])) & 0xFF)]
                offset += 1
            }
        }
        self.state = state
    }

    /// Big-endian, as S3 writes it.
    var digest: [UInt8] {
        let value = state ^ kind.mask
        return (0..<kind.digestBytes).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
    }
}
