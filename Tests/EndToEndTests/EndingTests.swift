import DrillTestKit
import Foundation
import Testing

/// Runs that are ended, killed or run out of room, and what they leave.
@Suite(.needs(.postgres))
struct EndingTests {
    /// A drill that has restored and then stands in a query of a minute.
    private func slowDrill(_ shop: Workshop) throws {
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill(
            "  - { name: slow, kind: sql, query: \"select pg_catalog.pg_sleep(60)::text\", expect: rows }\n")
    }

    private func waitForProbe(_ shop: Workshop) throws {
        try shop.wait {
            shop.exists("reports/ledger.sqlite")
                && (try? shop.ledger("SELECT count(*) FROM phase WHERE name LIKE 'restore%'")) == ["1"]
        }
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func aSignalEndsTheRunRecordsItAndRemovesScratch(number: Int32) throws {
        let shop = try Workshop()
        try slowDrill(shop)
        let process = try shop.launch(["run", "drill.yaml", "--junit", "all.xml"])
        try waitForProbe(shop)
        #expect(try !shop.leftInScratch.isEmpty)
        kill(process.processIdentifier, number)
        process.waitUntilExit()
        #expect(process.terminationReason == .exit)
        #expect(process.terminationStatus == 128 + number)
        #expect(try shop.leftInScratch.isEmpty)
        let name = number == SIGTERM ? "SIGTERM" : "SIGINT"
        #expect(
            try shop.ledger("SELECT verdict, finished_at IS NOT NULL, reason FROM run")
                == ["inconclusive|1|ended by \(name)"])
        let junit = String(decoding: try shop.read("all.xml"), as: UTF8.self)
        #expect(junit.contains("<error"))
    }

    @Test("P29: what a killed run left is removed by gc, and reports say that it did not finish") func killed() throws {
        let shop = try Workshop()
        try slowDrill(shop)
        let process = try shop.launch(["run", "drill.yaml"])
        try waitForProbe(shop)
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        #expect(try shop.leftInScratch.count == 1)
        let junit = String(decoding: try shop.read("reports/e2e/junit.xml"), as: UTF8.self)
        #expect(junit.contains("did not finish"))
        let gate = try shop.muster(["gate", "e2e"])
        #expect(gate.status == 1)
        let swept = try shop.muster(["gc", "--directory", "scratch"])
        #expect(swept.status == 0, "\(swept.errors)")
        #expect(try shop.leftInScratch.isEmpty)
        let again = try shop.muster(["gc", "--directory", "scratch"])
        #expect(again.errors.contains("nothing is left behind"))
    }

    @Test("V6: past its deadline a run is inconclusive and scratch is gone") func deadline() throws {
        let shop = try Workshop()
        try slowDrill(shop)
        let text = String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
        try shop.write(
            text.replacingOccurrences(of: "drill: e2e\n", with: "drill: e2e\ndeadline: 8s\n"), to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("deadline"), "\(ran.errors)")
        #expect(try shop.leftInScratch.isEmpty)
    }

