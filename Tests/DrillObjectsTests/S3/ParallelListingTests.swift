import DrillCore
import DrillTestKit
import Foundation
import Synchronization
import Testing

@testable import DrillObjects

@Suite struct ParallelListingTests {
    private let address = S3Address(
        bucket: "b", endpoint: HTTPOrigin(isSecure: false, host: "h"), region: "us-east-1", pathStyle: true)

    private func source(
        _ transport: any HTTPTransport, _ kind: ListingKind = .objects, prefix: String = ""
    ) -> ListingSource {
        let client = S3Client(address, transport: transport, clock: StoppedClock(), credentials: FixedCredentials())
        return ListingSource(client, kind, prefix: Array(prefix.utf8), place: "s3://b", pageSize: 100)
    }

    private func list(
        _ bucket: ListedBucket, concurrency: Int = 32, hints: [ObjectKey] = [], expected: Int64? = nil,
        prefix: String = ""
    ) async throws -> (keys: [[UInt8]], ranges: Int) {
        let listing = ParallelListing(
            source(bucket, prefix: prefix), concurrency: concurrency, hints: hints, expectedKeys: expected)
        var keys: [[UInt8]] = []
        while let page = try await listing.next() {
            for index in 0..<page.count { keys.append(Array(page.keys[index])) }
        }
        return (keys, await listing.rangesOpened)
    }

    enum Layout: String, CaseIterable {
        case padded, unpadded, hexadecimal, nested, hostile, lopsided
        func keys(_ count: Int) -> [[UInt8]] {
            var random = RepeatableRandom(seed: 5)
            func text(_ value: Int, _ width: Int) -> String {
                String(repeating: "0", count: max(0, width - "\(value)".count)) + "\(value)"
            }
            var keys: Set<[UInt8]> = []
            for index in 0..<count {
                switch self {
                case .padded: keys.insert(Array("users/\(text(index, 9))/avatar.png".utf8))
                case .unpadded: keys.insert(Array("users/\(index)/avatar.png".utf8))
                case .hexadecimal: keys.insert(Array((String(random.next(), radix: 16) + ".bin").utf8))
                case .nested:
                    keys.insert(
                        Array(
                            "\(["a", "logs/2026", "zoo"][index % 3])/\(index % 12)/\(String(random.next(), radix: 36))"
                                .utf8))
                case .hostile: keys.insert(random.hostileKey() + Array("\(index % 7)".utf8) + random.hostileKey())
                // Nearly all below one long prefix, a few elsewhere.
                case .lopsided:
                    keys.insert(
                        Array((index % 500 == 0 ? "\(text(index, 6))" : "tenants/8f1d/objects/\(text(index, 7))").utf8))
                }
            }
            return keys.sorted { $0.lexicographicallyPrecedes($1) }
        }
    }

