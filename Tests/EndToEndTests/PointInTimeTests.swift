import DrillTestKit
import Foundation
import Testing

/// Base backups and archived WAL, drilled from the command line: what is sound passes, and each planted defect is named.
@Suite("point in time, from the command line", .needs(.postgres))
struct PointInTimeTests {
    @Test(
        "sound archives pass to latest, to an instant, an LSN and a restore point, on packed WAL and tar too (P14-P18)")
    func everyTargetOfASoundArchivePasses() throws {
        let source = try RecoveryWorkshop()
        let times = try source.history(rows: 3, ["-X", "fetch"])
        let lsn = try source.sql("SELECT pg_create_restore_point('before upgrade')")
        // In the middle of the log the primary gets more than the backup's control file says (P18).
        try source.restart(["max_connections=300", "max_prepared_transactions=300", "max_locks_per_transaction=300"])
        try source.sql("INSERT INTO public.log VALUES (4)")
        try source.archive()
        try source.drill(rows: 4)
        #expect(try source.drilled().status == 0)
        let reached = try source.shop.ledger("SELECT recovery_target, strategy, recovery_point FROM run")
        #expect(reached.first?.hasPrefix("latest|point_in_time|20") == true)

        try source.drill(rows: 2)
        let second = try source.drilled(["--at", times[1]])
        #expect(second.status == 0, "\(second.errors)")
        try source.drill(rows: 3, backup: "target: { name: before upgrade }")
        #expect(try source.drilled().status == 0)
        #expect(try source.drilled(["--at", "name:before upgrade"]).status == 0)
        let placed = try source.drilled(["--at", "lsn:\(lsn)"])
        #expect(placed.status == 0, "\(placed.errors)")
        let nowhere = try source.drilled(["--at", "name:after upgrade"])
        #expect(nowhere.status == 1)
        #expect(nowhere.findings.contains("restore point after upgrade is not in it"), "\(nowhere.findings)")

        // Packed, each segment its own way; and a backup in tar archives.
        for (index, name) in try source.segments().enumerated() {
            switch index % 3 {
            case 0: try source.run("gzip", "\(source.wal)/\(name)")
            case 1: try source.run("zstd", "-q", "--rm", "\(source.wal)/\(name)")
            default: try source.run("lz4", "-q", "--rm", "\(source.wal)/\(name)", "\(source.wal)/\(name).lz4")
            }
        }
        try source.baseBackup("tar", ["-X", "none", "-Ft", "-z"])
        try source.archive()
        try source.drill(rows: 4)
        let packed = try source.drilled(["--set", "tar"])
        #expect(packed.status == 0, "\(packed.errors)")
        #expect(try source.drilled(["--set", "first"]).status == 0)
        let sets = try source.shop.muster(["sets", "drill.yaml"])
        #expect(sets.output.contains("start LSN 0/"), "\(sets.output)")
        let plan = try source.shop.muster(["plan", "drill.yaml"])
        #expect(plan.status == 0 && plan.output.contains("would be replayed to latest"), "\(plan.output)\(plan.errors)")
    }

    @Test(
        "a base backup without a manifest is being written for as long as `settle` says",
        arguments: [("", 5.0, true), ("", 30, false), ("settle: 1h", 30, true), ("settle: 1m", 5, false)])
    func aBaseBackupSettles(settings: String, minutes: Double, isBeingWritten: Bool) throws {
        let shop = try Workshop()
        try shop.write("15\n", to: "bases/one/PG_VERSION")
        let changed = Date(timeIntervalSinceNow: -60 * minutes)
        try FileManager.default.setAttributes(
            [.modificationDate: changed], ofItemAtPath: shop.root + "/bases/one/PG_VERSION")
        try shop.write(
            """
            drill: e2e
            backup:
              \(settings)
              database: { kind: base_backup, base: bases }
            probes: [ { name: rows, kind: sql, query: select 1, expect: { equals: 1 } } ]
            """, to: "drill.yaml")
        let sets = try shop.muster(["sets", "drill.yaml"])
        let state = isBeingWritten ? "being written: It has no manifest yet" : "refused: backup_label is missing"
        #expect(sets.output.contains(state), "\(sets.output)\(sets.errors)")
    }

