import DrillTestKit
import Foundation
import Testing

/// How a drill comes to its credentials and to its bucket, from the command line.
@Suite("S3: credentials and addresses, from the command line", .needs(.postgres))
struct S3AccessTests {
    private let standIn: S3StandIn
    private static let secret = "canary-of-the-secret-key"
    private static let objects = "{ bucket: uploads, kind: s3 }"

    init() throws {
        standIn = try S3StandIn()
        standIn.accept(StandInCredential(accessKey: "ACCESS", secret: Self.secret))
        for key in ["a", "b"] { standIn.bucket("uploads").put(key.utf8) }
    }

    /// Runs the drill with nothing but these variables beside the endpoint.
    private func run(_ shop: Workshop, _ variables: [String: String]) throws -> Workshop.Ran {
        let own = [
            "AWS_ENDPOINT_URL_S3": standIn.endpoint, "AWS_EC2_METADATA_DISABLED": "true", "HOME": shop.root,
            "AWS_CONFIG_FILE": shop.root + "/config", "AWS_SHARED_CREDENTIALS_FILE": shop.root + "/credentials",
        ]
        let ran = try shop.muster(["run", "drill.yaml"], variables: own.merging(variables) { $1 })
        #expect(!ran.errors.contains(Self.secret) && !ran.output.contains(Self.secret))
        return ran
    }

    @Test("S32: a credential process is run again where S3 says ExpiredToken, once") func credentialProcess() throws {
        let shop = try Workshop()
        try shop.bucketDrill(try shop.filesDatabase(["a", "b"]), objects: Self.objects)
        try shop.write(
            """
            #!/bin/sh
            echo run >> "\(shop.root)/runs"
            echo '{ "Version": 1, "AccessKeyId": "ACCESS", "SecretAccessKey": "\(Self.secret)" }'
            """, to: "process.sh")
        try shop.write("[profile drill]\ncredential_process = /bin/sh \(shop.root)/process.sh\n", to: "config")
        standIn.inject(.error(status: 400, code: "ExpiredToken"), into: .listings.number(2))
        let ran = try run(shop, ["AWS_PROFILE": "drill"])
        #expect(ran.status == 0, "\(ran.errors)")
        standIn.clearFaults()
        let before = String(decoding: try shop.read("runs"), as: UTF8.self).split(separator: "\n").count
        #expect(before >= 2)

        standIn.inject(.error(status: 400, code: "ExpiredToken"), into: .listings)
        let forEver = try run(shop, ["AWS_PROFILE": "drill"])
        #expect(forEver.status == 2, "\(forEver.errors)")
        #expect(forEver.errors.contains("s3:ListBucket"), "\(forEver.errors)")

        try shop.write("#!/bin/sh\necho '\(Self.secret)'; echo '\(Self.secret)' >&2; exit 3\n", to: "process.sh")
        let failing = try run(shop, ["AWS_PROFILE": "drill"])
        #expect(failing.status == 2, "\(failing.errors)")
        #expect(failing.errors.contains("credential_process"), "\(failing.errors)")
    }