    @Test(
        "Every key once and in order, from ranges side by side, whatever keys look like; few requests beyond the pages",
        arguments: Layout.allCases)
    func wholeListing(_ layout: Layout) async throws {
        let keys = layout.keys(6000)
        let bucket = ListedBucket(keys)
        let (listed, ranges) = try await list(bucket)
        #expect(listed == keys)
        let pages = (keys.count + 99) / 100
        #expect(
            bucket.requests <= pages * 11 / 10 + 2 * ranges,
            "\(bucket.requests) requests, \(pages) pages, \(ranges) ranges")
        #expect(ranges > 4)
        #expect(bucket.mostInFlight > 1 && bucket.mostInFlight <= 32)
    }

    @Test("Split hints start the ranges, and bad ones do no harm", arguments: [64, 3, 0])
    func hints(_ count: Int) async throws {
        let keys = Layout.padded.keys(4000)
        let hints = (0..<count).map { ObjectKey(keys[($0 + 1) * keys.count / (count + 1)]) }
        let bucket = ListedBucket(keys)
        #expect(try await list(bucket, hints: hints, expected: 4000).keys == keys)
        let bad = [ObjectKey("\u{1}"), ObjectKey("users/"), ObjectKey("users/000000001"), ObjectKey("zzz")]
        #expect(try await list(ListedBucket(keys), hints: bad).keys == keys)
    }

    @Test("A bucket of one page costs one request, whatever the hints")
    func small() async throws {
        let keys = Layout.hexadecimal.keys(90)
        let bucket = ListedBucket(keys)
        #expect(try await list(bucket, hints: (0..<64).map { ObjectKey(keys[$0]) }).keys == keys)
        #expect(bucket.requests == 1)
        #expect(try await list(ListedBucket([])).keys.isEmpty)
    }

    @Test("With one connection it is listed page by page")
    func sequential() async throws {
        let keys = Layout.padded.keys(550)
        let bucket = ListedBucket(keys)
        #expect(try await list(bucket, concurrency: 1).keys == keys)
        #expect(bucket.requests == 6 && bucket.mostInFlight == 1)
    }

    @Test("S12: only keys of the prefix, and none of a longer name")
    func prefixed() async throws {
        let keys = ["my/path/a", "my/path/b", "my/path2/file", "my/other"].map { Array($0.utf8) }
        #expect(
            try await list(ListedBucket(keys), prefix: "my/path/").keys == [
                Array("my/path/a".utf8), Array("my/path/b".utf8),
            ])
    }

    private func problem(_ count: Int = 250, _ spoil: @escaping ListedBucket.Spoil) async -> String {
        do {
            let listed = try await list(ListedBucket(Layout.padded.keys(count), spoil: spoil), concurrency: 4).keys
            return "complete with \(listed.count)"
        } catch let error as DrillError {
            #expect(error.code == .couldNotLook)
            return error.what
        } catch {
            return "\(error)"
        }
    }

    @Test(
        "S3, S7: truncated without token, repeated token, wrong counts, disorder and foreign keys are errors, never an end"
    )
    func spoiltPages() async {
        #expect(
            await problem { number, _, body in
                number == 1
                    ? ListedBucket.answer(
                        body.replacing(/<NextContinuationToken>.*<\/NextContinuationToken>/, with: "")) : nil
            } == "a truncated page gives no token to go on with (S7)")
        #expect(
            await problem { number, request, body in
                guard number > 1, let asked = ListedBucket.query(request.target)["continuation-token"] else {
                    return nil
                }
                let again = "<NextContinuationToken>\(String(decoding: asked, as: UTF8.self))</NextContinuationToken>"
                return ListedBucket.answer(
                    body.replacing(/<NextContinuationToken>.*<\/NextContinuationToken>/, with: again))
            } == "a page gives the token that it was asked with: it would never end (S7)")
        #expect(
            await problem { _, _, body in
                ListedBucket.answer(body.replacing("<KeyCount>100", with: "<KeyCount>101"))
            } == "a page of the listing announces 101 keys and holds 100")
        let disorder =
            "the listing is not in the order of key bytes, repeats a key or leaves its prefix (S3): users/000000050/avatar.png"
        #expect(
            await problem { _, _, body in ListedBucket.answer(body.replacing("000000051", with: "000000049")) }
                .hasPrefix("the listing is not in the order"))
        #expect(
            await problem { _, _, body in ListedBucket.answer(body.replacing("000000049", with: "000000050")) }
                == disorder)
        #expect(
            await problem { number, _, body in
                number == 1
                    ? nil
                    : ListedBucket.answer(
                        body.replacing(
                            "<Contents><Key>users/000000100/avatar.png",
                            with: "<Contents><Key>users/000000001/avatar.png"))
            }.hasPrefix("a page starts at or before the key that the last one ended with"))
    }

    @Test("S7: an error document under 200 is asked for again, and is an error if it stays")
    func errorUnder200() async {
        let slowDown = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        let asked = Mutex<Set<String>>([])
        let recovered = await problem { _, request, _ in
            asked.withLock { $0.insert(request.target).inserted } ? ListedBucket.answer(slowDown) : nil
        }
        #expect(recovered == "complete with 250")
        #expect(
            await problem { _, _, _ in ListedBucket.answer(slowDown) }
                == "the listing was answered with 200 and the error SlowDown")
        #expect(
            await problem { _, _, _ in ListedBucket.answer("<html>Welcome to nginx!</html>") }.hasPrefix(
                "a page of the listing is not what S3 sends"))
    }

    @Test("S7, X7: endless empty pages with fresh tokens end in an error")
    func endless() async {
        #expect(
            await problem { number, _, _ in
                ListedBucket.answer(
                    "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t\(number)</NextContinuationToken></ListBucketResult>"
                )
            } == "the listing gives one empty page after the other and would never end (S7)")
    }

    @Test("S7: a page cut at any byte of a three-page listing never passes as complete")
    func cuts() async throws {
        let keys = Layout.padded.keys(210)
        let whole = ListedBucket(keys)
        for (number, size) in [(1, 18_000), (2, 18_000), (3, 1800)] {
            for length in stride(from: 0, to: size, by: size / 20) {
                let bucket = ListedBucket(keys) { asked, _, body in
                    guard asked >= number else { return nil }
                    #expect(body.utf8.count > length)
                    return ListedBucket.answer(String(decoding: body.utf8.prefix(length), as: UTF8.self))
                }
                await #expect(throws: DrillError.self) { _ = try await list(bucket, concurrency: 1) }
            }
        }
        #expect(try await list(whole, concurrency: 1).keys == keys)
    }

    @Test("S5: the server is asked what a plus sign means, by what it echoes")
    func plusSign() async throws {
        for (echo, expected) in [("+%2B", "a b"), ("%20+", "a+b")] {
            let bucket = ListedBucket([]) { _, request, _ in
                let isProbe = request.target.contains("start-after=")
                return ListedBucket.answer(
                    "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
                        + (isProbe
                            ? "<StartAfter>\(echo)</StartAfter>"
                            : "<Contents><Key>a+b</Key><LastModified>2026-11-14T14:30:05.000Z</LastModified><Size>1</Size></Contents>")
                        + "</ListBucketResult>")
            }
            #expect(try await list(bucket).keys == [Array(expected.utf8)])
            #expect(bucket.requests == 2)
        }
        // No echo: the key itself is asked for in both spellings.
        let bucket = ListedBucket([]) { _, request, _ in
            if request.method == .head {
                return ListedBucket.answer("", status: request.target == "/b/a%20b" ? 200 : 404)
            }
            return ListedBucket.answer(
                "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>"
                    + "<Contents><Key>a+b</Key><LastModified>2026-11-14T14:30:05.000Z</LastModified><Size>1</Size></Contents></ListBucketResult>"
            )
        }
        #expect(try await list(bucket).keys == [Array("a b".utf8)])
    }

    @Test("Once started, it lists ahead of its reader")
    func listsAhead() async throws {
        let bucket = ListedBucket(Layout.padded.keys(3000))
        let listing = ParallelListing(source(bucket), concurrency: 8, hints: [], expectedKeys: nil)
        await listing.start()
        let deadline = ContinuousClock.now + .seconds(30)
        while bucket.requests < 3, ContinuousClock.now < deadline { await Task.yield() }
        #expect(bucket.requests >= 3)
        var count = 0
        while let page = try await listing.next() { count += page.count }
        #expect(count == 3000)
    }

    @Test("What lies ahead of the reader is bounded, in pages and in bytes", arguments: [1e9, 90_000])
    func whatLiesAheadIsBounded(bytesAhead: Double) async throws {
        let bucket = ListedBucket(Layout.padded.keys(20_000))
        let hints = stride(from: 500, to: 20_000, by: 500).map { ObjectKey(bucket.keys[$0]) }
        let listing = ParallelListing(
            source(bucket), concurrency: 4, hints: hints, expectedKeys: 20_000, bytesAhead: bytesAhead)
        await listing.start()
        while await !listing.isAtRest { await Task.yield() }
        // 14 pages a connection; 9.4 kB a page. Ranges that were begun may go on for twice as long.
        let bound = bytesAhead < 1e6 ? 5...22 : 40...120
        #expect(bound.contains(bucket.requests))
        var count = 0
        while let page = try await listing.next() { count += page.count }
        #expect(count == 20_000)
    }

    @Test("Rows that name many keys start all ranges at once, be the bucket empty or not", arguments: [0, 5, 3000])
    func manyExpectedKeys(_ count: Int) async throws {
        let keys = Layout.padded.keys(max(count, 64))
        let hints = stride(from: 1, to: keys.count, by: max(1, keys.count / 20)).map { ObjectKey(keys[$0]) }
        let bucket = ListedBucket(Array(keys.prefix(count)))
        let found = try await list(bucket, hints: hints, expected: 1_000_000)
        #expect(found.keys == Array(keys.prefix(count)))
        #expect(bucket.mostInFlight > 10)
    }

    @Test("Ended early, it stops asking")
    func cancelled() async throws {
        let bucket = ListedBucket(Layout.padded.keys(3000))
        let listing = ParallelListing(source(bucket), concurrency: 8, hints: [], expectedKeys: nil)
        _ = try await listing.next()
        await listing.cancel()
        await #expect(throws: CancellationError.self) { _ = try await listing.next() }
        #expect(bucket.requests < 30)
    }
}
