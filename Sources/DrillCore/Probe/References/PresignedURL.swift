/// That value of a row without the secrets that a URL may bear: the password before its host, and what signs it (X2). Everything
/// else stays as it is.
func withoutSecrets(_ raw: [UInt8]) -> [UInt8] {
    guard let separator = raw.firstRange(of: Array("://".utf8)) else { return raw }
    var result = Array(raw[..<separator.upperBound])
    var rest = raw[separator.upperBound...]
    let authority = rest.prefix { !"/?#".utf8.contains($0) }
    rest = rest.dropFirst(authority.count)
    if let at = authority.lastIndex(of: UInt8(ascii: "@")),
        let colon = authority[..<at].firstIndex(of: UInt8(ascii: ":"))
    {
        result += authority[...colon] + redacted + authority[at...]
    } else {
        result += authority
    }
    let path = rest.prefix { $0 != UInt8(ascii: "?") }
    result += path
    rest = rest.dropFirst(path.count)
    while let mark = rest.popFirst() {
        result.append(mark)
        let field = rest.prefix { !"&;#".utf8.contains($0) }
        rest = rest.dropFirst(field.count)
        let name = field.prefix { $0 != UInt8(ascii: "=") }
        let signs =
            name.count < field.count
            && signingFields.contains(String(decoding: name, as: UTF8.self).lowercased())
        result += signs ? name + [UInt8(ascii: "=")] + redacted : field
    }
    return result
}

private let redacted = Array("<redacted>".utf8)

/// Of presigned URLs of Amazon S3 (signature versions 2 and 4), Google and Azure.
private let signingFields: Set<String> = [
    "x-amz-signature", "x-amz-security-token", "x-amz-credential", "signature", "awsaccesskeyid", "x-goog-signature",
    "x-goog-credential", "googleaccessid", "sig", "token", "access_token",
]
