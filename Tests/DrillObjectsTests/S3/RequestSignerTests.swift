import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

/// "Examples: Signature Calculations" of the Amazon S3 API Reference.
@Suite struct RequestSignerTests {
    private let credentials = AWSCredentials(
        accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        source: "a test")
    private let origin = HTTPOrigin(isSecure: true, host: "examplebucket.s3.amazonaws.com")

    private func authorization(_ request: HTTPRequest) -> String {
        var request = request
        RequestSigner().sign(&request, credentials: credentials, region: "us-east-1", seconds: 1_369_353_600)
        return request.headers.last { $0.name == "authorization" }?.value ?? ""
    }

    @Test("S11: the published example of GET Object")
    func getObject() {
        var request = HTTPRequest(.get, origin, "/test.txt")
        request.headers = [("Range", "bytes=0-9")]
        #expect(
            authorization(request)
                == "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
                + "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
                + "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    }

    @Test("S11: the published example of PUT Object")
    func putObject() {
        var request = HTTPRequest(.put, origin, "/test%24file.text")
        request.headers = [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")]
        request.body = Array("Welcome to Amazon S3.".utf8)
        #expect(authorization(request).hasSuffix("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"))
    }

    @Test("S11: the published example of GET Bucket Lifecycle, a query of a name alone")
    func bucketLifecycle() {
        let request = HTTPRequest(.get, origin, "/?lifecycle")
        #expect(authorization(request).hasSuffix("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"))
    }

    @Test("S11: the published example of listing objects, in either order of the query")
    func listObjects() {
        for target in ["/?max-keys=2&prefix=J", "/?prefix=J&max-keys=2"] {
            let request = HTTPRequest(.get, origin, target)
            #expect(
                authorization(request).hasSuffix("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"))
        }
    }

    @Test("S10: dots stay literal and every other byte but the unreserved ones and / is escaped")
    func encoding() {
        let address = S3Address(
            bucket: "b", endpoint: HTTPOrigin(isSecure: false, host: "h"), region: "r", pathStyle: true)
        #expect(address.target(key: Array("a/../b//./%2e ~*é\u{1}".utf8)) == "/b/a/../b//./%252e%20~%2A%C3%A9%01")
        #expect(
            address.target(key: nil, query: [("z", Array("/ +".utf8)), ("a-b", nil), ("a", [0xFF])])
                == "/b?a=%FF&a-b=&z=%2F%20%2B")
    }

    @Test("S11: 2,000 hostile keys are signed as botocore signs them", .needsBotocore)
    func agreesWithBotocore() throws {
        var random = RepeatableRandom(seed: 11)
        var asks: [String] = []
        var ours: [String] = []
        let instant: Int64 = 1_794_666_605
        #expect(Timestamps.signingText(seconds: instant) == "20261114T143005Z")
        let origin = HTTPOrigin(isSecure: false, host: "127.0.0.1", port: 9000)
        for index in 0..<2000 {
            let key = random.hostileKey()
            var query: [(name: String, value: [UInt8]?)] = []
            if index % 3 == 0 {
                query = [("versionId", random.hostileKey()), ("uploadId", []), ("a-b", random.hostileKey())]
            }
            if index % 5 == 0 { query += [("a", random.hostileKey())] }
            let token = index % 4 == 0 ? "token/\(index)+==" : nil
            let region = ["us-east-1", "eu-central-1"][index % 2]
            let address = S3Address(bucket: "bucket", endpoint: origin, region: region, pathStyle: true)
            var request = HTTPRequest(index % 7 == 0 ? .head : .get, origin, address.target(key: key, query: query))
            if index % 6 == 0 {
                request.method = .put
                request.body = random.hostileKey()
            }
            request.headers = [("range", "bytes=0-\(index)"), ("x-amz-meta-a", "  two   words ")]
            let ask: [String: Any] = [
                "method": request.method.rawValue, "origin": "\(origin)", "bucket": "bucket", "key": hexadecimal(key),
                "query": query.map { [hexadecimal($0.name.utf8), hexadecimal($0.value ?? [])] }, "region": region,
                "headers": Dictionary(uniqueKeysWithValues: request.headers.map { ($0.name, $0.value) }),
                "body": hexadecimal(request.body), "token": token ?? NSNull(),
            ]
            asks.append(String(decoding: try JSONSerialization.data(withJSONObject: ask), as: UTF8.self))
            var signedWith = credentials
            signedWith.sessionToken = token.map(Secret.init)
            let signer = RequestSigner()
            signer.sign(&request, credentials: signedWith, region: region, seconds: instant)
            ours.append(request.headers.last { $0.name == "authorization" }?.value.replacing(",", with: ", ") ?? "")
            ours[index] = request.target + "\t" + ours[index]
        }
        let theirs = try Botocore.run("sigv4.py", input: asks.joined(separator: "\n"))
            .split(separator: "\n").map { line -> String in
                // botocore leaves the query as it stands; it signs it sorted, as we send it.
                let parts = line.split(separator: "\t", maxSplits: 1)
                let target = parts[0].split(separator: "?", maxSplits: 1)
                let sorted = target.count == 2 ? "?" + RequestSigner.canonicalQuery(target[1]) : ""
                return target[0] + sorted + "\t" + parts[1]
            }
        try #require(theirs.count == ours.count)
        for index in ours.indices { #expect(theirs[index] == ours[index]) }
    }
}
