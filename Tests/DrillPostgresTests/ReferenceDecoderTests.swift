import DrillCore
import DrillTestKit
import Testing

@testable import DrillPostgres

struct ReferenceDecoderTests {
    private static let header: [UInt8] =
        [0x50, 0x47, 0x43, 0x4F, 0x50, 0x59, 0x0A, 0xFF, 0x0D, 0x0A, 0x00] + [UInt8](repeating: 0, count: 8)
    private static let trailer: [UInt8] = [0xFF, 0xFF]

    private static func row(_ fields: [UInt8]?...) -> [UInt8] {
        func bigEndian(_ value: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: value.bigEndian) { Array($0) }
        }
        return bigEndian(Int16(fields.count))
            + fields.flatMap { field in field.map { bigEndian(Int32($0.count)) + $0 } ?? bigEndian(Int32(-1)) }
    }

    /// The rows of these pieces, as they come.
    private func decode(
        _ layout: ReferenceLayout, _ pieces: [UInt8]..., isOrdered: Bool = true
    ) throws -> ReferenceBatch? {
        var reader = CopyReader(fieldCount: layout.fieldCount)
        var decoder = ReferenceDecoder(layout, isOrdered: isOrdered)
        for piece in pieces {
            try piece.withUnsafeBytes { bytes in
                try reader.read(bytes) { fields throws(PostgresError) in try decoder.add(fields) }
            }
        }
        guard reader.isComplete else { throw PostgresError(.malformed, "no trailer") }
        return decoder.takeBatch()
    }

    private let keysAlone = ReferenceLayout()
    private var withBuckets: ReferenceLayout {
        var layout = ReferenceLayout()
        layout.hasBucket = true
        return layout
    }

    @Test func rowsInOrderAreTaken() throws {
        let batch = try decode(
            keysAlone, Self.header + Self.row([]), Self.row([1]), Self.row([1]), Self.row([1, 0]) + Self.row([255]),
            Self.trailer)
        #expect(
            batch.map { batch in (0..<batch.count).map { Array(batch.keys[$0]) } } == [[], [1], [1], [1, 0], [255]])
    }

    @Test func emptyCopyHasNoBatch() throws {
        #expect(try decode(keysAlone, Self.header + Self.trailer) == nil)
    }

    @Test(
        "Rows out of order are refused, also where a prefix or a bucket decides (S3, S4)",
        arguments: [
            [[2], [1]], [[1, 0], [1]], [[0x7F], [0x80], [0x7F]],
        ] as [[[UInt8]]])
    func rowsOutOfOrderAreRefused(_ keys: [[UInt8]]) throws {
        #expect(throws: PostgresError.self) {
            try decode(keysAlone, Self.header + keys.flatMap { Self.row($0) } + Self.trailer)
        }
    }

    @Test func rowsInAnyOrderAreTakenWhereNobodyAskedForOne() throws {
        let batch = try decode(keysAlone, Self.header + Self.row([2]) + Self.row([1]) + Self.trailer, isOrdered: false)
        #expect(batch.map { batch in (0..<batch.count).map { Array(batch.keys[$0]) } } == [[2], [1]])
    }

    @Test func bucketsComeBeforeKeysAndNullComesFirst() throws {
        let sound = Self.row(nil, [9]) + Self.row([], [1]) + Self.row([1], [5]) + Self.row([2], [3])
        #expect(try decode(withBuckets, Self.header + sound + Self.trailer)?.count == 4)
        for unsound in [
            Self.row([2], [1]) + Self.row([1], [2]), Self.row([1], [1]) + Self.row(nil, [2]),
            Self.row([1], [2]) + Self.row([1], [1]),
        ] {
            #expect(throws: PostgresError.self) { try decode(withBuckets, Self.header + unsound + Self.trailer) }
        }
    }

    @Test("Order holds across batches too (S3)")
    func orderHoldsAcrossBatches() throws {
        var decoder = ReferenceDecoder(keysAlone, isOrdered: true)
        func field(_ byte: UInt8) -> [UInt8] { [0, 0, 0, 1, byte] }
        for _ in 0..<ReferenceDecoder.batchRows { try field(5).withUnsafeBytes { try decoder.add($0) } }
        let isFull = decoder.isFull
        #expect(isFull)
        let count = decoder.takeBatch()?.count
        #expect(count == ReferenceDecoder.batchRows)
        let error: PostgresError? = field(4).withUnsafeBytes { fields in
            do throws(PostgresError) { try decoder.add(fields) } catch { return error }
            return nil
        }
        #expect(error?.kind == .malformed)
    }

    @Test("Rows come out in the order of buckets, then keys, whatever bytes these have (S4)")
    func sortKeysOrderBucketsThenKeys() throws {
        let rows: [(bucket: [UInt8]?, key: [UInt8])] = [
            (nil, [9]), ([], []), ([], [0]), ([], [0, 1]), ([0], [0]), ([0], [5]), ([0, 0], [1]), ([0, 1], [0]),
            ([1], [2]), ([1], [2]), ([1, 0], [0]), ([1, 0, 0], [3]), ([1, 1], []), ([2], [255]), ([255], [0]),
        ]
        for shift in 0..<rows.count {
            let sorter = MemorySorters().makeSorter(in: "")
            var sortKey = ReferenceSortKey()
            for index in rows.indices {
                let row = rows[(index * 7 + shift) % rows.count]
                try Array(Self.row(row.bucket, row.key).dropFirst(2)).withUnsafeBytes { fields in
                    try sortKey.add(fields, withBuckets, to: sorter)
                }
            }
            try sorter.finishAdding()
            var decoder = ReferenceDecoder(withBuckets, isOrdered: true)
            _ = try sorter.next(limit: 100) { _, payload in try decoder.add(payload) }
            let taken = decoder.takeBatch()
            let batch = try #require(taken)
            let found = (0..<batch.count).map { index in
                (bucket: batch.bucketIsNull[index] ? nil : Array(batch.buckets[index]), key: Array(batch.keys[index]))
            }
            #expect(found.elementsEqual(rows) { $0.bucket == $1.bucket && $0.key == $1.key })
        }
    }

    @Test func keysAreTakenOffWhatIsSorted() throws {
        var layout = ReferenceLayout()
        (layout.hasSize, layout.hasID) = (true, true)
        let size: [UInt8] = [0, 0, 0, 0, 0, 0, 1, 0]
        let sorter = MemorySorters().makeSorter(in: "")
        var sortKey = ReferenceSortKey()
        for row in [Self.row([8], size, [2]), Self.row([7], nil, nil)] {
            try Array(row.dropFirst(2)).withUnsafeBytes { try sortKey.add($0, layout, to: sorter) }
        }
        #expect(throws: PostgresError.self, "a key that is NULL") {
            try Array(Self.row(nil, size, [2]).dropFirst(2)).withUnsafeBytes { try sortKey.add($0, layout, to: sorter) }
        }
        try sorter.finishAdding()
        var decoder = ReferenceDecoder(layout, isOrdered: true)
        _ = try sorter.next(limit: 100) { key, payload in try decoder.add(payload, key: key) }
        let taken = decoder.takeBatch()
        let batch = try #require(taken)
        #expect((0..<2).map { Array(batch.keys[$0]) } == [[7], [8]])
        #expect(batch.sizes == [.min, 256])
        #expect((0..<2).map { Array(batch.ids[$0]) } == [[], [2]])
    }

    @Test("A copy cut at any byte, or with anything else in it, is refused (P12)")
    func cutCopiesAreRefused() throws {
        var layout = ReferenceLayout()
        layout.hasSize = true
        layout.hasIncluded = true
        let size: [UInt8] = [0, 0, 0, 0, 0, 0, 1, 0]
        let whole = Self.header + Self.row([7], size, [1]) + Self.row([8], nil, [0]) + Self.trailer
        let batch = try #require(try decode(layout, whole))
        #expect(batch.sizes == [256, .min])
        #expect(batch.isIncluded == [true, false])
        let ends = [Self.header.count, Self.header.count + 23 + 4, whole.count - 2]
        for count in 0..<whole.count {
            #expect(throws: PostgresError.self, "cut at \(count) \(ends)") {
                try decode(layout, Array(whole.prefix(count)))
            }
        }
        #expect(throws: PostgresError.self) { try decode(layout, whole + [0]) }
        #expect(throws: PostgresError.self) { try decode(layout, whole, Self.row([9], size, [1])) }
        #expect(throws: PostgresError.self) {
            try decode(layout, Self.header + Self.row(nil, size, [1]) + Self.trailer)
        }
        #expect(throws: PostgresError.self) { try decode(layout, Self.header + Self.row([7], [1], [1]) + Self.trailer) }
        #expect(throws: PostgresError.self) { try decode(layout, Self.header + Self.row([7], size) + Self.trailer) }
        #expect(throws: PostgresError.self) {
            try decode(layout, Self.header + [0, 3, 0xFF, 0xFF, 0xFF, 0xFE] + Self.trailer)
        }
    }

    @Test(
        "A decimal is so many bytes only where it is a whole number",
        arguments: [
            ("5", .bytes(5)), ("5.000", .bytes(5)), ("-5", .bytes(-5)), ("0.0", .bytes(0)),
            ("9223372036854775807", .bytes(.max)), ("5.4", .odd("5.4 bytes, which is no whole number")),
            ("-0.1", .odd("-0.1 bytes, which is no whole number")),
            ("5.0000000000000000000001", .odd("5.0000000000000000000001 bytes, which is no whole number")),
            ("9223372036854775808.0", .odd("9223372036854775808 bytes")),
            ("NaN", .odd("NaN bytes, which is no whole number")),
            ("-Infinity", .odd("-Infinity bytes, which is no whole number")),
            (String(repeating: "1", count: 50), .odd(String(repeating: "1", count: 40) + "… bytes")),
        ] as [(String, RowSize)])
    func decimalsAsSizes(text: String, size: RowSize) {
        #expect(Array(text.utf8).withUnsafeBytes { RowSize(decimal: $0) } == size)
    }

    @Test(
        "A floating point number is so many bytes only where it is a whole number",
        arguments: [
            (5, .bytes(5)), (-0.0, .bytes(0)), (9_007_199_254_740_992, .bytes(9_007_199_254_740_992)),
            (5.4, .odd("5.4 bytes, which is no whole number")),
            (123_456_789_012_345.6, .odd("123456789012345.6 bytes, which is no whole number")),
            (Double(Float(5.4)), .odd("5.4 bytes, which is no whole number")), (1e300, .odd("1e+300 bytes")),
            (.nan, .odd("NaN bytes, which is no whole number")),
            (.infinity, .odd("Infinity bytes, which is no whole number")),
            (-.infinity, .odd("-Infinity bytes, which is no whole number")),
        ] as [(Double, RowSize)])
    func doublesAsSizes(value: Double, size: RowSize) {
        #expect(RowSize(value) == size)
    }

    @Test func theLeastIntegerIsNoNullSize() throws {
        var layout = ReferenceLayout()
        layout.hasSize = true
        let whole = Self.header + Self.row([7], [0x80, 0, 0, 0, 0, 0, 0, 0]) + Self.row([8], nil) + Self.trailer
        #expect(try decode(layout, whole)?.sizes == [ReferenceBatch.noSize, .min])
    }

    @Test func idsReadAsText() {
        #expect(RowIDForm.int2.text([0xFF, 0xFF]) == "-1")
        #expect(RowIDForm.int4.text([0x7F, 0xFF, 0xFF, 0xFF]) == "2147483647")
        #expect(RowIDForm.int8.text([0x80, 0, 0, 0, 0, 0, 0, 0]) == "-9223372036854775808")
        #expect(RowIDForm.int8.text([]) == nil)
        #expect(RowIDForm.uuid.text(Array(0..<16)[...]) == "00010203-0405-0607-0809-0a0b0c0d0e0f")
        #expect(RowIDForm.text.text(Array("é".utf8)[...]) == "é")
    }
}
