import Foundation
import Testing

@testable import DrillTestKit

/// The same questions to the stand-in and to the real gateway, where both know the case. What they answer is compared
/// as lines; version ids are named by the order of their appearance.
@Suite("S3 stand-in: as the real gateway", .needs(.s3))
struct S3ConformanceTests {
    @Test(arguments: S3Case.all)
    func standInAnswersAsTheGateway(of asked: S3Case) throws {
        let standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: "A", secret: "S"))
        standIn.settings.minimumPartBytes = 1
        let fake = try S3Place(port: standIn.port, region: "us-east-1", accessKey: "A", secret: "S")
        let real = try #require(try S3Place(ProcessInfo.processInfo.environment))
        let expected = asked.run(real)
        #expect(asked.run(fake) == expected)
        #expect(!expected.isEmpty)
    }
}

/// A bucket of its own at some S3, with requests signed.
final class S3Place {
    let bucket = "conformance-\(UInt64.random(in: 0 ... .max))"
    private let client: RawClient
    private let region: String
    private let accessKey: String
    private let secret: String
    private let host: String
    private var names: [String: String] = ["null": "null"]

    init(port: UInt16, region: String, accessKey: String, secret: String) throws {
        client = RawClient(port: port)
        host = "127.0.0.1:\(port)"
        self.region = region
        self.accessKey = accessKey
        self.secret = secret
        #expect(ask("PUT").status == 200)
    }

    /// - Returns: `nil` where the environment names no gateway on 127.0.0.1.
    convenience init?(_ environment: [String: String]) throws {
        guard let port = environment["MUSTER_TEST_S3_ENDPOINT"].flatMap(URL.init(string:))?.port,
            let region = environment["MUSTER_TEST_S3_REGION"], let key = environment["MUSTER_TEST_S3_ACCESS_KEY"],
            let secret = environment["MUSTER_TEST_S3_SECRET_KEY"]
        else { return nil }
        try self.init(port: UInt16(port), region: region, accessKey: key, secret: secret)
    }

    /// - Parameter key: Encoded here; empty for the bucket itself.
    func ask(
        _ method: String, _ key: String = "", _ query: String = "", _ headers: [(String, String)] = [],
        body: String = "",
        bucket: String? = nil
    ) -> RawAnswer {
        let path = String(decoding: Bytes.uriEncoded([UInt8](key.utf8), keepingSlash: true), as: UTF8.self)
        let target = "/\(bucket ?? self.bucket)\(key.isEmpty ? "" : "/")\(path)\(query.isEmpty ? "" : "?")\(query)"
        let body = [UInt8](body.utf8)
        let now = S3Time.fields(Date())
        let day = S3Time.pad(now.year, 4) + S3Time.pad(now.month) + S3Time.pad(now.day)
        let stamp = "\(day)T\(S3Time.pad(now.hour))\(S3Time.pad(now.minute))\(S3Time.pad(now.second))Z"
        let hash = Bytes.hex(ObjectChecksum.Algorithm.sha256.digest(of: body))
        var headers = headers + [("x-amz-content-sha256", hash), ("x-amz-date", stamp)]
        if !body.isEmpty { headers.append(("content-md5", Bytes.base64(ETag.md5(body)))) }
        let lines = headers.map { "\r\n\($0.0): \($0.1)" }.joined()
        guard let request = StandInRequest(head: [UInt8]("\(method) \(target) HTTP/1.1\r\nhost: \(host)\(lines)".utf8))
        else { return RawAnswer() }
        let signed = request.headers.map(\.name).sorted().joined(separator: ";")
        let unsigned =
            "AWS4-HMAC-SHA256 Credential=\(accessKey)/\(day)/\(region)/s3/aws4_request,"
            + "SignedHeaders=\(signed),Signature="
        let check = SignatureCheck(credentials: [:], now: Date())
        guard let header = SignatureHeader(unsigned + "0"),
            let signature = try? check.signature(of: request, header, stamp: stamp, secret: secret).signature
        else { return RawAnswer() }
        return client.ask(
            method, target, headers + [("authorization", unsigned + signature)], body: body, host: host)
    }

    func setVersioning(_ status: String) {
        let answer = ask(
            "PUT", "", "versioning=",
            body:
                "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>\(status)</Status>"
                + "</VersioningConfiguration>")
        #expect(answer.status == 200)
    }

    /// The same name for the same version id.
    func name(_ versionID: String?) -> String {
        guard let versionID, !versionID.isEmpty else { return "-" }
        if let known = names[versionID] { return known }
        let name = "v\(names.count)"
        names[versionID] = name
        return name
    }

