import DrillCore

/// Where a bucket is reached, and how its requests are spelled.
struct S3Address: Sendable, Hashable {
    var bucket: String
    /// Of an S3-compatible store or a private endpoint; nil is Amazon's own for the region.
    var endpoint: HTTPOrigin?
    var region: String
    /// The bucket stands in the path rather than in the host name.
    var isPathStyle: Bool
    var trust = HTTPTrust()
    /// The reader pays (`x-amz-request-payer`), as some buckets ask for.
    var requesterPays = false

    /// - Parameter pathStyle: nil chooses: the path for a store of somebody else's and where the bucket's name cannot
    ///   stand in
    ///   a host name that a certificate covers (S34).
    init(bucket: String, endpoint: HTTPOrigin?, region: String, pathStyle: Bool?) {
        self.bucket = bucket
        self.endpoint = endpoint
        self.region = region
        let fitsHost = Self.fitsHostName(bucket, secure: endpoint?.isSecure ?? true)
        isPathStyle = pathStyle ?? (!fitsHost || endpoint.map { !Self.isAmazon($0.host) } ?? false)
    }

    /// Directory buckets list in no order and sign differently (S3).
    var isDirectoryBucket: Bool { bucket.hasSuffix("--x-s3") }

    /// On this machine alone.
    var isLocal: Bool {
        guard let host = endpoint?.host else { return false }
        return host == "localhost" || host.hasSuffix(".localhost") || host == "[::1]" || host.hasPrefix("127.")
    }

    var origin: HTTPOrigin {
        let base = endpoint ?? HTTPOrigin(isSecure: true, host: "s3.\(region).\(Self.suffix(region))")
        return isPathStyle ? base : HTTPOrigin(isSecure: base.isSecure, host: "\(bucket).\(base.host)", port: base.port)
    }

    /// The encoded path and query; the query sorted as it is signed.
    ///
    /// - Parameter query: Names with raw values, nil for a name alone.
    func target(key: [UInt8]?, query: [(name: String, value: [UInt8]?)] = []) -> String {
        var target: [UInt8] = [UInt8(ascii: "/")]
        if isPathStyle {
            URLEncoding.appendPath(bucket.utf8, to: &target)
            if key != nil { target.append(UInt8(ascii: "/")) }
        }
        if let key { URLEncoding.appendPath(key, to: &target) }
        guard !query.isEmpty else { return String(decoding: target, as: UTF8.self) }
        var text = ""
        for pair in query {
            if !text.isEmpty { text += "&" }
            text += URLEncoding.component(pair.name)
            if let value = pair.value {
                var encoded: [UInt8] = [UInt8(ascii: "=")]
                URLEncoding.appendComponent(value, to: &encoded)
                text += String(decoding: encoded, as: UTF8.self)
            }
        }
        return String(decoding: target, as: UTF8.self) + "?" + RequestSigner.canonicalQuery(text[...])
    }

    /// `https://host:port`, `http://127.0.0.1:9000/`, or a host alone, which means https. nil for anything else.
    static func origin(_ text: String) -> HTTPOrigin? {
        var rest = text[...]
        var isSecure = true
        if let mark = text.range(of: "://") {
            switch text[..<mark.lowerBound].lowercased() {
            case "https": isSecure = true
            case "http": isSecure = false
            default: return nil
            }
            rest = text[mark.upperBound...]
        }
        while rest.hasSuffix("/") { rest.removeLast() }
        guard !rest.isEmpty, !rest.contains(where: { "/?#@ ".contains($0) }) else { return nil }
        var host = rest
        var port: Int?
        // An IPv6 address stands in brackets: only a colon behind them starts a port.
        let afterAddress = rest.lastIndex(of: "]") ?? rest.startIndex
        if let colon = rest[afterAddress...].lastIndex(of: ":") {
            guard let number = strictInteger(String(rest[rest.index(after: colon)...])), (1...65535).contains(number)
            else { return nil }
            host = rest[..<colon]
            port = Int(number)
        }
        guard !host.isEmpty else { return nil }
        if port == (isSecure ? 443 : 80) { port = nil }
        return HTTPOrigin(isSecure: isSecure, host: host.lowercased(), port: port)
    }

    static func isAmazon(_ host: String) -> Bool {
        host.hasSuffix(".amazonaws.com") || host.hasSuffix(".amazonaws.com.cn") || host == "s3.amazonaws.com"
    }

    static func suffix(_ region: String) -> String { region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com" }

    /// Whether text can be a region: it becomes part of a host name, so nothing else may stand in it.
    static func isRegionName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 64
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || byte == UInt8(ascii: "-")
            }
    }

    private static func fitsHostName(_ bucket: String, secure: Bool) -> Bool {
        guard (3...63).contains(bucket.utf8.count), !bucket.hasPrefix("-"), !bucket.hasSuffix("-") else { return false }
        return isRegionName(secure ? bucket : bucket.replacing(".", with: "-"))
    }
}
