import CLibCurl
import DrillCore
import Foundation

/// One request and its answer, on the thread of its ``CurlLoop`` alone.
final class CurlTransfer {
    /// What of the body of a failed streaming request is kept.
    private static let errorBodyBytes = 64 << 10
    private static let receiveBufferBytes = 256 << 10
    /// Room that is made for a body before it comes.
    private static let reservedBodyBytes = 8 << 20

    let ticket: TransferTicket
    private let pending: PendingTransfer
    private let easy: UnsafeMutableRawPointer
    private var request: HTTPRequest { pending.request }
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private let sentBody: UnsafeMutableRawBufferPointer
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))

    private var head = ResponseHead()
    private var body: [UInt8] = []
    private var received = 0
    /// What a callback ended the transfer with.
    private var ending: Ending?

    private enum Ending {
        case failed(any Error)
        /// The answer is there as far as anybody wants it.
        case enough
    }

    init(_ pending: PendingTransfer, easy: UnsafeMutableRawPointer) {
        self.pending = pending
        self.easy = easy
        ticket = pending.ticket
        sentBody = .allocate(byteCount: pending.request.body.count, alignment: 1)
        sentBody.copyBytes(from: pending.request.body)
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        curl_slist_free_all(headerList)
        sentBody.deallocate()
        errorText.deallocate()
    }

    /// Sets the handle up; false where libcurl refuses an option.
    func prepare() -> Bool {
        var isSet = true
        func set(_ option: CURLoption, _ value: Int) { isSet = isSet && shim_set_long(easy, option, value) == CURLE_OK }
        func set(_ option: CURLoption, _ value: String) {
            isSet = isSet && shim_set_string(easy, option, value) == CURLE_OK
        }
        set(CURLOPT_URL, pending.url)
        // Not one byte of the target is touched (S10).
        set(CURLOPT_PATH_AS_IS, 1)
        set(CURLOPT_REQUEST_TARGET, request.target)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_NETRC, Int(CURL_NETRC_IGNORED.rawValue))
        // An empty proxy also keeps libcurl from looking for one in the environment (S33).
        set(CURLOPT_PROXY, isLinkLocal(host: request.origin.host) ? "" : pending.settings.proxy ?? "")
        set(CURLOPT_NOSIGNAL, 1)
        set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS)
        set(CURLOPT_HTTP09_ALLOWED, 0)
        set(CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2)
        set(CURLOPT_SSL_VERIFYPEER, request.trust.verifiesPeer ? 1 : 0)
        set(CURLOPT_SSL_VERIFYHOST, request.trust.verifiesPeer ? 2 : 0)
        if let caFile = request.trust.caFile { set(CURLOPT_CAINFO, caFile) }
        set(CURLOPT_CONNECTTIMEOUT_MS, pending.settings.connectTimeout.milliseconds)
        set(CURLOPT_TIMEOUT_MS, request.timeout.milliseconds)
        set(CURLOPT_LOW_SPEED_LIMIT, pending.settings.lowSpeedBytesPerSecond)
        set(CURLOPT_LOW_SPEED_TIME, max(1, Int(pending.settings.lowSpeedTime.components.seconds)))
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_BUFFERSIZE, Self.receiveBufferBytes)
        set(CURLOPT_USERAGENT, "muster")
        setMethod(set, set)
        return isSet && setHeaders() && setCallbacks()
    }

    private func setMethod(_ setNumber: (CURLoption, Int) -> Void, _ setText: (CURLoption, String) -> Void) {
        switch request.method {
        case .get: setNumber(CURLOPT_HTTPGET, 1)
        case .head: setNumber(CURLOPT_NOBODY, 1)
        case .delete: setText(CURLOPT_CUSTOMREQUEST, "DELETE")
        case .put, .post:
            setNumber(CURLOPT_POST, 1)
            setText(CURLOPT_CUSTOMREQUEST, request.method.rawValue)
        }
    }

    private func setHeaders() -> Bool {
        var lines = request.headers.map { $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)" }
        let names = Set(request.headers.map { $0.name.lowercased() })
        // What is stored is what is hashed: nobody may decode on the way (S28).
        if !names.contains("accept-encoding") { lines.append("Accept-Encoding: identity") }
        // A name without a value takes out what libcurl would send of its own.
        for name in ["Accept", "Expect", "Content-Type"] where !names.contains(name.lowercased()) {
            lines.append("\(name):")
        }
        for line in lines {
            guard let longer = curl_slist_append(headerList, line) else { return false }
            headerList = longer
        }
        return shim_set_pointer(easy, CURLOPT_HTTPHEADER, headerList) == CURLE_OK
    }

    private func setCallbacks() -> Bool {
        // The loop holds this object for as long as the handle is at work.
        let context = Unmanaged.passUnretained(self).toOpaque()
        let results = [
            shim_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText),
            shim_set_pointer(easy, CURLOPT_WRITEDATA, context),
            shim_set_pointer(easy, CURLOPT_HEADERDATA, context),
            shim_set_receiver(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
                CurlTransfer.from(context).take(UnsafeRawBufferPointer(start: bytes, count: size * count))
            },
            shim_set_receiver(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
                CurlTransfer.from(context).takeHeadLine(UnsafeRawBufferPointer(start: bytes, count: size * count))
            },
            shim_set_offset(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(sentBody.count)),
        ]
        guard request.method == .put || request.method == .post else { return results.allSatisfy { $0 == CURLE_OK } }
        // Not copied by libcurl; an empty body needs an address too.
        let body = sentBody.baseAddress ?? UnsafeMutableRawPointer(errorText)
        return results.allSatisfy { $0 == CURLE_OK } && shim_set_pointer(easy, CURLOPT_POSTFIELDS, body) == CURLE_OK
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> CurlTransfer {
        // Set by setCallbacks, so it is there.
        Unmanaged<CurlTransfer>.fromOpaque(context.unsafelyUnwrapped).takeUnretainedValue()
    }

    // MARK: What libcurl hands over; returning another count than was given ends the transfer

    private func takeHeadLine(_ line: UnsafeRawBufferPointer) -> Int {
        if let failure = head.take(line, limitBytes: pending.settings.headLimitBytes) {
            return end(.failed(HTTPFailure(failure.kind, "\(request.summary): \(failure.what)", isTransient: false)))
        }
        if head.isComplete, let length = head.contentLength, request.method != .head, pending.receive == nil {
            guard length <= request.bodyLimitBytes else { return end(.failed(tooLarge)) }
            body.reserveCapacity(min(length, Self.reservedBodyBytes))
        }
        return line.count
    }

    private func take(_ bytes: UnsafeRawBufferPointer) -> Int {
        received += bytes.count
        if let receive = pending.receive {
            guard head.status == 200 || head.status == 206 else {
                body.append(contentsOf: bytes.prefix(Self.errorBodyBytes - body.count))
                return body.count == Self.errorBodyBytes ? end(.enough) : bytes.count
            }
            do {
                try receive(bytes)
                return bytes.count
            } catch {
                return end(.failed(error))
            }
        }
        guard received <= request.bodyLimitBytes else { return end(.failed(tooLarge)) }
        if body.isEmpty, head.contentLength == nil {
            body.reserveCapacity(min(request.expectedBodyBytes, Self.reservedBodyBytes))
        }
        body.append(contentsOf: bytes)
        return bytes.count
    }

    private func end(_ ending: Ending) -> Int {
        if self.ending == nil { self.ending = ending }
        // Neither a number of bytes nor a pause.
        return Int(UInt32.max)
    }

    private var tooLarge: HTTPFailure {
        HTTPFailure(
            .tooLarge, "\(request.summary): the body is larger than \(request.bodyLimitBytes) bytes", isTransient: false
        )
    }

    // MARK: The end

    func cost() -> CurlTransport.Counters {
        var connections = 0
        shim_get_long(easy, CURLINFO_NUM_CONNECTS, &connections)
        return CurlTransport.Counters(requests: 1, bodyBytesReceived: received, connectionsMade: connections)
    }

    func finish(throwing error: any Error) { pending.continuation.resume(throwing: error) }

    func finish(_ result: CURLcode) {
        do {
            pending.continuation.resume(returning: try response(result))
        } catch {
            pending.continuation.resume(throwing: error)
        }
    }

    private func response(_ result: CURLcode) throws -> HTTPResponse {
        switch ending {
        case .failed(let error): throw error
        case .enough: break
        case nil:
            guard result == CURLE_OK else { throw failure(result) }
            guard head.isComplete else { throw cutShort("the connection ended in the head of the answer") }
            let bodyLength = request.method == .head || head.status == 304 ? nil : head.contentLength
            if let bodyLength, bodyLength != received, !head.isChunked {
                throw cutShort("\(received) of \(bodyLength) bytes came")
            }
        }
        var effective: UnsafePointer<CChar>?
        shim_get_string(easy, CURLINFO_EFFECTIVE_URL, &effective)
        guard let effective, String(cString: effective) == pending.url else {
            throw HTTPFailure(.refusedTarget, "\(request.summary): another address was asked", isTransient: false)
        }
        return HTTPResponse(head: head.parsed(), body: body)
    }

    private func cutShort(_ what: String) -> HTTPFailure {
        HTTPFailure(.cutShort, "\(request.summary): \(what)", isTransient: true)
    }

    private func failure(_ result: CURLcode) -> HTTPFailure {
        let said = String(cString: errorText)
        let text = said.isEmpty ? String(cString: curl_easy_strerror(result)) : said
        var connectedAfter = curl_off_t(0)
        shim_get_offset(easy, CURLINFO_PRETRANSFER_TIME_T, &connectedAfter)
        let (kind, isTransient) = HTTPFailure.Kind.of(result, text: text, wasConnected: connectedAfter > 0)
        return HTTPFailure(kind, "\(request.summary): \(text)", isTransient: isTransient)
    }
}

