import DrillCore
import Foundation
import Synchronization

/// Sends signed requests to one bucket.
///
/// What a client learns on the way it keeps: the bucket's region, and how far the server's clock is from ours.
/// Transient failures are the transport's to repeat; here a request is repeated only where it must be signed anew.
final class S3Client: Sendable {
    private struct Learnt: Sendable {
        var address: S3Address
        var regionWasCorrected = false
        /// Server minus ours, seconds; applied to signatures only once a server refused ours.
        var signingOffset: Double = 0
        /// Server minus ours at the first answer, seconds; the `Date` header has whole seconds.
        var measuredSkew: Double?
        var usage: [String: Int64] = [:]
    }

    private let transport: any HTTPTransport
    private let clock: any DrillClock
    private let credentials: any CredentialSource
    private let traffic: TrafficMeter
    private let signer = RequestSigner()
    private let learnt: Mutex<Learnt>

    init(
        _ address: S3Address, transport: any HTTPTransport, clock: any DrillClock, credentials: any CredentialSource,
        traffic: TrafficMeter = TrafficMeter()
    ) {
        self.transport = transport
        self.clock = clock
        self.credentials = credentials
        self.traffic = traffic
        learnt = Mutex(Learnt(address: address))
    }

    var address: S3Address { learnt.withLock { $0.address } }
    /// Requests by operation, and `bytes` received in bodies.
    var usage: [String: Int64] { learnt.withLock { $0.usage } }
    /// Seconds by which the server's clock is ahead of ours; nil before the first answer.
    var measuredSkew: Double? { learnt.withLock { $0.measuredSkew } }

    /// What a failed request means, with where the credentials came from.
    func described(_ error: any Error, at place: String) async -> DrillError {
        DrillError(s3: error, at: place, credentials: await credentials.source)
    }

    func now() -> Date { clock.now() }
    func sleep(for duration: Duration) async throws { try await clock.sleep(for: duration) }

    /// The answer, if it is 200 or 206. Throws ``S3ServiceError`` for any other, ``HTTPFailure`` for none.
    func send(_ call: S3Call) async throws -> HTTPResponse {
        try await perform(call) { [transport] request in try await transport.send(request) }
    }

    /// As ``send(_:)``, with the body handed on as it comes. A repeated request starts before any byte was handed on.
    func stream(
        _ call: S3Call, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        try await perform(call) { [transport, self] request in
            try await transport.stream(request) { bytes in
                self.learnt.withLock { $0.usage["bytes", default: 0] += Int64(bytes.count) }
                try self.traffic.received(Int64(bytes.count))
                try receive(bytes)
            }
        }
    }

    private func perform(
        _ call: S3Call, _ exchange: (HTTPRequest) async throws -> HTTPResponse
    ) async throws -> HTTPResponse {
        if let scratch = call.scratch, !scratch.isIn(address) {
            throw DrillError(
                .couldNotLook, "only \(scratch.place) is written to, and this is bucket \(address.bucket)",
                at: scratch.place)
        }
        var mayRefresh = true, mayCorrectClock = true, mayCorrectRegion = true
        while true {
            let keys = try await credentials.current()
            try traffic.admit(call.operation.request)
            try traffic.sent(Int64(call.body.count))
            let response = try await exchange(signed(call, keys))
            note(call, response)
            try traffic.received(Int64(response.body.count))
            // 204 is the answer to a deletion.
            if [200, 206].contains(response.status) || (call.scratch != nil && response.status == 204) {
                return response
            }
            let error = S3ServiceError(call.operation, response)
            if mayRefresh, Self.meansExpired(error, keys) {
                mayRefresh = false
                try await credentials.refresh(after: keys)
            } else if mayCorrectClock, correctClock(error) {
                mayCorrectClock = false
            } else if mayCorrectRegion, correctRegion(error, response) {
                mayCorrectRegion = false
            } else {
                throw error
            }
        }
    }

