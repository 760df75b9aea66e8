import DrillCore
import DrillTestKit
import Foundation
import Logging
import Synchronization
import Testing

@testable import DrillObjects

/// Answers by a script; what it does not foresee is refused as a network without a way out would.
private final class ScriptedHTTP: HTTPTransport {
    private let answer: @Sendable (HTTPRequest) -> HTTPResponse?
    private let asked = Mutex<[String]>([])

    init(_ answer: @escaping @Sendable (HTTPRequest) -> HTTPResponse?) { self.answer = answer }

    var requests: [String] { asked.withLock { $0 } }

    func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        asked.withLock { $0.append("\(request.method.rawValue) \(request.origin)\(request.target)") }
        guard let response = answer(request) else {
            throw HTTPFailure(.cannotConnect, "no way to \(request.origin)", isTransient: false)
        }
        return response
    }

    func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse { try await send(request) }
}

@Suite struct CredentialChainTests {
    private let instant = Date(timeIntervalSince1970: 1_794_666_605)

    private func environment(
        _ variables: [String: String], clock: any DrillClock = StoppedClock(), _ http: any HTTPTransport,
        _ processes: FakeProcesses = .none
    ) -> DrillEnvironment {
        DrillEnvironment(
            clock: clock, processes: processes, http: http, sorters: MemorySorters(), variables: variables,
            log: Logger(label: "test"), hostName: "here")
    }

    private func chain(
        _ variables: [String: String], profile: String? = nil, _ http: any HTTPTransport = ScriptedHTTP { _ in nil },
        _ processes: FakeProcesses = .none
    ) -> CredentialChain {
        CredentialChain(environment: environment(variables, http, processes), profile: profile, region: "eu-central-1")
    }

