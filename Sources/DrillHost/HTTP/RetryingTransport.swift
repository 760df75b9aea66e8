import CLibCurl
import DrillCore
import Foundation
import Synchronization

/// Asks again where that may help, within one budget for the whole run, and with as many requests at once as the server
/// bears (S31). What it cannot get is thrown as `couldNotLook`; a status that asking again cannot better is an answer.
package final class RetryingTransport: HTTPTransport {
    package struct Settings: Sendable {
        /// Requests in flight at most.
        package var maxInFlight = 64
        package var attemptsPerRequest = 12
        /// Where nothing at all answered yet, at this place: a wrong address shows within seconds.
        package var attemptsToConnect = 7
        /// Retries that the whole run may make: this many, and a share of its requests.
        package var retryAllowance = 500
        package var retryShare = 0.1
        /// The longest pause before a first retry, doubled for each further one, or for each step of the pressure that
        /// all requests meet, up to `longestPause`. How long a pause really is, is drawn at random (full jitter).
        package var firstPause = Duration.milliseconds(50)
        package var longestPause = Duration.seconds(20)
        /// From a request's first attempt to its last answer; of one that is streamed, to the start of its last attempt: a
        /// body may be as long as it likes. Shorter than a signature is good for.
        package var totalTime = Duration.seconds(600)
        package init() {}
    }

    package struct Counters: Sendable, Hashable {
        /// Calls of `send` and `stream`.
        package var requests = 0
        /// What was sent beyond one a call.
        package var retries = 0
    }

    private static let failingStatuses: Set<Int> = [500, 502, 504]

    private let wrapped: any HTTPTransport
    private let clock: any DrillClock
    private let settings: Settings
    private let gate: ConcurrencyGate
    private let tally = Mutex(Counters())
    private let random: Mutex<any RandomNumberGenerator & Sendable>
    /// Places that have answered anything.
    private let answering = Mutex<Set<HTTPOrigin>>([])

    /// - Parameter random: Where the pauses' lengths come from; seeded, so that a run can be repeated.
    package init(
        _ wrapped: any HTTPTransport, clock: any DrillClock, random: any RandomNumberGenerator & Sendable,
        settings: Settings = Settings()
    ) {
        self.wrapped = wrapped
        self.clock = clock
        self.settings = settings
        self.random = Mutex(random)
        gate = ConcurrencyGate(maximum: settings.maxInFlight)
    }

    package var counters: Counters { tally.withLock { $0 } }

    /// How many requests may be in flight now.
    package var concurrency: Int { gate.limit }

    package func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        try await retrying(request, isBounded: true, mayRetry: { true }, wrapped.send)
    }

    /// Asks again only as long as nothing of a body was handed on: what `receive` took cannot be taken back.
    package func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        let handedOn = Atomic(false)
        return try await retrying(request, isBounded: false, mayRetry: { !handedOn.load(ordering: .acquiring) }) {
            [wrapped] request in
            try await wrapped.stream(request) { bytes in
                handedOn.store(true, ordering: .releasing)
                try receive(bytes)
            }
        }
    }

    /// A request keeps its place in the gate while it pauses: others rushing in would only add to the overload.
    private func retrying(
        _ request: HTTPRequest, isBounded: Bool, mayRetry: () -> Bool,
        _ perform: (HTTPRequest) async throws -> HTTPResponse
    ) async throws -> HTTPResponse {
        tally.withLock { $0.requests += 1 }
        let deadline = clock.monotonicSeconds() + settings.totalTime.seconds
        try await gate.enter()
        defer { gate.leave() }
        var attempts = 0
        while true {
            attempts += 1
            var attempt = request
            if isBounded {
                attempt.timeout = min(request.timeout, .seconds(max(0.001, deadline - clock.monotonicSeconds())))
            }
            let generation = gate.generation
            let trouble: Trouble
            do {
                let response = try await perform(attempt)
                answering.withLock { _ = $0.insert(request.origin) }
                let isOverload = [429, 503].contains(response.status) || request.isOverload?(response) ?? false
                guard isOverload || Self.failingStatuses.contains(response.status) else {
                    gate.noteSuccess()
                    return response
                }
                if isOverload { gate.noteOverload(sentAt: generation) }
                trouble = Trouble(
                    what: "\(request.summary): status \(response.status)", retryAfter: retryAfter(response.head),
                    attempts: settings.attemptsPerRequest)
            } catch let failure as HTTPFailure where failure.isTransient && mayRetry() && !isAbsent(request, failure) {
                let isUnknown =
                    [.cannotConnect, .cannotResolve, .tls].contains(failure.kind)
                    && !answering.withLock { $0.contains(request.origin) }
                trouble = Trouble(
                    what: failure.what, attempts: isUnknown ? settings.attemptsToConnect : settings.attemptsPerRequest)
            }
            try await pause(before: attempts, trouble, deadline: deadline)
        }
    }

    /// Why a request is to be sent again.
    private struct Trouble {
        var what: String
        var retryAfter = 0.0
        /// At most.
        var attempts: Int
    }

    /// - Throws: `couldNotLook` when there is to be no further attempt; `cancelled`, with the trouble, where the run ends meanwhile.
    private func pause(before attempts: Int, _ trouble: Trouble, deadline: Double) async throws {
        let doublings = max(Double(attempts - 1), gate.pressure)
        let longest = min(settings.longestPause.seconds, settings.firstPause.seconds * exp2(doublings))
        let seconds = trouble.retryAfter + random.withLock { Double.random(in: 0...longest, using: &$0) }
        let isInTime = clock.monotonicSeconds() + seconds < deadline
        let counters: Counters? = tally.withLock { tally in
            let budget = settings.retryAllowance + Int(Double(tally.requests) * settings.retryShare)
            guard attempts < min(trouble.attempts, settings.attemptsPerRequest), isInTime, tally.retries < budget else {
                return nil
            }
            tally.retries += 1
            return tally
        }
        guard counters == nil else {
            do {
                return try await clock.sleep(for: .seconds(seconds))
            } catch is CancellationError {
                throw DrillError(.cancelled, "\(trouble.what), and no better after \(attempts) attempts so far")
            }
        }
        let (requests, retries) = tally.withLock { ($0.requests, $0.retries) }
        throw DrillError(
            .couldNotLook,
            "\(trouble.what), and no better after \(attempts) attempts; the run made \(requests) requests and \(retries) retries",
            hints: [
                trouble.attempts < settings.attemptsPerRequest
                    ? "Check the address: nothing has answered there."
                    : "The server or the way to it is failing or overloaded; drill again when it is not."
            ])
    }

    /// A metadata service answers at once, or this machine has none.
    private func isAbsent(_ request: HTTPRequest, _ failure: HTTPFailure) -> Bool {
        isLinkLocal(host: request.origin.host) && [.cannotConnect, .timedOut, .tooSlow].contains(failure.kind)
    }

    /// Seconds; 0 where the server does not say. (RFC 9110, section 10.2.3: a number of seconds or a date.)
    private func retryAfter(_ head: HTTPHead) -> Double {
        guard let text = head.value("retry-after") else { return 0 }
        if let seconds = Int(text) { return Double(max(0, seconds)) }
        let instant = curl_getdate(text, nil)
        return instant < 0 ? 0 : max(0, Double(instant) - clock.now().timeIntervalSince1970)
    }
}
