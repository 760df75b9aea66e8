import DrillCore
import Testing

@testable import DrillPostgres

struct IntegrityProbeTests {
    @Test(
        "Settings that mean nothing are refused with the line and what is known",
        arguments: [
            ("level", scalar("deeper"), "drill.yaml:1"), ("ignore", words("orders"), "`orders` has no schema"),
            ("report", words("corruption"), "invalid_indexes"), ("databases", words(), "names no database"),
            ("min_relations", scalar("-1"), "drill.yaml:1"), ("depth", scalar("deep"), "level"),
        ])
    func wrongSettings(_ key: String, _ value: SettingsNode, _ word: String) {
        let error = #expect(throws: DrillError.self) {
            try IntegrityProbe(name: "intact", reader(IntegrityProbe.shape, [(key, value)]), probeContext)
        }
        #expect(error?.code == .usage)
        #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
    }

    @Test func theDefaultIsDeep() throws {
        let probe = try IntegrityProbe(name: "intact", reader(IntegrityProbe.shape, []), probeContext)
        #expect(probe.level == .deep)
        #expect(probe.reported == [.unvalidatedConstraint])
        #expect(IntegrityProbe.deepest(name: "after").level == .deep)
        let strict = try IntegrityProbe(name: "i", reader(IntegrityProbe.shape, [("report", words())]), probeContext)
        #expect(strict.reported.isEmpty)
    }

    @Test(
        "What the server says is a finding, or that we could not look",
        arguments: [
            ("XX001", "invalid page in block 3 of relation base/5/16384", true),
            ("XX001", "could not read block 5 in file \"base/5/16384\": read only 0 of 8192 bytes", true),
            ("XX002", "item order invariant violated for index \"t_pkey\"", true),
            ("XX000", "cache lookup failed for type 12345", true),
            ("XX000", "invalid memory alloc request size 18446744073709551613", true),
            ("XX000", "invalid memory alloc request size 1258291203", false),
            ("58P01", "could not open file \"base/5/16384\": No such file or directory", true),
            ("58P01", "could not access status of transaction 4026531840", true),
            ("58P01", "could not access file \"$libdir/postgis-3\": No such file or directory", false),
            ("58030", "could not read block 5 in file \"base/5/16384\": Input/output error", false),
            ("53100", "could not extend file \"base/5/16384\": No space left on device", false),
            ("57014", "canceling statement due to statement timeout", false),
            ("42501", "permission denied for table secret", false), ("22008", "timestamp out of range", false),
        ])
    func corruptionIsToldFromInability(_ state: String, _ message: String, _ isCorruption: Bool) {
        #expect(ServerComplaint.isCorruption(PostgresError(.server, message, sqlState: state)) == isCorruption)
    }

    @Test func aStoredValueThatCannotBePrintedIsCorrupt() {
        let error = PostgresError(.server, "timestamp out of range", sqlState: "22008")
        #expect(ServerComplaint.isCorruption(error, readingRows: true))
        #expect(!ServerComplaint.isCorruption(PostgresError(.connectionLost, "gone"), readingRows: true))
    }

    @Test(
        "Blocks and files are read out of messages",
        arguments: [
            ("invalid page in block 3 of relation base/5/16384", 3, "base/5/16384"),
            (
                "could not read block 131073 in file \"base/5/16384.1\": read only 0 of 8192 bytes", 131_073,
                "base/5/16384"
            ),
            (
                "invalid page in block 0 of relation pg_tblspc/16400/PG_15_202209061/5/16401_vm", 0,
                "pg_tblspc/16400/PG_15_202209061/5/16401"
            ),
            ("invalid page in block 1 of relation global/1262", 1, "global/1262"),
            ("3 invalid pages among blocks 5..9 of relation \"base/5/16384\"", 5, "base/5/16384"),
            ("missing chunk number 0 for toast value 16444 in pg_toast_16400", nil, nil),
        ] as [(String, Int64?, String?)])
    func placesInMessages(_ message: String, _ block: Int64?, _ path: String?) {
        #expect(ServerComplaint.block(message) == block)
        #expect(ServerComplaint.path(message) == path)
    }

    @Test func aCrashIsToldFromAKill() {
        let segmentation = "server.log: LOG:  server process (PID 71) was terminated by signal 11: Segmentation fault"
        #expect(IntegrityScope.crash(in: ["x", segmentation, "y"]) == segmentation)
        #expect(IntegrityScope.crash(in: ["LOG:  server process (PID 71) was terminated by signal 9: Killed"]) == nil)
        #expect(IntegrityScope.crash(in: []) == nil)
    }
}
