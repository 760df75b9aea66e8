import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// WAL-G's own program is in no package here: a script stands in for it that answers as its manual and source say, over a real
/// base backup and real WAL. What the real program does beyond that is not tested.
@Suite(.needs(.postgres)) struct WalGStandInTests {
    private static let standIn = """
        #!/usr/bin/python3
        import json, os, pathlib, shutil, sys
        root = pathlib.Path(os.environ["WALG_FILE_PREFIX"])
        words = [word for word in sys.argv[1:] if not word.startswith("--")]
        wal = sorted(p.name for p in (root / "wal_005").iterdir() if len(p.name) == 24)
        def die(text, status=1):
            print("ERROR: 2026/11/14 02:30:00.000000 " + text, file=sys.stderr)
            sys.exit(status)
        if words[0] == "backup-list":
            assert sys.argv[2:] == ["--detail", "--json"]
            text = (root / "list.json").read_text()
            if json.loads(text):
                print(text)
            else:
                print("INFO: 2026/11/14 02:30:00.000000 No backups found", file=sys.stderr)
        elif words[0] == "wal-show":
            number = lambda name: int(name[8:16], 16) * 4096 + int(name[16:], 16)
            name = lambda n: "00000001%08X%08X" % (n // 4096, n % 4096)
            first, last = number(wal[0]), number(wal[-1])
            missing = [name(n) for n in range(first, last + 1) if name(n) not in wal]
            print(json.dumps([{"id": 1, "parent_id": 0, "switch_point_lsn": 0, "start_segment": wal[0],
                "end_segment": wal[-1], "segments_count": len(wal), "missing_segments": missing,
                "segment_range_size": last - first + 1, "status": "LOST_SEGMENTS" if missing else "OK"}]))
        elif words[:2] == ["st", "cat"]:
            print((root / words[2]).read_text())
        elif words[0] == "backup-fetch":
            source, target = root / "basebackups_005" / words[2], pathlib.Path(words[1])
            if not source.is_dir():
                die("Backup '%s' does not exist" % words[2])
            spec = json.loads(pathlib.Path(words[3]).read_text())
            shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, ignore=lambda d, names: ["spaces"])
            for number in spec["tablespaces"]:
                place = spec[number]
                (target / place["link"]).unlink(missing_ok=True)
                shutil.copytree(source / "spaces" / number, place["loc"])
                (target / place["link"]).symlink_to(place["loc"])
        elif words[0] == "wal-fetch":
            file = root / "wal_005" / words[1]
            if not file.exists():
                die("Archive '%s' does not exist." % words[1], 74)
            if file.stat().st_size == 0:
                die("DownloadAndDecompressWALFile: unexpected EOF")
            shutil.copy(file, words[2])
        """

    private func withStorage(
        _ body: (ToolSource, _ commits: [Date], _ lsn: String, _ label: String) async throws -> Void
    ) async throws {
        try await ToolSource.with("wal-g", archiving: "cp \"$1\" FOLDER/repo/wal_005/\"$2\"") { source in
            let account = source.cluster.account
            for name in ["wal_005", "basebackups_005"] { try account.makeFolder(source.repository + "/" + name) }
            try source.write("wal-g", Self.standIn, mode: 0o755)
            try await source.placeInTablespace()
            _ = try await source.cluster.commitRow(1)
            let made = source.repository + "/basebackups_005/made"
            try await source.run(
                source.cluster.tools.path("pg_basebackup"),
                [
                    "-h", source.cluster.folder, "-U", "postgres", "-D", made, "-c", "fast", "-X", "none", "--no-sync",
                    "--no-manifest", "-T", "\(source.folder)/spc=\(made)-spc",
                ])
            let bytes = try #require(FileManager.default.contents(atPath: made + "/backup_label"))
            let label = try #require(BackupLabel([UInt8](bytes)))
            let name = "base_\(label.startSegment.name)"
            let files = FileManager.default
            let number = try #require(try files.contentsOfDirectory(atPath: made + "/pg_tblspc").first)
            let (commits, lsn) = try await source.history(from: 2)
            // The segment behind the backup's first holds its end.
            let stop = LSN(label.start.value + (1 << 20))
            let now = rfc3339(Date(microseconds: commits[0].microseconds - 1_000_000))
            let system = try await source.cluster.sql("SELECT system_identifier FROM pg_control_system()") ?? ""
            let storage = source.repository + "/basebackups_005"
            try files.moveItem(atPath: made, toPath: "\(storage)/\(name)")
            try account.makeFolder("\(storage)/\(name)/spaces")
            try files.moveItem(atPath: made + "-spc", toPath: "\(storage)/\(name)/spaces/\(number)")
            try source.write(
                "repo/basebackups_005/\(name)_backup_stop_sentinel.json",
                """
                {"LSN": \(label.start.value), "PgVersion": 150018, "Spec": {"base_prefix": "\(source.cluster.dataDirectory)",
                "tablespaces": ["\(number)"], "\(number)": {"loc": "FOLDER/spc", "link": "pg_tblspc/\(number)"}}}
                """)
            try source.write(
                "repo/list.json",
                """
                [{"backup_name": "\(name)", "time": "\(now)", "wal_file_name": "\(label.startSegment.name)",
                "storage_name": "default", "start_time": "\(now)", "finish_time": "\(now)", "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ",
                "hostname": "db", "data_dir": "/pgroot/data", "pg_version": 150018, "start_lsn": \(label.start.value),
                "finish_lsn": \(stop.value), "is_permanent": false, "system_identifier": \(system),
                "uncompressed_size": 23058189, "compressed_size": 3058326}]
                """)
            try await body(source, commits, lsn, name)
        }
    }

    private func settings(_ source: ToolSource) -> [String: String] {
        ["program": source.folder + "/wal-g", "prefix": source.repository]
    }

    @Test(
        "WAL-G (stand-in): T is exact, tablespaces are led into scratch, exit 74 alone is the end of the archive (P14, P15, P20)"
    )
    func standInIsRestored() async throws {
        try await withStorage { source, commits, lsn, label in
            let before = try await source.fingerprint(source.folder + "/spc")
            try await source.reaches(WalG.self, settings(source), commits, lsn: lsn, ["latest", "instant"])
            #expect(try await source.fingerprint(source.folder + "/spc") == before)
            let restorer = try source.restorer(WalG.self, settings(source))
            let sets = try await source.sets(restorer)
            #expect(sets.map(\.id) == [label])
            #expect(sets[0].facts.contains { $0 == ("type", "full") })

            let wal = source.repository + "/wal_005"
            let segments = try FileManager.default.contentsOfDirectory(atPath: wal).filter { WALSegment($0) != nil }
                .sorted()
            let name = segments[segments.count - 2]
            let whole = try #require(FileManager.default.contents(atPath: "\(wal)/\(name)"))
            let target = RecoveryTarget.instant(commits[2])
            try Data().write(to: URL(fileURLWithPath: "\(wal)/\(name)"))
            let torn = await source.failure(try source.restorer(WalG.self, settings(source), target), target)
            #expect(torn?.code == .backupUnusable)
            #expect(torn?.description.contains(name) == true)
            try FileManager.default.removeItem(atPath: "\(wal)/\(name)")
            let gap = await source.failure(try source.restorer(WalG.self, settings(source), target), target)
            #expect(gap?.code == .backupUnusable)
            #expect(gap?.what.hasPrefix("the WAL segment \(name) (timeline 1) is missing") == true)
            try whole.write(to: URL(fileURLWithPath: "\(wal)/\(name)"))

            try FileManager.default.removeItem(
                atPath: "\(source.repository)/basebackups_005/\(label)_backup_stop_sentinel.json")
            let blind = await source.failure(restorer)
            #expect(blind?.code == .couldNotLook)
            try source.write("repo/list.json", "[]")
            #expect(try await source.sets(restorer).isEmpty)
        }
    }
}
