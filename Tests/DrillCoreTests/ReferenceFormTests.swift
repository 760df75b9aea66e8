import DrillCore
import Testing

struct ReferenceFormTests {
    private let parser = ReferenceParser(
        form: .url, endpoints: ["minio.internal:9000", "s3.corp.example"], bucketHosts: ["cdn.example.com": "uploads"])

    private func parse(_ text: String) -> ParsedReference { parser.parse(Array(text.utf8)[...]) }

    @Test(arguments: [
        ("s3://bucket/a/b", "bucket", "a/b"),
        ("s3://bucket/a%20b?c#d", "bucket", "a%20b?c#d"),
        ("S3://bucket//x", "bucket", "/x"),
        ("https://bucket.s3.amazonaws.com/a%20b", "bucket", "a b"),
        ("https://my.dotted.bucket.s3.eu-central-1.amazonaws.com/k", "my.dotted.bucket", "k"),
        ("https://s3.eu-central-1.amazonaws.com/bucket/k/l", "bucket", "k/l"),
        ("https://s3-us-west-2.amazonaws.com/bucket/k", "bucket", "k"),
        ("https://bucket.s3.dualstack.us-east-1.amazonaws.com/k", "bucket", "k"),
        ("https://bucket.s3-accelerate.amazonaws.com/k", "bucket", "k"),
        ("https://bucket.s3.cn-north-1.amazonaws.com.cn/k", "bucket", "k"),
        ("https://BUCKET.S3.AMAZONAWS.COM:443/k?X-Amz-Signature=1#f", "bucket", "k"),
        ("http://minio.internal:9000/bucket/a/../b", "bucket", "a/../b"),
        ("http://bucket.minio.internal:9000/k+l", "bucket", "k+l"),
        ("https://cdn.example.com/a/b", "uploads", "a/b"),
    ])
    func urlsThatNameObjects(text: String, bucket: String, key: String) {
        #expect(parse(text) == .object(bucket: bucket, key: Array(key.utf8)))
    }

    @Test(
        "X5: a row chooses no host and no scheme",
        arguments: [
            "", "key", "//host/key", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "gopher://x/y",
            "https://evil.example/bucket/key", "https://s3.amazonaws.com.evil.example/bucket/key",
            "https://bucket.s3.amazonaws.com@evil.example/key", "https://user:pw@s3.amazonaws.com/bucket/key",
            "https://minio.internal:9001/bucket/key", "https://minio.internal/bucket/key", "s3://", "s3://bucket",
            "s3://bucket/",
            "https://s3.amazonaws.com/bucket", "https://s3.amazonaws.com/", "https://bucket.s3.amazonaws.com/",
            "https://bucket.s3.amazonaws.com/a%2", "https://bucket.s3.amazonaws.com/a%zz", "s3://bu ck\u{0}et/key",
            "https://bucket.s3-website-us-east-1.amazonaws.com/k", "https://.s3.amazonaws.com/k",
        ])
    func whatNamesNoObject(text: String) {
        guard case .bad = parse(text) else {
            Issue.record("\(text) was read as \(parse(text))")
            return
        }
    }

    @Test func percentEncodedIsDecodedOnce() {
        let parser = ReferenceParser(form: .percentEncoded)
        #expect(parser.parse(Array("a%2520b+c".utf8)[...]) == .object(bucket: nil, key: Array("a%20b+c".utf8)))
        #expect(parser.parse(Array("%FF".utf8)[...]) == .object(bucket: nil, key: [0xFF]))
        guard case .bad = parser.parse(Array("50%".utf8)[...]) else {
            Issue.record("a lone % was accepted")
            return
        }
    }
}
