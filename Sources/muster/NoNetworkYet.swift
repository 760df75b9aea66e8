import DrillCore

struct NoNetworkYet: HTTPTransport {
    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        throw HTTPFailure(.cannotConnect, "no network in this build", isTransient: false)
    }
    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse { try await send(request) }
}
