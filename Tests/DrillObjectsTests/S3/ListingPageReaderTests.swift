import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

@Suite struct ListingPageReaderTests {
    private let objects = """
        <?xml version="1.0" encoding="UTF-8"?>
        <ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix><KeyCount>3</KeyCount>\
        <MaxKeys>1000</MaxKeys><EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>\
        <NextContinuationToken>1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=</NextContinuationToken>\
        <Contents><Key>a%0Ab/%25</Key><LastModified>2026-11-14T14:30:05.000Z</LastModified>\
        <ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>\
        <Contents><Key>b</Key><LastModified>2026-11-14T14:30:05.123Z</LastModified><ETag>"x-2"</ETag>\
        <ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Owner><ID>1</ID><DisplayName/></Owner><Size>5368709120</Size>\
        <StorageClass>DEEP_ARCHIVE</StorageClass></Contents>
        <Contents><Size>7</Size><ETag/><LastModified>2026-11-14T14:30:05Z</LastModified><Key>c&amp;%C3%A9</Key></Contents>\
        <CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes></ListBucketResult>

        """

    private let versions = """
        <ListVersionsResult><Name>b</Name><Prefix/><KeyMarker/><VersionIdMarker/><MaxKeys>1000</MaxKeys>\
        <EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>k%20</NextKeyMarker>\
        <NextVersionIdMarker>null</NextVersionIdMarker>\
        <DeleteMarker><Key>k</Key><VersionId>v3</VersionId><IsLatest>true</IsLatest><LastModified>2026-11-14T14:30:07.000Z</LastModified></DeleteMarker>\
        <Version><Key>k</Key><VersionId>v2</VersionId><IsLatest>false</IsLatest><LastModified>2026-11-14T14:30:06.000Z</LastModified>\
        <ETag>&quot;e2&quot;</ETag><Size>2</Size><StorageClass>GLACIER</StorageClass><RestoreStatus>\
        <IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2026-12-01T00:00:00.000Z</RestoreExpiryDate></RestoreStatus></Version>\
        <DeleteMarker><Key>k</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest><LastModified>2026-11-14T14:30:06.000Z</LastModified></DeleteMarker>\
        <Version><Key>k</Key><VersionId>null</VersionId><IsLatest>false</IsLatest><LastModified>2026-11-14T14:30:05.000Z</LastModified>\
        <ETag>&quot;e0&quot;</ETag><Size>1</Size></Version></ListVersionsResult>
        """

    private func read(_ text: String, _ kind: ListingKind = .objects, plusIsSpace: Bool = false) throws -> ListingPage {
        try ListingPageReader.read(Array(text.utf8), kind, plusIsSpace: plusIsSpace)
    }

    private func problem(_ text: String, _ kind: ListingKind = .objects) -> String? {
        do {
            _ = try read(text, kind)
            return nil
        } catch PageProblem.malformed(let problem) {
            return problem.what
        } catch PageProblem.service(let body) {
            return body.code
        } catch {
            return "\(error)"
        }
    }

    private func entry(_ key: String) -> String {
        "<Contents><Key>\(key)</Key><LastModified>2026-11-14T14:30:05.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
    }

    private func page(_ inner: String, encoding: String = "<EncodingType>url</EncodingType>") -> String {
        "<ListBucketResult>\(encoding)<IsTruncated>false</IsTruncated>\(inner)</ListBucketResult>"
    }