    @Test func keptScratchStaysAndIsNoLeftover() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill(Workshop.files)
        #expect(try shop.muster(["run", "drill.yaml", "--keep", "always"]).status == 0)
        #expect(try shop.leftInScratch.count == 1)
        #expect(try shop.muster(["gc", "--directory", "scratch"]).errors.contains("nothing is left behind"))
        #expect(try shop.leftInScratch.count == 1)
        try FileManager.default.removeItem(atPath: shop.root + "/scratch/" + shop.leftInScratch[0])
    }

    @Test func aMachineWithoutInitdbIsInconclusive() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.folder("empty")
        try shop.drill(Workshop.files, scratch: ", database: { kind: cluster, bin: empty }")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(ran.errors.contains("apt-get install"), "\(ran.errors)")
        #expect(try shop.leftInScratch.isEmpty)
    }

    @Test func scratchThatRunsFullIsInconclusiveAndRemoved() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(
            ["a"], more: ["CREATE TABLE big AS SELECT md5(i::text) AS x FROM generate_series(1, 1500000) i"])
        try shop.set("2026-01-02", database: database, keys: ["a"])
        try shop.drill(Workshop.files)
        // Holds a new cluster and not the table.
        let ran = try run(shop, inScratchOf: "80m")
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(try shop.ledger("SELECT count(*) FROM finding") == ["0"])
    }

    /// Runs the drill with so much room in scratch, and expects that nothing is left there.
    /// - Parameter fill: Takes all room that is left once the first object is being copied.
    private func run(
        _ shop: Workshop, inScratchOf size: String, fill: Bool = false, variables: [String: String] = [:]
    ) throws -> Workshop.Ran {
        let filling = """
            { until ls '\(shop.root)'/scratch/*/objects >'\(shop.root)/seen' 2>&1; do :; done
              cat /dev/zero >'\(shop.root)/scratch/filler' 2>'\(shop.root)/full'; } &
            """
        // The tmpfs is gone with the namespace.
        let script = """
            mkdir -p '\(shop.root)/scratch'
            mount -t tmpfs -o size=\(size),mode=755 none '\(shop.root)/scratch' || exit 99
            \(fill ? filling : "")
            '\(Workshop.binary)' run drill.yaml; status=$?
            rm -f '\(shop.root)/scratch/filler'
            ls -A '\(shop.root)/scratch'
            exit $status
            """
        let ran = try shop.run(["/usr/bin/env", "unshare", "--mount", "sh", "-c", script], variables: variables)
        try #require(ran.status != 99, "mounting a tmpfs needs root: \(ran.errors)")
        #expect(ran.output.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty, "\(ran.output)")
        return ran
    }

    private static let access = [
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_EC2_METADATA_DISABLED": "true",
    ]

    @Test("Rows that are sorted where there is no room for them are no rows that were looked at")
    func sortingThatRunsFullIsInconclusive() throws {
        let shop = try Workshop()
        let standIn = try S3StandIn()
        standIn.bucket("uploads").put("users/1/avatar.png".utf8)
        let rows = "SELECT 'users/' || i || '/avatar.png' FROM generate_series(1, 300000) i"
        try shop.bucketDrill(
            try shop.filesDatabase([], more: ["INSERT INTO files (key) \(rows)"]),
            objects: "{ bucket: uploads, kind: s3, endpoint: \"\(standIn.endpoint)\" }")
        let ran = try run(shop, inScratchOf: "3m", variables: Self.access)
        #expect(ran.status == 2, "\(ran.errors)")
        #expect(
            ran.errors.contains("sorting needs more room than scratch has: No space left on device"), "\(ran.errors)")
        #expect(ran.errors.contains("Set scratch.directory to a larger disk."), "\(ran.errors)")
        #expect(try shop.ledger("SELECT count(*) FROM finding") == ["0"])
    }

    @Test("Objects that scratch has no room for are no objects that were looked at")
    func copyingThatRunsFullIsInconclusive() throws {
        let shop = try Workshop()
        let standIn = try S3StandIn()
        let keys = (1...9).map { "large-\($0)" }
        for key in keys { standIn.bucket("uploads").put(key.utf8, body: String(repeating: "x", count: 700_000).utf8) }
        try shop.bucketDrill(
            try shop.filesDatabase(keys), objects: "{ bucket: uploads, kind: s3, endpoint: \"\(standIn.endpoint)\" }",
            scratch: ", objects: { kind: directory }")
        // Known before anything is copied, and learnt in the midst of it.
        let tooSmall = try run(shop, inScratchOf: "3m", variables: Self.access)
        #expect(tooSmall.status == 2, "\(tooSmall.errors)")
        #expect(tooSmall.errors.contains("bytes of room, and 3,1"), "\(tooSmall.errors)")
        standIn.inject(.latency(.milliseconds(700)), into: .every)
        let filled = try run(shop, inScratchOf: "20m", fill: true, variables: Self.access)
        standIn.clearFaults()
        #expect(filled.status == 2, "\(filled.errors)")
        #expect(filled.errors.contains("cannot write: no space left on device"), "\(filled.errors)")
        #expect(String(decoding: try shop.read("full"), as: UTF8.self).contains("No space left"))
        #expect(try shop.ledger("SELECT count(*) FROM finding") == ["0"])
        #expect(try run(shop, inScratchOf: "20m", variables: Self.access).status == 0)
    }

    @Test func twoRunsAtOnceShareALedger() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill(Workshop.files)
        let first = try shop.launch(["run", "drill.yaml"])
        let second = try shop.muster(["run", "drill.yaml"])
        first.waitUntilExit()
        #expect(first.terminationStatus == 0)
        #expect(second.status == 0, "\(second.errors)")
        #expect(try shop.ledger("SELECT count(*), count(DISTINCT run_id) FROM run WHERE verdict = 'pass'") == ["2|2"])
        #expect(try shop.muster(["verify"]).status == 0)
        let head = try #require(second.errors.split(separator: "\n").last.map(String.init))
        #expect(try shop.muster(["verify", "--anchor", head]).status == 0)
        #expect(try shop.muster(["verify", "--anchor", String(repeating: "0", count: 63) + "1"]).status == 1)
    }

    @Test("V5: a ledger that cannot be opened leaves no green report behind") func brokenLedger() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill(Workshop.files)
        #expect(try shop.muster(["run", "drill.yaml"]).status == 0)
        try shop.write("this is no database, and long enough to be looked at as one", to: "reports/ledger.sqlite")
        let ran = try shop.muster(["run", "drill.yaml", "--junit", "all.xml"])
        #expect(ran.status == 2, "\(ran.errors)")
        for report in ["reports/e2e/junit.xml", "all.xml"] {
            let text = String(decoding: try shop.read(report), as: UTF8.self)
            #expect(text.contains("<error"), "\(report)")
        }
        #expect(try shop.muster(["gate", "e2e"]).status == 1)
    }

    @Test func severalDrillsInOneCallEndWithTheWorst() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a", "b"]), keys: ["a"])
        try shop.drill(Workshop.files)
        let good = String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
            .replacingOccurrences(of: "drill: e2e", with: "drill: good")
            .replacingOccurrences(of: "key: key,", with: "key: key, where: \"id = 1\",")
        try shop.write(good, to: "good.yaml")
        let ran = try shop.muster(["run", "good.yaml", "drill.yaml", "--junit", "all.xml", "--json"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT drill, verdict FROM run ORDER BY drill") == ["e2e|fail", "good|pass"])
        let reports = try #require(JSONSerialization.jsonObject(with: Data(ran.output.utf8)) as? [[String: Any]])
        #expect(reports.compactMap { $0["verdict"] as? String } == ["pass", "fail"])
        #expect(try shop.muster(["gate", "good", "--max-age", "1h"]).status == 0)
        #expect(try shop.muster(["gate", "good", "e2e"]).status == 1)
        #expect(try shop.muster(["run", "drill.yaml", "drill.yaml"]).status == 64)
        let runs = try shop.ledger("SELECT run_id FROM run WHERE drill = 'e2e'")
        let again = try shop.muster(["report", runs[0], "--format", "junit"])
        #expect(Data(again.output.utf8) == (try shop.read("reports/e2e/junit.xml")))
    }
}
