import DrillTestKit
import Foundation
import Testing

/// A folder of its own for one end-to-end test: source data, backup sets, a drill file, reports; and the muster binary to run.
final class Workshop {
    let root: String
    private let server: [String: String]
    private var databases: [String] = []

    struct Ran {
        var status: Int32
        var output: String
        var errors: String
    }

    init() throws {
        root = FileManager.default.temporaryDirectory.path + "/muster-e2e-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
        // The scratch server's OS user passes through here.
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: root)
        try FileManager.default.createDirectory(atPath: root + "/scratch", withIntermediateDirectories: true)
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: root + "/scratch")
        let conninfo = ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? ""
        server = Dictionary(
            conninfo.split(separator: " ").compactMap { pair in
                let parts = pair.split(separator: "=", maxSplits: 1)
                return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
            }, uniquingKeysWith: { first, _ in first })
    }

    deinit {
        for database in databases {
            _ = try? shell(["psql", "-d", "postgres", "-c", "DROP DATABASE \(database) WITH (FORCE)"])
        }
        try? FileManager.default.removeItem(atPath: root)
    }

    /// What a killed or finished run must not leave: entries of the scratch folder.
    var leftInScratch: [String] {
        get throws { try FileManager.default.contentsOfDirectory(atPath: root + "/scratch") }
    }

    // MARK: Source data

    /// A new source database; statements run one by one.
    func database(_ statements: [String], options: String = "") throws -> String {
        let name = "e2e_\(UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: ""))"
        try psql("CREATE DATABASE \(name) \(options)", in: "postgres")
        databases.append(name)
        for statement in statements { try psql(statement, in: name) }
        return name
    }

    @discardableResult
    func psql(_ statement: String, in database: String) throws -> String {
        try shell(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement])
    }

    func dump(_ database: String, to path: String, _ options: [String] = ["-Fc"]) throws {
        try folder((path as NSString).deletingLastPathComponent)
        try shell(["pg_dump"] + options + ["-f", root + "/" + path, "-d", database])
    }

    /// Runs one of PostgreSQL's tools against the source server.
    @discardableResult
    func shell(_ words: [String]) throws -> String {
        var environment = ProcessInfo.processInfo.environment
        for (keyword, variable) in [("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER")] {
            environment[variable] = server[keyword]
        }
        let ran = try start(["/usr/bin/env"] + words, environment: environment, in: root)
        guard ran.status == 0 else { throw Failure(text: "\(words.prefix(2)): \(ran.errors)") }
        return ran.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    struct Failure: Error, CustomStringConvertible {
        var text: String
        var description: String { text }
    }

    // MARK: Files

    func folder(_ path: String) throws {
        try FileManager.default.createDirectory(atPath: root + "/" + path, withIntermediateDirectories: true)
    }

    func write(_ text: String, to path: String) throws { try write(Data(text.utf8), to: path) }
    func write(_ data: Data, to path: String) throws {
        try folder((path as NSString).deletingLastPathComponent)
        try data.write(to: URL(fileURLWithPath: root + "/" + path))
    }
    func read(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: root + "/" + path)) }
    func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: root + "/" + path) }
    func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: root + "/" + path) }

    // MARK: Drills

    /// A drill of sets below `sets/`, with one bucket `uploads`, and these probes (YAML list elements).
    func drill(_ probes: String, backup: String = "", top: String = "", scratch: String = "") throws {
        try write(
            """
            drill: e2e
            \(top)
            backup:
              sets: sets
              named: "%Y-%m-%d"
              \(backup)
              database: { kind: pg_dump, path: db_dump.sqlc }
              objects: [ { bucket: uploads, kind: directory, path: s3_files } ]
            scratch: { directory: scratch\(scratch) }
            probes:
            \(probes)
            """, to: "drill.yaml")
        try folder("sets")
    }

    static let files = "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads }\n"

    /// A set with a dump of `database` and an object for each key.
    func set(_ name: String, database: String, keys: [String], content: String = "content") throws {
        try dump(database, to: "sets/\(name)/db_dump.sqlc")
        try folder("sets/\(name)/s3_files")
        for key in keys { try write(content, to: "sets/\(name)/s3_files/\(key)") }
    }

    /// Rows whose keys are these, as table `public.files (id, key)`.
    func filesDatabase(_ keys: [String], more: [String] = []) throws -> String {
        let values = keys.map { "('\($0.replacingOccurrences(of: "'", with: "''"))')" }.joined(separator: ",")
        let insert = keys.isEmpty ? [] : ["INSERT INTO files (key) VALUES \(values)"]
        return try database(
            ["CREATE TABLE files (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text)"] + insert + more)
    }

    // MARK: Muster

    static var binary: String { ProcessInfo.processInfo.environment["MUSTER_BINARY"] ?? "" }

    func muster(_ arguments: [String], variables: [String: String] = [:]) throws -> Ran {
        try start([Self.binary] + arguments, environment: environment(variables), in: root)
    }

    /// Runs any program in the workshop.
    func run(_ words: [String], variables: [String: String] = [:]) throws -> Ran {
        try start(words, environment: environment(variables), in: root)
    }

    func environment(_ variables: [String: String]) -> [String: String] {
        var environment = ProcessInfo.processInfo.environment
        environment.merge(variables) { _, new in new }
        return environment
    }

    /// Starts muster and returns the process, for tests that send signals. Output goes to files.
    func launch(_ arguments: [String], variables: [String: String] = [:]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.binary)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: root)
        process.environment = environment(variables)
        for stream in ["launched.out", "launched.err"] { try write("", to: stream) }
        process.standardOutput = FileHandle(forWritingAtPath: root + "/launched.out")
        process.standardError = FileHandle(forWritingAtPath: root + "/launched.err")
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }

    /// Rows of the ledger, columns joined by `|`.
    func ledger(_ sql: String) throws -> [String] {
        let ran = try start(
            ["/usr/bin/env", "sqlite3", "-readonly", root + "/reports/ledger.sqlite", sql],
            environment: environment([:]),
            in: root)
        guard ran.status == 0 else { throw Failure(text: ran.errors) }
        return ran.output.split(separator: "\n").map(String.init)
    }

    /// Output goes to files and not to pipes: a pipe that nobody reads would stop the child.
    private func start(_ words: [String], environment: [String: String], in directory: String) throws -> Ran {
        let out = root + "/.out-\(UUID().uuidString)", err = root + "/.err-\(UUID().uuidString)"
        for path in [out, err] { try Data().write(to: URL(fileURLWithPath: path)) }
        defer {
            for path in [out, err] { try? FileManager.default.removeItem(atPath: path) }
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: words[0])
        process.arguments = Array(words.dropFirst())
        process.environment = environment
        process.currentDirectoryURL = URL(fileURLWithPath: directory)
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: out)
        process.standardError = FileHandle(forWritingAtPath: err)
        try process.run()
        process.waitUntilExit()
        let status = process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
        func text(_ path: String) throws -> String {
            String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
        }
        return Ran(status: status, output: try text(out), errors: try text(err))
    }

    /// Waits until a condition holds, for at most that long.
    func wait(seconds: Double = 60, until condition: () throws -> Bool) throws {
        let end = Date() + seconds
        while try !condition() {
            guard Date() < end else { throw Failure(text: "the condition did not come true in \(seconds) s") }
            // Between two looks; the condition decides, not the time.
            Thread.sleep(forTimeInterval: 0.02)
        }
    }
}
