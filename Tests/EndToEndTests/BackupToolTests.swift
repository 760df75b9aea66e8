import DrillTestKit
import Foundation
import Testing

/// Drills of a real pgBackRest repository and a directory of objects, by the binary.
@Suite(.needs(.postgres)) struct BackupToolTests {
    /// Makes a cluster, a repository with a full and an incremental backup, and rows behind them; the cluster is stopped then.
    private static let script = """
        set -eu
        root=$1 bin=$2
        as() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
        mkdir "$root/pg"
        if [ "$(id -u)" = 0 ]; then chown postgres "$root/pg"; fi
        cd "$root/pg"
        as mkdir repo locks
        as "$bin/initdb" -D "$root/pg/data" -U postgres -A trust -k --wal-segsize=1 --locale=C -E UTF8 >/dev/null
        cat >"$root/pgbackrest.conf" <<END
        [global]
        repo1-path=$root/pg/repo
        lock-path=$root/pg/locks
        log-level-file=off
        log-level-console=off
        repo1-retention-full=9
        start-fast=y
        job-retry=0
        [main]
        pg1-path=$root/pg/data
        pg1-socket-path=$root/pg
        pg1-user=postgres
        END
        tool="pgbackrest --config=$root/pgbackrest.conf --stanza=main"
        as "$bin/pg_ctl" -D data -w -l "$root/pg/log" -o "-c listen_addresses= -c unix_socket_directories=$root/pg -c fsync=off \\
        -c archive_mode=on -c archive_command='$tool archive-push %p' -c shared_buffers=16MB" start >/dev/null
        sql() { as "$bin/psql" -X -q -h "$root/pg" -U postgres -v ON_ERROR_STOP=1 -c "$1" >/dev/null; }
        as $tool stanza-create
        sql "CREATE TABLE public.files (id int PRIMARY KEY, key text)"
        as $tool --type=full backup
        sql "INSERT INTO public.files VALUES (1, 'a.txt')"
        as $tool --type=incr backup
        sql "INSERT INTO public.files VALUES (2, 'b.txt')"
        sql "SELECT pg_switch_wal()"
        sql "INSERT INTO public.files VALUES (3, 'c.txt')"
        # A shutdown archives what is left.
        as "$bin/pg_ctl" -D data -w -m fast stop >/dev/null
        """

    @Test("A pgBackRest repository with its objects passes; each planted defect yields its finding (V1, P15)")
    func pgBackRestDrill() throws {
        let shop = try Workshop()
        let bin = ProcessInfo.processInfo.environment["MUSTER_TEST_PG_BIN"] ?? "/usr/lib/postgresql/15/bin"
        try shop.write(Self.script, to: "make.sh")
        let made = try shop.run(["/bin/sh", shop.root + "/make.sh", shop.root, bin])
        try #require(made.status == 0, "\(made.errors)")
        for key in ["a.txt", "b.txt", "c.txt"] { try shop.write("content", to: "objects/\(key)") }
        func drill(_ stanza: String) -> String {
            """
            drill: e2e
            backup:
              fall_back: false
              database: { kind: pgbackrest, stanza: \(stanza), config: pgbackrest.conf }
              objects: [ { bucket: uploads, kind: directory, path: objects } ]
            scratch: { directory: scratch }
            probes:
            \(Workshop.files)
            """
        }
        try shop.write(drill("main"), to: "drill.yaml")
        func run() throws -> Int32 { try shop.muster(["run", "drill.yaml"]).status }
        func finding() throws -> String {
            try shop.ledger(
                "SELECT probe || '|' || kind || '|' || coalesce(object_key_text, '') || '|' || observed FROM finding "
                    + "WHERE run_id = (SELECT run_id FROM run ORDER BY started_at DESC LIMIT 1)"
            ).joined(separator: "\n")
        }

        let good = try shop.muster(["run", "drill.yaml"])
        #expect(good.status == 0, "\(good.errors)")
        #expect(try finding().isEmpty)
        let sets = try shop.muster(["sets", "drill.yaml"])
        #expect(sets.output.split(separator: "\n").count == 2)
        #expect(sets.output.contains("I  usable  (") && sets.output.contains("type incr, started "))
        let label = String(try #require(sets.output.split(separator: " ").first))
        #expect(try shop.muster(["plan", "drill.yaml"]).output.contains("pgbackrest restore --set=\(label)"))
        #expect(try shop.muster(["run", "drill.yaml", "--set", String(label.prefix(16))]).status == 0)

        try shop.remove("objects/b.txt")
        #expect(try run() == 1)
        #expect(try finding().hasPrefix("files|missing|b.txt|"))
        try shop.write("content", to: "objects/b.txt")

        let wal = "pg/repo/archive/main/15-1/0000000100000000"
        let segments = try FileManager.default.contentsOfDirectory(atPath: shop.root + "/" + wal)
            .filter { $0.contains("-") }.sorted()
        let withheld = segments[segments.count - 2]
        let segment = try shop.read("\(wal)/\(withheld)")
        try shop.remove("\(wal)/\(withheld)")
        #expect(try run() == 1)
        #expect(try finding().contains("the WAL segment \(withheld.prefix(24)) (timeline 1) is missing"))
        try shop.write(segment, to: "\(wal)/\(withheld)")

        let base = "pg/repo/backup/main/\(label.prefix(16))/pg_data/global/1262.gz"
        var bytes = try shop.read(base)
        bytes[bytes.count / 2] ^= 0xFF
        try shop.write(bytes, to: base)
        #expect(try run() == 1)
        #expect(try finding().hasPrefix("restore|restore||"))
        #expect(try finding().contains("pgbackrest restore: ERROR: [0"))

        try shop.write(drill("mian"), to: "drill.yaml")
        let unknown = try shop.muster(["run", "drill.yaml"])
        #expect(unknown.status == 2)
        #expect(unknown.errors.contains("the repository has no stanza `mian`"))
        let wrong = drill("main").replacingOccurrences(of: "stanza:", with: "stanzas:")
        try shop.write(wrong, to: "drill.yaml")
        let refused = try shop.muster(["run", "drill.yaml"])
        #expect(refused.status == 64)
        #expect(refused.errors.contains("drill.yaml:4"))
        #expect(refused.errors.contains("Did you mean `stanza`?"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: shop.root + "/scratch").isEmpty)
    }
}
