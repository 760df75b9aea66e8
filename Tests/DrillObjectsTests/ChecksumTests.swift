import DrillCore
import DrillTestKit
import Testing

@testable import DrillObjects

@Suite struct ChecksumTests {
    /// The check values of the CRC catalogue, and vectors of RFC 3720 (B.4) and the NVM Express specification.
    @Test(arguments: [
        (ChecksumAlgorithm.crc32, "123456789", "cbf43926"), (.crc32c, "123456789", "e3069283"),
        (.crc64nvme, "123456789", "ae8b14860a799888"), (.crc32, "", "00000000"), (.crc32c, "", "00000000"),
        (.crc64nvme, "", "0000000000000000"), (.md5, "", "d41d8cd98f00b204e9800998ecf8427e"),
        (.sha1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (.sha256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ])
    func knownValues(algorithm: ChecksumAlgorithm, text: String, expected: String) {
        #expect(digest(Array(text.utf8), algorithm) == expected)
    }

    @Test func knownValuesOfLongerInput() {
        #expect(digest([UInt8](repeating: 0, count: 32), .crc32c) == "8a9136aa")
        #expect(digest([UInt8](repeating: 0xFF, count: 32), .crc32c) == "62a8ab43")
        #expect(digest(Array(0..<32), .crc32c) == "46dd794e")
        #expect(digest([UInt8](repeating: 0, count: 4096), .crc64nvme) == "6482d367eb22b64e")
        #expect(digest([UInt8](repeating: 0xFF, count: 4096), .crc64nvme) == "c0ddba7302eca3ac")
    }

    @Test(arguments: ChecksumAlgorithm.allCases)
    func piecesOfAnyLengthGiveTheSameDigest(algorithm: ChecksumAlgorithm) {
        var generator = RepeatableRandom(seed: 7)
        let bytes = (0..<10_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        let whole = digest(bytes, algorithm)
        for _ in 0..<20 {
            var hasher = ContentHasher(algorithm)
            var rest = bytes[...]
            while !rest.isEmpty {
                let piece = rest.prefix(Int.random(in: 0...37, using: &generator))
                Array(piece).withUnsafeBytes { hasher.update($0) }
                rest = rest.dropFirst(piece.count)
            }
            #expect(hexadecimal(hasher.digest) == whole)
        }
        #expect(whole.count == 2 * algorithm.digestBytes)
    }

    private func digest(_ bytes: [UInt8], _ algorithm: ChecksumAlgorithm) -> String {
        var hasher = ContentHasher(algorithm)
        bytes.withUnsafeBytes { hasher.update($0) }
        return hexadecimal(hasher.digest)
    }
}
