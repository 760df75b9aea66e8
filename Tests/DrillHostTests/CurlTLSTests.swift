import DrillCore
import Foundation
import Testing

@testable import DrillHost

@Suite(.serialized) struct CurlTLSTests {
    @Test("X8: a certificate that nobody vouches for is refused, and so is one for another name")
    func certificatesAreVerified() async throws {
        let directory = try temporaryDirectory()
        let processes = HostProcesses(variables: ProcessInfo.processInfo.environment)
        var make = Command(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                "key.pem",
                "-out", "certificate.pem", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
            ])
        make.workingDirectory = directory
        let made = try await processes.run(make)
        try #require(made.succeeded, "\(made.errorText)")
        try Data("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok".utf8)
            .write(to: URL(fileURLWithPath: directory + "/answer"))
        var serve = Command(
            "openssl", ["s_server", "-accept", "127.0.0.1:0", "-key", "key.pem", "-cert", "certificate.pem", "-HTTP"])
        serve.workingDirectory = directory
        let server = try await processes.start(serve)
        defer { server.send(signal: SIGKILL) }
        // It prints the port that it got: ACCEPT 127.0.0.1:40123
        let announcement = #/ACCEPT [^\n]*:(\d+)\n/#
        func announced() -> Int? {
            String(decoding: server.recentOutput(), as: UTF8.self).firstMatch(of: announcement).flatMap { Int($0.1) }
        }
        try await eventually { announced() != nil }
        let port = try #require(announced())

        let transport = try CurlTransport()
        func ask(_ host: String, _ trust: HTTPTrust) async -> Result<HTTPResponse, any Error> {
            var request = HTTPRequest(.get, HTTPOrigin(isSecure: true, host: host, port: port), "/answer")
            request.trust = trust
            return await Result { try await transport.send(request) }
        }
        func kind(_ result: Result<HTTPResponse, any Error>) -> HTTPFailure.Kind? {
            guard case .failure(let error as HTTPFailure) = result, !error.isTransient else { return nil }
            return error.kind
        }
        let vouched = HTTPTrust(caFile: directory + "/certificate.pem")
        #expect(await kind(ask("127.0.0.1", HTTPTrust())) == .tls)
        #expect(try await ask("127.0.0.1", vouched).get().body == Array("ok".utf8))
        // A connection that was trusted once serves no request with another trust.
        #expect(await kind(ask("127.0.0.1", HTTPTrust())) == .tls)
        #expect(await kind(ask("localhost", vouched)) == .tls)
        #expect(try await ask("localhost", HTTPTrust(verifiesPeer: false)).get().status == 200)
        #expect(await kind(ask("127.0.0.1", HTTPTrust(caFile: directory + "/absent.pem"))) == .tls)
    }
}

extension Result where Failure == any Error {
    init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