    @Test("Keys, sizes, ETags and instants of objects, in whatever order their fields come")
    func objectPage() throws {
        let page = try read(objects)
        #expect(
            (0..<3).map { Array(page.entries.keys[$0]) } == [Array("a\nb/%".utf8), Array("b".utf8), Array("c&é".utf8)])
        #expect(
            (0..<3).map { String(decoding: page.entries.etags[$0], as: UTF8.self) } == [
                "d41d8cd98f00b204e9800998ecf8427e", "x-2", "",
            ])
        #expect(page.entries.sizes == [0, 5_368_709_120, 7])
        #expect(page.entries.modified == [1_794_666_605_000_000, 1_794_666_605_123_000, 1_794_666_605_000_000])
        #expect(page.entries.flags == [[], .archived, []])
        #expect(page.entries.archiveClasses == [1: "DEEP_ARCHIVE"])
        #expect(page.keyCount == 3 && page.isTruncated && page.commonPrefixes.count == 1)
        #expect(page.nextToken == Array("1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=".utf8))
    }

    @Test("Tags with attributes, space or empty content in them are read as the plain ones are")
    func unusualTags() throws {
        let unusual = objects.replacing("<Key>", with: "<Key xml:space=\"preserve\">").replacing(
            "</Key>", with: "</Key >"
        )
        .replacing("<Size>", with: "<Size >").replacing("</LastModified>", with: "</LastModified\n>")
        .replacing("<ETag>", with: "\n  <ETag a='>'>").replacing("</StorageClass>", with: "</StorageClass\t>")
        let (page, plain) = (try read(unusual), try read(objects))
        #expect(
            page.entries.keys.bytes == plain.entries.keys.bytes && page.entries.keys.ends == plain.entries.keys.ends)
        #expect(page.entries.etags.bytes == plain.entries.etags.bytes)
        #expect(page.entries.sizes == plain.entries.sizes && page.entries.modified == plain.entries.modified)
        #expect(
            page.entries.flags == plain.entries.flags && page.entries.archiveClasses == plain.entries.archiveClasses)
    }

    @Test("S5: what needs decoding is decoded wherever in a key it stands", arguments: 0..<40)
    func decodedAnywhere(position: Int) throws {
        let before = String(repeating: "a", count: position)
        let after = String(repeating: "z", count: 39 - position)
        let page = try read(page(entry(before + "%0A" + after) + entry(before + "&amp;" + after)))
        #expect(Array(page.entries.keys[0]) == Array((before + "\n" + after).utf8))
        #expect(Array(page.entries.keys[1]) == Array((before + "&" + after).utf8))
        #expect(try read(self.page(entry(before + "+" + after))).sawPlus)
        #expect(problem(self.page(entry(before + "\u{1}" + after))) == "a key with a raw control character")
        // Neighbours of these characters, and bytes above 127, are as they are.
        let plain = before + "$',*-é\u{7f} " + after
        #expect(Array(try read(self.page(entry(plain))).entries.keys[0]) == Array(plain.utf8))
    }

    @Test("S14: versions and delete markers stay in document order")
    func versionPage() throws {
        let page = try read(versions, .versions)
        #expect(
            (0..<4).map { String(decoding: page.entries.versions[$0], as: UTF8.self) } == ["v3", "v2", "v1", "null"])
        #expect(page.entries.flags == [[.deleteMarker, .latest], [], .deleteMarker, []])
        #expect(page.nextKeyMarker == Array("k ".utf8) && page.nextVersionMarker == Array("null".utf8))
    }

    @Test("S5, S6: keys are decoded only where the answer says that it encoded them")
    func echoedEncoding() throws {
        #expect(Array(try read(page(entry("a%20b%2B"))).entries.keys[0]) == Array("a b+".utf8))
        #expect(Array(try read(page(entry("a%20b+"), encoding: "")).entries.keys[0]) == Array("a%20b+".utf8))
        #expect(Array(try read(page(entry("100%"), encoding: "")).entries.keys[0]) == Array("100%".utf8))
        #expect(problem(page(entry("100%"))) == "a key with a % that no two hexadecimal digits follow")
        #expect(
            Array(try read(page(entry("&lt;&#x41;&#65;&gt;&apos;&quot;"), encoding: "")).entries.keys[0])
                == Array("<AA>'\"".utf8))
        // The echo may stand behind the keys.
        let late =
            "<ListBucketResult>\(entry("a%20b"))<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType></ListBucketResult>"
        #expect(Array(try read(late).entries.keys[0]) == Array("a b".utf8))
    }

    @Test("S5: a plus sign is a space only for a server that means it so, and is reported")
    func plus() throws {
        #expect(Array(try read(page(entry("a+b"))).entries.keys[0]) == Array("a+b".utf8))
        #expect(Array(try read(page(entry("a+b")), plusIsSpace: true).entries.keys[0]) == Array("a b".utf8))
        #expect(try read(page(entry("a+b"))).sawPlus)
        #expect(try !read(page(entry("a%2Bb"))).sawPlus)
    }

    @Test("S7: a page that does not say whether it is the last, or is something else, is an error")
    func incompletePages() {
        #expect(problem("<ListBucketResult></ListBucketResult>")?.hasPrefix("no IsTruncated") == true)
        #expect(problem("<ListBucketResult/>") == "the root is <ListBucketResult>, not <ListBucketResult>")
        #expect(problem(page("<IsTruncated>false</IsTruncated>")) == "IsTruncated stands twice")
        #expect(
            problem("<ListBucketResult><IsTruncated>maybe</IsTruncated></ListBucketResult>")
                == "IsTruncated is neither true nor false")
        #expect(problem("<Error><Code>SlowDown</Code><Message>Please</Message></Error>") == "SlowDown")
        #expect(problem("<html><body>Welcome to nginx!</body></html>") == "the root is <html>, not <ListBucketResult>")
        #expect(problem(objects, .versions) == "the root is <ListBucketResult>, not <ListVersionsResult>")
        #expect(problem("") == "an empty body")
        #expect(problem(page("") + "<a/>") == "something follows the end of the document")
        #expect(
            problem(page(entry("a").replacing("<Size>1</Size>", with: "")))
                == "an entry without its key, size, time or version")
        #expect(problem(page(entry("a").replacing(">1<", with: ">1e3<"))) == "no number of bytes or keys")
        #expect(
            problem(page(entry("a").replacing(">1<", with: ">9223372036854775808<"))) == "no number of bytes or keys")
        #expect(problem(page(entry("a").replacing(">1<", with: ">-1<"))) == "no number of bytes or keys")
    }

    @Test("S7: a body cut at any byte is never a page")
    func cutAnywhere() {
        for (text, kind) in [(objects, ListingKind.objects), (versions, .versions)] {
            let body = Array(text.utf8)
            let whole = text.hasSuffix("\n") ? body.count - 1 : body.count
            for length in 0..<whole {
                #expect(throws: PageProblem.self) {
                    _ = try ListingPageReader.read(Array(body.prefix(length)), kind, plusIsSpace: false)
                }
            }
        }
    }

    @Test("X7: DOCTYPE, entities of one's own, depth and long texts are refused")
    func hostileDocuments() {
        let bomb = "<!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]>" + page(entry("&lol2;"))
        #expect(problem(bomb) == "a DOCTYPE, comment or CDATA section is refused")
        #expect(problem(page(entry("&lol2;"))) == "an entity that XML itself does not define")
        #expect(problem(page(entry("<![CDATA[a]]>"))) == "an element where only text may stand")
        let deep = String(repeating: "<a>", count: 40) + String(repeating: "</a>", count: 40)
        #expect(problem(page(deep)) == "more than 32 levels")
        let wide = String(repeating: "<a>", count: 20) + String(repeating: "</a>", count: 20)
        #expect(problem(page(wide)) == nil)
        #expect(problem(page(entry(String(repeating: "k", count: 70_000)))) == "a text longer than 64 KiB")
        #expect(problem(page("<a b=\"" + String(repeating: "k", count: 70_000) + "\"/>")) == "a tag without its end")
        #expect(problem(page("<a>" + String(repeating: " ", count: 70_000) + "</a>")) == "a text longer than 64 KiB")
        #expect(problem(page("<a></b>")) == "the wrong element is closed")
    }

    @Test(
        "G10: seeded mutations never trap, and never make a complete page of one with fewer or other keys than it shows"
    )
    func mutations() {
        var random = RepeatableRandom(seed: 7)
        let interesting: [UInt8] = Array("<>/&;%+\"' \n\0".utf8) + [0xFF, 0xC3, UInt8(ascii: "x")]
        for (text, kind) in [(objects, ListingKind.objects), (versions, .versions)] {
            let body = Array(text.utf8)
            for _ in 0..<30_000 {
                var mutated = body
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let at = Int.random(in: 0..<mutated.count, using: &random)
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: mutated[at] = interesting.randomElement(using: &random) ?? 0
                    case 1: mutated[at] = UInt8.random(in: 0...255, using: &random)
                    case 2: mutated.removeSubrange(at..<min(mutated.count, at + Int.random(in: 1...40, using: &random)))
                    default:
                        let from = Int.random(in: 0..<mutated.count, using: &random)
                        mutated.insert(contentsOf: mutated[from..<min(mutated.count, from + 60)], at: at)
                    }
                    if mutated.isEmpty { mutated = [0] }
                }
                guard let page = try? ListingPageReader.read(mutated, kind, plusIsSpace: false) else { continue }
                let markup = String(decoding: mutated, as: UTF8.self)
                let opened = kind == .objects ? ["<Contents>"] : ["<Version>", "<DeleteMarker>"]
                let shown = opened.reduce(0) { $0 + markup.components(separatedBy: $1).count - 1 }
                // An opening tag may hide in an attribute or be skipped inside another element, never the other way
                // round.
                #expect(page.entries.count <= shown + 1)
                #expect(
                    page.entries.sizes.count == page.entries.count && page.entries.etags.count == page.entries.count)
                #expect(
                    page.entries.modified.count == page.entries.count && page.entries.flags.count == page.entries.count)
                if kind == .versions { #expect(page.entries.versions.count == page.entries.count) }
                #expect(markup.contains("</\(kind.root)"))
            }
        }
    }

    /// Entries mostly alike, as a server writes them, with all that may differ between two of them.
    private func manyEntries(_ kind: ListingKind, count: Int, _ random: inout RepeatableRandom) -> [String] {
        func any<Element>(_ elements: [Element]) -> Element { elements.randomElement(using: &random) ?? elements[0] }
        var order = [0, 1, 2, 3, 4, 5]
        return (0..<count).map { index in
            if Int.random(in: 0..<40, using: &random) == 0 { order.shuffle(using: &random) }
            let isMarker = kind == .versions && Int.random(in: 0..<9, using: &random) == 0
            let isOdd = Int.random(in: 0..<6, using: &random) == 0
            let name = kind == .objects ? "Contents" : isMarker ? "DeleteMarker" : "Version"
            let etag =
                isOdd
                ? any(["", "&quot;e&amp;1&quot;", "\"d4-12\"", "&quot;d41d8cd98f00b204-2&quot;"])
                : "&quot;d41d8cd98f00b204&quot;"
            let key = isOdd ? any(["a%20b", "a+b", "&lt;x&gt;", "k/\(index)%25"]) : "users/\(index)/avatar.png"
            let day = any(["2026-11-14", "2026-11-14", "2024-02-29"])
            let time =
                isOdd ? any(["23:59:60Z", "14:30:05.123456Z", "14:30:05.000+01:30"]) : "14:30:05.\(100 + index % 900)Z"
            let fields = [
                "<Key>\(key)</Key>", "<LastModified>\(day)T\(time)</LastModified>",
                isMarker ? "" : isOdd && index % 2 == 0 ? "<ETag/>" : "<ETag>\(etag)</ETag>",
                isMarker ? "" : "<Size>\(index * 7919 % 1_000_003)</Size>",
                isMarker
                    ? ""
                    : "<StorageClass>\(isOdd ? any(["GLACIER", "INTELLIGENT_TIERING"]) : "STANDARD")</StorageClass>",
                kind == .objects
                    ? ""
                    : "<VersionId>\(isOdd ? "null" : "v\(1000 + index)")</VersionId><IsLatest>\(index % 3 == 0)</IsLatest>",
            ]
            let between = isOdd ? any(["", "\n", "<Owner><ID>1</ID></Owner>"]) : ""
            return between.hasPrefix("<")
                ? "<\(name)>\(between)\(order.map { fields[$0] }.joined())</\(name)>"
                : "\(between)<\(name)>\(order.map { fields[$0] }.joined(separator: between))</\(name)>"
        }
    }

    /// What a page says of its entries, one after the other.
    private func described(_ entries: ListedEntries) -> [String] {
        (0..<entries.count).map { index in
            let version = entries.versions.isEmpty ? [] : Array(entries.versions[index])
            return "\(Array(entries.keys[index])) \(Array(entries.etags[index])) \(version) \(entries.sizes[index]) "
                + "\(entries.modified[index]) \(entries.flags[index].rawValue) \(entries.archiveClasses[index] ?? "")"
        }
    }

    @Test("An entry among many is read as it is alone, spoilt ones too", arguments: [ListingKind.objects, .versions])
    func entriesAmongManyAreReadAsAlone(kind: ListingKind) throws {
        var random = RepeatableRandom(seed: 11)
        let interesting: [UInt8] = Array("<>/&;%+\"'-:.TZ09 \n\0".utf8) + [0xFF, UInt8(ascii: "x")]
        func document(_ entries: [[UInt8]]) -> [UInt8] {
            Array("<\(kind.root)><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>".utf8)
                + entries.joined() + Array("</\(kind.root)>".utf8)
        }
        var spoiltAndRefused = 0, spoiltAndRead = 0
        for _ in 0..<15 {
            var entries = manyEntries(kind, count: 60, &random).map { Array($0.utf8) }
            let alone = try entries.map {
                described(try ListingPageReader.read(document([$0]), kind, plusIsSpace: false).entries)[0]
            }
            #expect(described(try ListingPageReader.read(document(entries), kind, plusIsSpace: false).entries) == alone)
            for _ in 0..<40 {
                let index = Int.random(in: 0..<entries.count, using: &random)
                let sound = entries[index]
                let at = Int.random(in: 0..<sound.count, using: &random)
                if Bool.random(using: &random) {
                    entries[index][at] = interesting.randomElement(using: &random) ?? 0
                } else {
                    entries[index].remove(at: at)
                }
                // What it is by itself decides what it is among others, or whether there is a page at all.
                if let one = try? ListingPageReader.read(document([entries[index]]), kind, plusIsSpace: false) {
                    let all = try ListingPageReader.read(document(entries), kind, plusIsSpace: false)
                    let expected = alone[..<index] + described(one.entries) + alone[(index + 1)...]
                    #expect(described(all.entries) == Array(expected))
                    spoiltAndRead += 1
                } else {
                    #expect(throws: PageProblem.self) {
                        try ListingPageReader.read(document(entries), kind, plusIsSpace: false)
                    }
                    spoiltAndRefused += 1
                }
                entries[index] = sound
            }
        }
        #expect(spoiltAndRead > 50 && spoiltAndRefused > 50)
    }

    @Test("Instants are read by digits, to the microsecond")
    func instants() {
        #expect(Timestamps.microseconds("1970-01-01T00:00:00.000Z") == 0)
        #expect(Timestamps.microseconds("2024-02-29T23:59:59.999999Z") == 1_709_251_199_999_999)
        #expect(Timestamps.microseconds("2026-11-14T14:30:05.1234567+01:30") == 1_794_661_205_123_456)
        for bad in [
            "", "2026-11-14", "2026-11-14T14:30:05", "2026-13-14T14:30:05Z", "2026-11-14T24:30:05Z",
            "2026-11-14T14:30:05.Z", "٢026-11-14T14:30:05Z", "2026-11-14T14:30:05Z ",
        ] {
            #expect(Timestamps.microseconds(bad) == nil, "\(bad)")
        }
        #expect(Timestamps.httpDateSeconds("Fri, 24 May 2013 00:00:00 GMT") == 1_369_353_600)
        #expect(Timestamps.httpDateSeconds("24 May 2013") == nil)
        #expect(Timestamps.text(microseconds: 1_794_666_605_123_456) == "2026-11-14T14:30:05.123Z")
        #expect(Timestamps.text(microseconds: -1) == "1969-12-31T23:59:59.999Z")
    }

    @Test("Small documents: errors, versioning, lifecycle rules")
    func smallDocuments() throws {
        let lifecycle = """
            <LifecycleConfiguration><Rule><ID>a</ID><Filter><Prefix>x/</Prefix></Filter><Status>Enabled</Status>\
            <NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays></NoncurrentVersionExpiration></Rule>\
            <Rule><ID>b</ID><Prefix/><Status>Disabled</Status></Rule></LifecycleConfiguration>
            """
        let document = try SmallDocument(Array(lifecycle.utf8))
        #expect(document.root == "LifecycleConfiguration")
        #expect(document.leaves.filter { $0.path == "Rule/ID" }.map(\.group) == [1, 2])
        #expect(document.text("Rule/NoncurrentVersionExpiration/NoncurrentDays") == "7")
        #expect(
            S3ErrorBody(Array("<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>".utf8))?.code
                == "ExpiredToken")
        #expect(S3ErrorBody(Array("<html><Code>x</Code></html>".utf8)) == nil)
    }
}
