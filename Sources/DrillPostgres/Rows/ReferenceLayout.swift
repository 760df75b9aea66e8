/// Which fields a row of references has, in this order: bucket, key, size, checksum, version, change, id, included.
/// The key is always there.
struct ReferenceLayout: Sendable, Hashable {
    var hasBucket = false
    var hasSize = false
    var sizeForm = SizeForm.integer
    var hasChecksum = false
    var hasVersion = false
    var hasChanged = false
    var hasID = false
    var hasIncluded = false

    var fieldCount: Int {
        [true, hasBucket, hasSize, hasChecksum, hasVersion, hasChanged, hasID, hasIncluded].count { $0 }
    }
}

/// In what form ids stream: integers and UUIDs as the server's own bytes, anything else as text.
enum RowIDForm: Sendable, Hashable {
    case int2, int4, int8, uuid, text

    /// The form of a column of that type; nil where it has to be cast to text first.
    init?(type: UInt32) {
        switch type {
        case PostgresType.int2: self = .int2
        case PostgresType.int4: self = .int4
        case PostgresType.int8: self = .int8
        case PostgresType.uuid: self = .uuid
        case PostgresType.text, PostgresType.varchar: self = .text
        default: return nil
        }
    }

    /// As text; nil for NULL, which streams as no bytes, and for what is not of this form.
    func text(_ raw: ArraySlice<UInt8>) -> String? {
        func integer<Value: FixedWidthInteger>(_: Value.Type) -> String? {
            guard raw.count == Value.bitWidth / 8 else { return nil }
            return "\(raw.reduce(Value(0)) { ($0 << 8) | Value(truncatingIfNeeded: $1) })"
        }
        switch self {
        case .int2: return integer(Int16.self)
        case .int4: return integer(Int32.self)
        case .int8: return integer(Int64.self)
        case .text: return String(decoding: raw, as: UTF8.self)
        case .uuid:
            guard raw.count == 16 else { return nil }
            var text = ""
            for (index, byte) in raw.enumerated() {
                if [4, 6, 8, 10].contains(index) { text += "-" }
                text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
            }
            return text
        }
    }
}

/// OIDs of built-in types, which never change. (PostgreSQL source, pg_type.dat.)
enum PostgresType {
    static let bytea: UInt32 = 17
    static let int8: UInt32 = 20
    static let int2: UInt32 = 21
    static let int4: UInt32 = 23
    static let text: UInt32 = 25
    static let float4: UInt32 = 700
    static let float8: UInt32 = 701
    static let varchar: UInt32 = 1043
    static let date: UInt32 = 1082
    static let timestamp: UInt32 = 1114
    static let timestamptz: UInt32 = 1184
    static let numeric: UInt32 = 1700
    static let uuid: UInt32 = 2950
    static let jsonb: UInt32 = 3802
}