    /// A home directory with AWS files, removed at the end.
    private func withHome(
        config: String = "", credentials: String = "", _ body: (String) async throws -> Void
    ) async throws {
        let home = FileManager.default.temporaryDirectory.appending(path: "home-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: home.appending(path: ".aws"), withIntermediateDirectories: true)
        try Data(config.utf8).write(to: home.appending(path: ".aws/config"))
        try Data(credentials.utf8).write(to: home.appending(path: ".aws/credentials"))
        do {
            try await body(home.path)
        } catch {
            try FileManager.default.removeItem(at: home)
            throw error
        }
        try FileManager.default.removeItem(at: home)
    }

    private static func roleAnswer(_ action: String, _ id: String) -> HTTPResponse {
        ListedBucket.answer(
            "<\(action)Response><\(action)Result><Credentials><AccessKeyId>\(id)</AccessKeyId>"
                + "<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"
                + "<Expiration>2026-11-14T15:30:05Z</Expiration></Credentials></\(action)Result></\(action)Response>")
    }

    @Test("The environment comes first; a profile named in the drill file comes before it")
    func order() async throws {
        try await withHome(
            credentials:
                "[default]\naws_access_key_id=D\naws_secret_access_key=d\n[b]\naws_access_key_id = B\naws_secret_access_key = b\n"
        ) { (home: String) async throws -> Void in
            let variables = ["AWS_ACCESS_KEY_ID": "E", "AWS_SECRET_ACCESS_KEY": "e", "HOME": home]
            #expect(try await chain(variables).current().accessKeyID == "E")
            #expect(try await chain(variables, profile: "b").current().accessKeyID == "B")
            #expect(try await chain(["HOME": home]).current().accessKeyID == "D")
            #expect(try await chain(["HOME": home, "AWS_PROFILE": "b"]).current().accessKeyID == "B")
            let error = await #expect(throws: DrillError.self) { try await chain(variables, profile: "none").current() }
            #expect(error?.what == "there are no credentials in profile \"none\"")
        }
    }

    @Test("Without any, the message says where it looked and what to grant")
    func none() async {
        let variables = ["HOME": "/nonexistent", "AWS_EC2_METADATA_DISABLED": "true"]
        let error = await #expect(throws: DrillError.self) { try await chain(variables).current() }
        #expect(error?.code == .couldNotLook && error?.what == "no AWS credentials were found")
        #expect(error?.description.contains("/nonexistent/.aws/config and /nonexistent/.aws/credentials") == true)
        #expect(error?.description.contains("s3:ListBucketVersions") == true)
    }

    @Test("S32: a role is assumed from a source profile, signed for STS, and a circle is refused")
    func roles() async throws {
        let config = """
            [profile drill]
            role_arn = arn:aws:iam::1:role/drill
            source_profile = base
            external_id = x y
            [profile one]
            role_arn = arn:aws:iam::1:role/one
            source_profile = two
            [profile two]
            role_arn = arn:aws:iam::1:role/two
            source_profile = one
            """
        try await withHome(config: config, credentials: "[base]\naws_access_key_id=B\naws_secret_access_key=b\n") {
            home in
            let seen = Mutex<HTTPRequest?>(nil)
            let http = ScriptedHTTP { request in
                seen.withLock { $0 = request }
                return Self.roleAnswer("AssumeRole", "R")
            }
            let keys = try await chain(["HOME": home], profile: "drill", http).current()
            #expect(keys.accessKeyID == "R" && keys.sessionToken?.reveal() == "t" && keys.expiresAt == 1_794_670_205)
            let request = try #require(seen.withLock { $0 })
            #expect(http.requests == ["POST https://sts.eu-central-1.amazonaws.com/"])
            #expect(String(decoding: request.body, as: UTF8.self).hasSuffix("RoleSessionName=muster&ExternalId=x%20y"))
            #expect(
                request.headers.contains {
                    $0.name == "authorization" && $0.value.contains("/eu-central-1/sts/aws4_request")
                })
            let error = await #expect(throws: DrillError.self) {
                try await chain(["HOME": home], profile: "one").current()
            }
            #expect(error?.what == "profile \"one\" assumes roles in a circle: one, two, one")
        }
    }

    @Test("S32: the web identity token is read anew each time, and refreshed five minutes before the end")
    func webIdentity() async throws {
        try await withHome { (home: String) async throws -> Void in
            let file = home + "/token"
            try Data("first\n".utf8).write(to: URL(filePath: file))
            let bodies = Mutex<[String]>([])
            let http = ScriptedHTTP { request in
                let count = bodies.withLock { bodies in
                    bodies.append(String(decoding: request.body, as: UTF8.self))
                    return bodies.count
                }
                return Self.roleAnswer("AssumeRoleWithWebIdentity", "W\(count)")
            }
            let clock = FakeClock(instant)
            let chain = CredentialChain(
                environment: environment(
                    ["HOME": home, "AWS_WEB_IDENTITY_TOKEN_FILE": file, "AWS_ROLE_ARN": "arn"], clock: clock, http),
                profile: nil, region: "r")
            #expect(try await chain.current().accessKeyID == "W1")
            #expect(try await chain.current().accessKeyID == "W1")
            try Data("second".utf8).write(to: URL(filePath: file))
            clock.advance(by: .seconds(3600 - 299))
            #expect(try await chain.current().accessKeyID == "W2")
            let tokens = bodies.withLock { $0.compactMap { $0.split(separator: "=").last.map(String.init) } }
            #expect(tokens == ["first", "second"])
            // Whoever was refused with older keys finds that it was done.
            try await chain.refresh(
                after: AWSCredentials(accessKeyID: "W1", secretAccessKey: Secret("s"), source: "a test"))
            #expect(try await chain.current().accessKeyID == "W2")
        }
    }

    @Test("A credential process is run without a shell, and what it prints is never repeated")
    func process() async throws {
        try await withHome(config: "[default]\ncredential_process = /opt/get \"a b\" 'c'\n") {
            (home: String) async throws -> Void in
            let processes = FakeProcesses { command in
                #expect(command.executable == "/opt/get" && command.arguments == ["a b", "c"])
                let output = #"{"Version": 1, "AccessKeyId": "P", "SecretAccessKey": "p", "SessionToken": "t"}"#
                return CommandResult(executable: "/opt/get", ending: .exited(0), output: Array(output.utf8), errors: [])
            }
            #expect(try await chain(["HOME": home], ScriptedHTTP { _ in nil }, processes).current().accessKeyID == "P")
            let broken = FakeProcesses { _ in
                CommandResult(
                    executable: "/opt/get", ending: .exited(0), output: Array("canary-secret".utf8), errors: [])
            }
            let error = await #expect(throws: DrillError.self) {
                try await chain(["HOME": home], ScriptedHTTP { _ in nil }, broken).current()
            }
            #expect(error.map { !"\($0)".contains("canary") } == true)
        }
    }

    @Test("S32, S33: the container's agent is asked only where it may be, with its token")
    func containers() async throws {
        let answer = ListedBucket.answer(
            #"{"AccessKeyId": "C", "SecretAccessKey": "c", "Token": "t", "Expiration": "2026-11-14T15:30:05Z"}"#)
        let http = ScriptedHTTP { request in
            request.headers.contains { $0.name == "authorization" && $0.value == "tok" } ? answer : nil
        }
        let token = ["HOME": "/nonexistent", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "tok"]
        func with(_ uri: String) -> [String: String] {
            token.merging(["AWS_CONTAINER_CREDENTIALS_FULL_URI": uri]) { $1 }
        }
        #expect(try await chain(with("http://169.254.170.23/v1/credentials"), http).current().accessKeyID == "C")
        #expect(try await chain(with("http://[fd00:ec2::23]/v1/credentials"), http).current().accessKeyID == "C")
        #expect(http.requests.first == "GET http://169.254.170.23/v1/credentials")
        for uri in ["http://evil.example/creds", "http://127.0.0.1.evil.example/", "ftp://127.0.0.1/"] {
            let silent = ScriptedHTTP { _ in answer }
            await #expect(throws: DrillError.self) { try await chain(with(uri), silent).current() }
            #expect(silent.requests.isEmpty)
        }
    }

    @Test("Instance metadata is asked by version 2 alone")
    func instances() async throws {
        let http = ScriptedHTTP { request in
            switch (request.method, request.target) {
            case (.put, "/latest/api/token"): ListedBucket.answer("session")
            case (.get, "/latest/meta-data/iam/security-credentials/"): ListedBucket.answer("role\n")
            case (.get, "/latest/meta-data/iam/security-credentials/role"):
                request.headers.contains { $0.name == "x-aws-ec2-metadata-token" && $0.value == "session" }
                    ? ListedBucket.answer(
                        #"{"Code": "Success", "AccessKeyId": "I", "SecretAccessKey": "i", "Token": "t"}"#) : nil
            default: nil
            }
        }
        #expect(try await chain(["HOME": "/nonexistent"], http).current().accessKeyID == "I")
        #expect(http.requests.first == "PUT http://169.254.169.254/latest/api/token")
        #expect(http.requests.allSatisfy { $0.contains("http://169.254.169.254/") })
    }
}
