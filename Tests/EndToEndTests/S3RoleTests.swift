import DrillTestKit
import Foundation
import Testing

/// Credentials of roles, from services that hand them out: moto's STS, and an instance's metadata service as botocore knows it.
@Suite("S3: credentials of roles, from the command line", .needs(.postgres), .needs(.rds))
struct S3RoleTests {
    private let shop: Workshop
    private let standIn: S3StandIn
    private let tokenService: String
    private static let secret = "canary-of-the-secret-key"

    init() throws {
        shop = try Workshop()
        standIn = try S3StandIn()
        for key in ["a", "b"] { standIn.bucket("uploads").put(key.utf8) }
        tokenService = try #require(ProcessInfo.processInfo.environment["MUSTER_TEST_RDS_ENDPOINT"])
        try shop.bucketDrill(
            try shop.filesDatabase(["a", "b"]),
            objects: "{ bucket: uploads, kind: s3, endpoint: \"\(standIn.endpoint)\" }")
    }

    private func run(_ variables: [String: String]) throws -> Workshop.Ran {
        let own = [
            "AWS_ENDPOINT_URL_STS": tokenService, "AWS_EC2_METADATA_DISABLED": "true", "HOME": shop.root,
            "AWS_CONFIG_FILE": shop.root + "/config", "AWS_SHARED_CREDENTIALS_FILE": shop.root + "/credentials",
        ]
        let ran = try shop.muster(["run", "drill.yaml"], variables: own.merging(variables) { $1 })
        #expect(!ran.errors.contains(Self.secret) && !ran.output.contains(Self.secret))
        return ran
    }

    /// The access keys that requests to the bucket were signed with; each must have brought its session along.
    private func accessKeys() throws -> Set<String> {
        Set(
            try standIn.requests.map { request in
                #expect(request.headers["x-amz-security-token"]?.isEmpty == false)
                let words = try #require(request.headers["authorization"])
                let credential = try #require(words.split(separator: "Credential=").last)
                return String(credential.prefix { $0 != "/" })
            })
    }

    private func asked(_ words: [String]) throws -> String {
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Tools/caller.py").path
        let python = ProcessInfo.processInfo.environment["MUSTER_TEST_PYTHON"] ?? "python3"
        let ran = try shop.run(["/usr/bin/env", python, script] + words)
        guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors) }
        return ran.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// All requests were made by the session of that name, as the token service knows it.
    private func expectCallers(_ name: String) throws {
        let keys = try accessKeys()
        #expect(!keys.isEmpty)
        for key in keys { #expect(try asked(["sts", tokenService, key]) == name) }
    }

    @Test("S32: a profile's role is assumed with the keys of its source") func assumedRole() throws {
        try shop.write(
            """
            [profile drill]
            role_arn = arn:aws:iam::123456789012:role/reader
            role_session_name = nightly
            external_id = an id
            source_profile = base

            """, to: "config")
        try shop.write(
            "[base]\naws_access_key_id = BASE\naws_secret_access_key = \(Self.secret)\n", to: "credentials")
        let ran = try run(["AWS_PROFILE": "drill"])
        #expect(ran.status == 0, "\(ran.errors)")
        try expectCallers("arn:aws:sts::123456789012:assumed-role/reader/nightly")
    }

    @Test("S32: a web identity token is traded for a role's credentials") func webIdentity() throws {
        try shop.write("a.web.token\n", to: "token")
        let ran = try run([
            "AWS_WEB_IDENTITY_TOKEN_FILE": shop.root + "/token", "AWS_ROLE_SESSION_NAME": "pod",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pods",
        ])
        #expect(ran.status == 0, "\(ran.errors)")
        try expectCallers("arn:aws:sts::123456789012:assumed-role/pods/pod")

        try shop.remove("token")
        let without = try run([
            "AWS_WEB_IDENTITY_TOKEN_FILE": shop.root + "/token",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/pods",
        ])
        #expect(without.status == 2)
        #expect(without.errors.contains("the web identity token file is not there"), "\(without.errors)")
    }

    @Test("S32: an instance's metadata service hands credentials out for a session of its second version")
    func instanceMetadata() throws {
        standIn.accept(StandInCredential(accessKey: "INSTANCE", secret: Self.secret, sessionToken: "session"))
        try shop.write("", to: "metadata/requests")
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Tools/metadata_service.py").path
        let service = Process()
        service.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        service.arguments = [
            ProcessInfo.processInfo.environment["MUSTER_TEST_PYTHON"] ?? "python3", script, shop.root + "/metadata",
            "INSTANCE", Self.secret, "session",
        ]
        service.standardInput = FileHandle.nullDevice
        try service.run()
        // A child of a test has SIGTERM blocked, as the thread had that started it.
        defer { kill(service.processIdentifier, SIGKILL) }
        try shop.wait { shop.exists("metadata/port") }
        let endpoint = "http://127.0.0.1:" + String(decoding: try shop.read("metadata/port"), as: UTF8.self)
        #expect(try asked(["metadata", endpoint]) == "INSTANCE", "what another client gets there")
        let asked = String(decoding: try shop.read("metadata/requests"), as: UTF8.self)

        let variables = [
            "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": endpoint,
        ]
        let ran = try run(variables)
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try accessKeys() == ["INSTANCE"])
        let all = String(decoding: try shop.read("metadata/requests"), as: UTF8.self)
        let own = all.dropFirst(asked.count).split(separator: "\n")
        #expect(own.first == "200 PUT /latest/api/token")
        #expect(own.allSatisfy { $0.hasPrefix("200 ") }, "\(own)")

        let switchedOff = try run(variables.merging(["AWS_EC2_METADATA_DISABLED": "true"]) { $1 })
        #expect(switchedOff.status == 2)
        #expect(switchedOff.errors.contains("no AWS credentials were found"), "\(switchedOff.errors)")
    }
}