extension HTTPFailure.Kind {
    /// What a result of libcurl means, and whether asking once more may help. (libcurl-errors(3).)
    fileprivate static func of(_ result: CURLcode, text: String, wasConnected: Bool) -> (Self, isTransient: Bool) {
        switch result {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: (.cannotResolve, true)
        case CURLE_COULDNT_CONNECT: (.cannotConnect, true)
        case CURLE_OPERATION_TIMEDOUT where text.contains("too slow"): (.tooSlow, true)
        case CURLE_OPERATION_TIMEDOUT: (wasConnected ? .timedOut : .cannotConnect, true)
        case CURLE_SSL_CONNECT_ERROR: (.tls, true)
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_ISSUER_ERROR:
            (.tls, false)
        case CURLE_GOT_NOTHING, CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_HTTP2, CURLE_HTTP2_STREAM: (.reset, true)
        case CURLE_PARTIAL_FILE: (.cutShort, true)
        // A head that was cut in its first line looks like no HTTP at all, so once more may help.
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_CONTENT_ENCODING: (.malformed, true)
        case CURLE_URL_MALFORMAT: (.refusedTarget, false)
        default: (.other, false)
        }
    }
}

extension Duration {
    /// Rounded up, and at least 1: to libcurl 0 means no limit.
    fileprivate var milliseconds: Int { Int(max(1, min((seconds * 1000).rounded(.up), Double(Int32.max)))) }
}
