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
        ("\"%Y-%m-%d\"", "\"%Y-%Q\"", "drill.yaml:4: backup.named: %Q in", "known: %Y %m"),
        (
            "path: db.dump", "path: db.dump, bin: nowhere", "drill.yaml:5: backup.database.bin: there is no directory",
            ""
        ),
        (
            "probes:", "scratch: { directory: nowhere }\nprobes:",
            "drill.yaml:7: scratch.directory: there is no directory", ""
        ),
        ("probes:", "scratch:\nprobes:", "drill.yaml:7: `scratch` has no value", "take the line out"),
        (
            "probes:", "scratch: { database: { kind: database, server: \"host=x password=y\" } }\nprobes:",
            "drill.yaml:7: scratch.database.server: a password in the drill file", "password_file"
        ),
        (
            "probes:", "scratch: { database: { kind: database, server: \"host=x\", password_file: nowhere } }\nprobes:",
            "drill.yaml:7: scratch.database.password_file: there is no file `nowhere`", ""
        ),
        ("key: key", "key: \"\"", "drill.yaml:8: probes[0].key: is empty", ""),
        ("key: key", "key: key, content: ", "drill.yaml:8: `content` has no value", ""),
        ("key: key", "key: key, where: \" \"", "drill.yaml:8: probes[0].where: is empty", ""),
        (
            "key: key", "key: key, form: url, hosts: { cdn.example.com: uplods }",
            "drill.yaml:8: probes[0].hosts: `uplods` is not among backup.objects", "Did you mean `uploads`?"
        ),
        (
            "probes:", "probes:\n  - { name: c, kind: command, run: [sh], timeout: 0s }",
            "drill.yaml:8: probes[0].timeout: must be longer than nothing", ""
        ),
        (
            "probes:", "probes:\n  - { name: c, kind: command, run: [./drill.yaml] }",
            "drill.yaml:8: probes[0].run: `./drill.yaml` may not be run", "chmod"
        ),
        (
            "probes:", "probes:\n  - { name: f, kind: freshness, query: select now(), within: 0h }",
            "drill.yaml:8: probes[0].within: must be longer", ""
        ),
        (
            "probes:", "probes:\n  - { name: s, kind: sql, query: select 1, expect: { min: 2, max: 1 } }",
            "drill.yaml:8: probes[0].expect.min: 2 is more than max", ""
        ),
        (
            "sets: sets", "sets: s3://acme/backups",
            "drill.yaml:6: backup.objects[0].kind: a tree in a set is a directory of this machine", "kind: s3"
        ),
        (
            "sets: sets\n  named: \"%Y-%m-%d\"", "target: 2026-11-14T14:30:05Z",
            "drill.yaml:4: a single dump cannot be recovered to an instant", "sets"
        ),
        ("sets: sets", "sets: sets\n  target: { name: before }", "drill.yaml:6: a dump knows no WAL location", ""),
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

    @Test("Production's password file is looked for before anything is written", arguments: [[], ["--ddl"]])
    func aMissingPasswordFileOfMarkersIsRefused(options: [String]) throws {
        let shop = try Workshop()
        try shop.folder("sets")
        try shop.folder("files")
        let markers = """
            markers:
              every: 5m
              production:
                server: "host=127.0.0.1 port=1 dbname=app user=marker"
                password_file: nowhere
                objects: { kind: directory, path: files }

            """
        try shop.write(Self.good + markers, to: "drill.yaml")
        let ran = try shop.muster(["mark", "drill.yaml"] + options)
        #expect(ran.status == 64)
        #expect(
            ran.errors.contains("drill.yaml:13: markers.production.password_file: there is no file `nowhere`"),
            "\(ran.errors)")
        // Where drills are run, production's password need not be.
        let plan = try shop.muster(["plan", "drill.yaml"])
        #expect(plan.status == 0, "\(plan.errors)")
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

    @Test func anUnknownSetIsRefusedBeforeAnythingIsMade() throws {
        let shop = try Workshop()
        try shop.folder("sets/2026-01-02")
        try shop.write(Self.good, to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml", "--set", "2026-01-03", "--junit", "all.xml"])
        #expect(ran.status == 64)
        #expect(ran.errors.contains("Did you mean `2026-01-02`?"), "\(ran.errors)")
        #expect(!shop.exists("reports"))
        #expect(!shop.exists("all.xml"))
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
