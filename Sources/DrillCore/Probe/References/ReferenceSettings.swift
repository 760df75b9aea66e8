/// What a references probe was asked to do, as the drill file says.
package struct ReferenceSettings: Sendable {
    package enum Content: Sendable, Equatable {
        case none
        case all
        /// A share of the objects, 0 to 1, drawn by key and seed.
        case sample(Double)
    }
    package enum Orphans: String, Sendable, CaseIterable { case ignore, report, fail }
    package enum Requirement: String, Sendable, CaseIterable { case size, checksum, version }
    package enum ChecksumEncoding: String, Sendable, CaseIterable { case hex, base64 }
    package struct Checksum: Sendable {
        var column: String
        var algorithm: ChecksumAlgorithm
        var encoding: ChecksumEncoding
    }

    var query: ReferenceQuery
    var bucket: String?
    var parser: ReferenceParser
    var prefix: [UInt8]
    var checksum: Checksum?
    var content: Content
    var orphans: Orphans
    var minimumRows: Int64
    var required: Set<Requirement>

    package static let shape = SettingsShape(
        "references: every row that names an object is checked against the objects of the same moment",
        [
            SettingsField("table", .text, "The table or view, as schema.table. Either this or `query`."),
            SettingsField("query", .text, "A SELECT that yields the columns named below. Either this or `table`."),
            SettingsField(
                "key", .text, required: true,
                "A column or an SQL expression that names the object; NULL means no reference."),
            SettingsField(
                "bucket", .text, "The bucket, one of backup.objects. Optional with `bucket_column` or `form: url`."),
            SettingsField("bucket_column", .text, "A column or an SQL expression that names the bucket."),
            SettingsField(
                "form", .choice(ReferenceForm.allCases.map(\.rawValue)), "How the key is spelled; key unless said."),
            SettingsField(
                "hosts", .either([.list(.text), .map(.text)]),
                "With form: url, further S3-compatible endpoint hosts, or a mapping of a host to the bucket it serves."),
            SettingsField("prefix", .text, "Put before the key."),
            SettingsField("where", .text, "Rows for which this SQL condition holds need their object."),
            SettingsField(
                "id", .either([.text, .list(.text)]), "Names the row in findings; default: the primary key."),
            SettingsField("size", .text, "A column or SQL expression with the size in bytes."),
            SettingsField("checksum", .settings(checksumShape), "A column with the content's checksum."),
            SettingsField("version", .text, "A column or SQL expression with the version ID."),
            SettingsField("changed_at", .text, "When the row last pointed here: evidence for causes."),
            SettingsField(
                "content", .either([.choice(["none", "all"]), .settings(sampleShape)]),
                "Whether the bytes are read and hashed: none, all, or { sample: 1% }."),
            SettingsField(
                "orphans", .choice(Orphans.allCases.map(\.rawValue)),
                "Objects that no row names: ignore, report, or fail. Default: ignore."),
            SettingsField(
                "min_rows", .integer(0...Int64.max),
                "Fewer references examined: inconclusive. Default 1; 0 says that nothing may be there."),
            SettingsField(
                "require", .list(.choice(Requirement.allCases.map(\.rawValue))),
                "Expectations that must be comparable in every row; else the reference is unknown."),
            SettingsField("search_path", .list(.text), "The search_path of the probe's SQL; pg_catalog unless said."),
        ])
    static let checksumShape = SettingsShape(
        "checksum",
        [
            SettingsField("column", .text, required: true, "A column or SQL expression."),
            SettingsField(
                "algorithm", .choice(["md5", "sha1", "sha256", "crc32c"]), required: true, "Of the content's bytes."),
            SettingsField("encoding", .choice(["hex", "base64"]), "How the column spells it; hex unless said."),
        ])
    static let sampleShape = SettingsShape(
        "content", [SettingsField("sample", .percent, required: true, "The share of the objects that are read.")])

    package init(_ reader: SettingsReader, _ context: ProbeContext) throws {
        let key = try reader.requiredString("key")
        switch (try reader.nonEmptyString("table"), try reader.nonEmptyString("query")) {
        case (let table?, nil): query = ReferenceQuery(source: .table(table), key: key)
        case (nil, let text?): query = ReferenceQuery(source: .query(text), key: key)
        case (.some, .some): throw reader.error("query", "give either `table` or `query`, not both")
        case (nil, nil): throw reader.error("table", "is missing; give a `table` or a `query`")
        }
        query.bucketColumn = try reader.nonEmptyString("bucket_column")
        query.condition = try reader.nonEmptyString("where")
        query.id = try reader.strings("id")
        query.size = try reader.nonEmptyString("size")
        query.version = try reader.nonEmptyString("version")
        query.changedAt = try reader.nonEmptyString("changed_at")
        query.searchPath = try reader.strings("search_path") ?? []

        let form = try reader.choice("form", ReferenceForm.self) ?? .key
        bucket = try reader.nonEmptyString("bucket")
        if bucket != nil, query.bucketColumn != nil {
            throw reader.error("bucket_column", "give either `bucket` or `bucket_column`, not both")
        }
        if bucket == nil, query.bucketColumn == nil, form != .url {
            throw reader.error("bucket", "is missing; give `bucket`, `bucket_column` or `form: url`")
        }
        func requireKnown(_ bucket: String, at key: String) throws {
            guard !context.buckets.contains(bucket) else { return }
            var hints = ["backup.objects has: \(context.buckets.sorted().joined(separator: ", "))."]
            if let nearest = nearestWord(to: bucket, among: context.buckets) {
                hints.insert("Did you mean `\(nearest)`?", at: 0)
            }
            throw reader.error(key, "`\(bucket)` is not among backup.objects", hints: hints)
        }
        if let bucket { try requireKnown(bucket, at: "bucket") }
        if context.buckets.isEmpty {
            throw reader.error("key", "a references probe needs backup.objects, and there is none")
        }
        var endpoints = context.endpointAuthorities
        var bucketHosts: [String: String] = [:]
        if reader.has("hosts") {
            guard form == .url else { throw reader.error("hosts", "only means something with `form: url`") }
            if reader.node("hosts")?.mapping != nil {
                for (host, value) in try reader.map("hosts") ?? [] {
                    let bucket = try reader.required("hosts", reader.source.text(value))
                    try requireKnown(bucket, at: "hosts")
                    bucketHosts[host] = bucket
                }
            } else {
                endpoints += try reader.strings("hosts") ?? []
            }
        }
        parser = ReferenceParser(
            form: form, endpoints: endpoints, bucketHosts: bucketHosts, knownBuckets: context.buckets)
        prefix = Array((try reader.string("prefix") ?? "").utf8)
        if form == .url, !prefix.isEmpty { throw reader.error("prefix", "cannot stand before a URL") }
        if form == .url, query.bucketColumn != nil {
            throw reader.error("bucket_column", "cannot stand beside `form: url`: the URL names the bucket")
        }

        if let checksumReader = try reader.settings("checksum", Self.checksumShape) {
            let words = ["md5", "sha1", "sha256", "crc32c"]
            let word = try checksumReader.required("algorithm", checksumReader.choice("algorithm", words))
            checksum = Checksum(
                column: try checksumReader.requiredString("column"),
                algorithm: try checksumReader.required("algorithm", ChecksumAlgorithm(rawValue: word)),
                encoding: try checksumReader.choice("encoding", ChecksumEncoding.self) ?? .hex)
            query.checksum = checksum?.column
        }
        if reader.node("content")?.mapping != nil {
            let sample = try reader.settings("content", Self.sampleShape)
            let share = try reader.required("content", sample?.percent("sample"))
            guard share > 0 else { throw reader.error("content", "a sample of 0% reads nothing; say `content: none`") }
            content = share == 1 ? .all : .sample(share)
        } else {
            content = try reader.choice("content", ["none", "all"]) == "all" ? .all : .none
        }
        orphans = try reader.choice("orphans", Orphans.self) ?? .ignore
        minimumRows = try reader.integer("min_rows") ?? 1
        required = Set(
            try (reader.strings("require") ?? []).map { word in
                guard let requirement = Requirement(rawValue: word) else {
                    throw reader.source.unknown(
                        "value", word, at: reader.joined("require"),
                        known: Requirement.allCases.map(\.rawValue), line: reader.node("require")?.line ?? 1)
                }
                return requirement
            })
        if required.contains(.size), query.size == nil {
            throw reader.error("require", "`size` needs a `size:` column")
        }
        if required.contains(.checksum), checksum == nil {
            throw reader.error("require", "`checksum` needs a `checksum:` column")
        }
        if required.contains(.version), query.version == nil {
            throw reader.error("require", "`version` needs a `version:` column")
        }
        query.includesExcludedRows = orphans != .ignore && query.condition != nil
    }

    /// The buckets that this probe's rows may name and whose other objects are orphans.
    func buckets(of known: [String]) -> [String] {
        bucket.map { [$0] } ?? known.sorted { ObjectKey($0) < ObjectKey($1) }
    }
}
