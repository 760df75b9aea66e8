import DrillCore
import Foundation
import Synchronization
import Testing

@testable import DrillHost

@Suite struct CurlTransportTests {
    private let transport: CurlTransport

    init() throws { transport = try CurlTransport() }

    private static let hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One:  a b \r\n\r\nhello"

    private func get(
        _ server: RawServer, _ target: String = "/", _ method: HTTPRequest.Method = .get
    ) -> HTTPRequest {
        HTTPRequest(method, HTTPOrigin(isSecure: false, host: "127.0.0.1", port: server.port), target)
    }

    private func failure(of request: HTTPRequest) async -> HTTPFailure? {
        do {
            _ = try await transport.send(request)
            return nil
        } catch {
            return error as? HTTPFailure
        }
    }

    @Test func anAnswerComesWhole() async throws {
        let server = try RawServer.answering(Self.hello)
        defer { server.stop() }
        let response = try await transport.send(get(server))
        #expect(response.status == 200)
        #expect(response.body == Array("hello".utf8))
        #expect(response.head.value("x-one") == "a b")
    }

    @Test("S10: the target goes over the wire as it was given")
    func targetsAreUntouched() async throws {
        let server = try RawServer.answering(Self.hello)
        defer { server.stop() }
        let targets = [
            "/bucket/a/../b", "/bucket/.", "/bucket/..", "/bucket/./x", "/bucket/a//b", "//lead", "/bucket/trail/",
            "/bucket/%2e%2E/%c3%A9?b=2&a=%20&c", "/bucket/...;'()!*~@:$,|\"<>[]{}\\^`",
        ]
        for target in targets { _ = try await transport.send(get(server, target)) }
        #expect(server.requestLines == targets.map { "GET \($0) HTTP/1.1" })
    }

    @Test("S28: nothing is decoded, and no other header is sent than the needed ones")
    func headersAreExact() async throws {
        let server = try RawServer.answering(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw")
        defer { server.stop() }
        var request = get(server, "/key")
        request.headers = [("Authorization", "AWS4 x"), ("x-amz-empty", ""), ("Host", "bucket.example:99")]
        #expect(try await transport.send(request).body == Array("raw".utf8))
        let lines = try #require(server.requests.first).components(separatedBy: "\r\n").dropLast(2)
        #expect(
            lines == [
                "GET /key HTTP/1.1", "Host: bucket.example:99", "User-Agent: muster", "Authorization: AWS4 x",
                "x-amz-empty:", "Accept-Encoding: identity",
            ])
    }

    @Test func methodsSendTheirBodies() async throws {
        let server = try RawServer { connection in
            while let request = connection.request() {
                connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
                if !request.hasPrefix("HEAD") { connection.send("123456789") }
            }
        }
        defer { server.stop() }
        let head = try await transport.send(get(server, "/", .head))
        #expect(head.body.isEmpty)
        #expect(head.head.value("content-length") == "9")
        for method in [HTTPRequest.Method.put, .post] {
            for body in ["", "some\0bytes"] {
                var request = get(server, "/", method)
                request.body = Array(body.utf8)
                _ = try await transport.send(request)
                let seen = try #require(server.requests.last)
                #expect(seen.hasPrefix("\(method.rawValue) / HTTP/1.1\r\n"))
                #expect(seen.hasSuffix("Content-Length: \(body.utf8.count)\r\n\r\n\(body)"))
                #expect(!seen.contains("Expect") && !seen.contains("Content-Type"))
            }
        }
        _ = try await transport.send(get(server, "/", .delete))
        #expect(server.requestLines.last == "DELETE / HTTP/1.1")
        #expect(server.connections == 1)
    }

    @Test("S34: a redirect is an answer, not an order")
    func redirectsAreNotFollowed() async throws {
        let sink = try RawServer.answering(Self.hello)
        let server = try RawServer.answering(
            "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:\(sink.port)/\r\nContent-Length: 0\r\n\r\n")
        defer { server.stop() }
        defer { sink.stop() }
        var request = get(server)
        request.headers = [("Authorization", "secret")]
        #expect(try await transport.send(request).status == 301)
        #expect(sink.connections == 0)
    }

