/// What a bucket's lifecycle may have removed of its history (S18).
struct RetentionRules: Sendable, Equatable {
    struct Rule: Sendable, Equatable {
        var id: String
        var prefix: [UInt8]
        /// Days after which a version that is no longer current is removed.
        var noncurrentDays: Int64
        /// Whether the rule looks at tags or sizes as well: then it may spare a key.
        var isConditional: Bool
    }

    var rules: [Rule] = []
    /// Days after which unfinished multipart uploads are aborted, for all keys; nil where there is no such rule.
    var abortsUploadsAfterDays: Int64?
    /// Now, in microseconds since 1970 UTC.
    var now: Int64

    private static let day: Int64 = 86_400_000_000

    init(now: Int64) { self.now = now }

    /// Reads the answer to GetBucketLifecycleConfiguration.
    init(_ document: SmallDocument, now: Int64) {
        self.now = now
        for group in Set(document.leaves.map(\.group)).sorted() {
            let leaves = document.leaves.filter { $0.group == group }
            func text(_ path: String) -> SmallDocument.Leaf? { leaves.first { $0.path == "Rule/" + path } }
            guard text("Status")?.string == "Enabled" else { continue }
            let prefix = (text("Filter/Prefix") ?? text("Filter/And/Prefix") ?? text("Prefix"))?.text ?? []
            let isConditional = leaves.contains { $0.path.hasPrefix("Rule/Filter/") && !$0.path.hasSuffix("/Prefix") }
            if let days = text("NoncurrentVersionExpiration/NoncurrentDays").flatMap({ Int64($0.string) }),
                (0...100_000).contains(days)
            {
                rules.append(
                    Rule(
                        id: text("ID")?.string ?? "without a name", prefix: prefix, noncurrentDays: days,
                        isConditional: isConditional))
            }
            if prefix.isEmpty, !isConditional,
                let days = text("AbortIncompleteMultipartUpload/DaysAfterInitiation").flatMap({ Int64($0.string) }),
                (0...100_000).contains(days)
            {
                abortsUploadsAfterDays = min(days, abortsUploadsAfterDays ?? .max)
            }
        }
    }

    /// Why the version before one of that instant may be gone, or nil: a version stops being current when the next one
    /// comes.
    func mayHaveExpired(key: ArraySlice<UInt8>, noncurrentSince: Int64) -> String? {
        for rule in rules where key.starts(with: rule.prefix) && noncurrentSince + rule.noncurrentDays * Self.day <= now
        {
            return
                "lifecycle rule \"\(rule.id)\" removes versions \(rule.noncurrentDays) days after they stopped being current"
        }
        return nil
    }

    /// A sentence for the report where versions that were current at `target` may have been removed since.
    func warning(target: Int64) -> String? {
        let reaching = rules.filter { target + $0.noncurrentDays * Self.day <= now }
        guard let shortest = reaching.min(by: { $0.noncurrentDays < $1.noncurrentDays }) else { return nil }
        return
            "Lifecycle rule \"\(shortest.id)\" removes versions \(shortest.noncurrentDays) days after they stopped being current; the recovery "
            + "point is older, so versions that were current then may be gone."
    }
}
