/// One request as it came over the wire, and where it points.
struct StandInRequest: Sendable {
    struct Header: Sendable {
        /// Lower case.
        let name: String
        let value: String
    }
    struct QueryItem: Sendable {
        let name: String
        /// Decoded; empty for an item without `=`.
        let value: [UInt8]
    }

    let method: String
    /// The request target exactly as sent, percent escapes and all.
    let target: [UInt8]
    let line: String
    let headers: [Header]
    let query: [QueryItem]
    let bucket: String?
    /// Decoded; empty for requests to the bucket itself.
    let key: [UInt8]
    /// The whole decoded path, which is what gets signed.
    let path: [UInt8]
    let operation: S3Operation
    var body: [UInt8] = []
    /// What came behind an `aws-chunked` body, such as its checksum. Not signed with the headers.
    var trailers: [Header] = []

    /// - Parameter head: Everything before the empty line that ends the header section.
    /// - Returns: `nil` when this is not HTTP/1.
    init?(head: [UInt8]) {
        var lines = head.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)[...].map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
        guard !lines.isEmpty else { return nil }
        let requestLine = lines.removeFirst()
        let words = requestLine.split(separator: UInt8(ascii: " "), maxSplits: 2)
        guard words.count == 3, words[2].starts(with: "HTTP/1.".utf8) else { return nil }
        var headers: [Header] = []
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
            headers.append(Header(name: name, value: Self.trimmed(line[(colon + 1)...])))
        }
        self.headers = headers
        line = String(decoding: requestLine, as: UTF8.self)
        method = String(decoding: words[0], as: UTF8.self)
        target = [UInt8](words[1])
        let halves = target.split(separator: UInt8(ascii: "?"), maxSplits: 1, omittingEmptySubsequences: false)
        query = halves.count > 1 ? Self.items(halves[1]) : []
        path = Bytes.percentDecoded(halves[0], plusIsSpace: false)
        (bucket, key) = Self.place(path, host: headers.first { $0.name == "host" }?.value ?? "")
        operation = S3Operation(
            method: method, bucket: bucket, key: key, names: Set(query.map(\.name)),
            isCopy: headers.contains { $0.name == "x-amz-copy-source" })
    }

    func trailingHeader(_ name: String) -> String? { trailers.first { $0.name == name }?.value }

    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    func queryValue(_ name: String) -> [UInt8]? { query.first { $0.name == name }?.value }

    func queryText(_ name: String) -> String? { queryValue(name).map { String(decoding: $0, as: UTF8.self) } }

    var closesConnection: Bool { line.hasSuffix("HTTP/1.0") || header("connection")?.lowercased() == "close" }

    /// `20130524/us-east-1/s3/aws4_request` and what else the Authorization header says; `nil` without one.
    var authorization: SignatureHeader? { header("authorization").flatMap(SignatureHeader.init) }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> String {
        let isSpace = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        var bytes = bytes.drop(while: isSpace)
        while let last = bytes.last, isSpace(last) { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func items(_ query: ArraySlice<UInt8>) -> [QueryItem] {
        query.split(separator: UInt8(ascii: "&")).map { item in
            let halves = item.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            let name = Bytes.percentDecoded(halves[0], plusIsSpace: true)
            return QueryItem(
                name: String(decoding: name, as: UTF8.self),
                value: halves.count > 1 ? Bytes.percentDecoded(halves[1], plusIsSpace: true) : [])
        }
    }

    /// Virtual-host style is `bucket.s3.localhost`, with or without a region between; all else is path style.
    private static func place(_ path: [UInt8], host: String) -> (bucket: String?, key: [UInt8]) {
        let name = host.split(separator: ":").first.map(String.init)?.lowercased() ?? ""
        let rest = path.first == UInt8(ascii: "/") ? [UInt8](path.dropFirst()) : path
        if name.hasSuffix(".localhost"), let service = name.range(of: ".s3.") {
            return (String(name[..<service.lowerBound]), rest)
        }
        guard let slash = rest.firstIndex(of: UInt8(ascii: "/")) else {
            return (rest.isEmpty ? nil : String(decoding: rest, as: UTF8.self), [])
        }
        return (String(decoding: rest[..<slash], as: UTF8.self), [UInt8](rest[(slash + 1)...]))
    }
}
