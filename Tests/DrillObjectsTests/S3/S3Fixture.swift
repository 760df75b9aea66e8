import DrillCore
import DrillHost
import DrillTestKit
import Foundation
import Logging

@testable import DrillObjects

/// A client's side of a test: our transport, credentials in variables, settings as a drill file gives them.
struct S3Fixture {
    static let accessKey = "AKIAIOSFODNN7EXAMPLE"
    static let secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

    let environment: DrillEnvironment
    let endpoint: String

    init(environment: DrillEnvironment, endpoint: String) {
        self.environment = environment
        self.endpoint = endpoint
    }

    init(endpoint: String, variables: [String: String]? = nil) throws {
        self.endpoint = endpoint
        var settings = RetryingTransport.Settings()
        settings.firstPause = .milliseconds(1)
        settings.longestPause = .milliseconds(20)
        settings.attemptsPerRequest = 6
        let clock = SystemClock()
        environment = DrillEnvironment(
            clock: clock, processes: FakeProcesses.none,
            http: RetryingTransport(
                try CurlTransport(), clock: clock, random: SystemRandomNumberGenerator(), settings: settings),
            sorters: MemorySorters(),
            variables: variables ?? [
                "AWS_ACCESS_KEY_ID": Self.accessKey, "AWS_SECRET_ACCESS_KEY": Self.secretKey, "HOME": "/nonexistent",
                "AWS_EC2_METADATA_DISABLED": "true",
            ],
            log: Logger(label: "test"), hostName: "here")
    }

    var context: PartContext {
        PartContext(
            environment: environment, drillFileDirectory: "/", hasSets: false,
            scratch: ScratchSettings(directory: "/nonexistent", keep: .never))
    }

    func reader(_ shape: SettingsShape, _ settings: [String: String]) throws -> SettingsReader {
        let pairs = settings.sorted { $0.key < $1.key }.map { name, value in
            (name: name, nameLine: 1, value: SettingsNode(.scalar(value, isPlain: true), line: 1))
        }
        return try SettingsReader(
            SettingsNode(.mapping(pairs), line: 1), shape: shape, path: "backup.objects[0]",
            source: DrillFileSource(path: "drill.yaml", directory: "/", variables: [:]), extraKeys: ["kind", "bucket"])
    }

    static let anySet = BackupSet(id: "set", time: nil, place: "here")

    func store(_ bucket: String, _ more: [String: String] = [:]) async throws -> any ObjectStore {
        let settings = try reader(S3Backup.shape, ["endpoint": endpoint].merging(more) { $1 })
        return try await S3Backup(bucket: bucket, settings, context).open(Self.anySet, recoveryPoint: nil, in: nil)
    }

    func versions(_ bucket: String, at instant: Date, _ more: [String: String] = [:]) async throws -> any ObjectStore {
        let settings = try reader(S3VersionsBackup.shape, ["endpoint": endpoint].merging(more) { $1 })
        return try await S3VersionsBackup(bucket: bucket, settings, context).open(
            Self.anySet, recoveryPoint: instant, in: nil)
    }
}

struct InventoryEntry {
    var state: EntryState
    var reading: ObjectReading
    var detail: EntryDetail?
}

/// A whole inventory by key; throws where it does not end as it should.
func inventory(
    _ store: any ObjectStore, _ request: InventoryRequest = InventoryRequest()
) async throws -> [ObjectKey: InventoryEntry] {
    let stream = try await store.inventory(request)
    var entries: [ObjectKey: InventoryEntry] = [:]
    while let batch = try await stream.next() {
        for index in 0..<batch.count {
            entries[ObjectKey(batch.keys[index])] = InventoryEntry(
                state: batch.state(index), reading: batch.reading(index), detail: batch.details[index])
        }
    }
    return entries
}
