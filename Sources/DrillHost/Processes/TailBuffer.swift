/// Keeps the last bytes of a stream, in at most twice their size of memory.
struct TailBuffer: Sendable {
    private let limit: Int
    private var bytes: [UInt8] = []
    /// Whether anything was dropped from the front.
    private(set) var wasCut = false

    init(limitBytes: Int) { limit = limitBytes }

    mutating func append(_ more: UnsafeRawBufferPointer) {
        bytes.append(contentsOf: more.suffix(limit))
        wasCut = wasCut || more.count > limit
        if bytes.count > 2 * limit { trim() }
    }

    mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// The last bytes, at most the limit.
    func contents() -> [UInt8] { Array(bytes.suffix(limit)) }

    /// Whether ``contents()`` lacks anything that was appended.
    var isPartial: Bool { wasCut || bytes.count > limit }

    private mutating func trim() {
        bytes.removeFirst(bytes.count - limit)
        wasCut = true
    }
}
