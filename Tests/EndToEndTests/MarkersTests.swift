import DrillTestKit
import Foundation
import Testing

/// Twin markers, written by `muster mark` into a real database and a real bucket, and what drills make of them.
@Suite("Markers: pairs in database and bucket", .needs(.s3), .needs(.postgres))
struct MarkersTests {
    private let service: S3Service

    init() throws { service = try S3Service.gateway() }

    /// A production of a database and a versioned bucket, and the folder of its drill.
    private final class Production {
        let shop: Workshop
        let bucket = Workshop.bucketName()
        let database: String
        let service: S3Service

        init(_ service: S3Service) throws {
            self.service = service
            shop = try Workshop()
            database = try shop.filesDatabase(["a.png"])
            try shop.play(
                [.bucket(bucket), .versioning(bucket, "Enabled"), .put(bucket, "a.png")], on: service)
            try drill()
            let ddl = try shop.muster(["mark", "drill.yaml", "--ddl"], on: service)
            try shop.write(ddl.output, to: "markers.sql")
            try shop.shell(["psql", "-X", "-q", "-d", database, "-f", shop.root + "/markers.sql"])
        }

        /// - Parameter objects: Settings of the copy of the bucket.
        func drill(
            _ objects: String = "kind: directory, path: s3_files", every: String = "5m", tolerance: String = "20ms"
        ) throws {
            let server = ProcessInfo.processInfo.environment["MUSTER_TEST_PG"] ?? ""
            let production = server.replacingOccurrences(of: "dbname=postgres", with: "dbname=\(database)")
            try shop.write(
                """
                drill: e2e
                backup:
                  sets: sets
                  named: "%Y-%m-%d"
                  database: { kind: pg_dump, path: db_dump.sqlc }
                  objects: [ { bucket: \(bucket), \(objects) } ]
                scratch: { directory: scratch, database: { kind: database, server: "\(server)" } }
                probes:
                  - { name: files, kind: references, table: public.files, key: key, bucket: \(bucket), orphans: fail }
                markers:
                  every: \(every)
                  tolerance: \(tolerance)
                  production: { server: "\(production)", objects: { kind: s3 } }
                """, to: "drill.yaml")
            try shop.folder("sets")
        }

        func mark() throws {
            let ran = try shop.muster(["mark", "drill.yaml"], on: service)
            guard ran.status == 0 else { throw Workshop.Failure(text: ran.errors) }
        }

        /// What `pg_dump` states of its time has whole seconds: the next second lies safely behind all marks so far.
        func dump() throws {
            let now = Date().timeIntervalSince1970
            try shop.wait { Date().timeIntervalSince1970 > now.rounded(.up) + 0.03 }
            try shop.dump(database, to: "sets/2026-01-02/db_dump.sqlc")
        }

        func sync() throws {
            try shop.folder("sets/2026-01-02/s3_files")
            let synced = try shop.run(
                ["/usr/bin/env", "aws", "s3", "sync", "--quiet", "s3://\(bucket)", "sets/2026-01-02/s3_files"],
                variables: service.variables(home: shop.root))
            guard synced.status == 0 else { throw Workshop.Failure(text: synced.errors) }
        }

        /// The probe's verdict and counts, its findings, and the run's exit status.
        func run(
            _ arguments: [String] = []
        ) throws -> (status: Int32, markers: String, findings: [String], summary: String) {
            let ran = try shop.muster(["run", "drill.yaml"] + arguments, on: service)
            let latest = "run_id = (SELECT run_id FROM run ORDER BY started_at DESC LIMIT 1)"
            func first(_ columns: String) throws -> String {
                try shop.ledger("SELECT \(columns) FROM probe_result WHERE probe = 'markers' AND \(latest)").first
                    ?? ran.errors
            }
            return (
                ran.status, try first("verdict, examined, passed, failed, unknown"),
                try shop.ledger("SELECT kind, relation FROM finding WHERE probe = 'markers' AND \(latest)"),
                try first("summary")
            )
        }
    }

    @Test func aSoundPairOfBackupsPassesAndMarkersAreNoOrphans() throws {
        let production = try Production(service)
        try production.mark()
        try production.mark()
        try production.dump()
        try production.sync()
        let ran = try production.run(["--junit", "junit.xml"])
        #expect(ran.status == 0, "\(ran.summary)")
        #expect(ran.markers == "pass|2|2|0|0")
        #expect(ran.findings == [])
        let junit = String(decoding: try production.shop.read("junit.xml"), as: UTF8.self)
        #expect(junit.contains("name=\"markers\""))
        // One row and one object a mark, and nothing else.
        #expect(try production.shop.psql("SELECT count(*) FROM muster_markers", in: production.database) == "2")
        let objects = try FileManager.default.contentsOfDirectory(
            atPath: production.shop.root + "/sets/2026-01-02/s3_files/muster-markers")
        #expect(objects.count == 2)
    }

    @Test func aDatabaseDumpedAfterTheObjectsWereCopiedIsFound() throws {
        let production = try Production(service)
        try production.mark()
        try production.sync()
        try production.mark()
        try production.dump()
        let ran = try production.run()
        #expect(ran.status == 1)
        #expect(ran.markers == "fail|2|1|1|0", "\(ran.summary)")
        #expect(ran.findings == ["missing|public.muster_markers"])
    }

    @Test func objectsCopiedAfterTheDatabaseWasDumpedAreFound() throws {
        let production = try Production(service)
        try production.mark()
        try production.dump()
        let dumped = Date()
        try production.shop.wait { Date() > dumped + 1.05 }
        try production.mark()
        try production.sync()
        let ran = try production.run()
        #expect(ran.status == 1)
        #expect(ran.markers == "fail|2|1|1|0", "\(ran.summary)")
        #expect(ran.findings == ["orphan|public.muster_markers"])
    }