    /// Versions and delete markers in document order, over pages of this size.
    func versions(pageSize: Int) -> [String] {
        var lines: [String] = []
        var more = ""
        repeat {
            let answer = ask("GET", "", "encoding-type=url\(more)&max-keys=\(pageSize)&versions=")
            lines += Self.entries(answer.text).map { tag, entry in
                let text = { (name: String) in entry.first(name)?.string ?? "-" }
                let key = Bytes.percentDecoded([UInt8](text("Key").utf8), plusIsSpace: true)
                let described = ["IsLatest", "Size", "ETag"].map(text).joined(separator: " ")
                return "\(tag) \(Bytes.hex(key)) \(name(text("VersionId"))) \(described)"
            }
            more = ""
            guard answer.all("IsTruncated") == ["true"], let key = answer.all("NextKeyMarker").first else { continue }
            let decoded = Bytes.percentDecoded([UInt8](key.utf8), plusIsSpace: true)
            more = "&key-marker=" + String(decoding: Bytes.uriEncoded(decoded, keepingSlash: false), as: UTF8.self)
            if let id = answer.all("NextVersionIdMarker").first { more += "&version-id-marker=" + encoded(id) }
        } while !more.isEmpty && lines.count < 1000
        return lines
    }

    private static func entries(_ text: String) -> [(String, XMLBody)] {
        text.components(separatedBy: "<").filter { $0.hasPrefix("Version>") || $0.hasPrefix("DeleteMarker>") }
            .map { String($0.dropLast()) }
            .reduce(into: (found: [(String, XMLBody)](), used: [String: Int]())) { result, tag in
                let number = result.used[tag, default: 0]
                result.used[tag] = number + 1
                result.found.append((tag, XMLBody(bytes: [UInt8](text.utf8)).all(tag)[number]))
            }.found
    }

    /// Keys and sizes in order, over pages of this size.
    func objects(pageSize: Int, prefix: String = "") -> [String] {
        var lines: [String] = []
        var token = ""
        repeat {
            let answer = ask("GET", "", "\(token)encoding-type=url&list-type=2&max-keys=\(pageSize)&prefix=\(prefix)")
            for entry in XMLBody(bytes: answer.body).all("Contents") {
                let key = Bytes.percentDecoded(entry.first("Key")?.text ?? [], plusIsSpace: true)
                lines.append(
                    "\(Bytes.hex(key)) \(entry.first("Size")?.string ?? "") \(entry.first("ETag")?.string ?? "")")
            }
            token = answer.all("NextContinuationToken").first.map { "continuation-token=\(encoded($0))&" } ?? ""
        } while !token.isEmpty && lines.count < 1000
        return lines
    }
}

