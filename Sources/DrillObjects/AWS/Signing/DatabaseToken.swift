import Crypto
import DrillCore

/// The password of IAM database authentication: a presigned request that is never sent (Amazon RDS User Guide, "Connecting to
/// your DB instance using IAM authentication").
struct DatabaseToken: Sendable {
    var host: String
    var port: Int
    var user: String

    /// - Parameter seconds: Now, since 1970 UTC; the token is good for 15 minutes from then.
    func signed(by keys: AWSCredentials, region: String, seconds: Int64) -> Secret {
        let instant = Timestamps.signingText(seconds: seconds)
        let scope = "\(instant.prefix(8))/\(region)/rds-db/aws4_request"
        var query = [
            ("Action", "connect"), ("DBUser", user), ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", "\(keys.accessKeyID)/\(scope)"), ("X-Amz-Date", instant), ("X-Amz-Expires", "900"),
        ]
        if let token = keys.sessionToken { query.append(("X-Amz-Security-Token", token.reveal())) }
        query.append(("X-Amz-SignedHeaders", "host"))
        let target = "/?" + query.map { "\($0)=\(URLEncoding.component($1))" }.joined(separator: "&")
        // As Amazon's own tools sign it: the scheme's own port is left out of the host.
        let request = HTTPRequest(.get, HTTPOrigin(isSecure: true, host: host, port: port == 443 ? nil : port), target)
        let signer = RequestSigner(service: "rds-db")
        let signature = signer.signature(
            of: signer.canonicalRequest(request, payloadHash: RequestSigner.emptyHash).bytes, keys: keys,
            region: region, instant: instant)
        return Secret("\(host):\(port)\(target)&X-Amz-Signature=\(signature)")
    }
}