    @Test(
        "a withheld segment, a damaged one in the middle and at the very end, and a cut one are named with their timeline (P15)"
    )
    func whatIsMissingOrDamagedIsNamed() throws {
        let source = try RecoveryWorkshop()
        let times = try source.history(rows: 4)
        let names = try source.segments()
        let last = try #require(names.last), third = names[names.count - 2]
        let kept = source.shop.root + "/kept"
        try source.shop.folder("kept")
        try source.run("cp", "-a", source.wal + "/.", kept)
        func restored(
            _ damage: () throws -> Void, _ arguments: [String] = []
        ) throws -> (status: Int32, findings: String) {
            try source.run("rm", "-rf", source.wal)
            try source.run("cp", "-a", kept, source.wal)
            try damage()
            let ran = try source.drilled(arguments)
            return (ran.status, ran.findings)
        }
        try source.drill(rows: 4)

        let withheld = try restored { try source.shop.remove("wal/\(third)") }
        #expect(withheld.status == 1)
        #expect(
            withheld.findings.contains(
                "the WAL segment \(third) (timeline 1) is missing; the archive goes on with \(last)"),
            "\(withheld.findings)")
        let toInstant = try restored({ try source.shop.remove("wal/\(third)") }, ["--at", times[3]])
        #expect(toInstant.status == 1)
        #expect(
            toInstant.findings.contains("the WAL segment \(third) (timeline 1) is missing"), "\(toInstant.findings)")

        for name in [third, last] {
            let flipped = try restored { try flip(source.shop, "wal/\(name)", at: 64) }
            #expect(flipped.status == 1)
            #expect(
                flipped.findings.contains("the WAL segment \(name) (timeline 1) is damaged"),
                "\(name): \(flipped.findings)")
        }
        let zeroed = try restored { try source.shop.write(Data(count: 1 << 20), to: "wal/\(last)") }
        #expect(zeroed.status == 1)
        #expect(
            zeroed.findings.contains("the WAL segment \(last) (timeline 1) is damaged: its first page is none of WAL"),
            "\(zeroed.findings)")
        let cut = try restored {
            try source.shop.write(try source.shop.read("wal/\(last)").prefix(70_000), to: "wal/\(last)")
        }
        #expect(cut.status == 1)
        #expect(cut.findings.contains("\(last) (timeline 1) has 70000 bytes instead of 1048576"), "\(cut.findings)")
        let packed = try restored {
            try source.run("gzip", source.wal + "/" + third)
            try source.shop.write(try source.shop.read("wal/\(third).gz").dropLast(20), to: "wal/\(third).gz")
        }
        #expect(packed.status == 1)
        #expect(packed.findings.contains("\(third) (timeline 1) cannot be unpacked"), "\(packed.findings)")

        // Nothing at all behind the first rows: the drill cannot know of more, and its probe does.
        let short = try restored { for name in [third, last] { try source.shop.remove("wal/\(name)") } }
        #expect(short.status == 1)
        #expect(short.findings == "")
        let shortOfTarget = try restored(
            { for name in [third, last] { try source.shop.remove("wal/\(name)") } }, ["--at", times[3]])
        #expect(shortOfTarget.status == 1)
        #expect(shortOfTarget.findings.contains("the archive ends at"), "\(shortOfTarget.findings)")

        // What a receiver was still writing: as far as it goes.
        let partial = try restored {
            try source.run("mv", source.wal + "/" + last, source.wal + "/" + last + ".partial")
        }
        #expect(partial.status == 0, "\(partial.findings)")
    }

    @Test("targets that cannot be had are told apart: before every backup, in the future, after the last commit (P15)")
    func targetsThatCannotBeHad() throws {
        let source = try RecoveryWorkshop()
        let times = try source.history(rows: 2)
        let idle = try source.now()
        try source.drill(rows: 2)
        let early = try source.drilled(["--at", "2020-01-01T00:00:00Z"])
        #expect(early.status == 1)
        #expect(early.findings.contains("none of 1 candidates can be drilled; "), "\(early.findings) \(early.errors)")
        #expect(early.findings.contains("It ended at"))

        let future = try source.drilled(["--at", "2199-01-01T00:00:00Z"])
        #expect(future.status == 2)
        #expect(future.errors.contains("is in the future"), "\(future.errors)")

        let unproved = try source.drilled(["--at", idle])
        #expect(unproved.status == 1)
        #expect(unproved.findings.contains("the archive ends at"), "\(unproved.findings)")

        try source.drill(rows: 2, "archived_until: \"\(idle)\"")
        let declared = try source.drilled(["--at", idle])
        #expect(declared.status == 0, "\(declared.errors)")
        #expect(
            try report(source.shop).contains(
                "the database was idle. The drill file declares the archive complete until"))
        try source.drill(rows: 2, "archived_until: \"\(times[0])\"")
        #expect(try source.drilled(["--at", idle]).status == 1)

        // A checkpoint that came later is in the log that was replayed: nothing was committed up to then.
        let asked = try instant(idle)
        try source.shop.wait { Date().timeIntervalSince(asked) > 2.1 }
        try source.sql("CHECKPOINT")
        try source.archive()
        try source.drill(rows: 2)
        let proved = try source.drilled(["--at", idle])
        #expect(proved.status == 0, "\(proved.errors)")
        #expect(try report(source.shop).contains("A checkpoint shows it"))

        try source.baseBackup("second")
        try source.archive()
        let later = try source.drilled(["--at", idle, "--set", "first"])
        #expect(later.status == 0, "\(later.errors)")
    }

    @Test(
        "a backup that is not what it should be is refused: no label, another cluster, a link out, a tar that climbs out, another version"
    )
    func badBackupsAreRefused() throws {
        let source = try RecoveryWorkshop()
        _ = try source.history(rows: 1)
        try source.drill(rows: 1, base: "bad")
        let shop = source.shop
        func bad(_ damage: () throws -> Void) throws -> (status: Int32, findings: String, errors: String) {
            if shop.exists("bad") { try shop.remove("bad") }
            try shop.folder("bad")
            try source.run("cp", "-a", source.bases + "/first", shop.root + "/bad/first")
            try damage()
            return try source.drilled()
        }
        #expect(try bad {}.status == 0)
        let unlabelled = try bad { try shop.remove("bad/first/backup_label") }
        #expect(unlabelled.status == 1)
        #expect(unlabelled.findings.contains("backup_label is missing"), "\(unlabelled.findings)")
        let changed = try bad { try flip(shop, "bad/first/base/1/1259", at: 100) }
        #expect(changed.status == 1)
        #expect(
            changed.findings.contains("pg_verifybackup: checksum mismatch for file \"base/1/1259\""),
            "\(changed.findings)")
        let linked = try bad {
            try FileManager.default.createSymbolicLink(
                atPath: shop.root + "/bad/first/pg_tblspc/16999", withDestinationPath: "/etc")
        }
        #expect(linked.status == 1)
        #expect(
            linked.findings.contains("the tablespace 16999 is a link to `/etc`, outside the backup"),
            "\(linked.findings)")
        let linkedBase = try bad {
            try FileManager.default.createSymbolicLink(
                atPath: shop.root + "/bad/first/base/x", withDestinationPath: "../../../..")
        }
        #expect(linkedBase.status == 1)
        #expect(linkedBase.findings.contains("is a symbolic link to `../../../..`"), "\(linkedBase.findings)")
        let old = try bad { try shop.write("10\n", to: "bad/first/PG_VERSION") }
        #expect(old.status == 2)
        #expect(old.errors.contains("PostgreSQL 10, whose server is not installed here"), "\(old.errors)")
        #expect(old.errors.contains("postgresql-10"), "\(old.errors)")
        let climbing = try bad {
            try shop.remove("bad/first")
            try shop.folder("bad/first")
            try source.run(
                "tar", "-P", "-cf", shop.root + "/bad/first/base.tar", "-C", source.bases + "/first", "--transform",
                "s,^base/1/1259$,../../../evil,",
                "backup_label", "PG_VERSION", "global", "base")
        }
        #expect(climbing.status == 1)
        #expect(climbing.findings.contains("`../../../evil` climbs out of its directory"), "\(climbing.findings)")
        #expect(!shop.exists("evil") && !shop.exists("scratch/evil"))

        // The WAL of another cluster.
        let other = try RecoveryWorkshop()
        _ = try other.history(rows: 1)
        try shop.remove("bad")
        try source.drill(rows: 1, wal: other.wal)
        let foreign = try source.drilled()
        #expect(foreign.status == 1)
        #expect(foreign.findings.contains("it is of the cluster with system identifier"), "\(foreign.findings)")
    }

    @Test("two histories in one archive are not chosen between (P21)")
    func aRogueTimelineIsNamed() throws {
        let source = try RecoveryWorkshop()
        _ = try source.history(rows: 3)
        // Somebody promoted a restored copy that still archived here.
        let names = try source.segments()
        let left = names[names.count - 2]
        let rogue = "00000002" + left.dropFirst(8)
        try source.run("cp", "\(source.wal)/\(left)", "\(source.wal)/\(rogue)")
        let low = Int(left.suffix(8), radix: 16) ?? 0
        try source.shop.write(
            "1\t0/\(String(low * (1 << 20) + 0x1000, radix: 16, uppercase: true))\tno recovery target specified\n",
            to: "wal/00000002.history")
        try source.drill(rows: 3)
        let ran = try source.drilled()
        #expect(ran.status == 2)
        #expect(ran.errors.contains("the archive has two histories: timeline 1 goes on to"), "\(ran.errors)")
        try source.drill(rows: 3, "timeline: 1")
        let chosen = try source.drilled()
        #expect(chosen.status == 0, "\(chosen.errors)")
        #expect(try report(source.shop).contains("Recovery followed timeline 1; the archive has others besides: 2."))
        try source.drill(rows: 3, "timeline: 9")
        let none = try source.drilled()
        #expect(none.status == 1)
        #expect(none.findings.contains("timeline 9 does not descend from the backup's timeline 1"), "\(none.findings)")
    }

    @Test(
        "wrong words are refused with their line before anything is made",
        arguments: [
            (
                "backup:", "backup:\n  target: 2026-11-14T14:30:05",
                "drill.yaml:3: backup.target: '2026-11-14T14:30:05' is neither"
            ),
            ("backup:", "backup:\n  target: { lsn: 0x30 }", "drill.yaml:3: backup.target.lsn: '0x30' is no LSN"),
            (
                "wal: wal", "wal: wal, archived_until: 2026-11-14T14:30:05",
                "archived_until: '2026-11-14T14:30:05' is no instant"
            ),
            ("wal: wal", "wal: wal, timeline: 0", "drill.yaml:3: backup.database.timeline: '0' is not"),
            ("wal: wal", "wal: ftp://x/y", "drill.yaml:3: backup.database.wal: nothing here reads 'ftp://x/y'"),
            (
                "wal: wal", "wal: wal, endpoint: \"http://127.0.0.1:1\"",
                "drill.yaml:3: backup.database.endpoint: means nothing here"
            ),
            ("wal: wal", "wal: wal, wall: x", "Did you mean `wal`?"),
            ("kind: base_backup, base: bases, wal: wal", "kind: pg_dump, path: x.dump", ""),
        ])
    func wrongWordsAreRefused(from: String, to: String, message: String) throws {
        let shop = try Workshop()
        try shop.folder("bases")
        try shop.folder("wal")
        try shop.write(
            """
            drill: pitr
            backup:
              database: { kind: base_backup, base: bases, wal: wal }
            scratch: { directory: scratch }
            probes: [ { name: rows, kind: sql, query: "select 1", expect: { min: 1 } } ]

            """.replacingOccurrences(of: from, with: to), to: "drill.yaml")
        let ran = try shop.muster(["run", "drill.yaml"] + (message.isEmpty ? ["--at", "lsn:0/1"] : []))
        #expect(ran.status == 64, "\(ran.errors)")
        #expect(ran.errors.contains(message.isEmpty ? "a dump knows no WAL location" : message), "\(ran.errors)")
        for wrong in ["2026-11-14T14:30:05", "lsn:x", "name:", "yesterday"] {
            let refused = try shop.muster(["run", "drill.yaml", "--at", wrong])
            #expect(refused.status == 64)
        }
        #expect(!shop.exists("reports"))
        #expect(try shop.leftInScratch.isEmpty)
    }

    private func instant(_ text: String) throws -> Date {
        try Date(String(text.prefix(19)) + "Z", strategy: .iso8601)
    }

    private func report(_ shop: Workshop) throws -> String {
        String(decoding: try shop.read("reports/pitr/report.json"), as: UTF8.self)
    }
}

/// Turns over one byte of a file.
private func flip(_ shop: Workshop, _ path: String, at offset: Int) throws {
    var bytes = try shop.read(path)
    bytes[bytes.startIndex + offset] ^= 0xFF
    try shop.write(bytes, to: path)
}
