import DrillTestKit
import Foundation
import Testing

/// Strategy 1 from the command line, on real dumps: each test plants one defect and names the finding it must yield.
@Suite(.needs(.postgres))
struct MaintenanceWindowTests {
    @Test func aSoundSetPassesAndLeavesNothing() throws {
        let shop = try Workshop()
        let keys = ["a.png", "deep/er/b.png", "sp ace/ü.txt", "q'uote.txt"]
        try shop.set("2026-01-02", database: shop.filesDatabase(keys), keys: keys)
        try shop.drill(Workshop.files)
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try shop.leftInScratch.isEmpty)
        #expect(
            try shop.ledger("SELECT verdict, backup_set, strategy FROM run") == ["pass|2026-01-02|maintenance_window"])
        #expect(try shop.ledger("SELECT examined, passed, failed, unknown FROM probe_result") == ["4|4|0|0"])
        let head = try #require(ran.errors.split(separator: "\n").last)
        #expect(head.utf8.count == 64 && head.allSatisfy(\.isHexDigit))
        #expect(
            try shop.ledger("SELECT recovery_point IS NOT NULL, rpo_seconds > 0, rto_seconds > 0 FROM run") == ["1|1|1"]
        )
        for report in ["junit.xml", "report.html", "report.json"] { #expect(shop.exists("reports/e2e/\(report)")) }
    }

    @Test func oneMissingObjectAmongManyIsNamed() throws {
        let shop = try Workshop()
        let keys = (0..<500).map { "k/\($0).bin" }
        try shop.set("2026-01-02", database: shop.filesDatabase(keys), keys: keys)
        try shop.remove("sets/2026-01-02/s3_files/k/321.bin")
        try shop.drill(Workshop.files)
        let ran = try shop.muster(["run", "drill.yaml", "--json"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT kind, relation, row_id, bucket, object_key_text FROM finding")
                == ["missing|public.files|322|uploads|k/321.bin"])
        let report = try #require(JSONSerialization.jsonObject(with: Data(ran.output.utf8)) as? [String: Any])
        #expect(report["verdict"] as? String == "fail")
    }

    @Test func theNewestSetThatDoesNotRestoreFailsAndTheOlderOneIsReported() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(["a"])
        try shop.set("2026-01-01", database: database, keys: ["a"])
        try shop.set("2026-01-02", database: database, keys: ["a"])
        let dump = try shop.read("sets/2026-01-02/db_dump.sqlc")
        try shop.write(dump.prefix(dump.count * 2 / 3), to: "sets/2026-01-02/db_dump.sqlc")
        try shop.drill(Workshop.files)
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT backup_set FROM run") == ["2026-01-01"])
        #expect(try shop.ledger("SELECT kind FROM finding") == ["restore"])
        #expect(try shop.ledger("SELECT probe, verdict FROM probe_result") == ["files|pass"])
        #expect(try shop.ledger("SELECT reason LIKE '%2026-01-02%' FROM run") == ["1"])
        #expect(try shop.leftInScratch.isEmpty)
        let exact = try shop.muster(["run", "drill.yaml", "--set", "2026-01-01"])
        #expect(exact.status == 0, "\(exact.errors)")
        #expect(try shop.muster(["run", "drill.yaml", "--set", "2026-01-03"]).status == 64)
    }

    @Test func anEmptyDumpIsBeingWrittenWhileYoungAndFailsWhenSettled() throws {
        let shop = try Workshop()
        try shop.set("2026-01-01", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.write("", to: "sets/2026-01-02/db_dump.sqlc")
        try shop.folder("sets/2026-01-02/s3_files")
        try shop.drill(Workshop.files)
        let young = try shop.muster(["run", "drill.yaml"])
        #expect(young.status == 0, "\(young.errors)")
        #expect(young.errors.contains("2026-01-02"))
        try shop.drill(Workshop.files, backup: "settle: 0s")
        let settled = try shop.muster(["run", "drill.yaml"])
        #expect(settled.status == 1, "\(settled.errors)")
        let sets = try shop.muster(["sets", "drill.yaml"])
        #expect(sets.status == 0)
        #expect(sets.output.contains("refused"))
    }

    @Test func aSizeThatIsNoWholeNumberIsAMismatchThatShowsIt() throws {
        let shop = try Workshop()
        let database = try shop.database([
            "CREATE TABLE files (id int PRIMARY KEY, key text, bytes numeric)",
            "INSERT INTO files VALUES (1, 'a', 7.4), (2, 'b', 7.0), (3, 'c', NULL), (4, 'd', 'NaN')",
        ])
        try shop.set("2026-01-02", database: database, keys: ["a", "b", "c", "d"])
        try shop.drill(Workshop.files.replacingOccurrences(of: " }", with: ", size: bytes }"))
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT kind, row_id, expected, observed FROM finding ORDER BY row_id") == [
                "size_mismatch|1|7.4 bytes, which is no whole number|7 bytes",
                "size_mismatch|4|NaN bytes, which is no whole number|7 bytes",
            ])
    }

    @Test func aRelaxationIsPrintedOnceInEveryReport() throws {
        let shop = try Workshop()
        let keys = (0..<40).map { "k\($0)" }
        try shop.set("2026-01-02", database: shop.filesDatabase(keys), keys: keys)
        try shop.drill(Workshop.files.replacingOccurrences(of: " }", with: ", content: { sample: 50% } }"))
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        func count(_ text: String) -> Int { text.components(separatedBy: "Only a sample of 50.00%").count - 1 }
        #expect(count(ran.output + ran.errors) == 1, "\(ran.output)\(ran.errors)")
        for report in ["junit.xml", "report.html", "report.json"] {
            #expect(count(String(decoding: try shop.read("reports/e2e/\(report)"), as: UTF8.self)) == 1, "\(report)")
        }
    }

    @Test func noUsableSetAtAllFails() throws {
        let shop = try Workshop()
        try shop.drill(Workshop.files)
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT kind, observed FROM finding") == ["restore|there is no backup set"])
        for day in 1...6 { try shop.write("", to: "sets/2026-01-0\(day)") }
        #expect(try shop.muster(["run", "drill.yaml"]).status == 1)
        let reason = try shop.ledger("SELECT reason FROM run ORDER BY started_at DESC, run_id DESC LIMIT 1").first ?? ""
        #expect(reason.hasPrefix("set 2026-01-06: it is a file"))
        #expect(
            reason.hasSuffix(
                "set 2026-01-04: it is a file, and a set is a folder; 3 more sets cannot be restored either"))
    }

    @Test("V2: a table without rows is inconclusive") func emptyTable() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase([]), keys: ["x"])
        try shop.drill(Workshop.files)
        #expect(try shop.muster(["run", "drill.yaml"]).status == 2)
        let junit = String(decoding: try shop.read("reports/e2e/junit.xml"), as: UTF8.self)
        #expect(junit.contains("<error"))
        #expect(!junit.contains("<skipped"))
    }

    @Test func aMissingTableOrColumnIsInconclusiveWithTheNearestName() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill("  - { name: t, kind: references, table: public.filez, key: key, bucket: uploads }\n")
        let table = try shop.muster(["run", "drill.yaml"])
        #expect(table.status == 2)
        #expect(table.errors.contains("public.files"), "\(table.errors)")
        try shop.drill("  - { name: c, kind: references, table: public.files, key: kei, bucket: uploads }\n")
        let column = try shop.muster(["run", "drill.yaml"])
        #expect(column.status == 2)
        #expect(column.errors.contains("key"), "\(column.errors)")
    }

    @Test func hostileKeysReachEveryReportWhole() throws {
        let shop = try Workshop()
        let database = try shop.database(
            [
                "CREATE TABLE files (id int PRIMARY KEY, key text)",
                "INSERT INTO files VALUES (1, '<script>alert(1)</script>'), (2, 'a]]>b'), (3, E'ctl\\x01\\x1b[31m'),"
                    + " (4, E'line\\nbreak'), (5, repeat('k', 1024)), (6, E'\\u202Egnp.exe')",
            ])
        try shop.set("2026-01-02", database: database, keys: [])
        try shop.drill(Workshop.files)
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(!ran.errors.contains("\u{1B}["))
        #expect(!ran.errors.contains("\u{202E}"))
        #expect(try shop.ledger("SELECT count(*), max(length(object_key)) FROM finding") == ["6|1024"])
        #expect(try shop.ledger("SELECT hex(object_key) FROM finding WHERE row_id = '4'") == ["6C696E650A627265616B"])
        let html = String(decoding: try shop.read("reports/e2e/report.html"), as: UTF8.self)
        #expect(!html.contains("<script>"))
        try shop.shell(["xmllint", "--noout", shop.root + "/reports/e2e/junit.xml"])
    }

    @Test("X4: a symlink out of the object tree is never followed") func symlinks() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a", "link"]), keys: ["a"])
        try shop.write("secret", to: "outside")
        try FileManager.default.createSymbolicLink(
            atPath: shop.root + "/sets/2026-01-02/s3_files/link", withDestinationPath: shop.root + "/outside")
        try shop.drill(
            "  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, content: all }\n")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT row_id FROM finding") == ["2"])
    }

    @Test func objectivesAreJudged() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill(Workshop.files, top: "objectives: { rpo: 365000d, rto: 1h, max_backup_age: 1h }")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT kind, row_id FROM finding") == ["objective|backup age"])
    }

    @Test func theOtherProbesJudge() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(
            ["a"], more: ["CREATE TABLE orders (id int, total int)", "INSERT INTO orders VALUES (1, 5), (2, -1)"])
        try shop.set("2026-01-02", database: database, keys: ["a"])
        try shop.write(
            "#!/bin/sh\npsql -XAt -c 'select count(*) from files' \"$DATABASE_URL\" && psql -XAtc 'insert into files (key) values (1)'\n",
            to: "smoke.sh")
        try shop.write("#!/bin/sh\necho broken >&2\nexit 3\n", to: "bad.sh")
        for script in ["smoke.sh", "bad.sh"] {
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: shop.root + "/" + script)
        }
        try shop.drill(
            Workshop.files + """
                  - { name: totals, kind: sql, query: "select id from public.orders where total < 0", expect: no_rows }
                  - { name: enough, kind: sql, query: "select count(*) from public.orders", expect: { min: 2 } }
                  - { name: writes, kind: sql, query: "delete from public.orders returning id", expect: rows }
                  - { name: smoke, kind: command, run: [./smoke.sh] }
                  - { name: bad, kind: command, run: [./bad.sh] }

                """)
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT probe, verdict FROM probe_result ORDER BY probe") == [
                "bad|fail", "enough|pass", "files|pass", "smoke|pass", "totals|fail", "writes|inconclusive",
            ])
        #expect(try shop.ledger("SELECT row_id FROM finding WHERE probe = 'totals'") == ["2"])
    }

    @Test func keepingScratchOfAFailureDoesNotStopTheFallBack() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(["a"])
        for set in ["2026-01-01", "2026-01-02"] { try shop.set(set, database: database, keys: ["a"]) }
        let dump = try shop.read("sets/2026-01-02/db_dump.sqlc")
        try shop.write(dump.prefix(dump.count - 40), to: "sets/2026-01-02/db_dump.sqlc")
        try shop.drill(Workshop.files, scratch: ", keep: on_failure")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT backup_set FROM run") == ["2026-01-01"])
        #expect(try shop.leftInScratch.count == 1)
    }
}
