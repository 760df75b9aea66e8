import DrillTestKit
import Foundation
import Testing

/// Base backups and WAL in a bucket of the real gateway, and objects of a versioned bucket at the instant that the database
/// really reached.
@Suite("point in time, with a real gateway", .needs(.s3), .needs(.postgres))
struct PointInTimeBucketTests {
    private let service: S3Service

    init() throws { service = try S3Service.gateway() }

    @Test("a base backup and its WAL in a bucket pass, plain and as tar; damage and absence there are told")
    func backupsInABucket() throws {
        let source = try RecoveryWorkshop()
        let tablespace = source.shop.root + "/spc"
        try source.shop.folder("spc")
        try source.own(tablespace)
        try source.sql(
            "CREATE TABLESPACE spc LOCATION '\(tablespace)'", "CREATE TABLE public.placed (id int) TABLESPACE spc",
            "INSERT INTO public.placed VALUES (1)")
        let times = try source.history(rows: 2, ["-X", "none", "-Ft", "-z"])
        let bucket = Workshop.bucketName()
        try source.shop.play([.bucket(bucket)], on: service)
        func sync(_ folder: String, _ prefix: String) throws {
            let ran = try source.shop.run(
                ["/usr/bin/env", "aws", "s3", "sync", "--delete", folder, "s3://\(bucket)/\(prefix)"],
                variables: service.variables(home: source.shop.root))
            try #require(ran.status == 0, "\(ran.errors)")
        }
        let last = try #require(try source.segments().last)
        try source.run("gzip", "\(source.wal)/\(last)")
        try sync(source.bases, "bases")
        try sync(source.wal, "wal")
        func drilled(_ arguments: [String] = []) throws -> Workshop.Ran {
            try source.shop.muster(
                ["run", "drill.yaml"] + arguments, on: service, ["AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"])
        }
        let access = "endpoint: \"\(service.endpoint)\", region: us-east-1, path_style: true"
        try source.drill(rows: 2, access, base: "\"s3://\(bucket)/bases\"", wal: "\"s3://\(bucket)/wal\"")
        let latest = try drilled()
        #expect(latest.status == 0, "\(latest.errors)")
        try source.drill(rows: 1, access, base: "\"s3://\(bucket)/bases\"", wal: "\"s3://\(bucket)/wal\"")
        let first = try drilled(["--at", times[0]])
        #expect(first.status == 0, "\(first.errors)")

        // Plain, as `aws s3 sync` copies it: no empty directories, and the tablespace's files behind its link.
        try source.run("rm", "-rf", source.bases + "/first")
        try source.shop.folder("moved")
        try source.own(source.shop.root + "/moved")
        try source.baseBackup("first", ["-X", "none", "-T", "\(tablespace)=\(source.shop.root)/moved"])
        try source.sql("INSERT INTO public.log VALUES (3)")
        try source.archive()
        try sync(source.bases, "bases")
        try sync(source.wal, "wal")
        try source.drill(rows: 3, access, base: "\"s3://\(bucket)/bases\"", wal: "\"s3://\(bucket)/wal\"")
        let plain = try drilled()
        #expect(plain.status == 0, "\(plain.errors)")
        // The prefix itself is the backup.
        try source.drill(rows: 3, access, base: "\"s3://\(bucket)/bases/first\"", wal: "\"s3://\(bucket)/wal\"")
        let single = try drilled()
        #expect(single.status == 0, "\(single.errors)")

        let missing = try #require(try source.segments().last)
        try source.sql("INSERT INTO public.log VALUES (4)")
        try source.archive()
        try source.shop.remove("wal/\(missing)")
        try sync(source.wal, "wal")
        let withheld = try drilled()
        #expect(withheld.status == 1)
        #expect(withheld.errors.contains("the WAL segment \(missing) (timeline 1) is missing"), "\(withheld.errors)")
        try source.drill(rows: 4, access, base: "\"s3://\(bucket)/none\"", wal: "\"s3://\(bucket)/wal\"")
        #expect(try drilled().status == 1)
        #expect(try source.shop.leftInScratch.isEmpty)
    }

    @Test(
        "rows and objects stand at one instant: what came just before T is there in both, what came just after in neither (P16, S14, S16)"
    )
    func rowsAndObjectsStandAtTheSameInstant() throws {
        let source = try RecoveryWorkshop()
        let shop = source.shop
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket), .versioning(bucket, "Enabled")], on: service)
        try source.sql("CREATE TABLE public.files (id int PRIMARY KEY, key text, size int)")
        try source.baseBackup("first")
        func row(_ id: Int, _ key: String, _ size: Int) throws {
            try source.sql("INSERT INTO public.files VALUES (\(id), '\(key)', \(size))")
        }
        func forget(_ id: Int) throws { try source.sql("DELETE FROM public.files WHERE id = \(id)") }
        try shop.play(
            [
                .put(bucket, "stays", "1234"), .put(bucket, "deleted-before", "x"), .put(bucket, "deleted-after", "x"),
                .put(bucket, "overwritten", "old"),
            ], on: service)
        for (id, key, size) in [
            (1, "stays", 4), (2, "deleted-before", 1), (3, "deleted-after", 1), (4, "overwritten", 3),
        ] {
            try row(id, key, size)
        }
        let began = try source.now()
        // Just before T.
        try forget(2)
        try shop.play([.delete(bucket, "deleted-before"), .put(bucket, "just-before", "12345")], on: service)
        try row(5, "just-before", 5)
        let target = try source.now()
        // Just after T.
        try shop.play([.put(bucket, "just-after", "x"), .put(bucket, "overwritten", "newer")], on: service)
        try row(6, "just-after", 1)
        try source.sql("UPDATE public.files SET size = 5 WHERE id = 4")
        try forget(3)
        try shop.play([.delete(bucket, "deleted-after")], on: service)
        try row(7, "never-uploaded", 1)
        try source.archive()

        func drill(_ rows: Int) throws {
            try shop.write(
                """
                drill: pitr
                backup:
                  database: { kind: base_backup, base: bases, wal: wal }
                  objects:
                    - { bucket: uploads, kind: s3_versions, url: "s3://\(bucket)", skew_tolerance: 0s, max_upload_window: 0s }
                scratch: { directory: scratch }
                probes:
                  - { name: files, kind: references, table: public.files, key: key, bucket: uploads, size: size, orphans: fail, min_rows: \(rows) }

                """, to: "drill.yaml")
        }
        try drill(4)
        let atTarget = try shop.muster(["run", "drill.yaml", "--at", target], on: service)
        #expect(atTarget.status == 0, "\(atTarget.errors)")
        #expect(try shop.ledger("SELECT examined, passed, failed, unknown FROM probe_result") == ["4|4|0|0"])
        // The last commit replayed, which is no later than T.
        let point = try #require(try shop.ledger("SELECT recovery_point FROM run").first)
        #expect(point.prefix(23) <= target.prefix(23) && point > began, "\(point)")

        try drill(5)
        let latest = try shop.muster(["run", "drill.yaml"], on: service)
        #expect(latest.status == 1, "\(latest.errors)")
        #expect(
            try shop.ledger(
                "SELECT kind, object_key_text FROM finding WHERE run_id = (SELECT run_id FROM run ORDER BY started_at DESC LIMIT 1)"
            )
                == ["missing|never-uploaded"])
    }
}
