import Crypto
import Foundation

/// An access key that the stand-in knows.
package struct StandInCredential: Sendable {
    package var accessKey: String
    package var secret: String
    /// Required with every request where set.
    package var sessionToken: String?
    /// On the stand-in's clock; requests at or after it get `ExpiredToken` (S32).
    package var expires: Date?

    package init(accessKey: String, secret: String, sessionToken: String? = nil, expires: Date? = nil) {
        self.accessKey = accessKey
        self.secret = secret
        self.sessionToken = sessionToken
        self.expires = expires
    }
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
struct SignatureHeader: Sendable {
    let accessKey: String
    let day: String
    let region: String
    let service: String
    let signedHeaders: [String]
    let signature: String

    init?(_ text: String) {
        guard let space = text.firstIndex(of: " "), text[..<space] == "AWS4-HMAC-SHA256" else { return nil }
        var fields: [String: String] = [:]
        for field in text[space...].split(separator: ",") {
            let halves = field.split(separator: "=", maxSplits: 1)
            guard halves.count == 2 else { return nil }
            fields[halves[0].trimmingCharacters(in: .whitespaces)] = String(halves[1])
        }
        let scope = (fields["Credential"] ?? "").split(separator: "/", omittingEmptySubsequences: false).map(
            String.init)
        guard scope.count >= 5, scope[scope.count - 1] == "aws4_request", let signed = fields["SignedHeaders"],
            let signature = fields["Signature"]
        else { return nil }
        accessKey = scope[..<(scope.count - 4)].joined(separator: "/")
        day = scope[scope.count - 4]
        region = scope[scope.count - 3]
        service = scope[scope.count - 2]
        signedHeaders = signed.split(separator: ";").map(String.init)
        self.signature = signature
    }
}

/// Signature Version 4 from the server's side, written from the manual and not from our signer, so that each checks the
/// other.
struct SignatureCheck {
    let credentials: [String: StandInCredential]
    /// The server's clock.
    let now: Date

    /// - Throws: What AWS answers to an unsigned, forged, late or badly written request.
    func verify(_ request: StandInRequest) throws(S3Failure) {
        guard let text = request.header("authorization") else { throw .accessDenied }
        guard let header = SignatureHeader(text), header.service == "s3" else {
            throw S3Failure(
                400, "AuthorizationHeaderMalformed", "The authorization header that you provided is not valid.")
        }
        guard let credential = credentials[header.accessKey] else {
            throw S3Failure(
                403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                details: [("AWSAccessKeyId", header.accessKey)])
        }
        let stamp = try checkTime(request, header)
        try checkToken(request, credential)
        let (signature, toSign, canonical) = try signature(of: request, header, stamp: stamp, secret: credential.secret)
        guard signature == header.signature else {
            throw S3Failure(
                403, "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. "
                    + "Check your key and signing method.",
                details: [
                    ("AWSAccessKeyId", header.accessKey), ("StringToSign", toSign),
                    ("SignatureProvided", header.signature),
                    ("CanonicalRequest", String(decoding: canonical, as: UTF8.self)),
                ])
        }
        try checkBody(request)
    }

    /// - Parameter stamp: `x-amz-date`.
    /// - Returns: What the signature has to be, and from what it was made.
    func signature(
        of request: StandInRequest, _ header: SignatureHeader, stamp: String, secret: String
    ) throws(S3Failure) -> (signature: String, toSign: String, canonical: [UInt8]) {
        let canonical = try canonicalRequest(request, header)
        let scope = "\(header.day)/\(header.region)/s3/aws4_request"
        let toSign = "AWS4-HMAC-SHA256\n\(stamp)\n\(scope)\n\(Bytes.hex(SHA256.hash(data: canonical)))"
        return (sign(toSign, secret: secret, header), toSign, canonical)
    }

    private func checkTime(_ request: StandInRequest, _ header: SignatureHeader) throws(S3Failure) -> String {
        guard let stamp = request.header("x-amz-date"), let date = S3Time.parseBasic(stamp), stamp.hasPrefix(header.day)
        else {
            throw S3Failure(
                403, "AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
        }
        guard abs(date.timeIntervalSince(now)) <= 900 else {
            throw S3Failure(
                403, "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                details: [
                    ("RequestTime", stamp), ("ServerTime", S3Time.xml(now, milliseconds: false)),
                    ("MaxAllowedSkewMilliseconds", "900000"),
                ])
        }
        return stamp
    }

    private func checkToken(_ request: StandInRequest, _ credential: StandInCredential) throws(S3Failure) {
        let token = request.header("x-amz-security-token")
        if let expires = credential.expires, now >= expires {
            throw S3Failure(
                400, "ExpiredToken", "The provided token has expired.", details: [("Token-0", token ?? "")])
        }
        guard token != credential.sessionToken else { return }
        guard let token else {
            throw S3Failure(
                403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                details: [("AWSAccessKeyId", credential.accessKey)])
        }
        throw S3Failure(
            400, "InvalidToken", "The provided token is malformed or otherwise invalid.", details: [("Token-0", token)])
    }

    private func canonicalRequest(
        _ request: StandInRequest, _ header: SignatureHeader
    ) throws(S3Failure) -> [UInt8] {
        let signed = Set(header.signedHeaders)
        let mustBeSigned = request.headers.map(\.name).filter { $0 == "host" || $0.hasPrefix("x-amz-") }
        guard signed.contains("host"), signed.isSuperset(of: mustBeSigned), header.signedHeaders == signed.sorted()
        else {
            throw S3Failure(
                403, "AccessDenied", "There were headers present in the request which were not signed",
                details: [("HeadersNotSigned", mustBeSigned.filter { !signed.contains($0) }.joined(separator: ", "))])
        }
        guard let payload = request.header("x-amz-content-sha256") else {
            throw S3Failure(400, "InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        }
        var lines: [[UInt8]] = [
            [UInt8](request.method.utf8), Bytes.uriEncoded(request.path, keepingSlash: true), canonicalQuery(request),
        ]
        for name in header.signedHeaders {
            let values = request.headers.filter { $0.name == name }.map { header in
                header.value.split(separator: " ", omittingEmptySubsequences: true).joined(separator: " ")
            }
            lines.append([UInt8]("\(name):\(values.joined(separator: ","))".utf8))
        }
        lines += [[], [UInt8](header.signedHeaders.joined(separator: ";").utf8), [UInt8](payload.utf8)]
        return [UInt8](lines.joined(separator: [UInt8(ascii: "\n")]))
    }

    private func canonicalQuery(_ request: StandInRequest) -> [UInt8] {
        let items = request.query.map { item in
            (
                name: Bytes.uriEncoded([UInt8](item.name.utf8), keepingSlash: false),
                value: Bytes.uriEncoded(item.value, keepingSlash: false)
            )
        }
        let sorted = items.sorted { left, right in
            let order = Bytes.compare(left.name, right.name)
            return order == 0 ? Bytes.compare(left.value, right.value) < 0 : order < 0
        }
        return [UInt8](sorted.map { $0.name + [UInt8(ascii: "=")] + $0.value }.joined(separator: [UInt8(ascii: "&")]))
    }

    private func sign(_ text: String, secret: String, _ header: SignatureHeader) -> String {
        var key = SymmetricKey(data: [UInt8]("AWS4\(secret)".utf8))
        for part in [header.day, header.region, "s3", "aws4_request"] {
            key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: [UInt8](part.utf8), using: key))
        }
        return Bytes.hex(HMAC<SHA256>.authenticationCode(for: [UInt8](text.utf8), using: key))
    }

    private func checkBody(_ request: StandInRequest) throws(S3Failure) {
        guard let payload = request.header("x-amz-content-sha256"), payload.utf8.count == 64 else { return }
        let computed = Bytes.hex(SHA256.hash(data: request.body))
        guard computed == payload else {
            throw S3Failure(
                400, "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                details: [
                    ("ClientComputedContentSHA256", payload), ("S3ComputedContentSHA256", computed),
                ])
        }
    }
}
