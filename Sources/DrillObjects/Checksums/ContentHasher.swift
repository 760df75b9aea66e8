import Crypto
import DrillCore

/// Hashes bytes as they come, with any algorithm of the drill file.
enum ContentHasher {
    case md5(Insecure.MD5)
    case sha1(Insecure.SHA1)
    case sha256(SHA256)
    case cyclic(CyclicRedundancyCheck)

    init(_ algorithm: ChecksumAlgorithm) {
        self =
            switch algorithm {
            case .md5: .md5(Insecure.MD5())
            case .sha1: .sha1(Insecure.SHA1())
            case .sha256: .sha256(SHA256())
            case .crc32: .cyclic(CyclicRedundancyCheck(.crc32))
            case .crc32c: .cyclic(CyclicRedundancyCheck(.crc32c))
            case .crc64nvme: .cyclic(CyclicRedundancyCheck(.crc64nvme))
            }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .md5(var hash):
            hash.update(bufferPointer: bytes)
            self = .md5(hash)
        case .sha1(var hash):
            hash.update(bufferPointer: bytes)
            self = .sha1(hash)
        case .sha256(var hash):
            hash.update(bufferPointer: bytes)
            self = .sha256(hash)
        case .cyclic(var check):
            check.update(bytes)
            self = .cyclic(check)
        }
    }

    var digest: [UInt8] {
        switch self {
        case .md5(let hash): Array(hash.finalize())
        case .sha1(let hash): Array(hash.finalize())
        case .sha256(let hash): Array(hash.finalize())
        case .cyclic(let check): check.digest
        }
    }
}
