import DrillCore

/// What a finding of the integrity probe is about: the words of its `report` setting.
enum DefectKind: String, CaseIterable, Sendable {
    case invalidIndex = "invalid_indexes"
    case unvalidatedConstraint = "unvalidated_constraints"
    case sequenceBehind = "sequences"
    case unloggedTable = "unlogged_tables"
    case unpopulatedView = "materialized_views"
    case collation = "collations"
    case detachedPartition = "detached_partitions"
    case foreignKey = "foreign_keys"
    case rowRule = "row_constraints"
    /// The server cannot read what it stored, or amcheck says that it is wrong. It cannot be made to count for nothing as a kind.
    case corruption

    static let reportable = allCases.filter { $0 != .corruption }
}

/// Something that is wrong in the restored database, before the drill file's waivers are applied.
struct IntegrityDefect: Sendable {
    var kind: DefectKind
    var database: String
    /// What is counted as failed; nil where it is no relation of the inventory.
    var oid: UInt32?
    /// `schema.table` for the report; nil where it is the database as a whole.
    var relation: String?
    /// What `ignore` may call it, beside `relation`.
    var otherNames: [String] = []
    var rowID: String?
    var expected: String
    var observed: String
    var evidence: String?
    var repair: String
    /// False where evidence shows that it may be meant so.
    var counts = true
    /// Findings with the same mark are one: a bad block is met by several readings.
    var mark: String?
}

/// Tells what an error of the server says of the data that it was reading from what says that we could not look.
enum ServerComplaint {
    /// - Parameter readingRows: Whether stored values were being printed: one that cannot be is corrupt.
    static func isCorruption(_ error: PostgresError, readingRows: Bool = false) -> Bool {
        guard error.kind == .server, let state = error.sqlState else { return false }
        let message = error.message
        switch state {
        // data_corrupted, index_corrupted
        case "XX001", "XX002": return true
        case "XX000":
            // A sound value of several hundred megabytes is too large for one message, too.
            if let size = message.firstMatch(of: #/memory alloc request size (\d+)/#) {
                return (UInt64(size.1) ?? .max) > 1 << 32
            }
            return true
        // undefined_file: a file of the data directory, not a library that this machine lacks
        case "58P01":
            return message.contains("could not access status of transaction") || path(message) != nil
                || message.contains("\"pg_")
        default: return readingRows && state.hasPrefix("22")
        }
    }

    /// The block that the message names.
    static func block(_ message: String) -> Int64? {
        guard let match = message.firstMatch(of: #/\bblocks? (\d+)/#) else { return nil }
        return strictInteger(String(match.1))
    }

    /// The file that the message names, below the data directory, without the number of its segment and the name of its fork.
    static func path(_ message: String) -> String? {
        guard let match = message.firstMatch(of: #/\b((?:base|global|pg_tblspc)\/[A-Za-z0-9_.\/]*\d)/#) else {
            return nil
        }
        return String(match.1).replacing(#/(?:_(?:fsm|vm|init))?(?:\.\d+)?$/#, with: "")
    }
}
