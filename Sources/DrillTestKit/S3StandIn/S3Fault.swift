/// What goes wrong with an answer. Several can hit one request; they are applied in the order they were injected.
package enum S3Fault: Sendable {
    /// Waits before answering; also the way to give a server a distance.
    case latency(Duration)
    /// Runs before the request is looked at.
    case before(@Sendable () -> Void)
    /// Runs when the answer is made and not yet out, such as to overwrite an object behind a listing (S22).
    case after(@Sendable () -> Void)

    // Instead of the answer:
    /// An error of S3 with its XML.
    case error(status: Int, code: String, message: String = "")
    /// The same XML under 200 (S7).
    case errorIn200(code: String)
    /// A proxy's page (S30).
    case html(status: Int)
    /// A redirect, wherever to (S34).
    case redirect(status: Int, location: String)
    /// Anything else.
    case answer(status: Int, headers: [(name: String, value: String)], body: [UInt8])
    /// A listing that goes on for this many bytes (X7).
    case oversizedPage(bytes: Int)

    /// A listing that is well-formed and wrong.
    case listing(Listing)

    // The bytes of a right answer, changed:
    /// Flips one bit of the body, counted from its first; past the end nothing happens.
    case flippedBit(Int)
    /// The body that many bytes longer (by zeros) or shorter, with a `Content-Length` that agrees.
    case bodyLength(change: Int)
    /// Any other change; `Content-Length` follows.
    case edited(@Sendable ([UInt8]) -> [UInt8])
    case withoutChecksums
    /// The whole object and 200 where a range was asked for (S27).
    case ignoredRange
    case header(name: String, value: String?)

    // The transport:
    /// A `Content-Length` that is off by so much.
    case contentLength(change: Int)
    /// No length, the body ends with the connection, as in HTTP/1.0.
    case untilClose
    /// An orderly close after so many bytes of the response, counted from the status line's first.
    case cut(afterBytes: Int)
    /// An orderly close after this part of the body (0 to 1).
    case cutBody(fraction: Double)
    case reset(afterBytes: Int)
    /// Nothing more is sent and the connection stays open until the client leaves.
    case stall(afterBytes: Int)
    /// So slow that only a low-speed limit ends it (X7).
    case trickle(bytesPerSecond: Int)

    /// Wrong listings; "page" is what the request asked for.
    package enum Listing: Sendable {
        /// Pages without keys behind the last one, each truncated and with a new token.
        case endless
        /// The page's next token is the one it was asked with.
        case repeatedToken
        case truncatedWithoutToken
        /// The page's entries in a random order.
        case shuffled(seed: UInt64)
        /// The last key of the page before stands first in this one, too (S9).
        case repeatedKey
        /// By UTF-16 code units within the page, as some clones sort (S3).
        case utf16Order
        /// This entry (from 0) is missing, while `KeyCount` and the token stay.
        case droppedEntry(Int)
        /// Keys raw and no `EncodingType`, whatever was asked for (S6).
        case ignoredEncodingType
        /// A DOCTYPE before the root; a bomb of nested entities for the first key's place; or deep nesting (X7).
        case documentType
        case entityBomb
        case nested(depth: Int)
    }

    package static let slowDown = error(status: 503, code: "SlowDown", message: "Please reduce your request rate.")
    package static let tooManyRequests = error(status: 429, code: "TooManyRequests", message: "Too many requests.")
    package static let internalError = error(
        status: 500, code: "InternalError", message: "We encountered an internal error. Please try again.")
    package static let reset = reset(afterBytes: 0)
    package static let stall = stall(afterBytes: 0)
}

/// Which requests a fault hits. All parts must hold.
package struct RequestFilter: Sendable {
    /// `nil` for every kind.
    package var operations: Set<S3Operation>?
    package var bucket: String?
    package var keyPrefix: [UInt8] = []
    /// Counted from 1 among the requests that pass the parts above.
    package var ordinals: ClosedRange<Int>?
    /// The part of those that is hit, chosen by `seed` and the ordinal alone.
    package var share = 1.0
    package var seed: UInt64 = 0
    /// Since the fault was injected.
    package var window: Range<Duration>?

    package static let every = RequestFilter()

    package static func of(_ operations: S3Operation...) -> RequestFilter {
        RequestFilter(operations: Set(operations))
    }

    package static let listings = RequestFilter(operations: S3Operation.listings)

    package func number(_ ordinal: Int) -> RequestFilter { numbers(ordinal...ordinal) }

    package func first(_ count: Int) -> RequestFilter { numbers(1...max(1, count)) }

    package func numbers(_ ordinals: ClosedRange<Int>) -> RequestFilter {
        var filter = self
        filter.ordinals = ordinals
        return filter
    }

    package func share(_ share: Double, seed: UInt64) -> RequestFilter {
        var filter = self
        filter.share = share
        filter.seed = seed
        return filter
    }

    package func during(_ window: Range<Duration>) -> RequestFilter {
        var filter = self
        filter.window = window
        return filter
    }

    package func key(prefix: [UInt8], bucket: String? = nil) -> RequestFilter {
        var filter = self
        filter.keyPrefix = prefix
        filter.bucket = bucket
        return filter
    }
}

/// A fault with the requests it is for, and how many of them there were.
struct FaultRule: Sendable {
    let fault: S3Fault
    let filter: RequestFilter
    let injectedAt: ContinuousClock.Instant
    var matches = 0

    init(_ fault: S3Fault, _ filter: RequestFilter) {
        self.fault = fault
        self.filter = filter
        injectedAt = .now
    }

    mutating func hits(_ request: StandInRequest) -> Bool {
        if let operations = filter.operations, !operations.contains(request.operation) { return false }
        if let bucket = filter.bucket, bucket != request.bucket { return false }
        guard Bytes.hasPrefix(request.key, filter.keyPrefix) else { return false }
        matches += 1
        if let ordinals = filter.ordinals, !ordinals.contains(matches) { return false }
        if let window = filter.window, !window.contains(injectedAt.duration(to: .now)) { return false }
        guard filter.share < 1 else { return true }
        var generator = SeededGenerator(seed: filter.seed ^ UInt64(matches) &* 0x2545_F491_4F6C_DD1D)
        return Double(generator.next() >> 11) * 0x1p-53 < filter.share
    }
}