    @Test("S19: a versioned bucket at the dump's instant has the last pair, and the next one is in neither store")
    func aVersionedBucketStandsAtTheDump() throws {
        let production = try Production(service)
        try production.mark()
        try production.dump()
        let dumped = Date()
        try production.shop.wait { Date() > dumped + 1.05 }
        try production.mark()
        try production.drill("kind: s3_versions, skew_tolerance: 20ms")
        let ran = try production.run()
        #expect(ran.status == 0, "\(ran.summary)")
        #expect(ran.markers == "pass|1|1|0|0")
        #expect(ran.summary.contains("is in neither"))
        // The bucket as it is now stands later than the dump.
        try production.drill("kind: s3")
        #expect(try production.run().findings == ["orphan|public.muster_markers"])
    }

    @Test(
        "P16 S19: recovery to an instant and the bucket's versions at it have the last pair, and the next is in neither"
    )
    func recoveryToAnInstantStandsWhereTheBucketStands() throws {
        let shop = try Workshop()
        let server = try ArchivingServer(shop)
        let bucket = Workshop.bucketName()
        try shop.play([.bucket(bucket), .versioning(bucket, "Enabled")], on: service)
        try shop.write(
            """
            drill: e2e
            backup:
              database: { kind: base_backup, base: "\(server.bases)", wal: "\(server.wal)" }
              objects: [ { bucket: \(bucket), kind: s3_versions, skew_tolerance: 50ms } ]
            scratch: { directory: scratch }
            probes:
              - { name: rows, kind: sql, query: "select count(*) from public.work", expect: { equals: 1 } }
            markers:
              every: 5m
              tolerance: 50ms
              production: { server: "host=\(server.socket) dbname=postgres user=postgres", objects: { kind: s3 } }
            """, to: "drill.yaml")
        try server.sql("CREATE TABLE public.work (id int)")
        try server.sql(try shop.muster(["mark", "drill.yaml", "--ddl"], on: service).output)
        try server.baseBackup("one")
        func mark() throws {
            let ran = try shop.muster(["mark", "drill.yaml"], on: service)
            try #require(ran.status == 0, "\(ran.errors)")
        }
        func pass(_ seconds: Double) throws {
            let now = Date()
            try shop.wait { Date() > now + seconds }
        }
        try mark()
        try pass(0.3)
        try server.sql("INSERT INTO public.work VALUES (1)")
        let instant = try server.sql(
            "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        try pass(0.3)
        try server.sql("INSERT INTO public.work VALUES (2)")
        try mark()
        try server.archive()

        let ran = try shop.muster(["run", "drill.yaml", "--at", instant], on: service)
        #expect(ran.status == 0, "\(ran.errors)")
        let found = try shop.ledger(
            "SELECT verdict, examined, passed, summary FROM probe_result WHERE probe = 'markers'")
        #expect(found.first?.hasPrefix("pass|1|1|1 pair is in both stores") ?? false)
        #expect(found.first?.contains("is in neither") ?? false, "\(found)")
        #expect(try shop.muster(["run", "drill.yaml"], on: service).status == 1)
        #expect(try shop.ledger("SELECT passed FROM probe_result WHERE probe = 'markers'").count == 2)
    }

    @Test func aMarkerJobThatStoppedLongAgoIsInDoubt() throws {
        let production = try Production(service)
        try production.mark()
        let marked = Date()
        try production.shop.wait { Date() > marked + 0.5 }
        try production.dump()
        try production.sync()
        try production.drill(every: "200ms")
        let ran = try production.run()
        #expect(ran.status == 2)
        #expect(ran.markers == "inconclusive|1|1|0|0")
        #expect(ran.summary.contains("either `muster mark` had stopped in production"))
    }

    @Test func aMarkWithoutATableOrRightsPutsNoObject() throws {
        let production = try Production(service)
        try production.shop.psql("DROP TABLE muster_markers", in: production.database)
        let ran = try production.shop.muster(["mark", "drill.yaml"], on: service)
        #expect(ran.status == 2)
        #expect(ran.errors.contains("there is no table public.muster_markers"))
        #expect(ran.errors.contains("CREATE TABLE \"public\".\"muster_markers\""))
        try production.sync()
        #expect(!production.shop.exists("sets/2026-01-02/s3_files/muster-markers"))
    }

    @Test(arguments: [
        ("every: 5m", "every: 0s", "must be longer than nothing"),
        ("tolerance: 20ms", "tolerance: 6m", "must be shorter than `every`"),
        ("every: 5m", "every: 5m\n  table: \"public.t; DROP TABLE x\"", "is no schema.name"),
        ("every: 5m", "every: 5m\n  bucket: other", "unknown bucket `other`"),
        ("every: 5m", "evry: 5m", "Did you mean `every`?"),
    ])
    func wrongSettingsAreRefusedWithTheirLine(right: String, wrong: String, words: String) throws {
        let production = try Production(service)
        let text = String(decoding: try production.shop.read("drill.yaml"), as: UTF8.self)
        try production.shop.write(text.replacingOccurrences(of: right, with: wrong), to: "drill.yaml")
        for command in ["plan", "mark"] {
            let ran = try production.shop.muster([command, "drill.yaml"], on: service)
            #expect(ran.status == 64)
            #expect(ran.errors.contains("drill.yaml:"))
            #expect(ran.errors.contains(words), "\(ran.errors)")
        }
    }
}