/// One list of questions.
struct S3Case: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let run: @Sendable (S3Place) -> [String]

    init(_ name: String, _ run: @escaping @Sendable (S3Place) -> [String]) {
        testDescription = name
        self.run = run
    }

    static let all = [
        S3Case("S5, S10: hostile keys are kept, listed in byte order and found") { place in
            let keys = [
                "a b", "a+b", "a%20b", "a%2Bb", "x//y", "trail/", "a/../b", "é", "e\u{301}", "\u{212B}", "\u{C5}",
                "<>&'\"",
                "~", "*", "(p)", "q?x=1", "h#f", "\u{1F600}", "\u{FFFD}", "\u{10000}", " lead", "a\\b", "A", "k'k",
                String(repeating: "k", count: 1024),
            ]
            let written = keys.map { "\(place.ask("PUT", $0, body: $0).status)" }
            let found = keys.map { key in
                let head = place.ask("HEAD", key)
                return "\(head.status) \(head.headers["content-length"] ?? "") \(head.headers["etag"] ?? "")"
            }
            let read = keys.map { place.ask("GET", $0).text }
            return written + found + read + place.objects(pageSize: 1000) + place.objects(pageSize: 3)
        },
        S3Case("S14, S16: puts and deletes of two keys, in document order on pages of any size") { place in
            place.setVersioning("Enabled")
            for step in ["1", "22", "", "333"] {
                for key in ["k 1", "k/2"] {
                    _ = step.isEmpty ? place.ask("DELETE", key) : place.ask("PUT", key, body: step)
                }
            }
            _ = place.ask("DELETE", "k/2")
            let heads = ["k 1", "k/2"].map { "\(place.ask("HEAD", $0).status)" }
            return heads + [1000, 4, 3, 1].flatMap(place.versions) + place.objects(pageSize: 10)
        },
        S3Case("S17: null versions through enabling, suspending and enabling again") { place in
            var lines: [String] = []
            func step(_ answer: RawAnswer) {
                lines.append("\(answer.status)")
                lines += place.versions(pageSize: 1000)
            }
            step(place.ask("PUT", "k", body: "0"))
            place.setVersioning("Enabled")
            step(place.ask("PUT", "k", body: "1"))
            place.setVersioning("Suspended")
            step(place.ask("PUT", "k", body: "22"))
            step(place.ask("PUT", "k", body: "333"))
            step(place.ask("DELETE", "k"))
            lines.append(place.ask("GET", "k", "versionId=null").text.isEmpty ? "empty" : "answer")
            step(place.ask("PUT", "k", body: "4444"))
            place.setVersioning("Enabled")
            step(place.ask("PUT", "k", body: "55555"))
            step(place.ask("DELETE", "k", "versionId=null"))
            step(place.ask("DELETE", "k"))
            return lines
        },
        S3Case("a bucket that was never versioned forgets") { place in
            _ = place.ask("PUT", "k", body: "1")
            _ = place.ask("PUT", "k", body: "22")
            let before = place.versions(pageSize: 10)
            let status = place.ask("DELETE", "k").status
            let configured = place.ask("GET", "", "versioning=").all("Status")
            return before + ["\(status)"] + place.versions(pageSize: 10) + configured
        },
        S3Case("S22, S27: ranges and conditions") { place in
            _ = place.ask("PUT", "k", body: "0123456789")
            _ = place.ask("PUT", "empty")
            let tag = place.ask("HEAD", "k").headers["etag"] ?? ""
            let ranges = ["bytes=0-0", "bytes=8-99", "bytes=-3", "bytes=4-", "bytes=10-"].map { range in
                let answer = place.ask("GET", "k", "", [("range", range)])
                return "\(answer.status) \(answer.status == 206 ? answer.text : "") \(answer.all("Code"))"
            }
            let conditions = [
                ("if-match", tag), ("if-match", "\"x\""), ("if-none-match", tag), ("if-none-match", "\"x\""),
            ]
            return ranges + conditions.map { "\(place.ask("GET", "k", "", [$0]).status)" }
                + ["\(place.ask("GET", "empty", "", [("range", "bytes=0-0")]).status)"]
        },
        S3Case("S24: a multipart object's ETag and size; aborted uploads leave nothing") { place in
            let id = place.ask("POST", "mp é", "uploads=").all("UploadId").first ?? ""
            let part = place.ask("PUT", "mp é", "partNumber=1&uploadId=\(encoded(id))", body: "only part")
            let list = place.ask("GET", "", "uploads=").all("Upload").count
            let listed = "<Part><PartNumber>1</PartNumber><ETag>\(part.headers["etag"] ?? "")</ETag></Part>"
            let xml = "<CompleteMultipartUpload>\(listed)</CompleteMultipartUpload>"
            let done = place.ask("POST", "mp é", "uploadId=\(encoded(id))", body: xml)
            let gone = place.ask("POST", "other", "uploads=").all("UploadId").first ?? ""
            let aborted = place.ask("DELETE", "other", "uploadId=\(encoded(gone))")
            let lost = place.ask("PUT", "other", "partNumber=1&uploadId=\(encoded(gone))", body: "x")
            return ["\(list) \(done.status) \(aborted.status) \(lost.status) \(lost.all("Code"))"]
                + place.objects(pageSize: 10)
        },
        S3Case("S21: copies, and removal of many at once") { place in
            _ = place.ask("PUT", "a +b", body: "copied")
            let copy = place.ask("PUT", "c", "", [("x-amz-copy-source", "/\(place.bucket)/a%20%2Bb")])
            let lacking = place.ask("PUT", "d", "", [("x-amz-copy-source", "/\(place.bucket)/none")])
            let listed = place.objects(pageSize: 10)
            let removed = place.ask(
                "POST", "", "delete=",
                body: "<Delete><Object><Key>a +b</Key></Object><Object><Key>none</Key></Object></Delete>")
            return ["\(copy.status) \(lacking.status) \(lacking.all("Code")) \(removed.all("Deleted").count)"]
                + listed + place.objects(pageSize: 10)
        },
        S3Case("S30: absences have their codes, and HEAD has no body") { place in
            let none = place.ask("GET", "", "list-type=2", bucket: "none-\(UInt64.random(in: 0 ... .max))")
            let key = place.ask("GET", "none")
            let head = place.ask("HEAD", "none")
            let upload = place.ask("DELETE", "none", "uploadId=none")
            let lifecycle = place.ask("GET", "", "lifecycle=")
            return [none, key, head, upload, lifecycle].map { "\($0.status) \($0.all("Code"))" }
                + ["\(head.body.count) \(place.ask("HEAD").status)"]
        },
        S3Case("prefixes, delimiters and start-after") { place in
            for key in ["a", "a/1", "a/2", "b/1", "b/2/3", "c d", "d/"] { _ = place.ask("PUT", key, body: key) }
            return ["delimiter=%2F", "prefix=a", "prefix=b%2F&delimiter=%2F", "start-after=a%2F1", "max-keys=0"].map {
                let items = ("list-type=2&" + $0).split(separator: "&").sorted().joined(separator: "&")
                let answer = place.ask("GET", "", items)
                return ["Key", "CommonPrefixes", "KeyCount", "IsTruncated"].map { "\(answer.all($0))" }.joined()
            }
        },
    ]
}
