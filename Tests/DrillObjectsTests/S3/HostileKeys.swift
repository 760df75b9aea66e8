import DrillTestKit

extension RepeatableRandom {
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
