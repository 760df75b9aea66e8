import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// What the tools wrote, as it was recorded: pgBackRest 2.45, Barman 3.4.0; WAL-G's as its project's own tests have it.
struct ToolOutputTests {
    private func result(_ text: String, errors: String = "", status: Int32 = 0) -> ToolResult {
        ToolResult(program: "tool", ending: .exited(status), output: Array(text.utf8), wasCut: false, errors: errors)
    }

    private static let info = """
        [{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1","max":"000000010000000000000010","min":"000000010000000000000008"}],
        "backup":[{"archive":{"start":"000000010000000000000009","stop":"000000010000000000000009"},"backrest":{"format":5,
        "version":"2.45"},"database":{"id":1,"repo-key":1},"error":false,"info":{"delta":23058189,"repository":{"delta":3058326,
        "size":3058326},"size":23058189},"label":"20261126-073800F","lsn":{"start":"0/900028","stop":"0/900138"},"prior":null,
        "reference":null,"timestamp":{"start":1795678680,"stop":1795678685},"type":"full"},{"archive":{
        "start":"00000001000000000000000E","stop":"00000001000000000000000F"},"backrest":{"format":5,"version":"2.45"},"database":
        {"id":1,"repo-key":1},"error":ERROR,"info":{"delta":49440,"repository":{"delta":948,"size":3058427},"size":23058189},
        "label":"20261126-073800F_20261126-073809D","lsn":{"start":"0/E00028","stop":"0/F00050"},"prior":"20261126-073800F",
        "reference":["REFERENCE"],"timestamp":{"start":1795678689,"stop":1795678691},"type":"diff"}],"cipher":"none","db":[{
        "id":1,"repo-key":1,"system-id":17712381140730353156,"version":"15"}],"name":"main","repo":[{"cipher":"none","key":1,
        "status":{"code":0,"message":"ok"}}],"status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]
        """

    private func stanza(error: Bool = false, reference: String = "20261126-073800F") throws -> PgBackRestStanza {
        let text = Self.info.replacing("ERROR", with: "\(error)").replacing("REFERENCE", with: reference)
        return try #require(try result(text).decoded([PgBackRestStanza].self, at: "here").first)
    }

    @Test("pgbackrest info: labels, instants, LSNs, sizes, a system identifier beyond 2^63 (P17)")
    func pgBackRestInfo() throws {
        let backups = try stanza().backups(in: nil)
        #expect(backups.map(\.label) == ["20261126-073800F", "20261126-073800F_20261126-073809D"])
        let diff = backups[1]
        #expect(diff.type == "diff")
        #expect(diff.state == .done)
        #expect(diff.stoppedAt == parseInstant("2026-11-26T07:38:11Z"))
        #expect(diff.start == LSN("0/E00028"))
        #expect(diff.startSegment?.timeline == 1)
        #expect(diff.segmentBytes == 1 << 20)
        #expect(diff.sizeBytes == 23_058_189)
        #expect(diff.storedBytes == 3_058_427)
        #expect(diff.major == 15)
        #expect(diff.systemIdentifier == 17_712_381_140_730_353_156)
        #expect(diff.archive == "15-1")
        #expect(diff.repository == 1)
        #expect(try stanza().backups(in: 2).isEmpty)
    }

