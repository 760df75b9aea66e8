import Foundation
import Testing

@testable import DrillTestKit

/// With the worked examples of the Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
@Suite("S3 stand-in: signatures")
struct S3SignatureTests {
    private static let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    private struct Example {
        var method = "GET"
        let target: String
        var headers: [(String, String)] = []
        var payload = empty
        var body: [UInt8] = []
        let signedHeaders: String
        let signature: String
    }

    private let examples = [
        Example(
            target: "/test.txt", headers: [("Range", "bytes=0-9")],
            signedHeaders: "host;range;x-amz-content-sha256;x-amz-date",
            signature: "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        Example(
            method: "PUT", target: "/test%24file.text",
            headers: [("Date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            payload: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            body: [UInt8]("Welcome to Amazon S3.".utf8),
            signedHeaders: "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
            signature: "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        Example(
            target: "/?lifecycle", signedHeaders: "host;x-amz-content-sha256;x-amz-date",
            signature: "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        Example(
            target: "/?max-keys=2&prefix=J", signedHeaders: "host;x-amz-content-sha256;x-amz-date",
            signature: "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ]

    private func standIn(token: String? = nil, expires: Date? = nil) throws -> S3StandIn {
        let standIn = try S3StandIn()
        standIn.accept(
            StandInCredential(
                accessKey: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                sessionToken: token,
                expires: expires))
        standIn.setClock { Date(timeIntervalSince1970: 1_369_353_600 + 60) }
        return standIn
    }

    private func ask(
        _ standIn: S3StandIn, _ example: Example, signature: String? = nil, extra: [(String, String)] = []
    ) -> RawAnswer {
        let scope = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
        let authorization =
            "AWS4-HMAC-SHA256 Credential=\(scope),SignedHeaders=\(example.signedHeaders),"
            + "Signature=\(signature ?? example.signature)"
        return RawClient(standIn).ask(
            example.method, example.target,
            example.headers + extra + [
                ("x-amz-date", "20130524T000000Z"), ("x-amz-content-sha256", example.payload),
                ("Authorization", authorization),
            ], body: example.body, host: "examplebucket.s3.amazonaws.com")
    }

    @Test("S11: Amazon's own examples are accepted, and no other signature")
    func publishedExamplesVerify() throws {
        let standIn = try standIn()
        for example in examples {
            let answer = ask(standIn, example)
            #expect(answer.status != 403, "\(example.target): \(answer.text)")
            let forged = String(example.signature.reversed())
            #expect(ask(standIn, example, signature: forged).all("Code") == ["SignatureDoesNotMatch"])
        }
        var tampered = examples[1]
        tampered.body[0] ^= 1
        #expect(ask(standIn, tampered).all("Code") == ["XAmzContentSHA256Mismatch"])
        var moved = examples[0]
        moved.headers = [("Range", "bytes=0-8")]
        #expect(ask(standIn, moved).all("Code") == ["SignatureDoesNotMatch"])
    }

    @Test func unsignedAndUnknownAreRefused() throws {
        let standIn = try standIn()
        #expect(RawClient(standIn).ask("GET", "/b/k").all("Code") == ["AccessDenied"])
        #expect(ask(standIn, examples[0], extra: [("x-amz-acl", "private")]).all("HeadersNotSigned") == ["x-amz-acl"])
        let other = [
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=B/20130524/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=0"
            )
        ]
        #expect(RawClient(standIn).ask("GET", "/b/k", other).all("Code") == ["InvalidAccessKeyId"])
        #expect(RawClient(standIn).ask("GET", "/b/k", [("Authorization", "AWS x")]).status == 400)
    }

    @Test("S19: the server's clock is its own, in Date and for the age of a signature")
    func skewedClockIsNoticed() throws {
        let standIn = try standIn()
        for (offset, isRefused) in [(-901.0, true), (-899, false), (899, false), (901, true)] {
            standIn.setClock { Date(timeIntervalSince1970: 1_369_353_600 + offset) }
            let answer = ask(standIn, examples[0])
            #expect((answer.all("Code") == ["RequestTimeTooSkewed"]) == isRefused)
        }
        #expect(ask(standIn, examples[0]).headers["date"] == "Fri, 24 May 2013 00:15:01 GMT")
    }

    @Test("S32: session tokens are required, compared, and expire with status 400")
    func sessionTokensExpire() throws {
        let wanted = try standIn(token: "T")
        #expect(ask(wanted, examples[0]).all("Code") == ["InvalidAccessKeyId"])
        let wrong = ask(wanted, examples[0], extra: [("x-amz-security-token", "U")])
        #expect(wrong.status == 400 && wrong.all("Code") == ["InvalidToken"])
        let expired = try standIn(expires: Date(timeIntervalSince1970: 1_369_353_600))
        let answer = ask(expired, examples[0])
        #expect(answer.status == 400 && answer.all("Code") == ["ExpiredToken"])
    }
}
