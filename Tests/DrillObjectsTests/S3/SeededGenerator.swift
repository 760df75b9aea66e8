/// Random numbers that are the same for the same seed on every machine (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A key as a hostile row would hold it: dot segments, doubled slashes, percent signs, controls, any byte at all.
    mutating func hostileKey() -> [UInt8] {
        let pieces: [[UInt8]] = [
            Array("a".utf8), Array("..".utf8), Array(".".utf8), Array("/".utf8), Array("//".utf8), Array("%".utf8),
            Array("%2F".utf8), Array("+".utf8), Array(" ".utf8), Array("?x=y&z".utf8), Array("#".utf8), Array("=".utf8),
            Array("~-_.".utf8), Array("*'()!$,;:@".utf8), Array("\r\n".utf8), Array("é".utf8), Array("e\u{301}".utf8),
            Array("\u{10FFFF}".utf8), Array("<&>\"".utf8), [0x01], [0x7F], [0xFF], [0xC3, 0x28],
        ]
        var key: [UInt8] = []
        for _ in 0..<Int.random(in: 1...12, using: &self) {
            if Bool.random(using: &self), let piece = pieces.randomElement(using: &self) {
                key += piece
            } else {
                key.append(UInt8.random(in: 1...255, using: &self))
            }
        }
        return key
    }
}