    @Test func pgBackRestRefusals() throws {
        #expect(
            try stanza(error: true).backups(in: nil)[1].state
                == .refused("pgBackRest says `error: true`: pages with wrong checksums were found while it was made"))
        #expect(
            try stanza(reference: "20261125-000000F").backups(in: nil)[1].state
                == .refused("it builds on the backup 20261125-000000F, which is not in the repository"))
    }

    @Test(
        "A tool's error is never the end of the archive: only the classes that speak of the file are the backup's fault (P15)"
    )
    func pgBackRestFaults() {
        for status: Int32 in [26, 29, 55, 75, 99] { #expect(PgBackRestFault.isOfBackup(status: status)) }
        for status: Int32 in [1, 31, 32, 37, 38, 41, 49, 53, 56, 63, 101, 103, 122] {
            #expect(!PgBackRestFault.isOfBackup(status: status))
        }
        #expect(!PgBackRestFault.isOfBackup(status: nil))
        #expect(PgBackRestFault.isOfBackup(message: "repo1: x.gz [FormatError] unexpected eof in compressed data"))
        #expect(!PgBackRestFault.isOfBackup(message: "repo1: [HostConnectError] timeout connecting to 'backup:8432'"))
    }

    @Test func whatFailedIsToldInTheToolsWords() {
        let errors =
            "WARN: old\nERROR: [042]: unable to get 00000001000000000000000A:\n       repo1: a.gz [FormatError] unexpected eof\n"
        #expect(
            result("", errors: errors, status: 42).firstWords
                == "ERROR: [042]: unable to get 00000001000000000000000A: repo1: a.gz [FormatError] unexpected eof")
        #expect(result("", status: 3).firstWords == "tool exited with status 3")
    }

    @Test func pgBackRestArchiveNames() {
        let hash = String(repeating: "a", count: 40)
        #expect(
            PgBackRestWAL.name("0000000100000000/00000001000000000000000A-\(hash).gz") == "00000001000000000000000A")
        #expect(
            PgBackRestWAL.name("0000000100000000/00000001000000000000000A.partial-\(hash)")
                == "00000001000000000000000A.partial")
        #expect(PgBackRestWAL.name("00000002.history") == "00000002.history")
        #expect(
            PgBackRestWAL.name("0000000100000000/000000010000000000000009.00000028.backup")
                == "000000010000000000000009.00000028.backup")
        #expect(PgBackRestWAL.name("archive.info") == nil)
    }

    private static let barmanList = """
        {"_WARNING": ["Invalid configuration option"], "main": [{"backup_id": "20261126T074404",
        "end_time": "Thu Nov 26 07:44:08 2026", "end_time_timestamp": "1795679048", "retention_status": "-", "size": "22.1 MiB",
        "size_bytes": 23198714, "status": "DONE", "tablespaces": [{"location": "/spc", "name": "spc"}], "wal_size": "0 B",
        "wal_size_bytes": 0}, {"backup_id": "20261126T074350", "status": "FAILED"}]}
        """

    @Test func barmanList() throws {
        let listed = try BarmanListed.backups(result(Self.barmanList), server: "main", at: "here")
        let rules = SetRules(
            now: Date(timeIntervalSince1970: 1_795_700_000), settle: SetRules.standardSettle, target: .latest)
        let backups = listed.map { $0.backup(writtenAt: nil, rules) }
        #expect(backups.map(\.label) == ["20261126T074404", "20261126T074350"])
        #expect(backups[0].stoppedAt == parseInstant("2026-11-26T07:44:08Z"))
        #expect(backups[0].state == .done)
        #expect(backups[1].state == .refused("Barman says FAILED"))
        let empty = try BarmanListed.backups(result(#"{"main": []}"#), server: "main", at: "here")
        #expect(empty.isEmpty)
    }

    @Test(
        "How long Barman may take is what `settle` says",
        arguments: [(600, 300.0, true), (600, 700, false), (3600, 700, true), (0, 0, false), (600, -400, false)])
    func barmanSettles(settle: Int, age: Double, isRunning: Bool) {
        let now = Date(timeIntervalSince1970: 1_795_700_000)
        let rules = SetRules(now: now, settle: .seconds(settle), target: .latest)
        for status in ["STARTED", "WAITING_FOR_WALS"] {
            let state = BarmanListed.state(status, since: now.addingTimeInterval(-age), rules)
            if case .running = state { #expect(isRunning) } else { #expect(!isRunning, "\(state)") }
        }
    }

    @Test("Barman's messages are no backups, and its errors no empty catalog (V1)")
    func barmanErrors() throws {
        let unknown = #expect(throws: DrillError.self) {
            try BarmanListed.backups(
                result(#"{"_ERROR": ["Unknown server 'mian'"]}"#, status: 1), server: "mian", at: "here")
        }
        #expect(unknown?.code == .couldNotLook)
        #expect(unknown?.what == "Barman says: Unknown server 'mian'")
        let damaged = #expect(throws: DrillError.self) {
            try BarmanListed.backups(
                result(
                    #"{"_EXCEPTION": ["invalid line garbage in file /b/main/base/x/backup.info\nSee log"], "main": []}"#,
                    status: 1),
                server: "main", at: "here")
        }
        #expect(damaged?.code == .backupUnusable)
        #expect(throws: DrillError.self) {
            try BarmanListed.backups(result("Traceback (most recent call last)", status: 1), server: "main", at: "here")
        }
    }

    @Test func barmanShow() throws {
        let text = """
            {"main": {"backup_id": "20261126T074350", "base_backup_information": {"begin_lsn": "0/B00028", "begin_time":
            "2026-11-26 07:43:50.117679+00:00", "begin_time_timestamp": "1795679030", "begin_wal": "00000001000000000000000B",
            "disk_usage_bytes": 23196368, "end_lsn": "0/C00060", "end_time_timestamp": "1795679033", "end_wal":
            "00000001000000000000000C", "incremental_size_bytes": 23196360, "timeline": 1}, "postgresql_version": 150018,
            "status": "DONE", "tablespaces": [{"location": "/spc", "name": "spc", "oid": 16390}],
            "wal_information": {"compression_ratio": 0, "timelines": []}}}
            """
        let shown = try BarmanAnswer<BarmanShown>(result(text), server: "main", at: "here").value
        let backup = shown.complete(ToolBackup(label: "20261126T074350"))
        #expect(backup.start == LSN("0/B00028"))
        #expect(backup.stop == LSN("0/C00060"))
        #expect(backup.stopSegment?.name == "00000001000000000000000C")
        #expect(backup.version == "15.18")
        #expect(backup.major == 15)
        #expect(backup.startedAt == parseInstant("2026-11-26T07:43:50Z"))
        #expect(backup.tablespaces == ["spc"])
    }

    @Test("wal-g backup-list: numbers as LSNs, deltas by name, a delta without its base refused")
    func walGList() throws {
        let text = """
            [{"backup_name": "base_0000004300000388000000BD", "time": "2025-12-30T10:10:43.196Z", "wal_file_name":
            "0000004300000388000000BD", "storage_name": "default", "start_time": "2025-12-30T10:10:29.014787Z", "finish_time":
            "2025-12-30T10:10:42.988768Z", "date_fmt": "%Y-%m-%dT%H:%M:%S.%fZ", "hostname": "db", "data_dir": "/pgroot/data",
            "pg_version": 150015, "start_lsn": 3885821329448, "finish_lsn": 3885821483056, "is_permanent": false,
            "system_identifier": 7507672962298572862, "uncompressed_size": 2792572624, "compressed_size": 932195603},
            {"backup_name": "base_0000004300000388000000BF_D_0000004300000388000000BD", "wal_file_name":
            "0000004300000388000000BF", "start_time": "2025-12-30T10:12:03.983685Z", "finish_time":
            "2025-12-30T12:12:05.576519+02:00", "pg_version": 150015, "start_lsn": 3885854883880, "finish_lsn": 3885854891800,
            "system_identifier": 7507672962298572862, "uncompressed_size": 2033506, "compressed_size": 711409}]
            """
        let listed = try result(text).decoded([WalGBackup].self, at: "here")
        let names = Set(listed.map(\.name))
        let full = listed[0].backup(among: names), delta = listed[1].backup(among: names)
        #expect(full.type == "full")
        #expect(full.startSegment?.timeline == 0x43)
        #expect(full.start == LSN("388/BD000028"))
        #expect(full.segmentBytes == 16 << 20)
        #expect(full.stopSegment?.name == "0000004300000388000000BD")
        #expect(full.version == "15.15")
        #expect(delta.type == "delta")
        #expect(delta.reference == ["base_0000004300000388000000BD"])
        #expect(delta.stoppedAt == parseInstant("2025-12-30T10:12:05.576519Z"))
        #expect(
            listed[1].backup(among: [listed[1].name]).state
                == .refused("it builds on the backup base_0000004300000388000000BD, which is not in the storage"))
    }

    @Test func walGTimelines() throws {
        let text = """
            [{"id": 2, "parent_id": 1, "switch_point_lsn": 536870912, "start_segment": "0000000200000000000000FE",
            "end_segment": "000000020000000100000001", "segments_count": 3, "missing_segments": ["0000000200000000000000FF"],
            "segment_range_size": 4, "status": "LOST_SEGMENTS"}]
            """
        let timeline = try #require(try result(text).decoded([WalGTimeline].self, at: "here").first)
        #expect(
            timeline.names == [
                "00000002.history", "0000000200000000000000FE", "000000020000000100000000", "000000020000000100000001",
            ])
    }

    @Test("What a tool says is kept without its secrets (X2)")
    func redaction() throws {
        let source = DrillFileSource(path: "drill.yaml", directory: "/", variables: [:])
        let reader = try SettingsReader(
            SettingsNode(.mapping([]), line: 1), shape: SettingsShape("", ToolProgram.fields), path: "database",
            source: source)
        let variables = [
            "PGBACKREST_REPO1_S3_KEY_SECRET": "canary", "PGBACKREST_REPO1_PATH": "/backups", "HOME": "/root",
        ]
        let environment = DrillEnvironment.fake(variables: variables)
        let context = PartContext(
            environment: environment, drillFileDirectory: "/", hasSets: false,
            scratch: ScratchSettings(directory: "/var/tmp", keep: .never))
        let program = try ToolProgram(
            "pgbackrest", installation: [], reader, context, environmentPrefixes: ["PGBACKREST_REPO"])
        #expect(program.variables.keys.sorted() == ["PGBACKREST_REPO1_PATH", "PGBACKREST_REPO1_S3_KEY_SECRET"])
        #expect(
            program.redacted("put canary into /backups of s3://me:pw@host as password=abc now")
                == "put <redacted> into /backups of s3://me:<redacted>@host as password=<redacted> now")
    }

    @Test func sourceGuardSeesScratchInsideASource() {
        let sources = SourceGuard(sources: [.init(what: "the repository", directory: "/var/lib/pgbackrest")])
        #expect(sources.refusal(scratch: "/var/lib/pgbackrest/tmp") != nil)
        #expect(sources.refusal(scratch: "/var/lib/pgbackrest/../pgbackrest/") != nil)
        #expect(sources.refusal(scratch: "/var/lib/pgbackrest-scratch") == nil)
        #expect(sources.refusal(scratch: "/var/lib") == nil)
    }

    @Test func configurationsAreReadAsTheToolsReadThem() {
        let configuration = ToolConfiguration(
            "[global]\n# a note\nrepo1-path = /a\nrepo1-path=/b\n[main]\npg1-path=\"/data\"\n; pg2-path=/no\n[main:restore]\ndelta=y\n"
        )
        #expect(configuration.sections["global"] == ["repo1-path": "/b"])
        #expect(configuration.values(in: ["main"]) { $0.hasPrefix("pg") }.map(\.value) == ["/data"])
    }
}
