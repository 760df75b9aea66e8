import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite struct ArchiveTOCTests {
    /// Writes integers and texts as pg_dump does.
    struct Writer {
        var bytes: [UInt8] = Array("PGDMP".utf8)

        mutating func integer(_ value: Int) {
            bytes.append(value < 0 ? 1 : 0)
            let magnitude = abs(value)
            for shift in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: magnitude >> shift)) }
        }

        mutating func text(_ text: String?) {
            guard let text else { return integer(-1) }
            integer(text.utf8.count)
            bytes += Array(text.utf8)
        }

        mutating func header(minor: UInt8, format: UInt8 = 1) {
            bytes += [1, minor, 0, 4, 8, format]
            if minor >= 15 { bytes.append(3) } else { integer(-1) }
            for part in [5, 4, 3, 14, 10, 126, 0] { integer(part) }
            for part in ["app", "17.2", "17.2 (Debian)"] { text(part) }
        }

        mutating func entry(minor: UInt8, kind: String, tag: String, offset: Int64, file: String? = nil) {
            integer(7)
            integer(1)
            for part in ["0", "16391", tag, kind] { text(part) }
            integer(2)
            for part in ["CREATE", "DROP", "COPY"] { text(part) }
            text("public")
            text("")
            if minor >= 14 { text("heap") }
            if minor >= 16 { integer(114) }
            text("owner")
            text("false")
            text("3")
            text(nil)
            if let file {
                text(file)
            } else {
                bytes.append(2)
                for shift in stride(from: Int64(0), to: 64, by: 8) {
                    bytes.append(UInt8(truncatingIfNeeded: offset >> shift))
                }
            }
        }
    }

    private func archive(minor: UInt8, format: UInt8 = 1, file: String? = nil) -> [UInt8] {
        var writer = Writer()
        writer.header(minor: minor, format: format)
        writer.integer(1)
        writer.entry(minor: minor, kind: "TABLE DATA", tag: "users", offset: 4242, file: file)
        return writer.bytes
    }

    @Test(arguments: UInt8(12)...16)
    func eachVersionIsRead(minor: UInt8) throws {
        let toc = try ArchiveTOC(archive(minor: minor) + [9, 9, 9])
        #expect(toc.header.version == [1, Int(minor), 0])
        #expect(toc.header.compression == (minor >= 15 ? "zstd" : "gzip"))
        #expect(toc.header.created == ClockReading(year: 2026, month: 11, day: 14, hour: 3, minute: 4, second: 5))
        #expect(toc.header.databaseName == "app")
        #expect(toc.header.dumpMajorVersion == 17)
        let entry = try #require(toc.entries.first)
        #expect(entry.qualifiedTag == "public.users")
        #expect(entry.owner == "owner")
        #expect(entry.tablespace == nil)
        #expect(entry.dependencies == [3])
        #expect(entry.data == .block(offset: 4242))
    }

    @Test func aFileNameThatLeadsElsewhereIsRefusedPitfallX4() {
        for name in ["../../etc/passwd", "/etc/passwd", "a/b.dat", ".hidden"] {
            #expect(throws: ArchiveError.self) { _ = try ArchiveTOC(archive(minor: 14, format: 3, file: name)) }
        }
    }

    @Test func aNewerArchiveIsNamed() {
        #expect(throws: ArchiveError.unknownVersion("1.17.0")) { _ = try ArchiveTOC(archive(minor: 17)) }
    }

    @Test(arguments: UInt8(12)...16)
    func everyTruncationIsAnErrorWithItsOffset(minor: UInt8) {
        let whole = archive(minor: minor)
        for count in 0..<whole.count {
            #expect {
                _ = try ArchiveTOC(Array(whole[..<count]))
            } throws: { error in
                if case .truncated(let offset)? = error as? ArchiveError { offset <= count } else { false }
            }
        }
    }

    /// An answer or an error, never a trap and never a wait for memory.
    @Test(arguments: UInt64(1)...4)
    func mutatedArchivesNeverTrap(seed: UInt64) {
        var random = SeededRandom(state: seed)
        for minor in UInt8(12)...16 {
            let sound = archive(minor: minor)
            for _ in 0..<1000 {
                let bytes = random.mutated(sound, palette: [0, 1, 0x7F, 0x80, 0xFF])
                do {
                    #expect(try ArchiveTOC(bytes).endOffset <= bytes.count)
                } catch {
                    #expect(!error.what.isEmpty)
                }
            }
        }
    }

    @Test func aClockReadingIsReadInItsZone() throws {
        let reading = ClockReading(year: 2026, month: 7, day: 1, hour: 2, minute: 0, second: 0)
        let berlin = try #require(TimeZone(identifier: "Europe/Berlin"))
        let utc = try #require(TimeZone(secondsFromGMT: 0))
        #expect(reading.instant(in: utc) == Date(timeIntervalSince1970: 1_782_871_200))
        #expect(reading.instant(in: berlin) == Date(timeIntervalSince1970: 1_782_871_200 - 7200))
        #expect(ClockReading(year: 2026, month: 13, day: 1, hour: 2, minute: 0, second: 0).instant(in: utc) == nil)
    }
}

@Suite(.needs(.postgres)) struct ArchiveTOCIntegrationTests {
    /// What `pg_restore -l` prints of each entry, against what is read here.
    @Test(arguments: ["c", "d", "t"])
    func entriesAreThoseThatPgRestoreLists(format: String) async throws {
        let schema = """
            CREATE EXTENSION pgcrypto; CREATE TABLE public.a (id int PRIMARY KEY, b text); COMMENT ON TABLE public.a IS 'x';
            GRANT SELECT ON public.a TO pg_monitor; CREATE VIEW public.v AS SELECT * FROM public.a;
            CREATE MATERIALIZED VIEW public.m AS SELECT 1 AS one; CREATE SEQUENCE public.s; SELECT lo_create(0);
            """
        try await TestServer.withDatabase(schema) { source in
            try await RestoreFixture.with { fixture in
                let path = try await fixture.dump(source, ["-F\(format)"])
                let listing = try await fixture.run("pg_restore", ["--list", path])
                let facts = try await DumpInspector(folder: LocalFolder(directory: fixture.folder), path: "db.dump")
                    .facts()
                let toc = try #require(facts.toc)
                let hidden = ["ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE"]
                let read = toc.entries.filter { !hidden.contains($0.kind) }.map { entry in
                    "\(entry.dumpID); \(entry.kind) \(entry.namespace ?? "-") \(entry.tag) \(entry.owner)"
                }
                let listed = listing.split(separator: "\n").filter { !$0.hasPrefix(";") }.map { line in
                    // `216; 1259 16391 TABLE public a own1`
                    let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
                    return "\(words[0]) \(words[3])"
                }
                #expect(listed.count > 10)
                #expect(Set(read) == Set(listed))
                #expect(listing.contains("Dumped by pg_dump version: \(toc.header.dumpVersion)"))
                let needs = DumpRequirements(toc)
                #expect(needs.extensions == ["pgcrypto"])
                #expect(needs.predefinedRoles == ["pg_monitor"])
                #expect(needs.database?.encoding == "UTF8")
            }
        }
    }
}
