/// Reads a byte buffer from front to back. Every read is checked against the end; none traps on nonsense.
struct ByteCursor {
    let bytes: ArraySlice<UInt8>
    private(set) var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    /// Bytes read so far.
    var offset: Int { position - bytes.startIndex }
    var remaining: Int { bytes.endIndex - position }

    mutating func byte() throws(ArchiveError) -> UInt8 {
        guard remaining > 0 else { throw .truncated(offset: offset) }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func take(_ count: Int) throws(ArchiveError) -> ArraySlice<UInt8> {
        guard count >= 0 else { throw .nonsense("a length of \(count)", offset: offset) }
        guard count <= remaining else { throw .truncated(offset: offset) }
        defer { position += count }
        return bytes[position..<position + count]
    }
}

/// Why an archive cannot be read; the offset is in bytes from its start (for tar: from the start of toc.dat).
enum ArchiveError: Error, Equatable {
    /// The bytes end where more are needed.
    case truncated(offset: Int)
    case nonsense(String, offset: Int)
    /// Well formed, but of a version that this build does not know.
    case unknownVersion(String)

    /// Lower case, no full stop: for ``DrillError/what``.
    var what: String {
        switch self {
        case .truncated(let offset): "the archive ends at byte \(offset), inside its table of contents"
        case .nonsense(let found, let offset): "the archive is damaged: \(found) at byte \(offset)"
        case .unknownVersion(let version): "the archive has version \(version), which is not known here"
        }
    }
}
