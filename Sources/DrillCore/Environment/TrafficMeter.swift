import Synchronization

/// `limits:` of a drill file: what the whole drill may ask of object stores and move.
package struct TrafficLimits: Sendable, Hashable {
    package var requests: Int64?
    package var bytes: Int64?
    package init(requests: Int64? = nil, bytes: Int64? = nil) {
        self.requests = requests
        self.bytes = bytes
    }
}

/// Requests by the kinds that Amazon S3 charges for, and bytes.
package struct TrafficTotals: Sendable, Hashable {
    package enum Request: Int, Sendable, CaseIterable {
        case list, head, get
        /// PUT, COPY and POST.
        case write
        case delete

        package var words: String { ["LIST", "HEAD", "GET", "PUT or COPY", "DELETE"][rawValue] }
    }

    /// The phase whose detail is a run's totals.
    package static let phaseName = "object traffic"

    package private(set) var requests = [Int64](repeating: 0, count: Request.allCases.count)
    package var bytesReceived: Int64 = 0
    package var bytesSent: Int64 = 0
    /// Within a store or from one directory to another, without going over a network of ours.
    package var bytesCopied: Int64 = 0

    package init() {}

    package subscript(_ kind: Request) -> Int64 {
        get { requests[kind.rawValue] }
        set { requests[kind.rawValue] = newValue }
    }
    package var allRequests: Int64 { requests.reduce(0, +) }
    package var allBytes: Int64 { bytesReceived + bytesSent + bytesCopied }
    package var isNothing: Bool { allRequests == 0 && allBytes == 0 }
}

extension TrafficTotals: CustomStringConvertible {
    /// `3 LIST, 10 HEAD, 4 GET, 2 PUT or COPY, 0 DELETE requests; 1,234 bytes received, 0 sent, 0 copied`
    package var description: String {
        let asked = Request.allCases.map { "\(grouped(self[$0])) \($0.words)" }.joined(separator: ", ")
        return "\(asked) requests; \(grouped(bytesReceived)) bytes received, \(grouped(bytesSent)) sent, "
            + "\(grouped(bytesCopied)) copied"
    }

    /// Reads what `description` wrote, as the ledger keeps it of an earlier run; nil for any other text.
    package init?(_ text: String) {
        let numbers = text.split { !("0"..."9").contains($0) && $0 != "," }
            .compactMap { strictInteger($0.filter { $0 != "," }) }
        guard numbers.count == Request.allCases.count + 3 else { return nil }
        self.init()
        for kind in Request.allCases { self[kind] = numbers[kind.rawValue] }
        (bytesReceived, bytesSent, bytesCopied) = (numbers[5], numbers[6], numbers[7])
        guard description == text else { return nil }
    }
}

/// Counts what all parts of one drill ask of object stores and move, and refuses what its limits do not allow (S35).
///
/// What was refused once keeps the run from passing, whatever became of the error on its way.
package final class TrafficMeter: Sendable {
    private struct State {
        var totals = TrafficTotals()
        var refusal: DrillError?
    }

    private final class Shared: Sendable {
        let state = Mutex(State())
    }

    package let limits: TrafficLimits
    private let shared: Shared

    package init(_ limits: TrafficLimits = TrafficLimits()) {
        self.limits = limits
        shared = Shared()
    }

    private init(_ shared: Shared) {
        limits = TrafficLimits()
        self.shared = shared
    }

    /// Counts into the same totals and refuses nothing: removing scratch must not fail for a limit.
    package var withoutLimits: TrafficMeter { TrafficMeter(shared) }

    package var totals: TrafficTotals { shared.state.withLock { $0.totals } }
    /// The first refusal; nil while everything was allowed.
    package var refusal: DrillError? { shared.state.withLock { $0.refusal } }

    /// Counts a request that is about to be sent. Throws instead where that were one too many, or the bytes are used up.
    package func admit(_ kind: TrafficTotals.Request) throws {
        try shared.state.withLock { state in
            if let limit = limits.requests, state.totals.allRequests >= limit {
                throw refuse(&state, "the limit of \(grouped(limit)) requests (limits.requests) is reached")
            }
            if let limit = limits.bytes, state.totals.allBytes > limit { throw refuse(&state, Self.bytesUsed(limit)) }
            state.totals[kind] += 1
        }
    }

    package func received(_ bytes: Int64) throws { try count(bytes, \.bytesReceived) }
    package func sent(_ bytes: Int64) throws { try count(bytes, \.bytesSent) }
    package func copied(_ bytes: Int64) throws { try count(bytes, \.bytesCopied) }

    /// Throws where so much more would not be allowed: what is known beforehand need not be begun.
    package func check(requests: Int64, bytes: Int64, for purpose: String) throws {
        try shared.state.withLock { state in
            if let limit = limits.requests, state.totals.allRequests + requests > limit {
                throw refuse(
                    &state,
                    "\(purpose) takes \(grouped(requests)) requests at least, more than the limit of \(grouped(limit)) "
                        + "(limits.requests) leaves")
            }
            if let limit = limits.bytes, state.totals.allBytes + bytes > limit {
                throw refuse(
                    &state,
                    "\(purpose) takes \(grouped(bytes)) bytes, more than the limit of \(grouped(limit)) (limits.bytes) leaves"
                )
            }
        }
    }

    private func count(_ bytes: Int64, _ total: any WritableKeyPath<TrafficTotals, Int64> & Sendable) throws {
        guard bytes > 0 else { return }
        try shared.state.withLock { state in
            state.totals[keyPath: total] += bytes
            if let limit = limits.bytes, state.totals.allBytes > limit { throw refuse(&state, Self.bytesUsed(limit)) }
        }
    }

    private static func bytesUsed(_ limit: Int64) -> String {
        "the limit of \(grouped(limit)) bytes (limits.bytes) is reached"
    }

    private func refuse(_ state: inout State, _ what: String) -> DrillError {
        let error = DrillError(
            .couldNotLook, "\(what); so far \(state.totals)",
            hints: ["Raise `limits` in the drill file, or ask less; `muster plan` tells what a run costs."])
        if state.refusal == nil { state.refusal = error }
        return error
    }
}
