import Foundation
import Testing

@testable import DrillTestKit

@Suite("S3 stand-in: faults")
struct S3FaultTests {
    private func filled(_ count: Int = 6) throws -> S3StandIn {
        let standIn = try S3StandIn()
        let bucket = standIn.bucket("b")
        for number in 0..<count { bucket.put("k\(number)".utf8, body: "body".utf8, at: target) }
        return standIn
    }

    @Test("S7: the second of three pages can be cut after each of its bytes, and only that one is")
    func cutSweepsEveryByte() throws {
        let standIn = try filled()
        let pages = "/b?list-type=2&max-keys=2"
        let whole = page(of: standIn, pages)
        #expect(whole.count == 6)
        let second = standIn.requests[1]
        #expect(second.headBytes > 0 && second.headBytes < second.responseBytes)
        let token = second.line.split(separator: " ")[1]
        for count in 0..<second.responseBytes {
            standIn.clearFaults()
            standIn.inject(.cut(afterBytes: count), into: .listings.number(2))
            let first = RawClient(standIn).ask("GET", pages)
            let cut = RawClient(standIn).ask("GET", String(token))
            #expect(first.ending == .whole && cut.ending == .closedEarly && cut.byteCount == count)
        }
        standIn.clearFaults()
        #expect(page(of: standIn, pages) == whole)
    }

    @Test func resetAndStallEndAsNamed() throws {
        let standIn = try filled()
        standIn.inject(.reset(afterBytes: 10), into: .of(.headObject).number(1))
        standIn.inject(.reset, into: .of(.headObject).number(2))
        standIn.inject(.stall(afterBytes: 20), into: .of(.getObject).number(1))
        let reset = RawClient(standIn).ask("HEAD", "/b/k0")
        #expect(reset.ending == .reset)
        #expect(RawClient(standIn).ask("HEAD", "/b/k0").ending == .reset)
        #expect(RawClient(standIn).ask("HEAD", "/b/k0").ending == .whole)
        let stalled = RawClient(standIn).ask("GET", "/b/k0", patience: .milliseconds(100))
        #expect(stalled.ending == .silent && stalled.byteCount == 20)
        #expect(RawClient(standIn).ask("GET", "/b/k0").text == "body")
    }

    @Test("S31: bursts, shares and what else asks for patience")
    func slowDownComesInBurstsAndShares() throws {
        let standIn = try filled()
        standIn.inject(.slowDown, into: .of(.headObject).first(2))
        standIn.inject(.tooManyRequests, into: .of(.headObject).number(3))
        standIn.inject(.internalError, into: .of(.getObject).number(1))
        let client = RawClient(standIn)
        #expect((0..<4).map { _ in client.ask("HEAD", "/b/k1").status } == [503, 503, 429, 200])
        #expect(client.ask("GET", "/b/k1").all("Code") == ["InternalError"])
        standIn.clearFaults()
        standIn.inject(.slowDown, into: .every.share(0.3, seed: 7))
        let statuses = (0..<400).map { _ in client.ask("HEAD", "/b/k1").status }
        let refused = statuses.count { $0 == 503 }
        #expect((80...160).contains(refused))
        standIn.clearFaults()
        standIn.inject(.slowDown, into: .every.share(0.3, seed: 7))
        #expect((0..<400).map { _ in client.ask("HEAD", "/b/k1").status } == statuses)
        standIn.clearFaults()
        standIn.inject(.slowDown, into: .every.during(.seconds(3600)..<(.seconds(7200))))
        #expect(client.ask("HEAD", "/b/k1").status == 200)
    }

