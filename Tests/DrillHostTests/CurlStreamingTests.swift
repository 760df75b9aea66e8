import DrillCore
import Foundation
import Synchronization
import Testing

@testable import DrillHost

@Suite struct CurlStreamingTests {
    private let transport: CurlTransport

    init() throws { transport = try CurlTransport() }

    private func get(_ server: RawServer) -> HTTPRequest {
        HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "127.0.0.1", port: server.port), "/")
    }

    private struct Enough: Error {}

    @Test func theBodyIsHandedOnInOrderAndNotKept() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send("HTTP/1.1 206 Partial\r\nContent-Length: 5120000\r\n\r\n")
            for number in 0..<100 { connection.send([UInt8](repeating: UInt8(number), count: 51_200)) }
        }
        defer { server.stop() }
        let seen = Mutex<(count: Int, isOrdered: Bool)>((0, true))
        let response = try await transport.stream(get(server)) { bytes in
            seen.withLock { seen in
                for (offset, byte) in bytes.enumerated() where Int(byte) != (seen.count + offset) / 51_200 {
                    seen.isOrdered = false
                }
                seen.count += bytes.count
            }
        }
        #expect(response.status == 206)
        #expect(response.body.isEmpty)
        #expect(seen.withLock { $0.count } == 5_120_000)
        #expect(seen.withLock { $0.isOrdered })
    }

    @Test func aThrowEndsTheTransferWithThatError() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while connection.send("5\r\nhello\r\n") {}
        }
        defer { server.stop() }
        await #expect(throws: Enough.self) { try await transport.stream(get(server)) { _ in throw Enough() } }
        try await eventually { server.seen.withLock { $0.ended } == 1 }
    }

    @Test func anErrorsBodyIsKeptInPartAndNotHandedOn() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send("HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n")
            while connection.send("10\r\n0123456789abcdef\r\n") {}
        }
        defer { server.stop() }
        let response = try await transport.stream(get(server)) { _ in throw Enough() }
        #expect(response.status == 503)
        #expect(response.body.count == 64 << 10)
        try await eventually { server.seen.withLock { $0.ended } == 1 }
    }

    @Test("S31: a stream that is cut short is a failure although all that came was handed on")
    func cutStreamsAreFailures() async throws {
        let server = try RawServer { connection in
            guard connection.request() != nil else { return }
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        }
        defer { server.stop() }
        await #expect { try await transport.stream(get(server)) { _ in } } throws: { error in
            (error as? HTTPFailure)?.kind == .cutShort
        }
    }
}
