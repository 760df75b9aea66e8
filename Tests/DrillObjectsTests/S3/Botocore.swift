import Foundation
import Testing

/// python3 with botocore, run on a script of Tests/Tools.
enum Botocore {
    struct Failed: Error, CustomStringConvertible {
        var description: String
    }

    static let isPresent = (try? python(["-c", "import botocore"], input: "")) != nil

    static func run(_ script: String, input: String) throws -> String {
        let tools = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try python([tools.appending(path: "Tools/\(script)").path], input: input)
    }

    private static func python(_ arguments: [String], input: String) throws -> String {
        let folder = FileManager.default.temporaryDirectory.appending(path: "botocore-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let (inputFile, outputFile) = (folder.appending(path: "in"), folder.appending(path: "out"))
        try Data(input.utf8).write(to: inputFile)
        try Data().write(to: outputFile)
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["python3"] + arguments
        process.standardInput = try FileHandle(forReadingFrom: inputFile)
        process.standardOutput = try FileHandle(forWritingTo: outputFile)
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw Failed(description: "python3 ended with \(process.terminationStatus)")
        }
        return String(decoding: try Data(contentsOf: outputFile), as: UTF8.self)
    }
}

extension Trait where Self == ConditionTrait {
    /// Skips without python3 and botocore; but where `MUSTER_REQUIRE_SERVICES=1`, as in CI, it fails.
    static var needsBotocore: Self {
        .enabled("python3 has no botocore") {
            if Botocore.isPresent { return true }
            if ProcessInfo.processInfo.environment["MUSTER_REQUIRE_SERVICES"] == "1" {
                throw Botocore.Failed(description: "python3 has no botocore")
            }
            return false
        }
    }
}
