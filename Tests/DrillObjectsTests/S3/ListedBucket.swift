import DrillCore
import Foundation
import Synchronization

@testable import DrillObjects

/// Answers listings from keys in memory, with a short delay and no network: for the listing's own logic. What it
/// answers may be spoilt.
final class ListedBucket: HTTPTransport {
    typealias Spoil = @Sendable (_ number: Int, _ request: HTTPRequest, _ body: String) async throws -> HTTPResponse?

    let keys: [[UInt8]]
    private let entries: [String]
    private let spoil: Spoil
    private let state = Mutex((requests: 0, inFlight: 0, mostInFlight: 0))

    init(_ keys: [[UInt8]], spoil: @escaping Spoil = { _, _, _ in nil }) {
        self.keys = keys.sorted { $0.lexicographicallyPrecedes($1) }
        entries = self.keys.map { key in
            "<Contents><Key>\(Self.encoded(key))</Key><LastModified>2026-11-14T14:30:05.000Z</LastModified>"
                + "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>\(key.count)</Size></Contents>"
        }
        self.spoil = spoil
    }

    var requests: Int { state.withLock { $0.requests } }
    var mostInFlight: Int { state.withLock { $0.mostInFlight } }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        let number = state.withLock { state in
            state.requests += 1
            state.inFlight += 1
            state.mostInFlight = max(state.mostInFlight, state.inFlight)
            return state.requests
        }
        defer { state.withLock { $0.inFlight -= 1 } }
        try await Task.sleep(for: .milliseconds(10))
        let body = page(request)
        return try await spoil(number, request, body) ?? Self.answer(body)
    }

    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        let response = try await send(request)
        try response.body.withUnsafeBytes { try receive($0) }
        return response
    }

    static func answer(_ body: String, status: Int = 200, headers: [(name: String, value: String)] = []) -> HTTPResponse
    {
        HTTPResponse(
            head: HTTPHead(status: status, headers: headers + [("x-amz-request-id", "1")]), body: Array(body.utf8))
    }

    private func page(_ request: HTTPRequest) -> String {
        let query = Self.query(request.target)
        let prefix = query["prefix"] ?? []
        let maximum = Int(String(decoding: query["max-keys"] ?? [], as: UTF8.self)) ?? 1000
        let after = query["continuation-token"] ?? query["start-after"]
        var start = 0
        if let after {
            var low = 0, high = keys.count
            while low < high {
                let middle = (low + high) / 2
                if after.lexicographicallyPrecedes(keys[middle]) { high = middle } else { low = middle + 1 }
            }
            start = low
        }
        let candidates =
            prefix.isEmpty ? keys.indices[start..<min(keys.count, start + maximum + 1)] : keys.indices[start...]
        let matching = candidates.filter { keys[$0].starts(with: prefix) }
        let listed = matching.prefix(maximum)
        let isTruncated = matching.count > maximum
        var text = "<ListBucketResult><KeyCount>\(listed.count)</KeyCount><EncodingType>url</EncodingType>"
        text += "<IsTruncated>\(isTruncated)</IsTruncated>"
        if isTruncated, let last = listed.last {
            text += "<NextContinuationToken>\(Self.encoded(keys[last]))</NextContinuationToken>"
        }
        return text + listed.map { entries[$0] }.joined() + "</ListBucketResult>"
    }

    private static func encoded(_ key: [UInt8]) -> String {
        var bytes: [UInt8] = []
        URLEncoding.appendPath(key, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    static func query(_ target: String) -> [String: [UInt8]] {
        var result: [String: [UInt8]] = [:]
        for pair in target.drop(while: { $0 != "?" }).dropFirst().split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1)
            var bytes: [UInt8] = []
            var rest = Array((parts.count > 1 ? String(parts[1]) : "").utf8)[...]
            while let byte = rest.popFirst() {
                if byte == UInt8(ascii: "%"), let high = rest.popFirst().flatMap(URLEncoding.digit),
                    let low = rest.popFirst().flatMap(URLEncoding.digit)
                {
                    bytes.append(high << 4 | low)
                } else {
                    bytes.append(byte)
                }
            }
            // Tokens are keys, encoded once more.
            result[String(parts[0])] =
                parts[0] == "continuation-token"
                ? Self.query("?a=" + String(decoding: bytes, as: UTF8.self))["a"] : bytes
        }
        return result
    }
}

/// A clock that stands still and never waits.
struct StoppedClock: DrillClock {
    var instant = Date(timeIntervalSince1970: 1_794_666_605)
    func now() -> Date { instant }
    func monotonicSeconds() -> Double { 0 }
    func sleep(for duration: Duration) async throws {}
}

struct FixedCredentials: CredentialSource {
    func current() async throws -> AWSCredentials {
        AWSCredentials(
            accessKeyID: "AKIAIOSFODNN7EXAMPLE", secretAccessKey: Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            source: "a test")
    }
    func refresh(after refused: AWSCredentials) async throws {}
}
