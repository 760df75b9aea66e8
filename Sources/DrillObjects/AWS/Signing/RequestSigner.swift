import Crypto
import DrillCore
import Synchronization

/// AWS Signature Version 4 over headers.
///
/// The path and query that are signed are the very bytes that are sent: for S3 the path is encoded once, and the query
/// is already sorted where it is made (Amazon S3 API Reference, "Authenticating Requests: Using the Authorization
/// Header").
final class RequestSigner: Sendable {
    private struct DerivedKey: Sendable {
        var secret: String
        var scope: String
        var key: SymmetricKey
    }

    static let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    /// Headers that proxies and the transport itself may change on the way.
    private static let unsigned: Set<String> = [
        "authorization", "accept-encoding", "connection", "content-length", "expect", "transfer-encoding", "user-agent",
    ]

    private let service: String
    /// The key of the day and region; derived anew when any of its inputs changes.
    private let derived = Mutex<DerivedKey?>(nil)

    init(service: String = "s3") { self.service = service }

    /// Adds `x-amz-date`, `x-amz-security-token`, for S3 `x-amz-content-sha256`, and `Authorization`.
    ///
    /// - Parameter seconds: Now, since 1970 UTC, as the server's clock has it.
    func sign(_ request: inout HTTPRequest, credentials: AWSCredentials, region: String, seconds: Int64) {
        let instant = Timestamps.signingText(seconds: seconds)
        let payloadHash = request.body.isEmpty ? Self.emptyHash : hexadecimal(SHA256.hash(data: request.body))
        request.headers.append(("x-amz-date", instant))
        if service == "s3" { request.headers.append(("x-amz-content-sha256", payloadHash)) }
        if let token = credentials.sessionToken { request.headers.append(("x-amz-security-token", token.reveal())) }

        let (canonical, signedHeaders) = canonicalRequest(request, payloadHash: payloadHash)
        let signature = signature(of: canonical, keys: credentials, region: region, instant: instant)
        request.headers.append(
            (
                "authorization",
                "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope(region: region, instant: instant)),"
                    + "SignedHeaders=\(signedHeaders),Signature=\(signature)"
            ))
    }

    private func scope(region: String, instant: String) -> String {
        "\(instant.prefix(8))/\(region)/\(service)/aws4_request"
    }

    /// The signature of a canonical request, in hexadecimal digits.
    func signature(of canonical: [UInt8], keys: AWSCredentials, region: String, instant: String) -> String {
        let scope = scope(region: region, instant: instant)
        let toSign = "AWS4-HMAC-SHA256\n\(instant)\n\(scope)\n" + hexadecimal(SHA256.hash(data: canonical))
        let key = signingKey(
            keys.secretAccessKey.reveal(), scope: scope, day: String(instant.prefix(8)), region: region)
        return hexadecimal(HMAC<SHA256>.authenticationCode(for: Array(toSign.utf8), using: key))
    }

    /// The canonical request's bytes, and the names of the headers in it.
    func canonicalRequest(_ request: HTTPRequest, payloadHash: String) -> (bytes: [UInt8], signedHeaders: String) {
        let (path, query) = Self.split(request.target)
        var headers = request.headers.map { (name: $0.name.lowercased(), value: $0.value) }
            .filter { !Self.unsigned.contains($0.name) }
        if !headers.contains(where: { $0.name == "host" }) { headers.append(("host", request.origin.authority)) }
        headers.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512 + request.target.utf8.count)
        func line(_ text: some StringProtocol) {
            bytes.append(contentsOf: text.utf8)
            bytes.append(UInt8(ascii: "\n"))
        }
        line(request.method.rawValue)
        line(path)
        line(Self.canonicalQuery(query))
        for header in headers {
            bytes.append(contentsOf: header.name.utf8)
            bytes.append(UInt8(ascii: ":"))
            Self.appendTrimmed(header.value, to: &bytes)
            bytes.append(UInt8(ascii: "\n"))
        }
        line("")
        let signedHeaders = headers.map(\.name).joined(separator: ";")
        line(signedHeaders)
        bytes.append(contentsOf: payloadHash.utf8)
        return (bytes, signedHeaders)
    }

    /// A pair of a query, encoded.
    private struct QueryPair {
        let name: ArraySlice<UInt8>
        let value: ArraySlice<UInt8>?

        init(_ text: ArraySlice<UInt8>) {
            let equals = text.firstIndex(of: UInt8(ascii: "="))
            name = text[..<(equals ?? text.endIndex)]
            value = equals.map { text[($0 + 1)...] }
        }

        func comesBefore(_ other: QueryPair) -> Bool {
            name == other.name
                ? (value ?? []).lexicographicallyPrecedes(other.value ?? [])
                : name.lexicographicallyPrecedes(other.name)
        }
    }

    /// Pairs sorted by encoded name, then encoded value; a name alone gets its `=`.
    static func canonicalQuery(_ query: Substring) -> String {
        let text = Array(query.utf8)
        let pairs = text.split(separator: UInt8(ascii: "&")).map(QueryPair.init)
        // Most are so already: they were made here.
        let isCanonical =
            text.count { $0 == UInt8(ascii: "&") } == pairs.count - 1 && pairs.allSatisfy { $0.value != nil }
            && !zip(pairs.dropFirst(), pairs).contains { $0.comesBefore($1) }
        if isCanonical { return String(query) }
        var bytes: [UInt8] = []
        for pair in pairs.sorted(by: { $0.comesBefore($1) }) {
            if !bytes.isEmpty { bytes.append(UInt8(ascii: "&")) }
            bytes += pair.name
            bytes.append(UInt8(ascii: "="))
            bytes += pair.value ?? []
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// A header's value without spaces around it, and with one where there are several.
    private static func appendTrimmed(_ value: String, to bytes: inout [UInt8]) {
        let start = bytes.count
        for byte in value.utf8 where byte != UInt8(ascii: " ") || (bytes.count > start && bytes.last != byte) {
            bytes.append(byte)
        }
        if bytes.count > start, bytes.last == UInt8(ascii: " ") { bytes.removeLast() }
    }

    private static func split(_ target: String) -> (path: Substring, query: Substring) {
        guard let mark = target.firstIndex(of: "?") else { return (target[...], "") }
        return (target[..<mark], target[target.index(after: mark)...])
    }

    private func signingKey(_ secret: String, scope: String, day: String, region: String) -> SymmetricKey {
        derived.withLock { cached in
            if let cached, cached.scope == scope, cached.secret == secret { return cached.key }
            var key = SymmetricKey(data: Array("AWS4\(secret)".utf8))
            for part in [day, region, service, "aws4_request"] {
                key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key))
            }
            cached = DerivedKey(secret: secret, scope: scope, key: key)
            return key
        }
    }
}
