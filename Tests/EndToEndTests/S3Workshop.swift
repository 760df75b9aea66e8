import Foundation
import Testing

/// Where buckets of a test are: the real gateway, or a stand-in in this process.
struct S3Service {
    var endpoint: String
    var accessKey: String
    var secretKey: String

    /// The gateway that the environment names.
    static func gateway() throws -> S3Service {
        let environment = ProcessInfo.processInfo.environment
        return S3Service(
            endpoint: try #require(environment["MUSTER_TEST_S3_ENDPOINT"]),
            accessKey: try #require(environment["MUSTER_TEST_S3_ACCESS_KEY"]),
            secretKey: try #require(environment["MUSTER_TEST_S3_SECRET_KEY"]))
    }

    /// As all AWS tools read it; nothing of the machine's own settings remains.
    func variables(home: String) -> [String: String] {
        [
            "AWS_ENDPOINT_URL_S3": endpoint, "AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secretKey,
            "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "HOME": home,
            "AWS_CONFIG_FILE": home + "/no-config", "AWS_SHARED_CREDENTIALS_FILE": home + "/no-credentials",
        ]
    }
}

/// One thing that an application does to a bucket.
struct S3Step {
    var words: [String: Any]

    static func bucket(_ bucket: String) -> S3Step { S3Step(words: ["do": "bucket", "bucket": bucket]) }
    static func versioning(_ bucket: String, _ status: String) -> S3Step {
        S3Step(words: ["do": "versioning", "bucket": bucket, "status": status])
    }
    static func put(_ bucket: String, _ key: String, _ body: String = "content") -> S3Step {
        S3Step(words: ["do": "put", "bucket": bucket, "key": hexadecimal(key), "body": body])
    }
    static func delete(_ bucket: String, _ key: String) -> S3Step {
        S3Step(words: ["do": "delete", "bucket": bucket, "key": hexadecimal(key)])
    }
    static func upload(_ file: String, _ bucket: String, _ key: String) -> S3Step {
        S3Step(words: ["do": "upload", "bucket": bucket, "key": hexadecimal(key), "file": file])
    }
    /// Lets the gateway's other user do exactly these.
    static func grant(_ bucket: String, _ actions: [String]) -> S3Step {
        let statement: [String: Any] = [
            "Effect": "Allow", "Principal": ["AWS": ["arn:aws:iam:::user/other"]], "Action": actions,
            "Resource": ["arn:aws:s3:::\(bucket)", "arn:aws:s3:::\(bucket)/*"],
        ]
        return S3Step(
            words: ["do": "policy", "bucket": bucket, "policy": ["Version": "2012-10-17", "Statement": [statement]]])
    }
}

func hexadecimal(_ text: String) -> String {
    text.utf8.map { String(UInt16($0) + 256, radix: 16).dropFirst() }.joined()
}

extension Workshop {
    static func bucketName() -> String { "e2e-" + UUID().uuidString.lowercased() }

    /// Runs the steps by boto3.
    @discardableResult
    func play(_ steps: [S3Step], on service: S3Service) throws -> String {
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Tools/s3_script.py").path
        try write(try JSONSerialization.data(withJSONObject: steps.map(\.words)), to: "steps.json")
        let python = ProcessInfo.processInfo.environment["MUSTER_TEST_PYTHON"] ?? "python3"
        let ran = try run(
            ["/usr/bin/env", "sh", "-c", "exec '\(python)' '\(script)' < steps.json"],
            variables: service.variables(home: root))
        guard ran.status == 0 else { throw Failure(text: "boto3: \(ran.errors)") }
        return ran.output
    }

    /// Everything in the bucket below that prefix as boto3 sees it, a line each: versions, delete markers and uploads.
    func listing(of bucket: String, prefix: String = "", on service: S3Service) throws -> [String] {
        try play([S3Step(words: ["do": "list", "bucket": bucket, "prefix": prefix])], on: service)
            .split(separator: "\n").map(String.init)
    }

    func muster(_ arguments: [String], on service: S3Service, _ more: [String: String] = [:]) throws -> Ran {
        try muster(arguments, variables: service.variables(home: root).merging(more) { $1 })
    }

    /// Rows whose keys are these, by their bytes.
    func hostileDatabase(_ keys: [String]) throws -> String {
        let values = keys.map { "(convert_from('\\x\(hexadecimal($0))', 'UTF8'))" }.joined(separator: ",")
        return try database([
            "CREATE TABLE files (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text)",
            "INSERT INTO files (key) VALUES \(values)",
        ])
    }

    /// A drill of a database that is there already, which is quick, and objects of these settings.
    func bucketDrill(
        _ database: String, objects: String, probes: String = Workshop.files, top: String = "", scratch: String = "",
        backup: String = ""
    ) throws {
        let server = (ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? "")
            .replacingOccurrences(of: "dbname=postgres", with: "dbname=\(database)")
        try write(
            """
            drill: e2e
            \(top)
            backup:
              \(backup)
              database: { kind: restored, server: "\(server)" }
              objects: [ \(objects) ]
            scratch: { directory: scratch\(scratch) }
            probes:
            \(probes)
            """, to: "drill.yaml")
    }

    /// A drill of the set `sets/2026-01-02` restored into a database of the test's server, and objects of these settings.
    func dumpDrill(
        _ database: String, objects: String, probes: String = Workshop.files, scratch: String = "", top: String = ""
    ) throws {
        try dump(database, to: "sets/2026-01-02/db_dump.sqlc")
        let server = ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? ""
        try write(
            """
            drill: e2e
            \(top)
            backup:
              sets: sets
              named: "%Y-%m-%d"
              database: { kind: pg_dump, path: db_dump.sqlc }
              objects: [ \(objects) ]
            scratch: { directory: scratch, database: { kind: database, server: "\(server)" }\(scratch) }
            probes:
            \(probes)
            """, to: "drill.yaml")
    }

    /// Findings as `kind|cause|key`, by key.
    func findings(probe: String = "files") throws -> [String] {
        try ledger("SELECT kind, cause, object_key_text FROM finding WHERE probe = '\(probe)' ORDER BY object_key")
    }
}