    @Test("S7, S30: errors and pages that look like something else")
    func answersThatAreNone() throws {
        let standIn = try filled()
        let client = RawClient(standIn)
        let wrong: [(S3Fault, Int, String)] = [
            (.errorIn200(code: "SlowDown"), 200, "<Error><Code>SlowDown</Code>"), (.html(status: 200), 200, "nginx"),
            (.html(status: 404), 404, "nginx"),
            (.redirect(status: 307, location: "http://evil.example/"), 307, "<Error>"),
        ]
        for (fault, status, text) in wrong {
            standIn.clearFaults()
            standIn.inject(fault)
            let answer = client.ask("GET", "/b?list-type=2")
            #expect(answer.status == status && answer.text.contains(text))
            if case .html = fault { #expect(answer.headers["x-amz-request-id"] == nil) }
            if case .redirect = fault { #expect(answer.headers["location"] == "http://evil.example/") }
        }
    }

    @Test("S3, S7, S9: each wrong listing is wrong in its own way")
    func wrongListings() throws {
        let standIn = try filled(5)
        let client = RawClient(standIn)
        func first(_ fault: S3Fault.Listing, _ query: String = "") -> RawAnswer {
            standIn.clearFaults()
            standIn.inject(.listing(fault))
            return client.ask("GET", "/b?list-type=2&encoding-type=url" + query)
        }
        let shuffled = first(.shuffled(seed: 3)).all("Key")
        #expect(shuffled != shuffled.sorted() && shuffled.count == 5)
        #expect(first(.repeatedKey, "&start-after=k1").all("Key") == ["k1", "k2", "k3", "k4"])
        let lacking = first(.droppedEntry(1))
        #expect(lacking.all("Key") == ["k0", "k2", "k3", "k4"] && lacking.all("KeyCount") == ["5"])
        let tokenless = first(.truncatedWithoutToken)
        #expect(tokenless.all("IsTruncated") == ["true"] && tokenless.all("NextContinuationToken").isEmpty)
        let plain = first(.ignoredEncodingType)
        #expect(plain.all("EncodingType").isEmpty && plain.all("Key").count == 5)
        #expect(first(.documentType).text.contains("?>\n<!DOCTYPE"))
        #expect(first(.entityBomb).text.contains("<Key>&e9;"))
        #expect(first(.nested(depth: 50)).text.contains(String(repeating: "<Owner>", count: 50)))
    }

    @Test("S3: U+FFFF and U+10000 change places in UTF-16 order")
    func utf16OrderIsAnotherOne() throws {
        let standIn = try S3StandIn()
        for key in ["\u{FFFF}", "\u{10000}"] { standIn.bucket("b").put(key.utf8, at: target) }
        let right = RawClient(standIn).ask("GET", "/b?list-type=2&encoding-type=url").all("Key")
        standIn.inject(.listing(.utf16Order))
        #expect(RawClient(standIn).ask("GET", "/b?list-type=2&encoding-type=url").all("Key") == right.reversed())
    }

    @Test("X7: tokens without end, and the same token for ever")
    func listingsThatNeverEnd() throws {
        let standIn = try filled()
        let client = RawClient(standIn)
        standIn.inject(.listing(.endless))
        var tokens: Set<String> = []
        var token = ""
        for _ in 0..<50 {
            let answer = client.ask("GET", "/b?list-type=2" + token)
            #expect(answer.all("IsTruncated") == ["true"])
            let next = answer.all("NextContinuationToken").first ?? ""
            #expect(tokens.insert(next).inserted)
            token = "&continuation-token=" + encoded(next)
        }
        standIn.clearFaults()
        standIn.inject(.listing(.repeatedToken))
        let first = client.ask("GET", "/b?list-type=2&max-keys=2").all("NextContinuationToken")
        let again = client.ask("GET", "/b?list-type=2&max-keys=2&continuation-token=" + encoded(first.first ?? ""))
        #expect(again.all("NextContinuationToken") == first)
    }

    @Test("X7: a page of any size is streamed, not held")
    func oversizedPageIsStreamed() throws {
        let standIn = try filled()
        standIn.inject(.oversizedPage(bytes: 50_000_000))
        let answer = RawClient(standIn).ask("GET", "/b?list-type=2")
        #expect(answer.headers["content-length"] == "50000000" && answer.body.count == 50_000_000)
        #expect(answer.all("IsTruncated") == ["false"])
    }

    @Test func lengthsThatLie() throws {
        let standIn = try filled()
        standIn.inject(.contentLength(change: 5), into: .of(.getObject).number(1))
        standIn.inject(.contentLength(change: -1), into: .of(.getObject).number(2))
        standIn.inject(.bodyLength(change: -1), into: .of(.getObject).number(3))
        standIn.inject(.untilClose, into: .of(.getObject).number(4))
        let long = RawClient(standIn).ask("GET", "/b/k0", patience: .milliseconds(100))
        #expect(long.ending == .silent && long.headers["content-length"] == "9" && long.body == [UInt8]("body".utf8))
        #expect(RawClient(standIn).ask("GET", "/b/k0").text == "bod")
        #expect(RawClient(standIn).ask("GET", "/b/k0").text == "bod")
        let open = RawClient(standIn).ask("GET", "/b/k0")
        #expect(open.text == "body" && open.headers["content-length"] == nil)
    }

    @Test("S22, S24: bits that flip, checksums that are not there, an object swapped behind the listing")
    func contentThatIsNotWhatItWas() throws {
        let standIn = try filled()
        let bucket = standIn.bucket("b")
        bucket.alter("k0".utf8) { $0.checksum = ObjectChecksum(.sha256, of: $0.body) }
        let client = RawClient(standIn)
        let ask = { client.ask("GET", "/b/k0", [("x-amz-checksum-mode", "ENABLED")]) }
        #expect(ask().headers["x-amz-checksum-sha256"] == ObjectChecksum(.sha256, of: [UInt8]("body".utf8)).value)
        standIn.inject(.flippedBit(8), into: .of(.getObject).number(1))
        standIn.inject(.withoutChecksums, into: .of(.getObject).number(2))
        #expect(ask().body == [UInt8]("b".utf8) + [UInt8(ascii: "o") ^ 1] + [UInt8]("dy".utf8))
        #expect(ask().headers["x-amz-checksum-sha256"] == nil)
        standIn.inject(.after { bucket.put("k0".utf8, body: "swapped".utf8, at: target + 1) }, into: .listings)
        let eTag = client.ask("GET", "/b?list-type=2&prefix=k0").all("ETag").first ?? ""
        #expect(client.ask("GET", "/b/k0", [("If-Match", eTag)]).all("Code") == ["PreconditionFailed"])
    }

    @Test func latencyIsPerRequestAndNotOneAfterAnother() throws {
        let standIn = try filled()
        standIn.inject(.latency(.milliseconds(500)))
        let clients = (0..<4).map { _ in RawClient(standIn) }
        let started = ContinuousClock.now
        for client in clients { client.send("GET", "/b/k0") }
        #expect(clients.allSatisfy { $0.read().text == "body" })
        #expect(started.duration(to: .now) >= .milliseconds(500))
        #expect(standIn.counts.of(.getObject) == 4 && standIn.counts.mostInFlight == 4)
    }

    @Test func stopEndsWhateverHangs() throws {
        let standIn = try filled()
        standIn.inject(.stall)
        let client = RawClient(standIn)
        DispatchQueue.global().asyncAfter(deadline: .now() + 0.1) { standIn.stop() }
        #expect(client.ask("GET", "/b/k0").ending == .closedEarly)
    }
}
