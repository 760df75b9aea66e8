/// How a row spells an object (`form:` in the drill file).
package enum ReferenceForm: String, Sendable, CaseIterable {
    case key, url
    case percentEncoded = "percent_encoded"
}

/// Where a spelled reference leads, or why it leads nowhere.
package enum ParsedReference: Sendable, Equatable {
    /// `bucket` is nil where the spelling names none.
    case object(bucket: String?, key: [UInt8])
    case bad(reason: String)
}

/// Reads references. A host in a row is never asked anything: it is only compared with the hosts that the drill file names (X5).
package struct ReferenceParser: Sendable {
    let form: ReferenceForm
    /// Authorities (`host` or `host:port`, lower case) of S3-compatible endpoints.
    let endpoints: Set<String>
    /// Hosts that serve one bucket each, its keys straight below `/`.
    let bucketHosts: [String: String]
    /// The buckets of the drill file: each is one, whatever S3 itself would say of its name.
    let knownBuckets: Set<String>

    package init(
        form: ReferenceForm, endpoints: some Sequence<String> = [], bucketHosts: [String: String] = [:],
        knownBuckets: some Sequence<String> = []
    ) {
        self.form = form
        self.knownBuckets = Set(knownBuckets)
        self.endpoints = Set(endpoints.map { $0.lowercased() })
        self.bucketHosts = Dictionary(bucketHosts.map { ($0.key.lowercased(), $0.value) }) { first, _ in first }
    }

    package func parse(_ raw: ArraySlice<UInt8>) -> ParsedReference {
        switch form {
        case .key: .object(bucket: nil, key: Array(raw))
        case .percentEncoded:
            percentDecoded(raw).map { .object(bucket: nil, key: $0) }
                ?? .bad(reason: "a `%` that two hexadecimal digits do not follow")
        case .url: parseURL(raw)
        }
    }

    private func parseURL(_ raw: ArraySlice<UInt8>) -> ParsedReference {
        guard let colon = raw.firstIndex(of: UInt8(ascii: ":")), raw[colon...].starts(with: Array("://".utf8)) else {
            return .bad(reason: "not a URL")
        }
        let scheme = String(decoding: raw[..<colon], as: UTF8.self).lowercased()
        let rest = raw[(colon + 3)...]
        let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
        let authority = String(decoding: rest[..<slash], as: UTF8.self)
        let path = rest[slash...].dropFirst()
        switch scheme {
        case "s3":
            guard isBucketName(authority) else { return .bad(reason: "no bucket name behind s3://") }
            return named(authority, Array(path))
        case "http", "https":
            return parseHTTP(secure: scheme == "https", authority: authority, path: path)
        default:
            return .bad(reason: "a URL of a scheme that names no object: only s3, http and https do")
        }
    }

    private func parseHTTP(secure: Bool, authority: String, path: ArraySlice<UInt8>) -> ParsedReference {
        guard !authority.contains("@") else { return .bad(reason: "a URL with a user name in it") }
        var host = authority.lowercased()
        for ending in secure ? [":443"] : [":80"] where host.hasSuffix(ending) { host.removeLast(ending.count) }
        // The query and the fragment are no part of the key; in the path itself `?` and `#` are percent-encoded.
        let end = path.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? path.endIndex
        guard let decoded = percentDecoded(path[..<end]) else {
            return .bad(reason: "a `%` in the URL that two hexadecimal digits do not follow")
        }
        if let bucket = bucketHosts[host] { return named(bucket, decoded) }
        if endpoints.contains(host) || isAmazonEndpoint(host) { return pathStyle(decoded) }
        if let dot = host.firstIndex(of: "."), let bucket = virtualHostBucket(host, firstDot: dot) {
            return isBucketName(bucket) ? named(bucket, decoded) : .bad(reason: "no bucket name before the host")
        }
        return .bad(
            reason: "a URL of another host: neither Amazon S3, an endpoint of the drill file, nor listed in `hosts`")
    }

    /// `bucket` of `bucket.endpoint`, where what follows some dot is an endpoint that we know.
    private func virtualHostBucket(_ host: String, firstDot: String.Index) -> String? {
        var dot: String.Index? = firstDot
        while let index = dot {
            let tail = String(host[host.index(after: index)...])
            if endpoints.contains(tail) || isAmazonEndpoint(tail) { return String(host[..<index]) }
            dot = host[host.index(after: index)...].firstIndex(of: ".")
        }
        return nil
    }

    private func pathStyle(_ path: [UInt8]) -> ParsedReference {
        guard let slash = path.firstIndex(of: UInt8(ascii: "/")) else {
            return .bad(reason: "a URL without an object key")
        }
        let bucket = String(decoding: path[..<slash], as: UTF8.self)
        guard isBucketName(bucket) else { return .bad(reason: "no bucket name in the URL") }
        return named(bucket, Array(path[(slash + 1)...]))
    }

    private func named(_ bucket: String, _ key: [UInt8]) -> ParsedReference {
        key.isEmpty ? .bad(reason: "a URL without an object key") : .object(bucket: bucket, key: key)
    }

    /// `s3.amazonaws.com`, `s3.REGION.…`, `s3-REGION.…`, with `dualstack`, `s3-fips` and `s3-accelerate`, also of China's partition.
    private func isAmazonEndpoint(_ host: String) -> Bool {
        guard let stem = ["amazonaws.com.cn", "amazonaws.com"].first(where: { host.hasSuffix("." + $0) }) else {
            return false
        }
        let labels = host.dropLast(stem.count + 1).split(separator: ".", omittingEmptySubsequences: false)
        let services: Set<Substring> = ["s3", "s3-fips", "s3-accelerate"]
        func isRegion(_ label: Substring) -> Bool {
            !label.isEmpty
                && label.utf8.allSatisfy { byte in
                    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                        || byte == UInt8(ascii: "-")
                }
        }
        switch labels.count {
        case 1:
            // `s3-us-west-2` is the old spelling of a region; `s3-website-…` serves pages, not objects by key.
            return services.contains(labels[0])
                || (labels[0].hasPrefix("s3-") && !labels[0].hasPrefix("s3-website")
                    && isRegion(labels[0].dropFirst(3)))
        case 2: return services.contains(labels[0]) && isRegion(labels[1])
        case 3: return services.contains(labels[0]) && labels[1] == "dualstack" && isRegion(labels[2])
        default: return false
        }
    }

    /// Amazon S3 User Guide, "General purpose bucket naming rules", with the underscores and capitals that old buckets have.
    private func isBucketName(_ name: String) -> Bool {
        if knownBuckets.contains(name) { return true }
        return (3...255).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
                    true
                default: false
                }
            }
    }
}

/// Each `%XX` as its byte, once; `+` stays. nil where a `%` has no two hexadecimal digits behind it.
package func percentDecoded(_ bytes: some Collection<UInt8>) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var iterator = bytes.makeIterator()
    while let byte = iterator.next() {
        guard byte == UInt8(ascii: "%") else {
            result.append(byte)
            continue
        }
        guard let high = iterator.next().flatMap(hexadecimalValue), let low = iterator.next().flatMap(hexadecimalValue)
        else {
            return nil
        }
        result.append(high << 4 | low)
    }
    return result
}

/// Every byte but the unreserved ones and `/` as `%XX`.
package func percentEncoded(_ bytes: some Collection<UInt8>) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    let digits = Array("0123456789ABCDEF".utf8)
    for byte in bytes {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
            UInt8(ascii: "~"), UInt8(ascii: "/"):
            result.append(byte)
        default:
            result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return result
}

func hexadecimalValue(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
}
