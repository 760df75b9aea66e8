import Foundation
import Synchronization

/// A server on loopback that answers with whatever bytes a test wants, a thread a connection.
final class RawServer: Sendable {
    /// One connection, on its thread alone.
    struct Connection {
        let descriptor: Int32
        let server: RawServer

        /// Reads one request with its body; nil at the end of the connection.
        func request() -> String? {
            var bytes: [UInt8] = []
            var byte: UInt8 = 0
            while !bytes.suffix(4).elementsEqual("\r\n\r\n".utf8) {
                guard recv(descriptor, &byte, 1, 0) == 1 else { return nil }
                bytes.append(byte)
            }
            let head = String(decoding: bytes, as: UTF8.self)
            let length = head.lowercased().components(separatedBy: "\r\ncontent-length: ").dropFirst().first
                .flatMap { Int($0.prefix { $0.isNumber }) }
            for _ in 0..<(length ?? 0) where recv(descriptor, &byte, 1, 0) == 1 { bytes.append(byte) }
            let text = String(decoding: bytes, as: UTF8.self)
            server.seen.withLock { $0.requests.append(text) }
            return text
        }

        /// False once the other side is gone.
        @discardableResult func send(_ text: String) -> Bool { send(Array(text.utf8)) }

        @discardableResult func send(_ bytes: [UInt8]) -> Bool {
            var sent = 0
            while sent < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.send(
                        descriptor, $0.baseAddress.map { $0 + sent }, $0.count - sent, Int32(MSG_NOSIGNAL))
                }
                guard count > 0 else { return false }
                sent += count
            }
            return true
        }

        /// Ends the connection with a reset.
        func reset() {
            var hard = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &hard, socklen_t(MemoryLayout<linger>.size))
        }

        /// Waits until the other side has closed its end.
        func waitForEnd() {
            var byte: UInt8 = 0
            while recv(descriptor, &byte, 1, 0) > 0 {}
        }
    }

    struct Seen: Sendable {
        var connections = 0
        var ended = 0
        var requests: [String] = []
    }

    let seen = Mutex(Seen())
    private let listener: LoopbackListener
    private let serve: @Sendable (Connection) -> Void
    var port: Int { Int(listener.port) }

    init(_ serve: @escaping @Sendable (Connection) -> Void) throws {
        listener = try LoopbackListener()
        self.serve = serve
        let number = listener.descriptor
        Thread.detachNewThread { [weak self] in
            while true {
                let descriptor = accept(number, nil, nil)
                guard descriptor >= 0, let server = self else { return }
                server.seen.withLock { $0.connections += 1 }
                Thread.detachNewThread {
                    server.serve(Connection(descriptor: descriptor, server: server))
                    close(descriptor)
                    server.seen.withLock { $0.ended += 1 }
                }
            }
        }
    }

    /// Answers each request of each connection with these bytes.
    static func answering(_ bytes: String) throws -> RawServer {
        try RawServer { connection in
            while connection.request() != nil { connection.send(bytes) }
        }
    }

    func stop() { shutdown(listener.descriptor, Int32(SHUT_RDWR)) }

    var requests: [String] { seen.withLock { $0.requests } }
    var connections: Int { seen.withLock { $0.connections } }
    /// The first lines of the requests.
    var requestLines: [String] { requests.map { $0.components(separatedBy: "\r\n")[0] } }
}
