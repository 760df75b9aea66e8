/// One request that the stand-in got, and what became of it.
package struct RecordedRequest: Sendable {
    package let operation: S3Operation
    /// The request line as sent, such as `GET /b/a%20b?versionId=x HTTP/1.1`.
    package let line: String
    /// Names in lower case.
    package let headers: [String: String]
    package let bucket: String?
    package let key: [UInt8]
    /// Counted from 1; requests with the same number came over one connection.
    package let connection: Int
    /// 0 until something was answered.
    package var status = 0
    /// Status line and headers included; 0 until the answer is out. The range to sweep a cut over.
    package var responseBytes = 0
    /// How many of them come before the body.
    package var headBytes = 0
}

/// What was asked so far.
package struct RequestCounts: Sendable {
    package fileprivate(set) var total = 0
    package fileprivate(set) var byOperation: [S3Operation: Int] = [:]
    package fileprivate(set) var byStatus: [Int: Int] = [:]
    package fileprivate(set) var inFlight = 0
    package fileprivate(set) var mostInFlight = 0
    package fileprivate(set) var connections = 0
    package fileprivate(set) var bytesSent = 0
    /// Listings that did not go on where another page had ended.
    package fileprivate(set) var listingsBegun = 0
    /// Requests that a fault hit.
    package fileprivate(set) var faulted = 0

    package func of(_ operation: S3Operation) -> Int { byOperation[operation, default: 0] }
}

struct RequestLog: Sendable {
    private(set) var counts = RequestCounts()
    private(set) var requests: [RecordedRequest] = []

    mutating func connected() -> Int {
        counts.connections += 1
        return counts.connections
    }

    /// - Returns: Where the request is in the record; `nil` when requests are only counted.
    mutating func began(_ request: StandInRequest, connection: Int, isFaulted: Bool, recorded: Bool) -> Int? {
        counts.byOperation[request.operation, default: 0] += 1
        counts.total += 1
        counts.inFlight += 1
        counts.mostInFlight = max(counts.mostInFlight, counts.inFlight)
        if isFaulted { counts.faulted += 1 }
        let goesOn = ["continuation-token", "version-id-marker"].contains { request.queryValue($0) != nil }
        if S3Operation.listings.contains(request.operation), !goesOn { counts.listingsBegun += 1 }
        guard recorded else { return nil }
        requests.append(
            RecordedRequest(
                operation: request.operation, line: request.line,
                headers: Dictionary(request.headers.map { ($0.name, $0.value) }) { $0 + "," + $1 },
                bucket: request.bucket, key: request.key, connection: connection))
        return requests.count - 1
    }

    mutating func ended(_ index: Int?, status: Int, headBytes: Int, sentBytes: Int) {
        counts.inFlight -= 1
        counts.byStatus[status, default: 0] += 1
        counts.bytesSent += sentBytes
        guard let index, requests.indices.contains(index) else { return }
        requests[index].status = status
        requests[index].headBytes = headBytes
        requests[index].responseBytes = sentBytes
    }

    /// Forgets requests that are answered; what is under way stays counted as in flight.
    mutating func clear() {
        let inFlight = counts.inFlight
        requests = []
        counts = RequestCounts()
        counts.inFlight = inFlight
    }
}
