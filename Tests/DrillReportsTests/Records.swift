import DrillCore
import Foundation
import Testing

@testable import DrillReports

/// A directory of a test's own, removed when the test is done.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/muster-reports-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw DrillError(.couldNotLook, "mkdtemp failed") }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    deinit {
        do { try FileManager.default.removeItem(atPath: path) } catch {
            Issue.record(error, "\(path) could not be removed")
        }
    }
}

let noon = Date(timeIntervalSince1970: 1_794_657_600)  // 2026-11-14T12:00:00Z

func header(_ runID: String = "20261114T120000Z-0a1b2c", drill: String = "user-profiles") -> RunHeader {
    RunHeader(
        runID: runID, drill: drill, description: "Weekly drill of the profile service", startedAt: noon,
        recoveryTarget: "latest", strategy: "maintenance_window",
        objectives: Objectives(rpo: .seconds(86_400), rto: .seconds(1800), maxBackupAge: .seconds(93_600)),
        drillDigest: String(repeating: "d1", count: 32), toolVersion: "muster 0.1.0", host: "drill-host")
}

func outcome(_ verdict: Verdict, reason: String = "all that was asked for is there") -> RunOutcome {
    RunOutcome(
        verdict: verdict, finishedAt: noon + 95.25, backupSet: "2026-11-13-23-00", recoveryPoint: noon - 46_800.5,
        rpoSeconds: 46_800.5, rtoSeconds: 42.125, reason: reason,
        notes: ["The scratch server runs without fsync, which flatters the RTO."],
        stages: [
            StageResult(name: "restore", verdict: .pass, message: "2026-11-13-23-00 restored", seconds: 42.125),
            StageResult(name: "objectives", verdict: .pass, message: "RPO and RTO are met", seconds: 0),
            StageResult(name: "cleanup", verdict: .pass, message: "scratch is gone", seconds: 0.5),
        ],
        rowCounts: [(table: "public.user_profiles", rows: 1204)])
}

func missing(_ number: Int, probe: String = "avatars", cause: Cause = .uploadedAfterCopy) -> Finding {
    Finding(
        probe: probe, kind: .missing, cause: cause, relation: "public.user_profiles", rowID: "\(number)",
        bucket: "uploads",
        objectKey: Array("avatars/\(number).png".utf8), expected: "an object", observed: "none",
        evidence: "the row changed at 2026-11-13T23:04:11.000Z, after the copy ended",
        repair: "Copy objects after the dump.")
}

func probeResult(_ name: String = "avatars", _ verdict: Verdict, failed: Int64 = 0) -> ProbeResult {
    ProbeResult(
        probe: name, kind: "references", verdict: verdict, examined: 1000, passed: 1000 - failed, failed: failed,
        unknown: 0,
        seconds: 1.5, summary: "1,000 references, \(failed) bad", relaxations: ["1 % of the objects were read."])
}
