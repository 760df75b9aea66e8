import DrillCore
import Foundation
import Synchronization
import Testing

@testable import DrillHost

/// Time that passes only while somebody sleeps.
private final class SleepingClock: DrillClock {
    private let seconds = Mutex(1000.0)
    let slept = Mutex<[Double]>([])
    func now() -> Date { Date(timeIntervalSince1970: monotonicSeconds()) }
    func monotonicSeconds() -> Double { seconds.withLock { $0 } }
    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        seconds.withLock { $0 += duration.seconds }
        slept.withLock { $0.append(duration.seconds) }
        await Task.yield()
    }
}

/// Answers by a script: the number of the request decides.
private final class ScriptedTransport: HTTPTransport {
    private let script: @Sendable (Int) throws -> HTTPResponse
    private let state = Mutex((sent: 0, inFlight: 0, most: 0))
    init(_ script: @escaping @Sendable (Int) throws -> HTTPResponse) { self.script = script }
    var sent: Int { state.withLock { $0.sent } }
    var mostInFlight: Int { state.withLock { $0.most } }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let number = state.withLock { state in
            state.sent += 1
            state.inFlight += 1
            state.most = max(state.most, state.inFlight)
            return state.sent
        }
        await Task.yield()
        state.withLock { $0.inFlight -= 1 }
        return try script(number)
    }

    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        let response = try await send(request)
        if response.status == 200 { try response.body.withUnsafeBytes(receive) }
        if response.head.value("cut") != nil { throw HTTPFailure(.cutShort, "cut short", isTransient: true) }
        return response
    }
}

private struct Seeded: RandomNumberGenerator, Sendable {
    var state: UInt64 = 42
    mutating func next() -> UInt64 {  // SplitMix64
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

@Suite struct RetryingTransportTests {
    private let clock = SleepingClock()
    private let request = HTTPRequest(
        .get, HTTPOrigin(isSecure: true, host: "s3.example"), "/key?X-Amz-Signature=secret")

    private static func answer(_ status: Int, _ headers: [(String, String)] = [], body: String = "") -> HTTPResponse {
        HTTPResponse(head: HTTPHead(status: status, headers: headers.map { ($0.0, $0.1) }), body: Array(body.utf8))
    }

    private func retrying(
        _ transport: ScriptedTransport, _ change: (inout RetryingTransport.Settings) -> Void = { _ in }
    ) -> RetryingTransport {
        var settings = RetryingTransport.Settings()
        change(&settings)
        return RetryingTransport(transport, clock: clock, random: Seeded(), settings: settings)
    }

    @Test("S31: what may pass is asked for again", arguments: [429, 500, 502, 503, 504, 0])
    func transientTroubleIsRetried(_ status: Int) async throws {
        let transport = ScriptedTransport { number in
            if number > 3 { return Self.answer(200) }
            if status == 0 { throw HTTPFailure(.reset, "reset", isTransient: true) }
            return Self.answer(status)
        }
        let retrying = retrying(transport)
        #expect(try await retrying.send(request).status == 200)
        #expect(retrying.counters == .init(requests: 1, retries: 3))
        #expect(clock.slept.withLock { $0.count } == 3)
    }

    @Test(arguments: [200, 206, 301, 304, 400, 403, 404, 412, 501])
    func otherStatusesAreAnswers(_ status: Int) async throws {
        let transport = ScriptedTransport { _ in Self.answer(status) }
        #expect(try await retrying(transport).send(request).status == status)
        #expect(transport.sent == 1)
    }

    @Test func lastingFailuresAreNotRetried() async throws {
        let transport = ScriptedTransport { _ in throw HTTPFailure(.tls, "self-signed", isTransient: false) }
        await #expect(throws: HTTPFailure.self) { try await retrying(transport).send(request) }
        #expect(transport.sent == 1)
        let silent = ScriptedTransport { _ in throw HTTPFailure(.cannotConnect, "nobody there", isTransient: true) }
        let metadata = HTTPRequest(.get, HTTPOrigin(isSecure: false, host: "169.254.169.254"), "/")
        await #expect(throws: HTTPFailure.self) { try await retrying(silent).send(metadata) }
        #expect(silent.sent == 1)
    }

    @Test("S31: 503 for ever ends as inconclusive, with counts and without secrets")
    func endlessOverloadIsInconclusive() async throws {
        let transport = ScriptedTransport { _ in Self.answer(503) }
        let retrying = retrying(transport)
        await #expect { try await retrying.send(request) } throws: { error in
            (error as? DrillError)?.code == .couldNotLook
                && "\(error)".hasPrefix(
                    "GET https://s3.example/key: status 503, and no better after 12 attempts; "
                        + "the run made 1 requests and 11 retries\n")
        }
        #expect(transport.sent == 12)
        #expect(clock.monotonicSeconds() < 1000 + 12 * 20)
    }

    @Test("S31: one budget for the whole run")
    func theBudgetIsShared() async throws {
        let transport = ScriptedTransport { number in Self.answer(number % 2 == 1 ? 500 : 200) }
        let retrying = retrying(transport) { ($0.retryAllowance, $0.retryShare) = (5, 0.1) }
        for _ in 0..<5 { _ = try await retrying.send(request) }
        await #expect(throws: DrillError.self) { try await retrying.send(request) }
        #expect(retrying.counters == .init(requests: 6, retries: 5))
    }

    @Test("S31: 30 % of 503 for a minute, then none: all is answered")
    func aBadMinuteIsSurvived() async throws {
        let transport = ScriptedTransport { [clock] number in
            Self.answer(clock.monotonicSeconds() < 1060 && number % 10 < 3 ? 503 : 200)
        }
        let retrying = retrying(transport)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<10_000 {
                group.addTask { [request] in _ = try await retrying.send(request) }
            }
            try await group.waitForAll()
        }
        #expect(retrying.counters.requests == 10_000)
        #expect(retrying.counters.retries < 1500)
    }

