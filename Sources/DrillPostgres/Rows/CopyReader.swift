/// Takes a binary COPY apart into rows, straight from libpq's buffer.
///
/// The format is in the PostgreSQL manual, COPY, Binary Format: a header before the first row, rows of big-endian lengths and
/// values, and a trailer. The server sends it in pieces that end with a row.
struct CopyReader {
    private(set) var rowCount: Int64 = 0
    /// Whether the trailer was seen: the server's word that no row comes after.
    private(set) var isComplete = false
    private let fieldCount: Int
    private var sawHeader = false

    init(fieldCount: Int) { self.fieldCount = fieldCount }

    /// Hands on each row of one piece: its fields, whole, as ``BinaryCursor`` reads them.
    mutating func read(
        _ piece: UnsafeRawBufferPointer, _ receive: (UnsafeRawBufferPointer) throws(PostgresError) -> Void
    ) throws(PostgresError) {
        var cursor = BinaryCursor(piece)
        if !sawHeader {
            try cursor.skipCopyHeader()
            sawHeader = true
        }
        while !cursor.isAtEnd {
            let fields = try cursor.int16()
            if fields == -1 {
                guard cursor.isAtEnd, !isComplete else {
                    throw PostgresError(.malformed, "data after the end of a copy")
                }
                isComplete = true
                break
            }
            guard Int(fields) == fieldCount, !isComplete else {
                throw PostgresError(.malformed, "a row of \(fields) columns in place of \(fieldCount)")
            }
            let start = cursor.offset
            for _ in 0..<fieldCount { _ = try cursor.field() }
            rowCount += 1
            try receive(UnsafeRawBufferPointer(rebasing: piece[start..<cursor.offset]))
        }
    }
}

/// Reads big-endian values one after the other; never past the end.
struct BinaryCursor {
    private let bytes: UnsafeRawBufferPointer
    /// How far it has come, in bytes.
    private(set) var offset = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { offset == bytes.count }

    /// What was not read yet.
    var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[offset...]) }

    mutating func int16() throws(PostgresError) -> Int16 {
        try need(2)
        defer { offset += 2 }
        return Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int16.self))
    }

    private mutating func int32() throws(PostgresError) -> Int32 {
        try need(4)
        defer { offset += 4 }
        return Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self))
    }

    /// A value with its length before it; nil for NULL.
    mutating func field() throws(PostgresError) -> UnsafeRawBufferPointer? {
        let length = Int(try int32())
        if length == -1 { return nil }
        guard length >= 0 else { throw PostgresError(.malformed, "a value of negative length") }
        try need(length)
        defer { offset += length }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
    }

    mutating func int64Field() throws(PostgresError) -> Int64? {
        guard let field = try field() else { return nil }
        guard field.count == 8 else { throw PostgresError(.malformed, "an integer of \(field.count) bytes") }
        return Int64(bigEndian: field.loadUnaligned(as: Int64.self))
    }

    mutating func skipCopyHeader() throws(PostgresError) {
        let signature: [UInt8] = [0x50, 0x47, 0x43, 0x4F, 0x50, 0x59, 0x0A, 0xFF, 0x0D, 0x0A, 0x00]
        try need(signature.count)
        guard bytes.prefix(signature.count).elementsEqual(signature) else {
            throw PostgresError(.malformed, "no header of a binary copy")
        }
        offset = signature.count
        // The upper half of the flags is critical; none is known.
        guard UInt32(bitPattern: try int32()) >> 16 == 0 else {
            throw PostgresError(.malformed, "an unknown form of copy")
        }
        let extensionLength = Int(try int32())
        guard extensionLength >= 0 else { throw PostgresError(.malformed, "a header of negative length") }
        try need(extensionLength)
        offset += extensionLength
    }

    private func need(_ count: Int) throws(PostgresError) {
        guard bytes.count - offset >= count else { throw PostgresError(.malformed, "a row that is cut short") }
    }
}
