import DrillCore

/// The head of an answer as its lines come in.
struct ResponseHead {
    private static let lineLimit = 1000

    private(set) var status = 0
    private(set) var isComplete = false
    /// nil where no line said so.
    private(set) var contentLength: Int?
    private(set) var isChunked = false
    private var lines: [(name: String, value: String)] = []
    private var totalBytes = 0
    private var totalLines = 0

    /// Takes a line with its end. Interim answers (100) and trailers are read over.
    /// - Returns: Why the answer is not to be taken; nil where it is good so far.
    mutating func take(_ line: UnsafeRawBufferPointer, limitBytes: Int) -> (kind: HTTPFailure.Kind, what: String)? {
        totalBytes += line.count
        totalLines += 1
        guard totalBytes <= limitBytes, totalLines <= Self.lineLimit else {
            return (.tooLarge, "the head of the answer is too large")
        }
        if line.starts(with: "HTTP/".utf8) {
            status = Self.status(of: line)
            (isComplete, contentLength, isChunked) = (false, nil, false)
            lines.removeAll(keepingCapacity: true)
            return nil
        }
        if isComplete { return nil }
        if line.first == UInt8(ascii: "\r") || line.first == UInt8(ascii: "\n") {
            isComplete = true
            return nil
        }
        // A line without a colon, or one folded into the one before it, is nothing that a store sends.
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0, line[0] > 0x20 else {
            return (.malformed, "a header line of the answer cannot be read")
        }
        let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
        let value = String(decoding: Self.trimmed(line[(colon + 1)...]), as: UTF8.self)
        lines.append((name, value))
        if name == "transfer-encoding" { isChunked = true }
        return name == "content-length" ? takeLength(value) : nil
    }

    /// The parsed head, once it is complete.
    func parsed() -> HTTPHead { HTTPHead(status: status, headers: lines) }

    private mutating func takeLength(_ text: String) -> (kind: HTTPFailure.Kind, what: String)? {
        // Int takes a sign; a length has none.
        let isNumber = !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        guard isNumber, let length = Int(text), contentLength == nil || contentLength == length else {
            return (.malformed, "the length that the answer states cannot be read")
        }
        contentLength = length
        return nil
    }

    private static func status(of line: UnsafeRawBufferPointer) -> Int {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")) else { return 0 }
        return line[(space + 1)...].prefix { (0x30...0x39).contains($0) }.prefix(3)
            .reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    private static func trimmed(_ bytes: Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer> {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0d || byte == 0x0a }
        var rest = bytes.drop(while: isBlank)
        while let last = rest.last, isBlank(last) { rest = rest.dropLast() }
        return rest
    }
}
