import DrillCore
import Foundation

/// The nightly script of the sample application, in two flavours.
struct NightlyBackup: Sendable {
    let application: SampleApplication
    /// The folder that holds one folder a set.
    let sets: String

    /// A set begun at that instant: `%Y-%m-%d-%H-%M-%S` in UTC.
    static func name(_ date: Date) -> String {
        String(rfc3339(date).prefix(19).map { $0 == "T" || $0 == ":" ? "-" : $0 })
    }

    /// In a maintenance window: nobody writes while it runs.
    func sound(_ name: String) async throws {
        let folder = try makeSet(name)
        try await application.database.dump(to: "\(folder)/db_dump.sqlc")
        try await copy("avatars", into: folder)
        try await copy("documents", into: folder)
    }

    /// One after the other while people work: each step is fine, and together they are not.
    ///
    /// - Parameter traffic: What goes on meanwhile. The script goes on once the next step's mistake has happened for real.
    func careless(_ name: String, during traffic: Traffic) async throws {
        let folder = try makeSet(name)
        try await copy("avatars", into: folder)
        // Whoever signs up now has a row in the dump and no avatar in the copy.
        let signUps = traffic.signUps
        try await until { traffic.signUps >= signUps + 25 }
        try await application.database.dump(to: "\(folder)/db_dump.sqlc")
        // What is deleted now is named by the dump and no longer there to be copied.
        let deletions = traffic.deletions
        try await until { traffic.deletions >= deletions + 25 }
        try await copy("documents", into: folder)
    }

    private func until(_ condition: () -> Bool) async throws {
        while !condition() {
            try Task.checkCancellation()
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    private func makeSet(_ name: String) throws -> String {
        let folder = "\(sets)/\(name)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        return folder
    }

    /// What `aws s3 sync` does: lists, then copies one file after the other; what vanished in between is left out.
    private func copy(_ bucket: String, into folder: String) async throws {
        let source = "\(application.buckets)/\(bucket)"
        let target = "\(folder)/s3_files/\(bucket)"
        let files = FileManager.default
        try files.createDirectory(atPath: target, withIntermediateDirectories: true)
        let listing = try files.subpathsOfDirectory(atPath: source).sorted()
        for path in listing {
            var isDirectory: ObjCBool = false
            guard files.fileExists(atPath: "\(source)/\(path)", isDirectory: &isDirectory), !isDirectory.boolValue
            else { continue }
            guard let content = files.contents(atPath: "\(source)/\(path)") else { continue }
            let destination = "\(target)/\(path)"
            try files.createDirectory(
                atPath: (destination as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
            try content.write(to: URL(fileURLWithPath: destination))
        }
    }
}