    @Test("S33: no proxy is taken from the environment, and a named one never sees link-local addresses")
    func proxiesAreIgnored() async throws {
        let sink = try RawServer.answering("HTTP/1.1 204 Proxied\r\n\r\n")
        let server = try RawServer.answering(Self.hello)
        defer { server.stop() }
        defer { sink.stop() }
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            setenv(name, "http://127.0.0.1:\(sink.port)", 1)
        }
        defer { for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] { unsetenv(name) } }
        #expect(try await transport.send(get(server)).status == 200)
        #expect(sink.connections == 0)

        var settings = CurlTransport.Settings()
        settings.proxy = "http://127.0.0.1:\(sink.port)"
        settings.connectTimeout = .milliseconds(200)
        let proxied = try CurlTransport(settings: settings)
        #expect(try await proxied.send(get(server)).status == 204)
        #expect(sink.connections == 1)
        for host in ["169.254.169.254", "2852039166", "fe80::1", "[fd00:ec2::254]", "::ffff:169.254.169.254"] {
            let request = HTTPRequest(.get, HTTPOrigin(isSecure: false, host: host, port: 80), "/")
            _ = await Result { try await proxied.send(request) }
            #expect(isLinkLocal(host: host), "\(host)")
        }
        #expect(sink.connections == 1)
        #expect(
            !isLinkLocal(host: "127.0.0.1") && !isLinkLocal(host: "s3.amazonaws.com") && !isLinkLocal(host: "fd00::1"))
    }

    @Test("S31: an answer cut at any byte is a failure that may be retried, never an answer")
    func cutAnswersAreFailures() async throws {
        let cuts = Mutex(0)
        let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n<List></List".utf8)
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send(Array(answer.prefix(cuts.withLock { $0 })))
        }
        defer { server.stop() }
        for cut in answer.indices {
            cuts.withLock { $0 = cut }
            let failure = try #require(await failure(of: get(server)), "cut at \(cut)")
            #expect([.cutShort, .reset, .malformed].contains(failure.kind), "cut at \(cut): \(failure)")
            #expect(failure.isTransient, "cut at \(cut): \(failure)")
        }
        cuts.withLock { $0 = answer.count }
        #expect(try await transport.send(get(server)).body.count == 12)
    }

    @Test func chunkedAnswersAreJoinedAndTheirCutsSeen() async throws {
        let cuts = Mutex(Int.max)
        let answer = Array(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
                .utf8)
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send(Array(answer.prefix(cuts.withLock { $0 })))
        }
        defer { server.stop() }
        let response = try await transport.send(get(server))
        #expect(response.body == Array("hello world".utf8))
        #expect(response.head.value("trailer") == nil)
        for cut in answer.indices.dropLast(14) {
            cuts.withLock { $0 = cut }
            #expect(await failure(of: get(server))?.isTransient == true, "cut at \(cut)")
        }
    }

    @Test func aResetInTheBodyIsAFailure() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            connection.reset()
        }
        defer { server.stop() }
        let failure = try #require(await failure(of: get(server)))
        #expect([.reset, .cutShort].contains(failure.kind))
        #expect(failure.isTransient)
    }

    @Test(
        arguments: [
            "SSH-2.0-OpenSSH_9.2\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 1\r\n\r\nx",
        ])
    func whatIsNotHTTPIsNoAnswer(_ bytes: String) async throws {
        let server = try RawServer.answering(bytes)
        defer { server.stop() }
        let failure = try #require(await failure(of: get(server)))
        #expect([.malformed, .tooLarge, .other].contains(failure.kind), "\(failure.kind): \(failure)")
    }

    @Test("X7: a body beyond the limit is stopped, whether its length is stated or not", .timeLimit(.minutes(1)))
    func largeBodiesAreStopped() async throws {
        let sent = Mutex(0)
        for head in ["Content-Length: 10000000000", "Transfer-Encoding: chunked", "Connection: close"] {
            let server = try RawServer { connection in
                guard connection.request() != nil else { return }
                connection.send("HTTP/1.1 200 OK\r\n\(head)\r\n\r\n")
                let filling = [UInt8](repeating: 0x20, count: 0x10000)
                let chunk = head.contains("chunked") ? Array("10000\r\n".utf8) + filling + Array("\r\n".utf8) : filling
                while connection.send(chunk) { sent.withLock { $0 += chunk.count } }
            }
            defer { server.stop() }
            var request = get(server)
            request.bodyLimitBytes = 1 << 20
            #expect(await failure(of: request)?.kind == .tooLarge)
            try await eventually { server.seen.withLock { $0.ended } == 1 }
        }
        #expect(sent.withLock { $0 } < 200 << 20)
    }

    @Test("X7: a flood of headers is stopped")
    func headerFloodsAreStopped() async throws {
        let floods = [
            ("HTTP/1.1 200 OK\r\n", "X: \(String(repeating: "a", count: 90000))\r\n"),
            ("HTTP/1.1 200 OK\r\n", "a:\r\n"), ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ]
        for (start, line) in floods {
            let server = try RawServer { connection in
                guard connection.request() != nil else { return }
                connection.send(start)
                while connection.send(line) {}
            }
            defer { server.stop() }
            let failure = try #require(await failure(of: get(server)))
            #expect(failure.kind == .tooLarge, "\(failure)")
            try await eventually { server.seen.withLock { $0.ended } == 1 }
        }
    }

    @Test("X7: an answer that trickles is ended", .timeLimit(.minutes(1)))
    func slowAnswersAreEnded() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while connection.send("x") { usleep(100_000) }
        }
        defer { server.stop() }
        var settings = CurlTransport.Settings()
        settings.lowSpeedTime = .seconds(1)
        let impatient = try CurlTransport(settings: settings)
        await #expect { try await impatient.send(get(server)) } throws: { error in
            (error as? HTTPFailure)?.kind == .tooSlow
        }
        var request = get(server)
        request.timeout = .milliseconds(300)
        #expect(await failure(of: request)?.kind == .timedOut)
    }

    @Test func aRefusedConnectionIsSaidAsSuch() async throws {
        let port = try Int(LoopbackListener().port)  // closed again at once
        let request = HTTPRequest(
            .get, HTTPOrigin(isSecure: false, host: "127.0.0.1", port: port), "/key?X-Amz-Signature=secret")
        let failure = try #require(await failure(of: request))
        #expect(failure.kind == .cannotConnect)
        #expect(failure.isTransient)
        #expect(failure.what.hasPrefix("GET http://127.0.0.1:\(port)/key: "))
        #expect(!failure.what.contains("secret"))
        let nowhere = HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "no-such-host.invalid"), "/")
        #expect(await self.failure(of: nowhere)?.kind == .cannotResolve)
    }

    @Test("X5: what could change the request or its address is refused")
    func hostileRequestsAreRefused() async throws {
        let server = try RawServer.answering(Self.hello)
        defer { server.stop() }
        for target in ["", "key", "/a b", "/a\r\nX: y", "/a#b", "/é", "/\u{7f}", "@evil/"] {
            #expect(await failure(of: get(server, target))?.kind == .refusedTarget, "\(target)")
        }
        for header in [("X", "a\r\nY: b"), ("X: y", "a"), ("", "a"), ("X", "a\0b")] {
            var request = get(server)
            request.headers = [header]
            #expect(await failure(of: request)?.kind == .refusedTarget)
        }
        for host in ["", "user@host", "evil/x", "a b", "a?b", "a#b"] {
            let request = HTTPRequest(.get, HTTPOrigin(isSecure: false, host: host), "/")
            #expect(await failure(of: request)?.kind == .refusedTarget, "\(host)")
        }
        #expect(server.connections == 0)
    }

    @Test func connectionsAreKeptAndCounted() async throws {
        let server = try RawServer.answering(Self.hello)
        defer { server.stop() }
        for _ in 0..<20 { _ = try await transport.send(get(server)) }
        #expect(server.connections == 1)
        #expect(transport.counters == .init(requests: 20, bodyBytesReceived: 100, connectionsMade: 1))
        let origin = get(server)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 { group.addTask { [transport] in _ = try await transport.send(origin) } }
            try await group.waitForAll()
        }
        #expect(transport.counters.requests == 220)
        #expect(server.connections <= 128)
    }

    @Test(.timeLimit(.minutes(1))) func connectionsAreBounded() async throws {
        let server = try RawServer.answering(Self.hello)
        defer { server.stop() }
        var settings = CurlTransport.Settings()
        settings.maxConnections = 3
        let narrow = try CurlTransport(settings: settings)
        let request = get(server)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<100 { group.addTask { _ = try await narrow.send(request) } }
            try await group.waitForAll()
        }
        #expect(server.connections <= 3)
        #expect(narrow.counters.connectionsMade == server.connections)
    }

    @Test(.timeLimit(.minutes(1))) func cancellationEndsTheTransfer() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.waitForEnd()
        }
        defer { server.stop() }
        let request = get(server)
        let running = Task { [transport] in try await transport.send(request) }
        try await eventually { server.requests.count == 1 }
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
        try await eventually { server.seen.withLock { $0.ended } == 1 }
        let early = Task { [transport] in
            withUnsafeCurrentTask { $0?.cancel() }
            return try await transport.send(request)
        }
        await #expect(throws: CancellationError.self) { try await early.value }
        #expect(server.requests.count == 1)
    }

    @Test(.timeLimit(.minutes(1))) func aClosedTransportEndsItsTransfers() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.waitForEnd()
        }
        defer { server.stop() }
        let loop = try CurlLoop(maxConnections: 1)
        let request = get(server)
        let running = Task {
            try await withCheckedThrowingContinuation { continuation in
                loop.add(
                    PendingTransfer(
                        request: request, url: "http://127.0.0.1:\(server.port)/", settings: .init(),
                        ticket: TransferTicket(), continuation: continuation))
            }
        }
        try await eventually { server.requests.count == 1 }
        loop.stop()
        await #expect(throws: CancellationError.self) { try await running.value }
    }
}
