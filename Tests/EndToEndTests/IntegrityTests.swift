import DrillTestKit
import Foundation
import Testing

/// The integrity probe from the command line, one planted defect each.
@Suite(.needs(.postgres))
struct IntegrityTests {
    private static let probe = "  - { name: intact, kind: integrity }\n"

    @Test("G2: a sound dump passes at the deepest level, and the probe leaves nothing for the next one")
    func soundDump() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(
            ["a"], more: ["CREATE INDEX ON files (key)", "CREATE TABLE pairs (a int REFERENCES files (id))"])
        try shop.set("2026-01-02", database: database, keys: ["a"])
        try shop.drill(
            Self.probe
                + "  - { name: alone, kind: sql, query: \"select count(*) from pg_extension\", expect: { equals: 1 } }\n"
        )
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(ran.errors.contains("level deep: 2 tables, 2 indexes, 1 sequence"), "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT examined = passed AND examined > 4 FROM probe_result WHERE probe = 'intact'") == [
                "1"
            ])
        #expect(try shop.leftInScratch.isEmpty)
        let plan = try shop.muster(["plan", "drill.yaml"])
        #expect((plan.output + plan.errors).contains("at level deep"), "\(plan.output)\(plan.errors)")
    }

    @Test("P10: a sequence that stands behind its column in the dump is named")
    func sequenceBehindInADump() throws {
        let shop = try Workshop()
        let database = try shop.database([
            "CREATE TABLE files (id serial PRIMARY KEY, key text)", "INSERT INTO files VALUES (41, 'a')",
        ])
        try shop.set("2026-01-02", database: database, keys: ["a"])
        try shop.drill(Self.probe)
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT kind, relation, observed FROM finding") == [
                "integrity|public.files_id_seq|the next value is 1, and column id of public.files goes to 41"
            ])
        try shop.drill("  - { name: intact, kind: integrity, ignore: [public.files_id_seq] }\n")
        let waived = try shop.muster(["run", "drill.yaml"])
        #expect(waived.status == 0, "\(waived.errors)")
        let junit = String(decoding: try shop.read("reports/e2e/junit.xml"), as: UTF8.self)
        #expect(junit.contains("Findings on public.files_id_seq do not count"))
    }

    @Test(
        "P24: a flipped byte in a base backup is named with its table and block; V1: and what a reader may not see is no pass"
    )
    func flippedByteInABaseBackup() throws {
        let shop = try Workshop()
        let database = try shop.database([
            "CREATE TABLE rows (id int PRIMARY KEY, v text)",
            "INSERT INTO rows SELECT n, repeat('x', 200) FROM generate_series(1, 500) n", "SELECT count(v) FROM rows",
            "CHECKPOINT",
        ])
        let file = try shop.psql("SELECT pg_relation_filepath('rows')", in: database)
        try shop.shell([
            "pg_basebackup", "-D", shop.root + "/base/one", "-X", "fetch", "-c", "fast", "--no-manifest", "--no-sync",
        ])
        // The flags of a page, which the server verifies without checksums as well.
        var page = try shop.read("base/one/\(file)")
        page[2 * 8192 + 10] ^= 0x50
        try shop.write(page, to: "base/one/\(file)")
        // A backup without manifest that is that young might still be being written.
        try shop.shell(["find", shop.root + "/base", "-exec", "touch", "-d", "2026-01-01", "{}", "+"])
        try shop.write(
            """
            drill: e2e
            backup: { database: { kind: base_backup, base: base, dbname: \(database) } }
            scratch: { directory: scratch }
            probes:
              - { name: intact, kind: integrity, databases: [\(database)] }
            """, to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        let findings = try shop.ledger("SELECT kind, relation, substr(observed, 1, 23) FROM finding")
        #expect(findings == ["integrity|public.rows|invalid page in block 2"], "\(ran.errors)")
        #expect(try shop.leftInScratch.isEmpty)
    }

    @Test(
        "V1: of a database that something else restored, a level that cannot be reached is inconclusive and says what to do"
    )
    func restoredElsewhere() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(["a"])
        let server = (ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? "")
            .replacingOccurrences(of: "dbname=postgres", with: "dbname=\(database)")
        func drill(_ level: String) throws {
            try shop.write(
                """
                drill: e2e
                backup: { database: { kind: restored, server: "\(server)" } }
                scratch: { directory: scratch }
                probes:
                  - { name: intact, kind: integrity, level: \(level) }
                """, to: "drill.yaml")
        }
        try drill("deep")
        let deep = try shop.muster(["run", "drill.yaml"])
        #expect(deep.status == 2, "\(deep.errors)")
        #expect(deep.errors.contains("pg_prewarm is not installed in the database"), "\(deep.errors)")
        try drill("catalog")
        let catalog = try shop.muster(["run", "drill.yaml"])
        #expect(catalog.status == 0, "\(catalog.errors)")
        try drill("deeper")
        let wrong = try shop.muster(["run", "drill.yaml"])
        #expect(wrong.status == 64)
        #expect(wrong.errors.contains("drill.yaml:5"), "\(wrong.errors)")
    }
}
