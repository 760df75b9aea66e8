import Foundation
import Glibc

/// Writes one response, as far as the faults let it get.
struct SocketOutput {
    let socket: Int32
    private var fault: TransportFault
    private var sentBytes = 0
    private var headBytes = 0
    private var isEnding = false
    private let willEnd: (_ headBytes: Int, _ allBytes: Int) -> Void

    /// - Parameter willEnd: Called once, before the last bytes are handed over, so that whoever has the answer can
    ///   rely on what this did.
    init(
        socket: Int32, fault: TransportFault,
        willEnd: @escaping (_ headBytes: Int, _ allBytes: Int) -> Void = { _, _ in }
    ) {
        self.socket = socket
        self.fault = fault
        self.willEnd = willEnd
    }

    /// - Parameter isHead: Whether this answers a HEAD, and so says how long a body is that it does not send.
    /// - Returns: `false` when the response did not get out whole.
    mutating func send(
        _ response: StandInResponse, isHead: Bool, requestID: String, date: Date, closes: Bool,
        renderer: inout GeneratedPageRenderer
    ) -> Bool {
        let isWhole: Bool
        switch response.body {
        case .bytes(let bytes):
            isWhole = bytes.withUnsafeBytes { body in
                sendWhole(response, body: body, isHead: isHead, requestID: requestID, date: date, closes: closes)
            }
        case .generated(let page):
            let body = renderer.render(page)
            isWhole = sendWhole(response, body: body, isHead: isHead, requestID: requestID, date: date, closes: closes)
        case .flood(let head, let filler, let total):
            let lines = header(response, length: total, requestID: requestID, date: date, closes: closes)
            headBytes = lines.count
            isWhole = flood(lines + head, filler, left: total - head.count)
        }
        announceEnd(sentBytes)
        return isWhole
    }

    private mutating func flood(_ head: [UInt8], _ filler: [UInt8], left: Int) -> Bool {
        guard head.withUnsafeBytes({ send($0, more: left > 0) }) else { return false }
        var left = left
        while left > 0 {
            let count = min(left, filler.count)
            left -= count
            guard filler.withUnsafeBytes({ send(UnsafeRawBufferPointer(rebasing: $0[..<count]), more: left > 0) })
            else {
                return false
            }
        }
        return true
    }

    private mutating func announceEnd(_ allBytes: Int) {
        guard !isEnding else { return }
        isEnding = true
        willEnd(headBytes, allBytes)
    }

    private mutating func sendWhole(
        _ response: StandInResponse, body: UnsafeRawBufferPointer, isHead: Bool, requestID: String, date: Date,
        closes: Bool
    ) -> Bool {
        let hasBody = !isHead && response.status != 204 && response.status != 304
        let isChunked = response.framing == .chunked && hasBody
        let length = hasBody ? body.count : response.declaredLength ?? 0
        var lines = header(
            response, length: isChunked || (isHead && response.declaredLength == nil) ? nil : length,
            requestID: requestID, date: date, closes: closes)
        headBytes = lines.count
        if let fraction = fault.cutBodyFraction, hasBody {
            fault.ending = (lines.count + Int(Double(body.count) * fraction), .close)
        }
        guard hasBody else { return send(lines) }
        if isChunked, !body.isEmpty { lines += [UInt8]("\(String(body.count, radix: 16))\r\n".utf8) }
        let end = isChunked ? [UInt8]((body.isEmpty ? "0\r\n\r\n" : "\r\n0\r\n\r\n").utf8) : []
        if body.count < 1 << 14 { return send(lines + body + end) }
        guard lines.withUnsafeBytes({ send($0, more: true) }) else { return false }
        guard send(body, more: !end.isEmpty) else { return false }
        return end.isEmpty || send(end)
    }

    /// - Parameter length: `nil` for no Content-Length.
    private func header(
        _ response: StandInResponse, length: Int?, requestID: String, date: Date, closes: Bool
    ) -> [UInt8] {
        var text = "HTTP/1.1 \(response.status) \(StandInResponse.reason(response.status))\r\n"
        let isForeign = response.headers.contains { $0 == ("Content-Type", "text/html") }
        if !isForeign {
            text += "x-amz-id-2: \(StandInState.hostID)\r\nx-amz-request-id: \(requestID)\r\n"
        }
        text += "Date: \(S3Time.http(date))\r\nServer: \(isForeign ? "nginx" : "AmazonS3")\r\n"
        for header in response.headers { text += "\(header.name): \(header.value)\r\n" }
        switch response.framing {
        case .chunked where length == nil: text += "Transfer-Encoding: chunked\r\n"
        case .untilClose: break
        case .contentLength, .chunked:
            if let length, response.status != 204 {
                text += "Content-Length: \(max(0, length + fault.contentLengthChange))\r\n"
            }
        }
        if closes { text += "Connection: close\r\n" }
        return [UInt8]((text + "\r\n").utf8)
    }

    mutating func send(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { send($0, more: false) } }

    /// - Parameter more: Whether the kernel should wait for what comes next before it sends a packet.
    private mutating func send(_ bytes: UnsafeRawBufferPointer, more: Bool) -> Bool {
        if let (limit, ending) = fault.ending, sentBytes + bytes.count >= limit {
            let allowed = max(0, limit - sentBytes)
            announceEnd(sentBytes + allowed)
            if transmit(UnsafeRawBufferPointer(rebasing: bytes[..<allowed]), more: false) { end(ending) }
            return false
        }
        if !more { announceEnd(sentBytes + bytes.count) }
        return transmit(bytes, more: more)
    }

    private mutating func transmit(_ bytes: UnsafeRawBufferPointer, more: Bool) -> Bool {
        var position = 0
        while position < bytes.count {
            var count = bytes.count - position
            if let rate = fault.bytesPerSecond {
                count = min(count, max(1, rate / 10))
                guard Self.pause(.milliseconds(rate < 10 ? 1000 / max(1, rate) : 100), socket: socket) else {
                    return false
                }
            }
            let flags = Int32(MSG_NOSIGNAL) | (more ? Int32(MSG_MORE) : 0)
            let written = Glibc.send(socket, bytes.baseAddress.map { $0 + position }, count, flags)
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return false }
            position += written
            sentBytes += written
        }
        return true
    }

    private func end(_ ending: TransportFault.Ending) {
        switch ending {
        case .close: break
        case .reset:
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(socket, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
        case .stall: Self.waitForHangUp(socket, nil)
        }
    }

    /// Waits, but no longer than the client does.
    /// - Returns: Whether the connection still stands.
    @discardableResult
    static func pause(_ duration: Duration, socket: Int32) -> Bool { !waitForHangUp(socket, duration) }

    /// POLLRDHUP, which Glibc's Swift module does not show.
    private static let peerClosed: Int16 = 0x2000

    /// - Parameter limit: `nil` to wait for ever, which is until the client leaves or the stand-in stops.
    /// - Returns: Whether the connection ended.
    @discardableResult
    private static func waitForHangUp(_ socket: Int32, _ limit: Duration?) -> Bool {
        let deadline = limit.map { ContinuousClock.now + $0 }
        while true {
            var descriptor = pollfd(fd: socket, events: peerClosed, revents: 0)
            let left = deadline.map { max(.zero, ContinuousClock.now.duration(to: $0)) / Duration.milliseconds(1) }
            let ready = poll(&descriptor, 1, left.map { Int32(min($0.rounded(.up), 1e9)) } ?? -1)
            if ready < 0, errno == EINTR { continue }
            return ready != 0
        }
    }
}
