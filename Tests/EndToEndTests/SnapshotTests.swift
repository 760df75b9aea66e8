import DrillTestKit
import Foundation
import Testing

/// Snapshots of a running server's data directory, drilled by the binary.
@Suite(.needs(.postgres))
struct SnapshotTests {
    /// A server of Tests/services that is ended as by a crash; its data directory is then what a snapshot would hold.
    private func crashedServer(_ shop: Workshop, _ statements: [String]) throws -> String {
        let service =
            URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path
            + "/services/postgres.sh"
        // A Unix socket's path has at most 107 bytes.
        let place = "/tmp/ms-\(UUID().uuidString.prefix(8))"
        // All in one program: a Process does not end as long as a server that it left running holds what it inherited.
        let script = """
            service=$1 place=$2
            shift 2
            exports=$("$service" start "$place") || exit
            eval "$exports"
            status=0
            for statement; do
                psql -X -q -v ON_ERROR_STOP=1 -d "$MUSTER_TEST_PG_SOCKET" -c "$statement" || { status=1; break; }
            done
            "$service" stop "$place"
            exit $status
            """
        let ran = try shop.run(["/usr/bin/env", "bash", "-c", script, "bash", service, place] + statements)
        guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors) }
        return place
    }

    private func copy(_ shop: Workshop, _ from: String, _ to: String) throws {
        try shop.folder((to as NSString).deletingLastPathComponent)
        let ran = try shop.run(["/usr/bin/env", "cp", "-a", from, shop.root + "/" + to])
        guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors) }
    }

    private static let rows = [
        "CREATE TABLE files (id int PRIMARY KEY, key text)", "INSERT INTO files VALUES (1, 'a'), (2, 'b')",
        "CHECKPOINT",
        // That server commits asynchronously, and a crash may take the last commit with it.
        "SET synchronous_commit = on; INSERT INTO files VALUES (3, 'c')",
    ]

    private func drill(_ shop: Workshop, _ more: String = "", hooks: String = "") throws {
        try shop.write(
            """
            drill: snap
            backup:
              sets: sets
              named: "%Y%m%dT%H%M%SZ"
            \(hooks)
              database: { kind: pgdata_snapshot, path: pgdata\(more) }
              objects: [ { bucket: uploads, kind: directory, path: objects } ]
            scratch: { directory: scratch }
            probes:
            \(Workshop.files)
            """, to: "drill.yaml")
    }

    @Test(
        "P25, P26: a snapshot with its objects passes; the evidence of crash recovery is kept; a torn newer one fails")
    func snapshotsAreDrilled() throws {
        let shop = try Workshop()
        let server = try crashedServer(shop, Self.rows)
        defer { try? FileManager.default.removeItem(atPath: server) }
        try copy(shop, server + "/data", "sets/20260102T030405Z/pgdata")
        for key in ["a", "b", "c"] { try shop.write("x", to: "sets/20260102T030405Z/objects/\(key)") }
        try drill(shop)
        let plan = try shop.muster(["plan", "drill.yaml"])
        #expect(plan.status == 0, "\(plan.errors)")
        #expect(plan.output.contains("recover the copy as after a crash"))
        #expect(plan.output.contains("probe        integrity: Looks at every database that came back at level deep"))
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(
            try shop.ledger("SELECT strategy, examined FROM run JOIN probe_result USING (run_id) WHERE probe = 'files'")
                == ["snapshot|3"])
        #expect(
            try shop.ledger("SELECT kind, verdict FROM probe_result WHERE probe = 'integrity'") == ["integrity|pass"])
        let run = try shop.ledger("SELECT run_id FROM run")[0]
        let log = String(decoding: try shop.read("reports/snap/\(run)/recovery.log"), as: UTF8.self)
        #expect(log.contains("redo starts at") && log.contains("control file after recovery:"))
        #expect(ran.errors.contains("Crash recovery ran (control file `in production`"))

        // Another WAL volume, without the checkpoint that the control file names.
        try copy(shop, shop.root + "/sets/20260102T030405Z", "sets/20260103T030405Z")
        try shop.remove("sets/20260103T030405Z/pgdata/pg_wal")
        try shop.folder("sets/20260103T030405Z/wal")
        try shop.write(Data(count: 16 << 20), to: "sets/20260103T030405Z/wal/000000010000000000000001")
        try drill(shop, ", wal: wal")
        try shop.folder("sets/20260102T030405Z/wal")
        let torn = try shop.muster(["run", "drill.yaml"])
        #expect(torn.status == 1, "\(torn.errors)")
        #expect(torn.errors.contains("20260103T030405Z"))
        #expect(torn.errors.contains("and the WAL has nothing of"), "\(torn.errors)")
        #expect(try shop.leftInScratch.isEmpty)
    }

    @Test(arguments: [
        ("path: pgdata", "path: /srv/pgdata", "drill.yaml:6: backup.database.path: `/srv/pgdata` is absolute"),
        ("path: pgdata", "path: ../pgdata", "leads out of the set's folder"),
        ("path: pgdata", "path: pgdata, wall: x", "Did you mean `wal`?"),
        ("sets: sets", "sets: sets\n  target: { lsn: 0/3000060 }", "a snapshot comes back to its own moment"),
        ("sets: sets", "sets: s3://bucket/prefix", "not a bucket's"),
        ("sets: sets", "sets: sets\n  hooks: { mount: [true] }", "`unmount` is missing"),
        ("sets: sets", "sets: sets\n  hooks: { mount: [./none.sh], unmount: [true] }", "there is no file `./none.sh`"),
        ("sets: sets", "sets: sets\n  hooks: { mount: [true], unmount: [true], timeout: 0s }", "longer than nothing"),
    ])
    func wrongDrillFilesAreRefused(from: String, to: String, message: String) throws {
        let shop = try Workshop()
        try shop.folder("sets")
        try drill(shop)
        let text = String(decoding: try shop.read("drill.yaml"), as: UTF8.self)
        try shop.write(text.replacingOccurrences(of: from, with: to), to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml"])
        #expect(ran.status == 64, "\(ran.errors)")
        #expect(ran.errors.contains(message), "\(ran.errors)")
        #expect(!shop.exists("reports"))
    }
}
