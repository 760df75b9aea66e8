import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres)) struct PgDumpRestorerIntegrationTests {
    static let schema = """
        CREATE TABLE public.users (id int PRIMARY KEY, key text);
        INSERT INTO public.users SELECT n, 'key ' || n FROM generate_series(1, 2000) n;
        CREATE SCHEMA "odd ""schema"; CREATE TABLE "odd ""schema"."tab le" (a text);
        INSERT INTO "odd ""schema"."tab le" VALUES (E'\\\\.'), (E'two\\nlines\\t'), (NULL), ('');
        CREATE TABLE public.empty (a int);
        CREATE FUNCTION public.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
        SELECT lo_from_bytea(0, 'large');
        """

    /// Name, options of pg_dump, and what packs it.
    static let formats: [(name: String, options: [String], packer: String?)] = [
        ("custom", ["-Fc"], nil), ("directory", ["-Fd"], nil), ("tar", ["-Ft"], nil), ("plain", ["-Fp"], nil),
        ("plain with create", ["-Fp", "--create", "--verbose"], nil), ("inserts", ["-Fp", "--inserts"], nil),
        ("plain by gzip", ["-Fp"], "gzip"), ("plain by zstd", ["-Fp"], "zstd"), ("custom by gzip", ["-Fc"], "gzip"),
        ("plain by lz4", ["-Fp"], "lz4"), ("tar by xz", ["-Ft"], "xz"), ("plain by bzip2", ["-Fp"], "bzip2"),
    ]

    @Test(arguments: formats.indices)
    func everyFormatRestoresWithItsRows(_ index: Int) async throws {
        let (_, options, packer) = Self.formats[index]
        try await TestServer.withDatabase(Self.schema) { source in
            try await RestoreFixture.with { fixture in
                let path = try await fixture.dump(source, options)
                if let packer {
                    let ending = ["gzip": ".gz", "zstd": ".zst", "lz4": ".lz4", "xz": ".xz", "bzip2": ".bz2"][packer]
                    let packed = try path + #require(ending)
                    switch packer {
                    // Without a terminal it would write to standard output.
                    case "lz4": try await fixture.run(packer, ["-q", "--rm", path, packed])
                    case "zstd": try await fixture.run(packer, ["-q", "--rm", path])
                    default: try await fixture.run(packer, [path])
                    }
                    try FileManager.default.moveItem(atPath: packed, toPath: path)
                }
                let restorer = try fixture.restorer()
                #expect(try await restorer.examine(fixture.set()).state == .usable)
                try await fixture.restored(restorer) { restored async throws in
                    let rows = try await restored.database.rows(
                        "SELECT a FROM \"odd \"\"schema\".\"tab le\" ORDER BY a COLLATE \"C\"", searchPath: [],
                        limit: 10)
                    #expect(rows.rows == [[""], ["\\."], ["two\nlines\t"], [nil]])
                    let large = try await restored.database.rows(
                        "SELECT count(*) FROM pg_largeobject_metadata", searchPath: [], limit: 1)
                    #expect(large.rows == [["1"]])
                    let counts = Dictionary(uniqueKeysWithValues: restored.rowCounts.map { ($0.table, $0.rows) })
                    #expect(counts == ["public.users": 2000, "odd \"schema.tab le": 4, "public.empty": 0])
                    #expect(restored.logs["restore.log"]?.isEmpty == false)
                }
                #expect(try fixture.serverProcesses().isEmpty)
                #expect(fixture.journal.left.isEmpty)
            }
        }
    }
}
