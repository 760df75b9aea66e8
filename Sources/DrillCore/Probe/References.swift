import Foundation

/// What the references probe asks the restored database for.
package struct ReferenceQuery: Sendable {
    package enum Source: Sendable {
        /// A table or view as the drill file names it: `schema.table`, quoted where needed.
        case table(String)
        /// A SELECT that yields the columns named below.
        case query(String)
    }
    package var source: Source
    /// A column or an SQL expression over the source, as are the next ones.
    package var key: String
    package var bucketColumn: String?
    package var condition: String?
    /// nil: the table's primary key (of a query: no row id). Empty: no row id is wanted.
    package var id: [String]?
    package var size: String?
    package var checksum: String?
    package var version: String?
    package var changedAt: String?
    /// Stream rows that `condition` leaves out as well, marked as such (what they name is no orphan).
    package var includesExcludedRows = false
    /// `pg_catalog` unless the probe says otherwise.
    package var searchPath: [String] = []

    package init(source: Source, key: String) {
        self.source = source
        self.key = key
    }
}

/// References with a non-NULL key, as columns of one length (or empty, where the query did not ask for them).
package struct ReferenceBatch: Sendable {
    /// The key expression's bytes: text as UTF-8, `bytea` as it is.
    package var keys = ByteColumn()
    /// Element 0-length and `bucketIsNull` set where NULL.
    package var buckets = ByteColumn()
    package var bucketIsNull: [Bool] = []
    /// `Int64.min` where NULL, and ``noSize`` where the row's value is no whole number of bytes or too large for one.
    package var sizes: [Int64] = []
    /// Where ``noSize`` stands, what the row expects, for a finding; else no bytes. Empty where the column holds integers.
    package var oddSizes = ByteColumn()
    package var checksums = ByteColumn()
    package var checksumIsNull: [Bool] = []
    package var versions = ByteColumn()
    package var versionIsNull: [Bool] = []
    /// Microseconds since 1970 UTC; `Int64.min` where NULL.
    package var changed: [Int64] = []
    /// Raw row ids; ``ReferenceStream/rowID(_:)`` makes text of one.
    package var ids = ByteColumn()
    /// Empty where all rows are included.
    package var isIncluded: [Bool] = []

    package init() {}
    package var count: Int { keys.count }

    /// In ``sizes``: a value that equals the size of no object.
    package static let noSize = Int64.min + 1

    /// What a row with a size expects, in the words of a finding.
    func expectedSize(_ row: Int) -> String {
        guard !oddSizes.isEmpty, !oddSizes[row].isEmpty else { return "\(sizes[row]) bytes" }
        return String(decoding: oddSizes[row], as: UTF8.self)
    }
}

/// Rows as they stream from one read-only snapshot; with a sorter in the order of bucket bytes (where there is a bucket column; NULL
/// comes first), then key bytes.
package protocol ReferenceStream: Sendable {
    /// Never an empty batch; nil only after the server said that the result is complete and the counts agree (P12).
    func next() async throws -> ReferenceBatch?
    /// The row id as text: the value, or for a composite key a JSON array. nil where the query has no id.
    func rowID(_ raw: ArraySlice<UInt8>) -> String?
    /// `schema.table` for findings; nil for a query.
    var relation: String? { get }
    /// Whether checksums come as the digest's own bytes (a `bytea` column) rather than as text.
    var checksumIsRaw: Bool { get }
    func cancel() async
}

extension ReferenceStream {
    package var checksumIsRaw: Bool { false }
}

/// Rows of a small result, as text.
package struct SQLRows: Sendable {
    package var columns: [String]
    /// At most `limit` rows; values as PostgreSQL prints them, nil for NULL.
    package var rows: [[String?]]
    /// How many rows there were in all.
    package var rowCount: Int64
    package init(columns: [String], rows: [[String?]], rowCount: Int64) {
        self.columns = columns
        self.rows = rows
        self.rowCount = rowCount
    }
}

/// The restored database as probes see it: one read-only snapshot, a role without rights to write, fixed `search_path`, a
/// statement time-out and `row_security=off` (P7, P8).
package protocol RestoredDatabase: Sendable {
    /// For a person, without secrets.
    var place: String { get }
    /// What a reader of the report should know: waivers, what could not be sealed, fast settings that flatter the RTO.
    var notes: [String] { get async }

    /// Throws `DrillError` (`couldNotLook`) for a missing table or column, with the nearest names.
    /// - Parameter sorter: Puts the rows in order, and is closed by the stream; nil takes them as they come.
    func references(_ query: ReferenceQuery, sorter: (any RecordSorter)?) async throws -> any ReferenceStream
    /// A planner's or an exact count of the references, and sample keys that split them evenly, in ascending byte order, the last
    /// near the greatest of all. Cheap.
    func referenceHints(
        _ query: ReferenceQuery, splits: Int
    ) async throws -> (expectedCount: Int64?, splitKeys: [ObjectKey])
    func rows(_ sql: String, searchPath: [String], limit: Int) async throws -> SQLRows
    /// Settings of libpq and `DATABASE_URL` for a `command` probe, with rights to write in scratch.
    var commandEnvironment: [String: String] { get async throws }
    /// What else the parts of the same module need to know of each other (a connection, a data directory).
    var internals: any Sendable { get }
}
