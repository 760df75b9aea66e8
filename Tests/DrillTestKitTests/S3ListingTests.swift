import Foundation
import Testing

@testable import DrillTestKit

@Suite("S3 stand-in: listings")
struct S3ListingTests {
    @Test func listingIsWhatAmazonSends() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.put("a b".utf8, body: "hello".utf8, at: target + 0.75)
        let answer = RawClient(standIn).ask("GET", "/b?list-type=2&encoding-type=url&max-keys=5000&prefix=a%20")
        #expect(answer.status == 200)
        #expect(answer.headers["transfer-encoding"] == "chunked")
        #expect(
            answer.text == """
                <?xml version="1.0" encoding="UTF-8"?>
                <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix>a+</Prefix>\
                <KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType>\
                <IsTruncated>false</IsTruncated><Contents><Key>a+b</Key>\
                <LastModified>2026-11-14T14:30:05.000Z</LastModified>\
                <ETag>&quot;5d41402abc4b2a76b9719d911017c592&quot;</ETag><Size>5</Size>\
                <StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>
                """)
    }

    @Test("S5: keys are encoded as Amazon does, space as + and ~ as %7E")
    func keysAreEncodedAsAmazonDoes() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        for key in ["a b", "a+b", "a%20b", "x/~-_.*()'!", "é", "\u{1}", "<&>\""] { bucket.put(key.utf8, at: target) }
        let answer = RawClient(standIn).ask("GET", "/b?list-type=2&encoding-type=url")
        #expect(
            answer.all("Key") == [
                "%01", "%3C%26%3E%22", "a+b", "a%2520b", "a%2Bb", "x/%7E-_.*%28%29%27%21", "%C3%A9",
            ])
        let plain = RawClient(standIn).ask("GET", "/b?list-type=2")
        #expect(plain.text.contains("<Key>&#x1;</Key>") && plain.text.contains("<Key>&lt;&amp;&gt;&quot;</Key>"))
        #expect(!plain.text.contains("EncodingType"))
    }

    @Test("S3: keys come in byte order whatever the order of writing, and once")
    func keysComeInByteOrder() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        let keys: [[UInt8]] = [
            [UInt8]("\u{10000}".utf8), [UInt8]("\u{FFFF}".utf8), [UInt8]("e\u{301}".utf8), [UInt8]("é".utf8), [1],
            [0xFF, 0xFE],
            [UInt8]("A".utf8), [UInt8]("a".utf8), [UInt8]("a/b".utf8), [UInt8]("a-1".utf8),
        ]
        for key in keys + keys { bucket.put(key, at: target) }
        let listed = page(of: standIn, "/b?list-type=2&encoding-type=url&max-keys=3")
        #expect(listed == keys.sorted { $0.lexicographicallyPrecedes($1) })
    }

    @Test func everyPageSizeGivesTheSameListing() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        let names = ["a", "a/1", "a/2", "b/1", "b/2/3", "c+ d", "d/", "e"]
        for name in names { bucket.put(name.utf8, at: target) }
        for size in 1...9 {
            #expect(
                page(of: standIn, "/b?list-type=2&encoding-type=url&max-keys=\(size)") == names.map { [UInt8]($0.utf8) }
            )
        }
        let client = RawClient(standIn)
        for size in 1...9 {
            var found: [String] = []
            var token = ""
            repeat {
                let answer = client.ask("GET", "/b?list-type=2&delimiter=/&max-keys=\(size)\(token)")
                found += answer.all("Key") + answer.all("CommonPrefixes").map { String($0.dropFirst(8).dropLast(9)) }
                token = answer.all("NextContinuationToken").first.map { "&continuation-token=" + encoded($0) } ?? ""
            } while !token.isEmpty
            #expect(found.sorted() == ["a", "a/", "b/", "c+ d", "d/", "e"].sorted())
        }
    }

    @Test func startAfterAndPrefixBoundTheListing() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        for name in ["my/path/1", "my/path/2", "my/path2/file"] { bucket.put(name.utf8, at: target) }
        let client = RawClient(standIn)
        #expect(client.ask("GET", "/b?list-type=2&prefix=my/path").all("Key").count == 3)
        #expect(client.ask("GET", "/b?list-type=2&prefix=my/path/").all("Key") == ["my/path/1", "my/path/2"])
        let after = client.ask("GET", "/b?list-type=2&start-after=my/path/1")
        #expect(after.all("Key") == ["my/path/2", "my/path2/file"])
        #expect(after.all("StartAfter") == ["my/path/1"])
    }

    @Test(arguments: [
        ("max-keys=-1", "InvalidArgument"), ("max-keys=x", "InvalidArgument"), ("encoding-type=xml", "InvalidArgument"),
        ("continuation-token=!", "InvalidArgument"),
    ])
    func badParametersAreRefused(query: String, code: String) throws {
        let standIn = try S3StandIn()
        _ = standIn.bucket("b")
        let answer = RawClient(standIn).ask("GET", "/b?list-type=2&\(query)")
        #expect(answer.status == 400)
        #expect(answer.all("Code") == [code])
    }

    @Test("S8: a hidden key is not listed and yet there")
    func hiddenKeyIsThereButNotListed() throws {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        bucket.put("foo".utf8, at: target)
        bucket.put("foo/bar".utf8, at: target)
        bucket.hide("foo/bar".utf8)
        let client = RawClient(standIn)
        #expect(client.ask("GET", "/b?list-type=2").all("Key") == ["foo"])
        #expect(client.ask("HEAD", "/b/foo/bar").status == 200)
    }
}

/// Every key of a bucket by ListObjectsV2 or ListObjectVersions, decoded, page by page as `target` says.
func page(of standIn: S3StandIn, _ target: String) -> [[UInt8]] {
    let client = RawClient(standIn)
    var keys: [[UInt8]] = []
    var more = ""
    repeat {
        let answer = client.ask("GET", target + more)
        keys += answer.all("Key").map { Bytes.percentDecoded([UInt8]($0.utf8), plusIsSpace: true) }
        more = answer.all("NextContinuationToken").first.map { "&continuation-token=" + encoded($0) } ?? ""
        if let key = answer.all("NextKeyMarker").first { more = "&key-marker=" + key }
        if let versionID = answer.all("NextVersionIdMarker").first { more += "&version-id-marker=" + versionID }
    } while !more.isEmpty
    return keys
}

func encoded(_ text: String) -> String {
    String(decoding: Bytes.uriEncoded([UInt8](text.utf8), keepingSlash: false), as: UTF8.self)
}
