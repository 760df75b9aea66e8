import Foundation

/// `markers:` of a drill file: where production writes a row and an object every so often, and how far apart they may be.
package struct MarkerSettings: Sendable {
    package var table: MarkerTable
    /// As rows know it.
    package var bucket: String
    package var prefix: String
    /// How often production writes a pair.
    package var every: Duration
    /// How near to an instant a pair counts as just being written.
    package var tolerance: Duration

    package static let shape = SettingsShape(
        "markers: pairs of a row and an object that production writes, which prove where both stores stand",
        [
            SettingsField(
                "table", .text, "The table of the rows, schema.name. Default: \(MarkerTable.standard.text)."),
            SettingsField(
                "bucket", .text, "The bucket of the objects, as rows know it. Default: the drill's only one."),
            SettingsField("prefix", .text, "What the objects' keys start with. Default: \(standardPrefix)"),
            SettingsField(
                "every", .duration, required: true, "How often `muster mark` is run in production, such as 5m."),
            SettingsField(
                "tolerance", .duration,
                "How long a pair may take to be written, with what clocks differ. Default: 30s, at most half of `every`."
            ),
            SettingsField(
                "production", .settings(production), "Where `muster mark` writes; a drill itself never looks there."),
        ])

    static let production = SettingsShape(
        "production: where `muster mark` writes, and nothing else",
        [
            SettingsField(
                "server", .text, required: true,
                "The production database: `host=… dbname=… user=…`, without a password."),
            SettingsField("password_file", .text, "A file with the password on its first line. Default: ~/.pgpass."),
            SettingsField("password_env", .text, "The environment variable that holds the password."),
            SettingsField(
                "objects", .kinded(.markerObjects, common: []), required: true, "The production bucket or directory."),
        ])

    static let standardPrefix = "muster-markers/"

    /// - Parameter buckets: Those of `backup.objects`; nil where they do not matter.
    init(_ reader: SettingsReader, buckets: [String]?) throws {
        if let text = try reader.string("table") {
            guard let table = MarkerTable(text) else {
                throw reader.error(
                    "table", "'\(text)' is no schema.name",
                    hints: ["Letters, digits and `_`, such as \(MarkerTable.standard.text)."])
            }
            self.table = table
        } else {
            table = .standard
        }
        prefix = try reader.string("prefix") ?? Self.standardPrefix
        guard (1...512).contains(prefix.utf8.count), prefix.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw reader.error("prefix", "must be 1 to 512 visible ASCII characters")
        }
        every = try reader.required("every", reader.duration("every"))
        guard every > .zero else { throw reader.error("every", "must be longer than nothing") }
        tolerance = try reader.duration("tolerance") ?? min(.seconds(30), every / 2)
        guard tolerance < every else {
            throw reader.error("tolerance", "must be shorter than `every`, or no pair could ever be missed")
        }
        // Its names are checked in every drill; its values are for `muster mark`, and may be of another machine.
        _ = try reader.settings("production", Self.production)
        let named = try reader.string("bucket")
        guard let bucket = named ?? (buckets?.count == 1 ? buckets?.first : nil) else {
            throw reader.error("bucket", "is missing: there is more or less than one bucket in backup.objects")
        }
        if let buckets, !buckets.contains(bucket) {
            throw reader.source.unknown(
                "bucket", bucket, at: reader.path, known: buckets, line: reader.node("bucket")?.line ?? 0)
        }
        self.bucket = bucket
    }
}

/// A table by plain names, so that it needs no quoting rules of its own.
package struct MarkerTable: Sendable, Hashable {
    package let schema: String
    package let name: String

    static let standard = MarkerTable(schema: "public", name: "muster_markers")

    private init(schema: String, name: String) {
        (self.schema, self.name) = (schema, name)
    }

    /// nil unless it is two names of letters, digits and `_` with a dot between.
    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, parts.allSatisfy(Self.isPlain) else { return nil }
        self.init(schema: parts[0], name: parts[1])
    }

    private static func isPlain(_ name: String) -> Bool {
        (1...63).contains(name.utf8.count)
            && name.utf8.enumerated().allSatisfy { index, byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
                    true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): index > 0
                default: false
                }
            }
    }

    package var text: String { "\(schema).\(name)" }
    /// For statements: exactly these letters.
    package var sql: String { "\"\(schema)\".\"\(name)\"" }

    /// What production runs once.
    package var definition: String {
        """
        CREATE TABLE \(sql) (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            key text NOT NULL UNIQUE,                                       -- of the object
            begun_at timestamptz NOT NULL,                                  -- this server's clock, before the object was put
            object_at timestamptz,                                          -- the object store's clock when it had the object
            inserted_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
        );
        -- The role that marks needs no more than this:
        -- GRANT USAGE ON SCHEMA "\(schema)" TO marker_role;
        -- GRANT SELECT, INSERT ON \(sql) TO marker_role;

        """
    }
}

/// The key of a marker's object: it bears the instant at which the database's clock stood before the object was put, so that
/// keys are ordered as the pairs were written and no other clock decides.
package enum MarkerKey {
    /// `<prefix>20261114T143005.123456Z-1a2b3c`
    static func make(prefix: String, at instant: Date, random: [UInt8]) -> ObjectKey {
        let microseconds = instant.microseconds
        let fraction = String(((microseconds % 1_000_000) + 1_000_000) % 1_000_000 + 1_000_000).dropFirst()
        let seconds = rfc3339(Date(microseconds: microseconds)).prefix(19).filter { $0 != "-" && $0 != ":" }
        return ObjectKey("\(prefix)\(seconds).\(fraction)Z-\(hexadecimal(random))")
    }

    /// Microseconds since 1970 UTC; nil where it is no key of a marker.
    static func instant(of key: some Collection<UInt8>, prefix: String) -> Int64? {
        let text = Array(key)
        guard text.starts(with: prefix.utf8) else { return nil }
        let rest = Array(text.dropFirst(prefix.utf8.count))
        guard rest.count == 30, rest[22] == UInt8(ascii: "Z"), rest[23] == UInt8(ascii: "-") else { return nil }
        func part(_ range: Range<Int>) -> String { String(decoding: rest[range], as: UTF8.self) }
        return parseInstant(
            "\(part(0..<4))-\(part(4..<6))-\(part(6..<11)):\(part(11..<13)):\(part(13..<22))Z")?.microseconds
    }
}
