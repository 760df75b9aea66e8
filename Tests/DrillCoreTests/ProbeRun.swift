import DrillCore
import DrillTestKit
import Foundation
import Testing

/// What one run of a references probe over rows and objects in memory came to.
struct ProbeRun {
    var outcome: ProbeOutcome
    var findings: [Finding]

    /// - Parameter settings: YAML of the probe beside its name and kind.
    static func references(
        _ settings: String, rows: [String: [ScriptedDatabase.Row]], stores: [MemoryStore], recoveryPoint: Date? = nil,
        others: [(name: String, settings: String)] = [], older: [OlderCopy] = [], failsAfter: Int? = nil
    ) async throws -> ProbeRun {
        let context = ProbeContext(
            drillFileDirectory: "/", buckets: stores.map(\.bucket), endpointAuthorities: ["s3.example:9000"],
            fileExists: { _ in false })
        func probe(_ name: String, _ text: String) throws -> ReferencesProbe {
            let source = DrillFileSource(path: "test.yaml", directory: "/", variables: [:])
            let node = try DrillFileText.parse(Array(text.utf8), source)
            return try ReferencesProbe(
                name: name, SettingsReader(node, shape: ReferencesProbe.shape, path: "probe", source: source), context)
        }
        let first = try probe("refs", settings)
        let siblings: [any Probe] = [first] + (try others.map { try probe($0.name, $0.settings) })
        let sink = Sink()
        let set = RestoredSet(
            runID: "r", backupSet: "s", database: ScriptedDatabase(tables: rows, failsAfter: failsAfter),
            objects: Dictionary(uniqueKeysWithValues: stores.map { ($0.bucket, $0 as any ObjectStore) }),
            recoveryPoint: recoveryPoint, startedAt: Date(), scratchDirectory: "/nowhere", objectsDirectory: nil,
            evidenceDirectory: "/nowhere", environment: .fake(), findings: sink, progress: NoProgress(), seed: 7,
            siblings: siblings, olderCopies: older)
        let outcome = try await first.run(against: set)
        #expect(outcome.examined == outcome.passed + outcome.failed + outcome.unknown)
        return ProbeRun(outcome: outcome, findings: await sink.findings)
    }

    private actor Sink: FindingSink {
        private(set) var findings: [Finding] = []
        func record(_ more: [Finding]) { findings += more }
    }
}