    @Test("S32: a container's endpoint hands credentials out") func container() throws {
        let shop = try Workshop()
        try shop.bucketDrill(try shop.filesDatabase(["a", "b"]), objects: Self.objects)
        standIn.accept(StandInCredential(accessKey: "ROLE", secret: Self.secret, sessionToken: "session"))
        let agent = try S3StandIn()
        agent.bucket("v2").put(
            "credentials".utf8,
            body: "{ \"AccessKeyId\": \"ROLE\", \"SecretAccessKey\": \"\(Self.secret)\", \"Token\": \"session\" }".utf8)
        let ran = try run(shop, ["AWS_CONTAINER_CREDENTIALS_FULL_URI": "\(agent.endpoint)/v2/credentials"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(agent.counts.total > 0)
    }

    @Test("wrong and missing credentials name what must be granted, and where they came from") func wrong() throws {
        let shop = try Workshop()
        try shop.bucketDrill(try shop.filesDatabase(["a", "b"]), objects: Self.objects)
        let wrong = try run(shop, ["AWS_ACCESS_KEY_ID": "ACCESS", "AWS_SECRET_ACCESS_KEY": "another"])
        #expect(wrong.status == 2, "\(wrong.errors)")
        for words in ["SignatureDoesNotMatch", "s3:ListBucket", "the environment (AWS_ACCESS_KEY_ID)"] {
            #expect(wrong.errors.contains(words), "\(wrong.errors)")
        }
        let missing = try run(shop, [:])
        #expect(missing.status == 2, "\(missing.errors)")
        for words in ["no AWS credentials were found", "s3:ListBucketVersions", "kms:Decrypt"] {
            #expect(missing.errors.contains(words), "\(missing.errors)")
        }
        let profile = try run(shop, ["AWS_PROFILE": "nobody"])
        #expect(profile.status == 2, "\(profile.errors)")
        #expect(
            profile.errors.contains("profile \"nobody\"") && profile.errors.contains("s3:ListBucket"),
            "\(profile.errors)")
    }

    @Test("virtual-host style, and a region that the bucket tells", arguments: ["us-east-1", "eu-central-1"])
    func virtualHost(region: String) throws {
        let shop = try Workshop()
        for key in ["a", "b"] { standIn.bucket("hosted", region: region).put(key.utf8) }
        let endpoint = "http://s3.localhost:\(standIn.port)"
        try shop.bucketDrill(
            try shop.filesDatabase(["a", "b"]),
            objects: "{ bucket: hosted, kind: s3, endpoint: \"\(endpoint)\", path_style: false, region: us-east-1 }",
            probes:
                "  - { name: files, kind: references, table: public.files, key: key, bucket: hosted, content: all }\n")
        let ran = try run(shop, ["AWS_ACCESS_KEY_ID": "ACCESS", "AWS_SECRET_ACCESS_KEY": Self.secret])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(standIn.requests.allSatisfy { !$0.line.contains("/hosted") && $0.bucket == "hosted" })
    }

    @Test("an address where nothing answers is told within seconds, not at the deadline") func nobodyThere() throws {
        let shop = try Workshop()
        let gone = try S3StandIn()
        let endpoint = gone.endpoint
        gone.stop()
        try shop.bucketDrill(
            try shop.filesDatabase(["a"]), objects: "{ bucket: uploads, kind: s3, endpoint: \"\(endpoint)\" }",
            top: "deadline: 10m")
        let began = ContinuousClock.now
        let ran = try run(shop, ["AWS_ACCESS_KEY_ID": "ACCESS", "AWS_SECRET_ACCESS_KEY": Self.secret])
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("Check the address: nothing has answered there."), "\(ran.errors)")
        #expect(began.duration(to: .now) < .seconds(60))
    }

    @Test("what the drill file gets wrong is refused with its line, before anything is asked") func badSettings() throws
    {
        let shop = try Workshop()
        let database = try shop.filesDatabase(["a"])
        for (settings, words) in [
            ("ca_file: nowhere.pem", "ca_file"), ("endpoint: \"ftp://x\"", "is no address"),
            ("region: \"us east\"", "is no region"),
            ("url: \"https://x/y\"", "s3://bucket/prefix"), ("listing: perhaps", "listing"),
            ("concurrency: 0", "concurrency"),
            ("url: \"s3://express--use1-az4--x-s3\"", "directory bucket"), ("secret_access_key: x", "unknown key"),
        ] {
            try shop.bucketDrill(database, objects: "{ bucket: uploads, kind: s3, \(settings) }")
            let ran = try run(shop, [:])
            #expect(ran.status == 64, "\(settings): \(ran.errors)")
            #expect(ran.errors.contains("drill.yaml:") && ran.errors.contains(words), "\(settings): \(ran.errors)")
        }
        #expect(standIn.counts.total == 0)
    }
}
