import DrillTestKit
import Foundation
import Testing

/// Wrong usage and wrong drill files: exit 64, a message with file and line, and nothing left behind.
@Suite(.enabled(if: !Workshop.binary.isEmpty || ProcessInfo.processInfo.environment["MUSTER_REQUIRE_SERVICES"] == "1"))
struct UsageTests {
    private static let good = """
        drill: usage
        backup:
          sets: sets
          named: "%Y-%m-%d"
          database: { kind: pg_dump, path: db.dump }
          objects: [ { bucket: uploads, kind: directory, path: files } ]
        probes:
          - { name: files, kind: references, table: public.files, key: key, bucket: uploads }

        """

    @Test(arguments: [
        ("named:", "namd:", "drill.yaml:4: unknown key `namd` in backup", "Did you mean `named`?"),
        ("kind: pg_dump", "kind: pg_dmp", "drill.yaml:5: unknown database kind `pg_dmp`", "Did you mean `pg_dump`?"),
        ("bucket: uploads }", "bucket: upload }", "drill.yaml:8: ", "Did you mean `uploads`?"),
        ("drill: usage", "drill: Usage!", "drill.yaml:1: drill: 'Usage!' is no name", ""),
        ("drill: usage", "drill: usage\ndeadline: 2 hours", "drill.yaml:2: deadline: '2 hours' is not a time span", ""),
        (
            "path: db.dump", "path: ${MUSTER_E2E_NOT_SET}",
            "drill.yaml:5: the environment variable `MUSTER_E2E_NOT_SET`", ""
        ),
        ("sets: sets", "sets: nowhere", "drill.yaml:3: backup.sets: there is no directory `nowhere`", ""),
        (
            "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads }", "  []",
            "drill.yaml:8: ", "only say"
        ),
        ("sets: sets", "sets: sets\n  target: 2026-11-14T14:30:05", "drill.yaml:4: backup.target", "offset"),
        ("drill: usage", "drill: usage\ndrill: again", "drill.yaml:", "twice"),
    ])
    func aWrongDrillFileIsRefused(from: String, to: String, message: String, hint: String) throws {
        let shop = try Workshop()
        try shop.folder("sets")
        try shop.write(Self.good.replacingOccurrences(of: from, with: to), to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 64)
        #expect(ran.errors.contains(message), "\(ran.errors)")
        #expect(hint.isEmpty || ran.errors.contains(hint), "\(ran.errors)")
        #expect(!shop.exists("reports"))
    }

    @Test func aFileOfTenMegabytesAFolderAndNoFileAreRefused() throws {
        let shop = try Workshop()
        try shop.write(String(repeating: "# filler\n", count: 1_200_000), to: "big.yaml")
        #expect(try shop.muster(["run", "big.yaml"]).status == 64)
        #expect(try shop.muster(["run", "."]).status == 64)
        let none = try shop.muster(["run", "none.yaml"])
        #expect(none.status == 64)
        #expect(none.errors.contains("muster init"))
        #expect(try shop.muster(["run"]).status == 64)
        #expect(try shop.muster(["frobnicate"]).status == 64)
        #expect(!shop.exists("reports"))
    }

    @Test func theTemplateIsAcceptedOnceItsPathsExist() throws {
        let shop = try Workshop()
        #expect(try shop.muster(["init", "drills/mine.yaml"]).status == 0)
        #expect(try shop.muster(["init", "drills/mine.yaml"]).status == 64)
        let text = String(decoding: try shop.read("drills/mine.yaml"), as: UTF8.self)
        try shop.write(text.replacingOccurrences(of: "/mnt/backups", with: "../sets"), to: "drills/mine.yaml")
        try shop.folder("sets")
        let plan = try shop.muster(["plan", "drills/mine.yaml"])
        #expect(plan.status == 0, "\(plan.errors)")
        #expect(plan.output.contains("none can be drilled"))
    }

    @Test func theSchemaIsJSONThatNamesEveryKind() throws {
        let shop = try Workshop()
        let ran = try shop.muster(["schema"])
        let schema = try #require(JSONSerialization.jsonObject(with: Data(ran.output.utf8)) as? [String: Any])
        #expect(schema["$schema"] as? String == "https://json-schema.org/draft/2020-12/schema")
        for kind in ["pg_dump", "restored", "directory", "references", "sql", "freshness", "command", "cluster"] {
            #expect(ran.output.contains("\"const\" : \"\(kind)\""), "\(kind)")
        }
    }

    @Test func theGateIsShutWithoutALedger() throws {
        let shop = try Workshop()
        let ran = try shop.muster(["gate", "user-profiles", "--max-age", "8d"])
        #expect(ran.status == 1)
        #expect(ran.errors.contains("user-profiles"))
        #expect(try shop.muster(["gate", "x", "--max-age", "soon"]).status == 64)
    }
}
