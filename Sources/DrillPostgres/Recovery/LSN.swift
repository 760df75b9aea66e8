/// A place in the write-ahead log.
struct LSN: Sendable, Hashable, Comparable, CustomStringConvertible {
    var value: UInt64

    init(_ value: UInt64) { self.value = value }

    /// As PostgreSQL writes it: two hexadecimal halves with a slash between.
    init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2,
            halves.allSatisfy({ (1...8).contains($0.utf8.count) && $0.utf8.first != UInt8(ascii: "+") }),
            let high = UInt32(halves[0], radix: 16), let low = UInt32(halves[1], radix: 16)
        else { return nil }
        value = UInt64(high) << 32 | UInt64(low)
    }

    static func < (left: LSN, right: LSN) -> Bool { left.value < right.value }

    var description: String {
        String(value >> 32, radix: 16, uppercase: true) + "/"
            + String(value & 0xFFFF_FFFF, radix: 16, uppercase: true)
    }
}

/// One file of the write-ahead log, by the numbers in its name.
struct WALSegment: Sendable, Hashable {
    var timeline: UInt32
    /// The first eight digits behind the timeline, and the last eight.
    var high: UInt32
    var low: UInt32

    /// The 24 digits of a segment's name; nil for any other name.
    init?(_ name: some StringProtocol) {
        let digits = Array(name.utf8)
        guard digits.count == 24 else { return nil }
        var numbers: [UInt32] = []
        for start in stride(from: 0, to: 24, by: 8) {
            let part = digits[start..<start + 8]
            guard part.allSatisfy({ (0x30...0x39).contains($0) || (0x41...0x46).contains($0) }),
                let number = UInt32(String(decoding: part, as: UTF8.self), radix: 16)
            else { return nil }
            numbers.append(number)
        }
        (timeline, high, low) = (numbers[0], numbers[1], numbers[2])
    }

    init(timeline: UInt32, high: UInt32, low: UInt32) {
        (self.timeline, self.high, self.low) = (timeline, high, low)
    }

    /// - Parameter number: Counted from the start of the log.
    init(timeline: UInt32, number: UInt64, segmentBytes: UInt64) {
        let inOneHigh = (1 << 32) / segmentBytes
        self.timeline = timeline
        high = UInt32(truncatingIfNeeded: number / inOneHigh)
        low = UInt32(truncatingIfNeeded: number % inOneHigh)
    }

    func number(segmentBytes: UInt64) -> UInt64 { UInt64(high) * ((1 << 32) / segmentBytes) + UInt64(low) }

    var name: String { [timeline, high, low].map(Self.digits).joined() }

    static func digits(_ number: UInt32) -> String {
        let text = String(number, radix: 16, uppercase: true)
        return String(repeating: "0", count: 8 - text.utf8.count) + text
    }
}

extension LSN {
    func segmentNumber(_ segmentBytes: UInt64) -> UInt64 { value / segmentBytes }
}
