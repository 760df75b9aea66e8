import Foundation
import Glibc

@testable import DrillTestKit

/// An answer as its bytes say it, without a client library's kindness.
struct RawAnswer {
    var status = 0
    /// Names in lower case.
    var headers: [String: String] = [:]
    /// With chunks joined.
    var body: [UInt8] = []
    /// How the answer ended.
    var ending = Ending.whole
    /// All that came, status line and framing included.
    var byteCount = 0

    enum Ending { case whole, closedEarly, reset, silent }

    var text: String { String(decoding: body, as: UTF8.self) }

    /// The texts of the elements of this name, in document order.
    func all(_ name: String) -> [String] { XMLBody(bytes: body).all(name).map(\.string) }
}

/// The smallest HTTP client that can tell a whole answer from half of one.
final class RawClient {
    private let socket: Int32
    private var received: [UInt8] = []

    convenience init(_ standIn: S3StandIn) { self.init(port: standIn.port) }

    /// Of 127.0.0.1.
    init(port: UInt16) {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                _ = Glibc.connect(socket, address, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }

    deinit { close(socket) }

    /// - Parameters:
    ///   - target: As it goes over the wire.
    ///   - patience: How long to wait for the next byte before the answer counts as silent.
    func ask(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: [UInt8] = [],
        host: String = "127.0.0.1", patience: Duration = .seconds(30)
    ) -> RawAnswer {
        send(method, target, headers, body: body, host: host)
        return read(isHead: method == "HEAD", patience: patience)
    }

    func send(
        _ method: String, _ target: String, _ headers: [(String, String)] = [], body: [UInt8] = [],
        host: String = "127.0.0.1"
    ) {
        var head = "\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n"
        for (name, value) in headers { head += "\(name): \(value)\r\n" }
        if !body.isEmpty || method == "PUT" { head += "Content-Length: \(body.count)\r\n" }
        let bytes = [UInt8]((head + "\r\n").utf8) + body
        var position = 0
        while position < bytes.count {
            let written = bytes.withUnsafeBytes { bytes in
                Glibc.send(socket, bytes.baseAddress.map { $0 + position }, bytes.count - position, Int32(MSG_NOSIGNAL))
            }
            guard written > 0 else { break }
            position += written
        }
    }

    func read(isHead: Bool = false, patience: Duration = .seconds(30)) -> RawAnswer {
        var answer = RawAnswer()
        var position = 0
        func fail(_ ending: RawAnswer.Ending) -> RawAnswer {
            answer.ending = ending
            answer.byteCount = received.count
            if position > 0 { answer.body = [UInt8](received[min(position, received.count)...]) }
            return answer
        }
        while Bytes.firstIndex(of: [UInt8]("\r\n\r\n".utf8), in: received) == nil {
            if let ending = fill(patience) { return fail(ending) }
        }
        let headEnd = Bytes.firstIndex(of: [UInt8]("\r\n\r\n".utf8), in: received) ?? 0
        let lines = String(decoding: received[..<headEnd], as: UTF8.self).components(separatedBy: "\r\n")
        answer.status = Int(lines[0].split(separator: " ")[1]) ?? 0
        for line in lines.dropFirst() {
            guard let colon = line.range(of: ": ") else { continue }
            answer.headers[line[..<colon.lowerBound].lowercased()] = String(line[colon.upperBound...])
        }
        position = headEnd + 4
        if isHead || answer.status == 204 || answer.status == 304 {
            return finish(&answer, end: position)
        }
        if answer.headers["transfer-encoding"] == "chunked" {
            while true {
                let lineEnd = Bytes.firstIndex(of: [UInt8]("\r\n".utf8), in: received, from: position)
                guard let lineEnd else {
                    if let ending = fill(patience) { return fail(ending) }
                    continue
                }
                let size = Int(String(decoding: received[position..<lineEnd], as: UTF8.self), radix: 16) ?? 0
                while received.count < lineEnd + 2 + size + 2 { if let ending = fill(patience) { return fail(ending) } }
                answer.body += received[(lineEnd + 2)..<(lineEnd + 2 + size)]
                position = lineEnd + 2 + size + 2
                if size == 0 { return finish(&answer, end: position) }
            }
        }
        guard let length = answer.headers["content-length"].flatMap({ Int($0) }) else {
            while true {
                guard let ending = fill(patience) else { continue }
                _ = fail(ending == .closedEarly ? .whole : ending)
                return answer
            }
        }
        while received.count < position + length { if let ending = fill(patience) { return fail(ending) } }
        answer.body = [UInt8](received[position..<(position + length)])
        return finish(&answer, end: position + length)
    }

    private func finish(_ answer: inout RawAnswer, end: Int) -> RawAnswer {
        answer.byteCount = end
        received.removeFirst(end)
        return answer
    }

    /// - Returns: `nil` when bytes came.
    private func fill(_ patience: Duration) -> RawAnswer.Ending? {
        var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        let ready = poll(&descriptor, 1, Int32(patience / Duration.milliseconds(1)))
        guard ready > 0 else { return .silent }
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(socket, &chunk, chunk.count, 0)
        if count < 0 { return .reset }
        guard count > 0 else { return .closedEarly }
        received += chunk[..<count]
        return nil
    }
}

/// 2026-11-14T14:30:05Z, the recovery target of these tests, and instants around it.
let target = Date(timeIntervalSince1970: 1_794_666_605)
