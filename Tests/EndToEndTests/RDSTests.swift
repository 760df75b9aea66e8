import DrillTestKit
import Foundation
import Testing

/// Drills of Amazon RDS from the command line, against moto's control plane and a server with TLS in the instance's place.
@Suite("RDS: a point-in-time restore, probed and deleted", .needs(.rds))
struct RDSTests {
    private static let creating: [[String]] = [["<DBInstanceStatus>available<", "<DBInstanceStatus>creating<"]]

    @Test("P28 P29: an instance is made for the run, marked, probed over TLS and deleted with all that belongs to it")
    func anInstanceIsRestoredProbedAndDeleted() throws {
        let rds = try RDSWorkshop()
        try rds.plant([])
        try rds.drill(
            probes: #"""
                  - { name: rows, kind: sql, query: "select count(*) from public.log", expect: { equals: 3 } }
                  - { name: program, kind: command, run: [psql, -c, "select 1"] }
                """#)
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try rds.leftOnRDS() == [])
        #expect(
            try rds.shop.ledger("SELECT strategy, recovery_target, recovery_point IS NOT NULL FROM run") == [
                "point_in_time|latest|1"
            ])
        let run = try #require(try rds.shop.ledger("SELECT run_id FROM run").first)

        let made = try #require(try rds.calls("RestoreDBInstanceToPointInTime").first)
        #expect(made["TargetDBInstanceIdentifier"] == "muster-" + run.lowercased())
        #expect(made["Tags.Tag.1.Key"] == "muster-run-id" && made["Tags.Tag.1.Value"] == run)
        #expect(made["DBSubnetGroupName"] == "drill-" + rds.production)
        #expect(made["VpcSecurityGroupIds.VpcSecurityGroupId.1"]?.hasPrefix("sg-") ?? false)
        for (name, value) in [
            "PubliclyAccessible": "false", "DeletionProtection": "false", "BackupRetentionPeriod": "0",
        ] {
            #expect(made[name] == value)
        }
        let deleted = try #require(try rds.calls("DeleteDBInstance").last)
        #expect(deleted["SkipFinalSnapshot"] == "true" && deleted["DeleteAutomatedBackups"] == "true")
        #expect(deleted["FinalDBSnapshotIdentifier"] == nil)
        // Nothing that is production's was named but to be read.
        for action in ["DeleteDBInstance", "ModifyDBInstance"] {
            #expect(try rds.calls(action).allSatisfy { $0["DBInstanceIdentifier"]?.hasPrefix("muster-") ?? false })
        }

        let report = String(decoding: try rds.shop.read("reports/e2e/report.json"), as: UTF8.self)
        #expect(report.contains("Muster cannot seal it"))
        #expect(!report.contains("was not encrypted"))
        let secrets = try rds.shop.run(["/usr/bin/env", "grep", "-rlF", "secret", rds.shop.root + "/reports"])
        #expect(secrets.output == "")
    }

    @Test func anAuroraClusterIsRestoredWithAnInstanceAndBothAreDeleted() throws {
        let rds = try RDSWorkshop("cluster")
        try rds.plant([])
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try rds.leftOnRDS() == [])
        let made = try #require(try rds.calls("RestoreDBClusterToPointInTime").first)
        let instance = try #require(try rds.calls("CreateDBInstance").first)
        #expect(made["SourceDBClusterIdentifier"] == rds.production)
        #expect(instance["DBClusterIdentifier"] == made["DBClusterIdentifier"])
        #expect(instance["DBInstanceClass"] == "db.r6g.large")
        #expect(try rds.calls("DeleteDBCluster").first?["SkipFinalSnapshot"] == "true")
    }

    @Test(
        "throttling, a lost answer, an instance that takes its time and one that cannot be deleted yet are all waited for"
    )
    func whatTakesItsTimeIsWaitedFor() throws {
        let rds = try RDSWorkshop()
        try rds.plant([
            ["action": "RestoreDBInstanceToPointInTime", "times": 2, "code": "Throttling", "message": "Rate exceeded"],
            [
                "action": "RestoreDBInstanceToPointInTime", "times": 1, "after": true, "status": 500,
                "code": "InternalFailure",
            ],
            [
                "action": "DescribeDBInstances", "identifier": "muster-", "skip": 1, "times": 1,
                "replace": Self.creating,
            ],
            ["action": "DeleteDBInstance", "times": 1, "code": "InvalidDBInstanceState"],
        ])
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == 0, "\(ran.errors)")
        #expect(try rds.calls("RestoreDBInstanceToPointInTime").count == 4)
        #expect(try rds.leftOnRDS() == [])
    }

    @Test("P29: a run that is ended while the instance is being created deletes it all the same")
    func anEndedRunDeletesItsInstance() throws {
        let rds = try RDSWorkshop()
        try rds.plant([
            ["action": "DescribeDBInstances", "identifier": "muster-", "times": 4, "replace": Self.creating],
            ["action": "DeleteDBInstance", "times": 1, "code": "InvalidDBInstanceState"],
        ])
        let process = try launch(rds)
        try rds.waitUntilTheInstanceIsWaitedFor()
        process.interrupt()
        process.waitUntilExit()
        #expect(process.terminationStatus == 130)
        #expect(try rds.shop.ledger("SELECT verdict FROM run") == ["inconclusive"])
        #expect(try rds.leftOnRDS() == [])
        #expect(try rds.shop.leftInScratch == [])
    }

    @Test func pastTheDeadlineTheInstanceIsDeleted() throws {
        let rds = try RDSWorkshop()
        try rds.drill(top: "deadline: 8s")
        try rds.plant([["action": "DescribeDBInstances", "identifier": "muster-", "replace": Self.creating]])
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == 2)
        #expect(ran.errors.contains("the deadline of 8.0s passed"))
        #expect(try rds.calls("RestoreDBInstanceToPointInTime").count == 1)
        #expect(try rds.leftOnRDS() == [])
    }

    @Test("P29: gc deletes what a killed run left, but nothing whose tags name another run")
    func gcDeletesWhatAKilledRunLeft() throws {
        let rds = try RDSWorkshop()
        try rds.plant([["action": "DescribeDBInstances", "identifier": "muster-", "replace": Self.creating]])
        let process = try launch(rds)
        try rds.waitUntilTheInstanceIsWaitedFor()
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        #expect(try rds.leftOnRDS().count == 1)

        try rds.plant([
            [
                "action": "DescribeDBInstances", "identifier": "muster-",
                "replace": [["<Value>[0-9]{8}T[^<]*</Value>", "<Value>somebody-else</Value>"]],
            ]
        ])
        let refused = try rds.muster(["gc", "--directory", "scratch"])
        #expect(refused.status == 4)
        #expect(refused.errors.contains("was left alone"), "\(refused.errors)")
        #expect(try rds.leftOnRDS().count == 1)

        try rds.plant([])
        let swept = try rds.muster(["gc", "--directory", "scratch"])
        #expect(swept.status == 0, "\(swept.errors)")
        #expect(try rds.leftOnRDS() == [])
    }

    private func launch(_ rds: RDSWorkshop) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Workshop.binary)
        process.arguments = ["run", "drill.yaml"]
        process.currentDirectoryURL = URL(fileURLWithPath: rds.shop.root)
        process.environment = rds.shop.environment(rds.variables)
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        try process.run()
        return process
    }

    @Test(arguments: [
        ("AccessDenied", Int32(2), "Grant rds:RestoreDBInstanceToPointInTime"),
        ("InstanceQuotaExceeded", 2, "quota is used up"),
        ("DBSubnetGroupNotFoundFault", 2, "Check `subnet_group`"),
        ("PointInTimeRestoreNotEnabled", 1, "Automated backups are off"),
    ])
    func refusalsAreToldApart(code: String, status: Int32, words: String) throws {
        let rds = try RDSWorkshop()
        try rds.plant([["action": "RestoreDBInstanceToPointInTime", "status": 403, "code": code]])
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == status)
        #expect(ran.errors.contains(words), "\(ran.errors)")
        #expect(try rds.calls("DeleteDBInstance").isEmpty)
    }

    @Test func aRestoreThatEndsInAFailureStateIsAFailAndIsDeleted() throws {
        let rds = try RDSWorkshop()
        try rds.plant([
            [
                "action": "DescribeDBInstances", "identifier": "muster-", "times": 2,
                "replace": [["<DBInstanceStatus>available<", "<DBInstanceStatus>incompatible-restore<"]],
            ]
        ])
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == 1)
        #expect(ran.errors.contains("its status is incompatible-restore"))
        #expect(try rds.leftOnRDS() == [])
    }

    @Test("V7 X8: a server that does not show the new instance's certificate is not believed")
    func anotherCertificateIsRefused() throws {
        let rds = try RDSWorkshop()
        let made = try rds.shop.run([
            "/usr/bin/env", "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
            "/CN=other",
            "-keyout", rds.shop.root + "/other.key", "-out", rds.shop.root + "/other.pem",
        ])
        try #require(made.status == 0)
        try rds.drill(ca: "other.pem")
        let ran = try rds.muster(["run", "drill.yaml"])
        #expect(ran.status == 2)
        #expect(ran.errors.contains("certificate verify failed"), "\(ran.errors)")
        #expect(try rds.leftOnRDS() == [])
    }

    @Test("P15: instants before, behind and ahead of what RDS can restore are told apart")
    func targetsOutsideOfTheWindow() throws {
        let rds = try RDSWorkshop()
        let now = Date()
        func text(_ seconds: Double) -> String { (now + seconds).ISO8601Format() }
        try rds.plant([
            [
                "action": "DescribeDBInstanceAutomatedBackups",
                "replace": [
                    [
                        "<Status>active</Status>",
                        "<Status>active</Status><RestoreWindow><EarliestTime>\(text(-86400))</EarliestTime><LatestTime>\(text(-300))</LatestTime></RestoreWindow>",
                    ]
                ],
            ],
            [
                "action": "DescribeDBInstances", "times": 3,
                "replace": [
                    ["<LatestRestorableTime>[^<]*<", "<LatestRestorableTime>\(text(-300))<"]
                ],
            ],
            [
                "action": "DescribeDBInstances",
                "replace": [["<LatestRestorableTime>[^<]*<", "<LatestRestorableTime>\(text(-7200))<"]],
            ],
        ])
        let sets = try rds.muster(["sets", "drill.yaml"])
        #expect(sets.status == 0)
        #expect(sets.output.contains("restorable from \(text(-86400).dropLast())"), "\(sets.output)")
        let early = try rds.muster(["run", "drill.yaml", "--at", text(-90000)])
        #expect(early.status == 1)
        #expect(early.errors.contains("backups do not reach back that far"))
        let notYet = try rds.muster(["run", "drill.yaml", "--at", text(-60)])
        #expect(notYet.status == 2)
        #expect(notYet.errors.contains("is not restorable yet"))
        let behind = try rds.muster(["run", "drill.yaml", "--at", text(-60)])
        #expect(behind.status == 1)
        #expect(behind.errors.contains("which is 2h"), "\(behind.errors)")
        let future = try rds.muster(["run", "drill.yaml", "--at", text(3600)])
        #expect(future.status == 2)
        #expect(future.errors.contains("is in the future"))
        #expect(try rds.calls("RestoreDBInstanceToPointInTime").isEmpty)
    }

    @Test func planSaysWhatWouldBeMadeAndWhatItCosts() throws {
        let rds = try RDSWorkshop()
        try rds.plant([])
        let plan = try rds.muster(["plan", "drill.yaml", "--at", (Date() - 60).ISO8601Format()])
        #expect(plan.status == 0, "\(plan.errors)")
        for words in [
            "RestoreDBInstanceToPointInTime", "db.t4g.medium with 20 GiB", "not publicly accessible", "Cost: the hours",
        ] {
            #expect(plan.output.contains(words), "\(plan.output)")
        }
        #expect(try Set(rds.calls("RestoreDBInstanceToPointInTime").map { $0["Action"] }).isEmpty)
    }

    @Test("integrity reads every page of an instance by a module put in for it, and sets nothing of the backup off")
    func theIntegrityProbeMayPutItsModuleIn() throws {
        let rds = try RDSWorkshop()
        func ran(_ user: String, _ level: String) throws -> Workshop.Ran {
            try rds.drill(
                more: "user: \(user)", probes: "  - { name: intact, kind: integrity, level: \(level) }")
            return try rds.muster(["run", "drill.yaml"])
        }
        // A superuser, as the stand-in has no member of rds_superuser who may make modules.
        let read = try ran("postgres", "read")
        #expect(read.status == 0, "\(read.errors)")
        #expect(read.errors.contains("every page"))
        let deep = try ran("postgres", "deep")
        #expect(deep.status == 2)
        #expect(deep.errors.contains("amcheck is not installed in the database, and is not put into a server that"))
        let left = """
            SELECT (SELECT count(*) FROM pg_extension WHERE extname <> 'plpgsql')
                + (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'muster%')
            """
        #expect(try rds.sql(left) == "0\n")

        let reader = try ran("app", "read")
        #expect(reader.status == 2)
        #expect(reader.errors.contains("it is only to be read"), "\(reader.errors)")

        try rds.sql("CREATE TABLE public.fired (tag text)")
        try rds.sql(
            """
            CREATE FUNCTION public.fire() RETURNS event_trigger LANGUAGE plpgsql
                AS 'BEGIN INSERT INTO public.fired VALUES (tg_tag); END'
            """)
        try rds.sql("CREATE EVENT TRIGGER fire ON ddl_command_start EXECUTE FUNCTION public.fire()")
        try rds.sql("ALTER EVENT TRIGGER fire ENABLE ALWAYS")
        #expect(try ran("postgres", "read").status == 2)
        #expect(try rds.sql("SELECT count(*) FROM public.fired WHERE tag LIKE 'CREATE%'") == "0\n")
    }

    @Test func wrongSettingsAreRefusedWithTheirLineBeforeAnythingIsAsked() throws {
        let rds = try RDSWorkshop()
        let good = String(decoding: try rds.shop.read("drill.yaml"), as: UTF8.self)
        for (right, wrong, words) in [
            ("subnet_group: drill-\(rds.production)", "", "`subnet_group` is missing"),
            ("security_groups:", "security_group:", "Did you mean `security_groups`?"),
            ("instance: ", "cluster: other\n    instance: ", "stands beside `instance`"),
            ("instance: ", "instance: \"no such/name\" #", "is no identifier of RDS"),
            ("ca_file: ", "ca_file: nowhere.pem #", "there is no readable file"),
            ("password_file: password", "password: secret", "unknown key `password`"),
            ("password_file: password", "password_env: MUSTER_E2E_NOT_SET", "`MUSTER_E2E_NOT_SET` is not set"),
            ("database:", "target: { lsn: 0/3000060 }\n  database:", "RDS restores to an instant"),
            ("endpoint: ", "endpoint: \"ftp://x\" #", "is no address"),
        ] {
            try rds.shop.write(good.replacingOccurrences(of: right, with: wrong), to: "drill.yaml")
            let ran = try rds.muster(["run", "drill.yaml"])
            #expect(ran.status == 64)
            #expect(ran.errors.contains("drill.yaml:") && ran.errors.contains(words), "\(ran.errors)")
        }
        #expect(!rds.shop.exists("reports"))
    }
}
