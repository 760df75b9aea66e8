import DrillTestKit
import Foundation
import Testing

/// A production on Amazon RDS as moto's control plane has it, and a server with TLS that answers in place of whatever is restored.
final class RDSWorkshop {
    let shop: Workshop
    let production: String
    let database: String
    private let endpoint: String
    private let port: String
    private let caFile: String
    private let server: String
    private let securityGroup: String
    private var proxy: Process?
    private var proxyEndpoint: String?

    static let password = #"app's: secret\"#

    init(_ kind: String = "instance", _ settings: [String] = []) throws {
        let environment = ProcessInfo.processInfo.environment
        endpoint = try #require(environment["MUSTER_TEST_RDS_ENDPOINT"])
        port = try #require(environment["MUSTER_TEST_RDS_PORT"])
        caFile = try #require(environment["MUSTER_TEST_RDS_CA_FILE"])
        server = try #require(environment["MUSTER_TEST_RDS_PG"])
        shop = try Workshop()
        let suffix = UUID().uuidString.prefix(8).lowercased()
        (production, database) = ("prod-\(suffix)", "e2e_\(suffix)")
        securityGroup = try Self.python(
            shop, ["rds_production.py", endpoint, kind, production, database] + settings)
        try sql("CREATE DATABASE \(database)", in: "postgres")
        try sql("CREATE TABLE public.log (id int PRIMARY KEY, at timestamptz DEFAULT now())")
        try sql("INSERT INTO public.log VALUES (1), (2), (3)")
        try shop.write(Self.password + "\n", to: "password")
        try drill(key: kind)
    }

    deinit {
        // A child of a test has SIGTERM blocked, as the thread had that started it.
        if let proxy { kill(proxy.processIdentifier, SIGKILL) }
        _ = try? sql("DROP DATABASE \(database) WITH (FORCE)", in: "postgres")
    }

    private static func python(_ shop: Workshop, _ words: [String]) throws -> String {
        let tools = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Tools")
        let python = ProcessInfo.processInfo.environment["MUSTER_TEST_PYTHON"] ?? "python3"
        let ran = try shop.run(
            ["/usr/bin/env", python, tools.appending(path: words[0]).path] + words.dropFirst())
        guard ran.status == 0 else { throw Workshop.Failure(text: "\(words[0]): \(ran.errors)") }
        return ran.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// In the server that stands in for instances.
    @discardableResult
    func sql(_ statement: String, in name: String? = nil) throws -> String {
        let place = server.replacingOccurrences(of: "dbname=postgres", with: "dbname=\(name ?? database)")
        let ran = try shop.run(
            ["/usr/bin/env", "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", place, "-c", statement])
        guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors) }
        return ran.output
    }

    /// - Parameters:
    ///   - more: Lines of `backup.database`.
    ///   - probes: Elements of the list.
    func drill(
        key: String = "instance", login: String = "password_file: password", ca: String? = nil, more: String = "",
        backup: String = "", top: String = "",
        probes: String =
            #"  - { name: rows, kind: sql, query: "select count(*) from public.log", expect: { equals: 3 } }"#
    ) throws {
        try shop.write(
            """
            drill: e2e
            \(top)
            backup:
              \(backup)
              database:
                kind: rds
                \(key): \(production)
                region: us-east-1
                endpoint: "\(proxyEndpoint ?? endpoint)"
                subnet_group: drill-\(production)
                security_groups: [\(securityGroup)]
                ca_file: "\(ca ?? caFile)"
                connect: { host: 127.0.0.1, port: \(port) }
                \(login)
                \(more)
            scratch: { directory: scratch }
            probes:
            \(probes)
            """, to: "drill.yaml")
    }

    /// Puts the script that plants faults between muster and moto, or gives it other rules.
    func plant(_ rules: [[String: Any]]) throws {
        try shop.write(try JSONSerialization.data(withJSONObject: rules), to: "faults/rules.json")
        guard proxy == nil else { return }
        let script = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "Tools/rds_faults.py").path
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            ProcessInfo.processInfo.environment["MUSTER_TEST_PYTHON"] ?? "python3", script, endpoint,
            shop.root + "/faults",
        ]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        proxy = process
        try shop.wait { shop.exists("faults/port") }
        let port = String(decoding: try shop.read("faults/port"), as: UTF8.self)
        proxyEndpoint = "http://127.0.0.1:\(port)"
        let text = String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
        try shop.write(text.replacingOccurrences(of: endpoint, with: "http://127.0.0.1:\(port)"), to: "drill.yaml")
    }

    /// Waits until a run has asked for its instance and polls for it.
    func waitUntilTheInstanceIsWaitedFor() throws {
        try shop.wait {
            let actions = try calls().map { $0["Action"] ?? "" }
            guard let made = actions.firstIndex(of: "RestoreDBInstanceToPointInTime") else { return false }
            return actions[made...].contains("DescribeDBInstances")
        }
    }

    /// The forms of all calls of that action that went through the proxy.
    func calls(_ action: String) throws -> [[String: String]] { try calls().filter { $0["Action"] == action } }

    private func calls() throws -> [[String: String]] {
        guard shop.exists("faults/calls") else { return [] }
        return try String(decoding: try shop.read("faults/calls"), as: UTF8.self).split(separator: "\n").compactMap {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: String]
        }
    }

    var variables: [String: String] {
        [
            "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": shop.root, "AWS_CONFIG_FILE": shop.root + "/none",
            "AWS_SHARED_CREDENTIALS_FILE": shop.root + "/none",
            "PGPASSFILE": shop.root + "/none",
        ]
    }

    func muster(_ arguments: [String]) throws -> Workshop.Ran { try shop.muster(arguments, variables: variables) }

    /// Instances and clusters of this workshop's runs that moto still has.
    func leftOnRDS() throws -> [String] {
        let runs = try shop.ledger("SELECT run_id FROM run")
        var left: [String] = []
        for kind in ["instance", "cluster"] {
            let found = try shop.run(
                [
                    "/usr/bin/env", "aws", "--endpoint-url", endpoint, "--region", "us-east-1", "rds",
                    "describe-db-\(kind)s", "--output", "text", "--query",
                    kind == "instance" ? "DBInstances[].DBInstanceIdentifier" : "DBClusters[].DBClusterIdentifier",
                ], variables: variables)
            guard found.status == 0 else { throw Workshop.Failure(text: found.errors) }
            let names = found.output.split(whereSeparator: \.isWhitespace).map(String.init)
            left += names.filter { name in runs.contains { name.hasPrefix("muster-\($0.lowercased())") } }
        }
        return left
    }
}
