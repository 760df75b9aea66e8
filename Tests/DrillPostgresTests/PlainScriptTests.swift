import Foundation
import Testing

@testable import DrillPostgres

@Suite struct PlainScriptTests {
    /// The pieces of a script that comes in chunks of that many bytes.
    private func pieces(_ text: String, chunk: Int = .max) throws -> [PlainScript.Piece] {
        var script = PlainScript()
        var found: [PlainScript.Piece] = []
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            found += try script.feed(rest.prefix(chunk))
            rest = rest.dropFirst(chunk)
        }
        return found + (try script.finish())
    }

    private func statements(_ text: String, chunk: Int = .max) throws -> [String] {
        try pieces(text, chunk: chunk).compactMap { piece in
            switch piece {
            case .statement(let bytes, _), .copyStatement(let bytes, _): String(decoding: bytes, as: UTF8.self)
            default: nil
            }
        }
    }

    static let oneStatementEach = [
        "SELECT 'a;b';", #"SELECT E'it\'s;';"#, "SELECT \"a;\"\"b\";", "DO $$ BEGIN; END $$;", "DO $x$ $$;$$ ; $x$;",
        "SELECT 1 /* ; /* nested; */ ; */ + 1;", "SELECT 1 -- not; here\n;",
        "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
        "CREATE OR REPLACE PROCEDURE begin() LANGUAGE sql BEGIN ATOMIC SELECT 1; END;", "SELECT a$b$c;", "SELECT '\\';",
        "CREATE TABLE \"x\n\\! id\" (a int);", "SELECT 'two\n\\! lines';", "SELECT U&'d\\0061t';", "SELECT $1;",
        "SELECT 'caf\u{e9}', \u{e9}';';",
    ]

    @Test(arguments: oneStatementEach, [1, 2, 7, 1000])
    func aStatementEndsAtItsOwnSemicolon(_ sql: String, chunk: Int) throws {
        #expect(try statements(sql + "\n" + sql, chunk: chunk) == [sql, sql])
    }

    @Test(arguments: [1, 3, 1000])
    func copyDataEndAtTheirMarkAndAreHandedOnAsTheyAre(chunk: Int) throws {
        let found = try pieces("COPY public.t (a) FROM stdin;\n\\\\.\n\\.x\nb;'\n\\.\n\nSELECT 1;\n", chunk: chunk)
        var data: [UInt8] = []
        for case .copyData(let bytes) in found { data += bytes }
        #expect(String(decoding: data, as: UTF8.self) == "\\\\.\n\\.x\nb;'\n")
        #expect(
            found.filter { if case .copyData = $0 { false } else { true } } == [
                .copyStatement(Array("COPY public.t (a) FROM stdin;".utf8), line: 1), .copyEnd,
                .statement(Array("SELECT 1;".utf8), line: 7),
            ])
    }

    @Test func windowsLineEndsAndAByteOrderMarkAreUnderstood() throws {
        let found = try pieces("\u{FEFF}-- one\r\nCOPY t FROM stdin;\r\n1\r\n\\.\r\n\\unrestrict aB1\r\n")
        #expect(
            found == [
                .comment(Array("-- one".utf8)), .copyStatement(Array("COPY t FROM stdin;".utf8), line: 2),
                .copyData(Array("1\r\n".utf8)), .copyEnd, .metaCommand(name: "unrestrict", argument: "aB1", line: 5),
            ])
    }

    static let refused = [
        "\\! touch /tmp/pwn", "\\unrestrict", "\\unrestrict a b", "\\unrestrict `id`", "\\restrict $(id)",
        "SELECT 1 \\g |id",
        "SELECT 1; \\! id", " \\! id", "-- Name: x\n\\! id\n", "\\copy t from program 'id'", "\\i /etc/passwd",
        "\\connect `id`",
        "SELECT 1 \\unrestrict abc", "\\o |id", "\\restrictx abc", "SELECT 1; \\unrestrict abc", "/* */ \\! id",
    ]

    /// P5: nothing that psql would run passes.
    @Test(arguments: refused, [1, 1000])
    func pitfallP5ClientCommandsAreRefusedWithTheirLine(_ text: String, chunk: Int) throws {
        #expect {
            _ = try pieces("SELECT 1;\n" + text + "\nSELECT 2;\n", chunk: chunk)
        } throws: { error in
            let failure = error as? PlainScript.Failure
            return failure?.what.contains("is refused") == true && failure?.line == (text.hasPrefix("--") ? 3 : 2)
        }
    }

    @Test func commandsOfPgDumpItselfAreReported() throws {
        let found = try pieces("\\restrict aB3\n\\connect \"a b\"\nSELECT 1;\n\\unrestrict aB3\n")
        #expect(
            found == [
                .metaCommand(name: "restrict", argument: "aB3", line: 1),
                .metaCommand(name: "connect", argument: "\"a b\"", line: 2),
                .statement(Array("SELECT 1;".utf8), line: 3),
                .metaCommand(name: "unrestrict", argument: "aB3", line: 4),
            ])
    }

    @Test(arguments: [
        ("SELECT 'abc", "the script ends inside the statement that begins in line 1"),
        ("COPY t FROM stdin;\n1\n2", "the script ends inside the data of the COPY in line 1"),
        ("\n\nSELECT 1", "the script ends inside the statement that begins in line 3"),
        ("COPY t FROM stdin; SELECT 1;\n", "text behind a COPY statement"), ("SELECT '\0';", "a zero byte"),
    ])
    func aScriptThatIsCutIsRefused(_ text: String, what: String) {
        #expect { _ = try pieces(text) } throws: { ($0 as? PlainScript.Failure)?.what == what }
    }

    @Test func plainStringsTakeBackslashesWhereTheDumpSaysSo() throws {
        let sql =
            "SET standard_conforming_strings = off;\nSELECT 'it\\'s;';\nSET standard_conforming_strings = on;\nSELECT '\\';"
        #expect(try statements(sql).count == 4)
    }

    /// Whatever the bytes: an answer or a failure, never a trap, and the same one however the bytes are cut.
    @Test(arguments: UInt64(1)...4)
    func mutatedScriptsNeverTrapAndDoNotDependOnChunks(seed: UInt64) {
        var random = SeededRandom(state: seed)
        let sound = Array(
            (Self.oneStatementEach.joined(separator: "\n") + "\nCOPY t FROM stdin;\n1\t\\N\n\\.\n-- end\n").utf8)
        for _ in 0..<300 {
            let bytes = random.mutated(sound, palette: Array("'\"$;\\-/*().\n\reE\0".utf8))
            #expect(outcome(bytes, chunk: .max) == outcome(bytes, chunk: Int.random(in: 1...40, using: &random)))
        }
    }

    /// Statements, COPY data joined, and the failure if there was one.
    private func outcome(_ bytes: [UInt8], chunk: Int) -> [String] {
        var script = PlainScript()
        var outcome: [String] = []
        var data: [UInt8] = []
        func add(_ pieces: [PlainScript.Piece]) {
            for piece in pieces {
                if case .copyData(let bytes) = piece { data += bytes } else { outcome.append("\(piece)") }
            }
        }
        do {
            var rest = bytes[...]
            while !rest.isEmpty {
                add(try script.feed(rest.prefix(chunk)))
                rest = rest.dropFirst(chunk)
            }
            add(try script.finish())
        } catch {
            // Which pieces came before the failure depends on the chunks, that there is one does not.
            return ["\(error)"]
        }
        return outcome + ["\(data)"]
    }
}

/// A small generator with a seed (SplitMix64), so that a failing case can be had again.
struct SeededRandom: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A few bytes changed, put in or taken out, and sometimes the end cut off.
    mutating func mutated(_ bytes: [UInt8], palette: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...6, using: &self) where !bytes.isEmpty {
            let index = Int.random(in: bytes.indices, using: &self)
            let byte =
                Bool.random(using: &self)
                ? palette.randomElement(using: &self) ?? 0 : UInt8.random(in: 0...255, using: &self)
            switch Int.random(in: 0..<4, using: &self) {
            case 0: bytes[index] = byte
            case 1: bytes.insert(byte, at: index)
            case 2: bytes.remove(at: index)
            default: if Int.random(in: 0..<4, using: &self) == 0 { bytes.removeSubrange(index...) }
            }
        }
        return bytes
    }
}