    private func signed(_ call: S3Call, _ keys: AWSCredentials) -> HTTPRequest {
        let (address, offset) = learnt.withLock { ($0.address, $0.signingOffset) }
        var request = HTTPRequest(call.method, address.origin, address.target(key: call.key, query: call.query))
        request.headers = call.headers
        request.body = call.body
        request.timeout = call.timeout
        request.expectedBodyBytes = call.expectedBodyBytes
        request.trust = address.trust
        request.isOverload = { response in
            response.body.count < 4096 && ["SlowDown", "ServiceUnavailable"].contains(S3ErrorBody(response.body)?.code)
        }
        // Compressed bytes would be neither the length nor the content that is asked about (S28).
        request.headers.append(("accept-encoding", "identity"))
        if address.requesterPays { request.headers.append(("x-amz-request-payer", "requester")) }
        let seconds = clock.now().timeIntervalSince1970 + offset
        signer.sign(&request, credentials: keys, region: address.region, seconds: Int64(seconds.rounded(.down)))
        return request
    }

    private func note(_ call: S3Call, _ response: HTTPResponse) {
        let now = clock.now().timeIntervalSince1970
        let serverTime = response.head.value("date").flatMap(Timestamps.httpDateSeconds)
        learnt.withLock { learnt in
            learnt.usage[call.operation.rawValue, default: 0] += 1
            learnt.usage["bytes", default: 0] += Int64(response.body.count)
            // The header is cut to the second: half of one is the best guess.
            if learnt.measuredSkew == nil, let serverTime { learnt.measuredSkew = Double(serverTime) + 0.5 - now }
        }
    }

    /// A HEAD has no body to say so: 400 with a session token is how an expired one shows there (S32).
    private static func meansExpired(_ error: S3ServiceError, _ keys: AWSCredentials) -> Bool {
        if let code = error.code {
            return ["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"].contains(code)
        }
        return error.status == 400 && keys.sessionToken != nil
    }

    /// Learns the server's clock where a signature was too old or too new for it.
    private func correctClock(_ error: S3ServiceError) -> Bool {
        guard error.code == "RequestTimeTooSkewed" || (error.status == 403 && error.code == nil),
            let serverTime = error.headers.value("date").flatMap(Timestamps.httpDateSeconds)
        else { return false }
        let offset = Double(serverTime) + 0.5 - clock.now().timeIntervalSince1970
        return learnt.withLock { learnt in
            // A bare 403 has other reasons too; the clocks are one only where S3's own limit of 15 minutes is near.
            guard abs(offset - learnt.signingOffset) > (error.code == nil ? 840 : 1) else { return false }
            learnt.signingOffset = offset
            return true
        }
    }

    /// Takes the region that S3 says the bucket is in, once. The host is never taken from an answer: Amazon's is made
    /// from the region, any other endpoint stays as it is (S34).
    private func correctRegion(_ error: S3ServiceError, _ response: HTTPResponse) -> Bool {
        guard [301, 307, 308, 400, 403].contains(error.status),
            let region = error.headers.value("x-amz-bucket-region") ?? S3ErrorBody(response.body)?.region,
            S3Address.isRegionName(region)
        else { return false }
        return learnt.withLock { learnt in
            // Another request may have learnt it in the meantime: then this one only has to be signed again.
            if learnt.regionWasCorrected { return region == learnt.address.region && error.status != 403 }
            guard region != learnt.address.region else { return false }
            learnt.address.region = region
            learnt.regionWasCorrected = true
            return true
        }
    }
}

/// Where credentials come from.
protocol CredentialSource: Sendable {
    /// Keys that hold for some minutes more. Throws `DrillError` (`couldNotLook`) where there are none.
    func current() async throws -> AWSCredentials
    /// Gets new ones, unless that was done since these were handed out.
    func refresh(after refused: AWSCredentials) async throws
    /// Where they were found, for a person; nil before anything was.
    var source: String? { get async }
}

extension CredentialSource {
    var source: String? { nil }
}
