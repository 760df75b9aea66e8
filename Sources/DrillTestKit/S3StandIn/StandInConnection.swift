import Foundation
import Glibc

/// One client connection, served by one thread from first to last request.
struct StandInConnection: ~Copyable {
    private let socket: Int32
    private let server: StandInServer
    private let number: Int
    private var input: RequestReader
    private var renderer = GeneratedPageRenderer()

    init(_ socket: Int32, of server: StandInServer) {
        self.socket = socket
        self.server = server
        number = server.log.withLock { $0.connected() }
        input = RequestReader(socket: socket)
    }

    /// Returns when the client, a fault or `stop` ends the connection.
    mutating func serve() {
        while let request = input.next() {
            guard answer(request) else { return }
        }
    }

    /// - Returns: Whether the connection can take a further request.
    private mutating func answer(_ request: StandInRequest) -> Bool {
        let number = number
        let (faults, isRecorded) = server.state.withLock { state in
            var hit: [S3Fault] = []
            for rule in state.rules.indices where state.rules[rule].hits(request) {
                hit.append(state.rules[rule].fault)
            }
            return (RequestFaults(faults: hit), state.settings.recordsRequests)
        }
        let (index, requestID) = server.log.withLock { log in
            let index = log.began(
                request, connection: number, isFaulted: faults.areMoreThanLatency, recorded: isRecorded)
            return (index, Self.requestID(log.counts.total))
        }
        if faults.latency > .zero { SocketOutput.pause(faults.latency, socket: socket) }
        for act in faults.before { act() }
        var response = faults.substitute(requestID: requestID) ?? rightAnswer(request, faults, requestID)
        if !faults.isEmpty {
            if faults.changesBody { materialize(&response) }
            response = faults.altered(response)
        }
        for act in faults.after { act() }
        let isLast = request.closesConnection || response.framing == .untilClose
        let (server, status) = (server, response.status)
        var output = SocketOutput(socket: socket, fault: faults.transport) { headBytes, allBytes in
            server.log.withLock { $0.ended(index, status: status, headBytes: headBytes, sentBytes: allBytes) }
        }
        let isWhole = output.send(
            response, isHead: request.method == "HEAD", requestID: requestID,
            date: server.state.withLock { $0.clock() }, closes: isLast, renderer: &renderer)
        return isWhole && !isLast
    }

    private func rightAnswer(
        _ request: StandInRequest, _ faults: RequestFaults, _ requestID: String
    ) -> StandInResponse {
        do throws(S3Failure) {
            let isRead = request.method == "GET" || request.method == "HEAD"
            let (credentials, now, fixed) = server.state.withLock { state in
                // Reading cannot change a generated bucket, so it need not hold up the others.
                let isGenerated = request.bucket.flatMap { state.buckets[$0] }?.isGenerated ?? false
                return (state.credentials, state.clock(), isRead && isGenerated ? state : nil)
            }
            if !credentials.isEmpty { try SignatureCheck(credentials: credentials, now: now).verify(request) }
            if var fixed {
                return try fixed.handle(request, faults: faults.listing, ignoresRange: faults.ignoresRange)
            }
            return try server.state.withLock { state throws(S3Failure) in
                try state.handle(request, faults: faults.listing, ignoresRange: faults.ignoresRange)
            }
        } catch {
            return error.response(requestID: requestID)
        }
    }

    private mutating func materialize(_ response: inout StandInResponse) {
        if case .generated(let page) = response.body { response.body = .bytes([UInt8](renderer.render(page))) }
    }

    private static func requestID(_ number: Int) -> String {
        let digits = String(number, radix: 36, uppercase: true)
        return String(repeating: "0", count: max(0, 16 - digits.utf8.count)) + digits
    }
}

/// Reads requests off a socket, one after another.
struct RequestReader {
    let socket: Int32
    private var buffer: [UInt8] = []
    private var chunk = [UInt8](repeating: 0, count: 1 << 16)

    init(socket: Int32) { self.socket = socket }

    /// - Returns: `nil` at the end of the connection, and for what is no HTTP request.
    mutating func next() -> StandInRequest? {
        let emptyLine = [UInt8]("\r\n\r\n".utf8)
        var searched = 0
        while true {
            if let end = Bytes.firstIndex(of: emptyLine, in: buffer, from: searched) {
                guard var request = StandInRequest(head: [UInt8](buffer[..<end])) else { return nil }
                buffer.removeFirst(end + emptyLine.count)
                guard readBody(of: &request) else { return nil }
                return request
            }
            searched = max(0, buffer.count - emptyLine.count)
            guard buffer.count < 1 << 20, fill() else { return nil }
        }
    }

    private mutating func readBody(of request: inout StandInRequest) -> Bool {
        let isChunked = request.header("transfer-encoding")?.lowercased() == "chunked"
        let length = request.header("content-length").flatMap { Int($0) } ?? 0
        guard isChunked || length > 0 else { return length == 0 }
        if request.header("expect")?.lowercased() == "100-continue" {
            var output = SocketOutput(socket: socket, fault: TransportFault())
            guard output.send([UInt8]("HTTP/1.1 100 Continue\r\n\r\n".utf8)) else { return false }
        }
        if isChunked {
            guard let body = readChunks() else { return false }
            request.body = body
        } else {
            while buffer.count < length { guard fill() else { return false } }
            request.body = [UInt8](buffer[..<length])
            buffer.removeFirst(length)
        }
        if request.header("x-amz-content-sha256")?.hasPrefix("STREAMING-") == true { decodeStreaming(&request) }
        return true
    }

    private mutating func readChunks() -> [UInt8]? {
        var body: [UInt8] = []
        while true {
            guard let line = readLine(), let size = Int(line.prefix { $0 != ";" }, radix: 16) else { return nil }
            while buffer.count < size + 2 { guard fill() else { return nil } }
            body += buffer[..<size]
            buffer.removeFirst(size + 2)
            if size == 0 { return body }
        }
    }

    private mutating func readLine() -> String? {
        while true {
            if let end = Bytes.firstIndex(of: [UInt8]("\r\n".utf8), in: buffer) {
                let line = String(decoding: buffer[..<end], as: UTF8.self)
                buffer.removeFirst(end + 2)
                return line
            }
            guard fill() else { return nil }
        }
    }

    /// Unwraps `aws-chunked`: sizes with chunk signatures, and checksums in a trailer, which count as headers.
    private func decodeStreaming(_ request: inout StandInRequest) {
        let wrapped = request.body
        var body: [UInt8] = []
        var position = 0
        let lineEnd = [UInt8]("\r\n".utf8)
        while let end = Bytes.firstIndex(of: lineEnd, in: wrapped, from: position) {
            let line = String(decoding: wrapped[position..<end], as: UTF8.self)
            position = end + 2
            guard let size = Int(line.prefix { $0 != ";" }, radix: 16), size > 0 else { break }
            body += wrapped[position..<min(position + size, wrapped.count)]
            position = min(position + size + 2, wrapped.count)
        }
        let trailer = String(decoding: wrapped[min(position, wrapped.count)...], as: UTF8.self)
        for line in trailer.split(whereSeparator: \.isNewline) {
            let halves = line.split(separator: ":", maxSplits: 1)
            guard halves.count == 2 else { continue }
            request.trailers.append(
                .init(name: halves[0].lowercased(), value: halves[1].trimmingCharacters(in: .whitespaces)))
        }
        request.body = body
    }

    private mutating func fill() -> Bool {
        while true {
            let count = recv(socket, &chunk, chunk.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            buffer += chunk[..<count]
            return true
        }
    }
}
