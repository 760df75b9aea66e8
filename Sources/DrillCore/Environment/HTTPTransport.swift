/// One HTTP request, its target already encoded: what is given here is what goes over the wire, dot segments and all (S10).
package struct HTTPRequest: Sendable {
    package enum Method: String, Sendable {
        case get = "GET", head = "HEAD", put = "PUT", post = "POST", delete = "DELETE"
    }

    package var method: Method
    package var origin: HTTPOrigin
    /// The percent-encoded path with the query, starting with `/`.
    package var target: String
    /// In the order in which they are sent. `Host`, `Content-Length` are added by the transport unless given.
    package var headers: [(name: String, value: String)] = []
    package var body: [UInt8] = []
    /// From the start of the transfer to its end.
    package var timeout: Duration = .seconds(300)
    /// A response body larger than this is an error; nil where the body is streamed and counted by the receiver.
    package var bodyLimitBytes: Int = 64 << 20
    /// How long the response body is thought to be: room that is made at once where the head does not tell.
    package var expectedBodyBytes = 0
    /// Whether an answer says in its body that the server is overloaded, whatever its status (S3's `SlowDown` in 200): a
    /// transport that retries then does as with 503. nil where the status tells.
    package var isOverload: (@Sendable (HTTPResponse) -> Bool)?
    /// Whom to believe over TLS; connections are shared only among requests with the same trust.
    package var trust = HTTPTrust()

    package init(_ method: Method, _ origin: HTTPOrigin, _ target: String) {
        self.method = method
        self.origin = origin
        self.target = target
    }
}

/// Which certificates a server may show (X8).
package struct HTTPTrust: Hashable, Sendable {
    /// A PEM file used in place of the system's authorities; nil is the system's.
    package var caFile: String?
    /// False only where the drill file says `insecure: true`; the report then prints it as a waiver.
    package var verifiesPeer: Bool
    package init(caFile: String? = nil, verifiesPeer: Bool = true) {
        self.caFile = caFile
        self.verifiesPeer = verifiesPeer
    }
}

/// Scheme, host and port.
package struct HTTPOrigin: Hashable, Sendable, CustomStringConvertible {
    package var isSecure: Bool
    package var host: String
    /// nil is the scheme's own.
    package var port: Int?
    package init(isSecure: Bool, host: String, port: Int? = nil) {
        self.isSecure = isSecure
        self.host = host
        self.port = port
    }
    /// Host, and the port where it is not the scheme's own: what the `Host` header says.
    package var authority: String { port.map { "\(host):\($0)" } ?? host }
    package var description: String { "\(isSecure ? "https" : "http")://\(authority)" }
}

package struct HTTPHead: Sendable {
    package var status: Int
    /// Names in lower case, values trimmed, in the order received.
    package var headers: [(name: String, value: String)]
    package init(status: Int, headers: [(name: String, value: String)]) {
        self.status = status
        self.headers = headers
    }
    /// The first value of that header; the name in lower case.
    package func value(_ name: String) -> String? { headers.first { $0.name == name }?.value }
}

package struct HTTPResponse: Sendable {
    package var head: HTTPHead
    package var body: [UInt8]
    package var status: Int { head.status }
    package init(head: HTTPHead, body: [UInt8]) {
        self.head = head
        self.body = body
    }
}

/// A request that got no whole answer. A response with any status is an answer, not a failure.
package struct HTTPFailure: Error, Sendable, CustomStringConvertible {
    package enum Kind: String, Sendable {
        case cannotResolve, cannotConnect, tls, timedOut, tooSlow, reset, cutShort, tooLarge, malformed, refusedTarget,
            other
    }
    package var kind: Kind
    /// Without the query string and without credentials.
    package var what: String
    /// True where asking once more may help.
    package var isTransient: Bool
    package init(_ kind: Kind, _ what: String, isTransient: Bool) {
        self.kind = kind
        self.what = what
        self.isTransient = isTransient
    }
    package var description: String { what }
}

/// Sends requests over kept-alive connections, bounded in number. It never follows a redirect, never decodes a content encoding,
/// never asks a proxy for link-local addresses, and sends to no other place than `request.origin`. It does not retry.
package protocol HTTPTransport: Sendable {
    /// The whole response in memory. Throws ``HTTPFailure``; `CancellationError` when the task is cancelled.
    func send(_ request: HTTPRequest) async throws -> HTTPResponse
    /// Hands on the body as it comes (only for a status of 200 or 206; otherwise the body is collected, at most 64 KiB, and
    /// returned). `receive` runs on the transport's thread, in order, and a throw from it ends the transfer with that error.
    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse
}
