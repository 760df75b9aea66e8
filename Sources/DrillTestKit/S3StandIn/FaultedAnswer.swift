import Foundation

/// How the transport ends or hampers one response.
struct TransportFault: Sendable {
    enum Ending: Sendable { case close, reset, stall }

    /// After how many bytes of the response, and how.
    var ending: (afterBytes: Int, Ending)?
    /// The part of the body after which an orderly close comes.
    var cutBodyFraction: Double?
    var contentLengthChange = 0
    var bytesPerSecond: Int?
}

/// The faults that hit one request, sorted by when they act.
struct RequestFaults: Sendable {
    let faults: [S3Fault]

    var isEmpty: Bool { faults.isEmpty }

    var areMoreThanLatency: Bool { faults.contains { if case .latency = $0 { false } else { true } } }

    var latency: Duration {
        faults.reduce(.zero) { total, fault in
            if case .latency(let duration) = fault { total + duration } else { total }
        }
    }

    var before: [@Sendable () -> Void] {
        faults.compactMap { if case .before(let act) = $0 { act } else { nil } }
    }

    var after: [@Sendable () -> Void] {
        faults.compactMap { if case .after(let act) = $0 { act } else { nil } }
    }

    var listing: [S3Fault.Listing] {
        faults.compactMap { if case .listing(let fault) = $0 { fault } else { nil } }
    }

    var ignoresRange: Bool { faults.contains { if case .ignoredRange = $0 { true } else { false } } }

    var transport: TransportFault {
        var transport = TransportFault()
        for fault in faults {
            switch fault {
            case .cut(let count): transport.ending = (count, .close)
            case .reset(let count): transport.ending = (count, .reset)
            case .stall(let count): transport.ending = (count, .stall)
            case .cutBody(let fraction): transport.cutBodyFraction = fraction
            case .contentLength(let change): transport.contentLengthChange += change
            case .trickle(let rate): transport.bytesPerSecond = rate
            default: break
            }
        }
        return transport
    }

    /// The answer that stands in for the right one; `nil` when there is none.
    func substitute(requestID: String) -> StandInResponse? {
        for fault in faults {
            switch fault {
            case .error(let status, let code, let message):
                return S3Failure(status, code, message).response(requestID: requestID)
            case .errorIn200(let code):
                return .xml(S3Failure(200, code, "Please try again.").body(requestID: requestID))
            case .html(let status): return Self.html(status)
            case .redirect(let status, let location):
                var response = S3Failure(status, "TemporaryRedirect", "Please re-send this request elsewhere.")
                    .response(requestID: requestID)
                response.setHeader("Location", location)
                return response
            case .answer(let status, let headers, let body):
                return StandInResponse(status: status, headers: headers, body: .bytes(body))
            case .oversizedPage(let bytes): return Self.oversizedPage(bytes)
            default: break
            }
        }
        return nil
    }

    /// The right answer with its bytes or headers changed. Generated pages must be bytes already where `changesBody`.
    func altered(_ response: StandInResponse) -> StandInResponse {
        var response = response
        for fault in faults {
            switch fault {
            case .flippedBit(let bit): response.edit { Self.flipping(bit, of: $0) }
            case .bodyLength(let change): response.edit { Self.resized($0, by: change) }
            case .edited(let edit): response.edit(edit)
            case .withoutChecksums: response.headers.removeAll { $0.name.lowercased().hasPrefix("x-amz-checksum-") }
            case .header(let name, let value): response.setHeader(name, value)
            case .untilClose: response.framing = .untilClose
            case .contentLength: response.framing = .contentLength
            default: break
            }
        }
        return response
    }

    var changesBody: Bool {
        faults.contains { fault in
            switch fault {
            case .flippedBit, .bodyLength, .edited: true
            default: false
            }
        }
    }

    private static func flipping(_ bit: Int, of body: [UInt8]) -> [UInt8] {
        guard bit >= 0, body.indices.contains(bit / 8) else { return body }
        var body = body
        body[bit / 8] ^= 1 << UInt8(bit % 8)
        return body
    }

    private static func resized(_ body: [UInt8], by change: Int) -> [UInt8] {
        change < 0 ? [UInt8](body.dropLast(-change)) : body + [UInt8](repeating: 0, count: change)
    }

    private static func html(_ status: Int) -> StandInResponse {
        let page =
            "<!DOCTYPE html>\n<html><head><title>Welcome to nginx!</title></head><body></body></html>\n"
        return StandInResponse(
            status: status, headers: [("Content-Type", "text/html")], body: .bytes([UInt8](page.utf8)))
    }

    private static func oversizedPage(_ bytes: Int) -> StandInResponse {
        var head = XMLText(declaration: true)
        head.raw("<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>b</Name><Prefix></Prefix>")
        head.raw("<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>")
        let filler = [UInt8](repeating: UInt8(ascii: "a"), count: 1 << 16)
        return StandInResponse(
            headers: [("Content-Type", "application/xml")],
            body: .flood(head: head.bytes, filler: filler, totalBytes: max(bytes, head.bytes.count)))
    }
}

extension StandInResponse {
    fileprivate mutating func edit(_ change: ([UInt8]) -> [UInt8]) {
        guard case .bytes(let bytes) = body else { return }
        let changed = change(bytes)
        if let declaredLength { self.declaredLength = declaredLength + changed.count - bytes.count }
        body = .bytes(changed)
    }
}