    @Test("5 % of 503 cost at most 15 % more requests and leave a good part of the concurrency")
    func aFewErrorsCostLittle() async throws {
        let transport = ScriptedTransport { number in Self.answer(number % 20 == 7 ? 503 : 200) }
        let retrying = retrying(transport) { $0.maxInFlight = 32 }
        let sumOfLimits = try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<32 {
                group.addTask { [request] in
                    var sum = 0
                    for _ in 0..<60 {
                        _ = try await retrying.send(request)
                        sum += retrying.concurrency
                    }
                    return sum
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(transport.sent <= 1920 * 115 / 100)
        #expect(sumOfLimits / 1920 >= 12)
    }

    @Test("S31: concurrency halves under overload and recovers")
    func concurrencyFollowsTheServer() async throws {
        let transport = ScriptedTransport { number in Self.answer(number <= 4 ? 503 : 200) }
        let retrying = retrying(transport) { $0.maxInFlight = 16 }
        _ = try await retrying.send(request)
        #expect(retrying.concurrency == 1)
        for _ in 0..<8 { _ = try await retrying.send(request) }
        #expect(retrying.concurrency == 5)
        for _ in 0..<100 { _ = try await retrying.send(request) }
        #expect(retrying.concurrency == 16)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<200 { group.addTask { [request] in _ = try await retrying.send(request) } }
            try await group.waitForAll()
        }
        #expect(transport.mostInFlight <= 16)
    }

    @Test func overloadInTheBodyCountsAsOverload() async throws {
        let transport = ScriptedTransport { number in Self.answer(200, body: number == 1 ? "SlowDown" : "fine") }
        var request = request
        request.isOverload = { $0.body == Array("SlowDown".utf8) }
        let retrying = retrying(transport)
        #expect(try await retrying.send(request).body == Array("fine".utf8))
        #expect(retrying.concurrency == 32)  // of 64
    }

    @Test func retryAfterIsHonoured() async throws {
        let date = "Thu, 01 Jan 1970 00:20:00 GMT"
        for (value, seconds) in [("7", 7.0), (date, 200.0), ("-5", 0.0), ("soon", 0.0)] {
            let clock = SleepingClock()
            let transport = ScriptedTransport { number in
                number == 1 ? Self.answer(503, [("retry-after", value)]) : Self.answer(200)
            }
            let retrying = RetryingTransport(transport, clock: clock, random: Seeded())
            _ = try await retrying.send(request)
            let slept = clock.slept.withLock { $0[0] }
            #expect(slept >= seconds && slept <= seconds + 0.2, "\(value)")
        }
        let patient = ScriptedTransport { _ in Self.answer(503, [("retry-after", "100000")]) }
        await #expect(throws: DrillError.self) { try await retrying(patient).send(request) }
        #expect(patient.sent == 1)
    }

    @Test func pausesAreFullJitterAndRepeatable() async throws {
        func pauses() async throws -> [Double] {
            let clock = SleepingClock()
            let transport = ScriptedTransport { number in Self.answer(number < 10 ? 500 : 200) }
            _ = try await RetryingTransport(transport, clock: clock, random: Seeded()).send(request)
            return clock.slept.withLock { $0 }
        }
        let first = try await pauses()
        let second = try await pauses()
        #expect(second == first)
        for (index, pause) in first.enumerated() { #expect(pause <= 0.05 * exp2(Double(index))) }
    }

    @Test func aStreamIsNotStartedAgainOnceBytesWereHandedOn() async throws {
        let transport = ScriptedTransport { number in
            number < 3 ? Self.answer(503) : Self.answer(200, [("cut", "yes")], body: "half")
        }
        let seen = Mutex<[UInt8]>([])
        await #expect(throws: HTTPFailure.self) {
            try await retrying(transport).stream(request) { bytes in seen.withLock { $0 += bytes } }
        }
        #expect(transport.sent == 3)
        #expect(seen.withLock { $0 } == Array("half".utf8))
    }

    @Test(.timeLimit(.minutes(1))) func cancellationFreesThoseWhoWait() async throws {
        let gate = ConcurrencyGate(maximum: 1)
        try await gate.enter()
        let waiting = Task { try await gate.enter() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
        let next = Task { try await gate.enter() }
        gate.leave()
        try await next.value
        gate.leave()
        try await gate.enter()
    }
}
