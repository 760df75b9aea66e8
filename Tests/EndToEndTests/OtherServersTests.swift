import DrillTestKit
import Foundation
import Testing

/// Scratch databases on a server that exists, and databases that something else restored.
@Suite(.needs(.postgres))
struct OtherServersTests {
    private var server: String { ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? "" }

    @Test func aScratchDatabaseIsDroppedAgain() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a", "b"]), keys: ["a"])
        try shop.drill(Workshop.files, scratch: ", database: { kind: database, server: \"\(server)\" }")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 1, "\(ran.errors)")
        #expect(try shop.ledger("SELECT object_key_text FROM finding") == ["b"])
        let run = try #require(try shop.ledger("SELECT run_id FROM run").first)
        let name = "muster_" + run.lowercased().replacing("-", with: "_")
        #expect(try shop.psql("SELECT count(*) FROM pg_database WHERE datname LIKE '\(name)%'", in: "postgres") == "0")
    }

    @Test func aRestoredDatabaseIsOnlyRead() throws {
        let shop = try Workshop()
        let database = try shop.filesDatabase(["a", "b"])
        try shop.folder("objects")
        for key in ["a", "b", "orphan"] { try shop.write("x", to: "objects/\(key)") }
        let conninfo = server.replacingOccurrences(of: "dbname=postgres", with: "dbname=\(database)")
        let before = try shop.psql("SELECT sum(hashtext(t::text)) FROM files t", in: database)
        try shop.write(
            """
            drill: restored
            backup:
              database: { kind: restored, server: "\(conninfo)" }
              objects: [ { bucket: uploads, kind: directory, path: objects } ]
            probes:
              - { name: files, kind: references, table: public.files, key: key, bucket: uploads, orphans: report }
            """, to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try shop.ledger("SELECT strategy, rto_seconds IS NULL FROM run") == ["restored|1"])
        #expect(try shop.ledger("SELECT kind, object_key_text FROM finding") == ["orphan|orphan"])
        #expect(try shop.psql("SELECT sum(hashtext(t::text)) FROM files t", in: database) == before)
        // A server that does not answer says nothing of the backup.
        try shop.write(
            String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
                .replacingOccurrences(of: "port=", with: "port=1 options_were="), to: "bad.yaml")
        #expect(try shop.muster(["run", "bad.yaml"]).status == 64)
        let silent = String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
            .replacingOccurrences(of: conninfo, with: "host=127.0.0.1 port=1 dbname=x user=y")
        try shop.write(silent, to: "silent.yaml")
        #expect(try shop.muster(["run", "silent.yaml"]).status == 2)
    }

    @Test("V7: PGHOST and its like in the environment point nowhere") func environment() throws {
        let shop = try Workshop()
        try shop.set("2026-01-02", database: shop.filesDatabase(["a"]), keys: ["a"])
        try shop.drill(Workshop.files)
        let ran = try shop.muster(
            ["run", "drill.yaml"],
            variables: [
                "PGHOST": "127.0.0.1", "PGPORT": "1", "PGDATABASE": "production", "PGSERVICE": "prod",
                "PGOPTIONS": "-c x=y",
                "PGUSER": "nobody",
            ])
        #expect(ran.status == 0, "\(ran.errors)")
    }

    @Test("X1: an inline password is refused") func password() throws {
        let shop = try Workshop()
        try shop.drill(
            Workshop.files, scratch: ", database: { kind: database, server: \"host=h user=u password=sesame\" }")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 64)
        #expect(!ran.errors.contains("sesame"))
    }
}
