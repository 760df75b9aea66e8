import CLibCurl
import DrillCore
import Foundation
import Synchronization

/// HTTP over libcurl: one thread moves all transfers by curl's multi interface and keeps their connections alive.
package final class CurlTransport: HTTPTransport {
    package struct Settings: Sendable {
        /// Transfers above this many wait for a connection.
        package var maxConnections = 128
        package var connectTimeout = Duration.seconds(15)
        /// A transfer slower than this over `lowSpeedTime` is ended (X7).
        package var lowSpeedBytesPerSecond = 256
        package var lowSpeedTime = Duration.seconds(30)
        /// All lines of a response's head together.
        package var headLimitBytes = 256 << 10
        /// `http://host:port`, taken from the drill file or the command line, never from the environment (S33); never
        /// used for link-local addresses.
        package var proxy: String?
        package init() {}
    }

    /// What went over the wire since the start.
    package struct Counters: Sendable, Hashable {
        package var requests = 0
        /// Of bodies, as received.
        package var bodyBytesReceived = 0
        package var connectionsMade = 0
    }

    private let settings: Settings
    private let loop: CurlLoop

    package init(settings: Settings = Settings()) throws {
        self.settings = settings
        loop = try CurlLoop(maxConnections: settings.maxConnections)
    }

    /// Ends all transfers that are under way.
    deinit { loop.stop() }

    package var counters: Counters { loop.counters }

    package func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        try await perform(request, receive: nil)
    }

    package func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        try await perform(request, receive: receive)
    }

    private func perform(
        _ request: HTTPRequest, receive: (@Sendable (UnsafeRawBufferPointer) throws -> Void)?
    ) async throws -> HTTPResponse {
        try Task.checkCancellation()
        let url = try request.checkedURL()
        let ticket = TransferTicket()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                loop.add(
                    PendingTransfer(
                        request: request, url: url, settings: settings, receive: receive, ticket: ticket,
                        continuation: continuation))
            }
        } onCancel: {
            loop.cancel(ticket)
        }
    }
}

/// Names one transfer across threads, and whether its task gave it up.
final class TransferTicket: Sendable {
    private let cancelled = Atomic(false)
    var isCancelled: Bool { cancelled.load(ordering: .acquiring) }
    func cancel() { cancelled.store(true, ordering: .releasing) }
}

/// A transfer on its way to the thread.
struct PendingTransfer: Sendable {
    var request: HTTPRequest
    var url: String
    var settings: CurlTransport.Settings
    var receive: (@Sendable (UnsafeRawBufferPointer) throws -> Void)?
    var ticket: TransferTicket
    var continuation: CheckedContinuation<HTTPResponse, any Error>
}

extension HTTPRequest {
    /// The address to send to, once everything in it is known to be harmless in a request head.
    func checkedURL() throws(HTTPFailure) -> String {
        func refuse(_ what: String) -> HTTPFailure { HTTPFailure(.refusedTarget, what, isTransient: false) }
        let host = origin.host.utf8
        let isHost = host.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte | 0x20) || byte == UInt8(ascii: "-")
                || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ":")
                || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "]")
        }
        guard !host.isEmpty, isHost else { throw refuse("\"\(origin.host)\" is not the name of a host") }
        let isTarget = target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") }
        guard target.hasPrefix("/"), isTarget else { throw refuse("the target for \(origin) is not percent-encoded") }
        for (name, value) in headers {
            let isName = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ":") }
            let isValue = value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }
            guard !name.isEmpty, isName, isValue else {
                throw refuse("the header \"\(name)\" for \(origin) holds bytes that no header may")
            }
        }
        let port = origin.port.map { ":\($0)" } ?? ""
        let isBareIPv6 = origin.host.contains(":") && !origin.host.hasPrefix("[")
        let bracketed = isBareIPv6 ? "[\(origin.host)]" : origin.host
        return "\(origin.isSecure ? "https" : "http")://\(bracketed)\(port)\(target)"
    }

    /// Method and address without the query, which may hold a signature (X2).
    var summary: String { "\(method.rawValue) \(origin)\(target.prefix { $0 != "?" })" }
}
