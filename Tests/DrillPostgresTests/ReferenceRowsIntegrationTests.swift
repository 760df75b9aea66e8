import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

@Suite(.needs(.postgres), .timeLimit(.minutes(3)))
struct ReferenceRowsIntegrationTests {
    @Test func everyColumnArrives() async throws {
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (id int PRIMARY KEY, key text, bucket text, bytes int, sum text, raw bytea, version text,
                at timestamptz, local timestamp);
            INSERT INTO files VALUES
                (7, 'b', 'two', 5, 'ab', '\\xff00', 'v1', '2026-11-14 14:30:05.000001+02', '2026-11-14 12:30:05.000001'),
                (-3, 'a', 'two', NULL, NULL, NULL, NULL, NULL, NULL),
                (9, 'z', 'one', 9, '', '', '', 'infinity', '-infinity'),
                (1, NULL, 'one', 1, 'x', 'x', 'x', now(), now()),
                (2, 'n', NULL, 1, 'x', 'x', 'x', '1970-01-01Z', '1970-01-01');
            """
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            var query = table("public.files")
            query.bucketColumn = "bucket"
            query.size = "bytes"
            query.checksum = "sum"
            query.version = "version"
            query.changedAt = "at"
            let instant: Int64 = 1_794_659_405_000_001
            let expected = [
                Reference(key: "n", size: 1, checksum: [120], version: "x", changed: 0, id: "2"),
                Reference(bucket: "one", key: "z", size: 9, checksum: [], version: "", id: "9"),
                Reference(bucket: "two", key: "a", id: "-3"),
                Reference(
                    bucket: "two", key: "b", size: 5, checksum: Array("ab".utf8), version: "v1", changed: instant,
                    id: "7"),
            ]
            #expect(try await database.all(query) == expected)
            query.checksum = "raw"
            query.changedAt = "local"
            let other = try await database.all(query)
            #expect(other.map(\.checksum) == [[120], [], nil, [255, 0]])
            #expect(other.map(\.changed) == [0, nil, nil, instant])
        }
    }

    @Test(
        "A size is never rounded, whatever the column's type",
        arguments: [
            ("numeric", "'5.4'"), ("numeric(10, 2)", "'5.4'"), ("float4", "'5.4'"), ("float8", "'5.4'"),
            ("jsonb", "'5.4'"), ("fraction", "'5.4'"), ("numeric", "'NaN'"), ("float8", "'NaN'"),
            ("float8", "'infinity'"), ("numeric", "'1e30'"), ("float8", "'1e30'"),
        ])
    func sizesAreNotRounded(type: String, value: String) async throws {
        try await TestServer.withDatabase(
            """
            CREATE DOMAIN fraction AS numeric;
            CREATE TABLE files (key text, bytes \(type));
            INSERT INTO files VALUES ('a', \(value)), ('b', '5'), ('c', NULL);
            """
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            for size in ["bytes", "(bytes)"] {
                var query = table("public.files")
                query.size = size
                let stream = try await database.references(query)
                let batch = try #require(try await stream.next())
                #expect(batch.sizes == [ReferenceBatch.noSize, 5, .min])
                let shown = value.contains("1e30") ? "30 bytes" : "which is no whole number"
                let expected = String(decoding: batch.oddSizes[0], as: UTF8.self)
                #expect(expected.contains(shown) || expected == "1\(String(repeating: "0", count: 30)) bytes")
                #expect(batch.oddSizes[1].isEmpty && batch.oddSizes[2].isEmpty)
                await stream.cancel()
            }
        }
    }

    @Test("Sizes of integer columns stream as they always did", arguments: ["int2", "int4", "int8", "text"])
    func sizesOfIntegers(type: String) async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE files (key text, bytes \(type)); INSERT INTO files VALUES ('a', '5'), ('b', '-5'), ('c', NULL)"
        ) { parameters in
            var query = table("public.files")
            query.size = "bytes"
            let stream = try await PostgresDatabase.open(parameters).references(query)
            let batch = try #require(try await stream.next())
            #expect(batch.sizes == [5, -5, .min])
            #expect(batch.oddSizes.isEmpty)
            await stream.cancel()
        }
    }

    @Test("Order is that of bytes in any collation (S4)", arguments: ["C.UTF-8", "C"])
    func orderIsThatOfBytes(_ locale: String) async throws {
        let icu = "TEMPLATE template0 ENCODING 'UTF8' LOCALE '\(locale)' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (key varchar(20) PRIMARY KEY);
            INSERT INTO files VALUES ('a-1'), ('a1'), ('A1'), ('á'), ('B'), ('_'), (E'caf\\u00e9'), (E'cafe\\u0301'),
                (E'line\\nbreak'), (''), ('ÿ'), ('😀'), ('');
            """.replacingOccurrences(of: ", ('');", with: ";"), options: locale == "C" ? icu : ""
        ) { parameters in
            let keys = try await PostgresDatabase.open(parameters).all(table("public.files")).map { Array($0.key.utf8) }
            #expect(keys.count == 12)
            #expect(zip(keys, keys.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) })
            #expect(keys.contains(Array("cafe\u{301}".utf8)) && keys.contains(Array("caf\u{e9}".utf8)), "S1")
            #expect(keys.contains(Array("line\nbreak".utf8)))
        }
    }

    @Test("Keys of a Latin-1 database arrive as UTF-8, in order (P11)", arguments: ["LATIN1", "WIN1252", "LATIN9"])
    func otherEncodingsArriveAsUTF8(_ encoding: String) async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE files (id text PRIMARY KEY, key text); INSERT INTO files VALUES ('ä', 'é'), ('o', 'zz'), ('u', U&'\\00ff')"
                + (encoding == "LATIN1" ? "" : ", ('e', U&'\\20ac')"),
            options: "TEMPLATE template0 ENCODING '\(encoding)' LOCALE 'C'"
        ) { parameters in
            let found = try await PostgresDatabase.open(parameters).all(table("public.files"))
            let expected = ["zz", "é", "ÿ"] + (encoding == "LATIN1" ? [] : ["€"])
            #expect(found.map { Array($0.key.utf8) } == expected.map { Array($0.utf8) })
            #expect(found[1].id == "ä")
        }
    }

    @Test("A database without an encoding hands on its bytes as they are (P11)")
    func bytesWithoutEncodingAreUntouched() async throws {
        try await TestServer.withDatabase(
            "SET client_encoding = 'SQL_ASCII'; CREATE TABLE files (key text); INSERT INTO files VALUES (E'\\xff\\x01'), (E'\\xc3\\xa9')",
            options: "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'"
        ) { parameters in
            let stream = try await PostgresDatabase.open(parameters).references(table("public.files"))
            let batch = try #require(try await stream.next())
            #expect((0..<batch.count).map { Array(batch.keys[$0]) } == [[0xC3, 0xA9], [0xFF, 0x01]])
            #expect(try await stream.next() == nil)
            #expect(stream.relation == "public.files")
            #expect(batch.ids.isEmpty)
        }
    }

    @Test func keysOfOtherTypesAndExpressions() async throws {
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (id uuid PRIMARY KEY, "Odd ""Name" text, raw bytea, n bigint, doc jsonb, fixed char(8));
            INSERT INTO files VALUES ('00112233-4455-6677-8899-aabbccddeeff', 'odd', '\\xff0061', 42, '{"key": "in/doc"}', 'ab');
            """
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            func key(_ expression: String) async throws -> [Reference] {
                try await database.all(table("public.files", key: expression))
            }
            #expect(
                try await key("Odd \"Name").first
                    == Reference(key: "odd", id: "00112233-4455-6677-8899-aabbccddeeff"))
            #expect(try await key("n").first?.key == "42")
            #expect(try await key("doc ->> 'key' -- where it is").first?.key == "in/doc")
            #expect(
                try await key("'avatars/' || id || '.png'").first?.key
                    == "avatars/00112233-4455-6677-8899-aabbccddeeff.png")
            #expect(try await key("fixed").first?.key == "ab")
            let bytes = try #require(try await database.references(table("public.files", key: "raw")).next())
            #expect(Array(bytes.keys[0]) == [0xFF, 0x00, 0x61])
            for (column, isRaw) in [("raw", true), ("\"Odd \"\"Name\"", false)] {
                var query = table("public.files")
                (query.key, query.checksum) = ("n", column)
                let stream = try await database.references(query)
                #expect(stream.checksumIsRaw == isRaw, "S25: a bytea is the digest itself")
                await stream.cancel()
            }
            let error = await #expect(throws: DrillError.self) { try await key("doc -> 'key'") }
            #expect(error?.what == "key: doc -> 'key' is of type jsonb, which is no text")
        }
    }

    @Test func compositeKeyIsAJSONArray() async throws {
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (key text, tenant text, n int, PRIMARY KEY (tenant, n) INCLUDE (key));
            INSERT INTO files VALUES ('k', 'a"b', 7);
            CREATE TABLE orders (day date PRIMARY KEY, key text);
            INSERT INTO orders VALUES ('2026-11-14', 'k');
            """
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            #expect(try await database.all(table("public.files")).first?.id == #"["a\"b", 7]"#)
            #expect(try await database.all(table("public.orders")).first?.id == "2026-11-14")
            var query = table("public.files")
            query.id = ["n"]
            #expect(try await database.all(query).first?.id == "7")
        }
    }

    @Test("A condition that is NULL leaves a row out (three-valued logic)")
    func conditionThatIsNullLeavesOut() async throws {
        try await TestServer.withDatabase(
            """
            CREATE TABLE files (key text PRIMARY KEY, hidden boolean);
            INSERT INTO files VALUES ('a', false), ('b', true), ('c', NULL), ('d', false);
            """
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            var query = table("public.files")
            query.condition = "NOT hidden -- shown ones"
            #expect(try await database.all(query).map(\.key) == ["a", "d"])
            query.includesExcludedRows = true
            #expect(
                try await database.all(query).map { "\($0.key)\($0.isIncluded)" } == [
                    "atrue", "bfalse", "cfalse", "dtrue",
                ])
            query.includesExcludedRows = false
            query.condition = "key = 'a' OR key = 'zz'"
            #expect(try await database.all(query).map(\.key) == ["a"])
        }
    }

    @Test func queriesAreSourcesToo() async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE files (id int, path text); INSERT INTO files VALUES (1, 'b'), (2, 'a'); CREATE SCHEMA s; CREATE TABLE s.t (key text)"
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            var query = ReferenceQuery(
                source: .query("SELECT id, path AS \"the key\" FROM public.files; -- all\n ;"), key: "the key")
            await #expect(throws: DrillError.self) { try await database.all(query) }
            query.source = .query("SELECT id, path AS \"the key\" FROM public.files -- all\n ; ")
            query.id = ["id"]
            #expect(try await database.all(query) == [Reference(key: "a", id: "2"), Reference(key: "b", id: "1")])
            query.source = .query("SELECT id, path AS \"the key\" FROM files")
            let error = await #expect(throws: DrillError.self) { try await database.all(query) }
            #expect(error?.hints == ["Did you mean public.files?"])
            query.searchPath = ["public"]
            #expect(try await database.all(query).count == 2)
            #expect(try await database.all(table("s.t")).isEmpty)
        }
    }

    @Test(
        "Text that closes our parentheses runs nothing (X6)",
        arguments: [
            "SELECT 'a' AS key) TO PROGRAM 'false' --", "SELECT 'a' AS key) AS source) TO '/dev/null' --",
            "SELECT 'a' AS key; DELETE FROM public.files", "DELETE FROM public.files RETURNING 'a' AS key",
        ])
    func injectionIsRefused(_ sql: String) async throws {
        try await TestServer.withDatabase("CREATE TABLE files (id int); INSERT INTO files VALUES (1)") { parameters in
            let database = try await PostgresDatabase.open(parameters)
            let query = ReferenceQuery(source: .query(sql), key: "key")
            let error = await #expect(throws: DrillError.self) { try await database.all(query) }
            #expect(error?.code == .couldNotLook)
            #expect(
                try await database.rows("SELECT count(*) FROM public.files", searchPath: [], limit: 1).rows == [["1"]])
        }
    }

    @Test("Large rows are handed on a few at a time, sorted or not", arguments: [true, false])
    func largeRowsAreHandedOnInParts(isSorted: Bool) async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE files AS SELECT lpad(n::text, 200000, 'x') AS key FROM generate_series(1, 40) n"
        ) { parameters in
            let stream = try await PostgresDatabase.open(parameters).references(
                table("public.files"), sorter: isSorted ? MemorySorters().makeSorter(in: "") : nil)
            var count = 0
            while let batch = try await stream.next() {
                #expect(batch.count <= 3, "half a megabyte and the row that exceeds it")
                count += batch.count
            }
            #expect(count == 40)
            await stream.cancel()
        }
    }

    @Test func manyBatchesArriveWhole() async throws {
        try await TestServer.withDatabase(
            "CREATE TABLE files AS SELECT n AS id, md5(n::text) AS key, n AS size FROM generate_series(1, 100000) n"
        ) { parameters in
            let database = try await PostgresDatabase.open(parameters)
            var query = table("public.files")
            query.id = ["id"]
            query.size = "size"
            let stream = try await database.references(query)
            var count = 0
            var batches = 0
            var previous: [UInt8] = []
            while let batch = try await stream.next() {
                batches += 1
                for index in 0..<batch.count {
                    count += 1
                    try #require(previous.lexicographicallyPrecedes(batch.keys[index]))
                    previous = Array(batch.keys[index])
                    try #require(stream.rowID(batch.ids[index]) == "\(batch.sizes[index])")
                }
            }
            #expect(count == 100_000)
            #expect(batches > 3)
            await stream.cancel()

            let hints = try await database.referenceHints(query, splits: 3)
            // From a part of the pages; rows that the part hardly holds are counted.
            #expect(abs((hints.expectedCount ?? 0) - 100_000) < 2000)
            query.condition = "id = 77777"
            #expect(try await database.referenceHints(query, splits: 3).expectedCount == 1)
            query.condition = nil
            // Thirds of hexadecimal digits, the last key near the greatest.
            #expect(hints.splitKeys.map { Array($0.bytes.prefix(1)) } == ["5", "a", "f"].map { Array($0.utf8) })
            let planned = try await database.referenceHints(
                ReferenceQuery(source: .query("SELECT key FROM public.files"), key: "key"), splits: 3)
            #expect((planned.expectedCount ?? 0) > 0)
            #expect(planned.splitKeys.isEmpty)
        }
    }
}
