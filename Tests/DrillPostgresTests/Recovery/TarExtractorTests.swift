import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillPostgres

/// X4: what an archive holds stays below the directory, whatever it says.
@Suite struct TarExtractorTests {
    @Test func anArchiveOfRealTarComesOutTheSame() async throws {
        try await RestoreFixture.with { fixture async throws in
            let source = fixture.folder + "/source"
            let long = String(repeating: "n", count: 70)
            let contents = [
                "PG_VERSION": "15\n", "base/1/1259": String(repeating: "row", count: 5000), "global/pg_control": "x",
                "base/\(long)/\(long)": "deep", "empty": "",
            ]
            for (name, text) in contents {
                let path = "\(source)/\(name)"
                try FileManager.default.createDirectory(
                    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
                try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            }
            for format in ["ustar", "gnu", "pax"] {
                try await fixture.run(
                    "tar", ["--format", format, "-cf", fixture.folder + "/\(format).tar", "-C", source, "."])
                let target = fixture.folder + "/out-\(format)"
                try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: false)
                let extractor = TarExtractor(.directory(target), place: "t")
                let bytes = try fixture.bytes(of: "\(format).tar")
                // In pieces of no particular size.
                for start in stride(from: 0, to: bytes.count, by: 777) {
                    try extractor.feed(Array(bytes[start..<min(bytes.count, start + 777)]))
                }
                try extractor.finish()
                try await fixture.run("diff", ["-r", source, target])
            }
        }
    }

    @Test(
        "no entry leaves the directory, and none becomes a link, a device or a pipe (P20, X4)",
        arguments: Hostile.corpus)
    func hostileEntriesAreRefused(hostile: Hostile) async throws {
        try await RestoreFixture.with { fixture async throws in
            let target = fixture.folder + "/out"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: false)
            let extractor = TarExtractor(.directory(target), place: "base.tar")
            do {
                try extractor.feed(Tar.file("PG_VERSION", "15\n") + hostile.bytes + Tar.end)
                try extractor.finish()
                Issue.record("\(hostile.name) was let through")
            } catch {
                let error = DrillError(wrapping: error)
                #expect(error.code == .backupUnusable)
                #expect(error.what.contains(hostile.words), "\(error.what)")
            }
            #expect(
                try Self.everything(below: fixture.folder).filter {
                    !$0.hasPrefix("out/") && $0 != "out" && !$0.hasPrefix("muster-")
                } == [])
            #expect(try Self.everything(below: target).allSatisfy { try !Self.isSpecial("\(target)/\($0)") })
        }
    }

    @Test("a tablespace's link is noted and never made, and nothing passes through it (P20)")
    func linksOfTablespacesAreNotMade() async throws {
        try await RestoreFixture.with { fixture async throws in
            let target = fixture.folder + "/out"
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: false)
            let extractor = TarExtractor(.directory(target), place: "base.tar")
            try extractor.feed(
                Tar.entry("pg_tblspc/16400", kind: "2", target: fixture.folder) + Tar.file("pg_tblspc/16400/x", "y")
                    + Tar.end)
            try extractor.finish()
            #expect(extractor.links.map(\.path) == ["pg_tblspc/16400"])
            #expect(extractor.links.map(\.target) == [fixture.folder])
            #expect(!FileManager.default.fileExists(atPath: fixture.folder + "/x"))
        }
    }

    @Test func anArchiveThatIsCutShortIsUnusable() async throws {
        let whole = Tar.file("PG_VERSION", "15\n") + Tar.file("base/1", String(repeating: "x", count: 3000)) + Tar.end
        for length in [0, 100, 512, 600, 1024, 1536, 3000, whole.count - 1024] {
            let extractor = TarExtractor(.memory(names: ["base/1"]), place: "base.tar")
            try extractor.feed(Array(whole.prefix(length)))
            #expect(throws: DrillError.self) { try extractor.finish() }
        }
    }

    @Test("an archive that unpacks to more than there is room for is no fault of the backup")
    func aBombIsNotUnpacked() throws {
        let extractor = TarExtractor(.memory(names: []), place: "base.tar", limitBytes: 1000)
        #expect {
            try extractor.feed(Tar.header("big", size: 1 << 40))
        } throws: { ($0 as? DrillError)?.code == .couldNotLook }
    }

    @Test func neitherOwnersNorSpecialModesAreTakenOver() async throws {
        try await RestoreFixture.with { fixture async throws in
            let extractor = TarExtractor(.directory(fixture.folder), place: "base.tar")
            try extractor.feed(Tar.entry("program", kind: "0", content: "x", mode: "6777") + Tar.end)
            try extractor.finish()
            var status = stat()
            #expect(stat(fixture.folder + "/program", &status) == 0)
            #expect(status.st_mode & 0o7777 == 0o600)
        }
    }

    @Test("mutations of an archive never write outside, and never trap (X4)")
    func seededMutations() async throws {
        try await RestoreFixture.with { fixture async throws in
            let sound =
                Tar.entry("base", kind: "5") + Tar.file("base/1", "one")
                + Tar.entry("pg_tblspc/1", kind: "2", target: "/etc")
                + Tar.longName("deep/name") + Tar.file("x", "y") + Tar.attributes("path=other") + Tar.file("z", "w")
                + Tar.end
            var random = RepeatableRandom(seed: 20)
            for round in 0..<400 {
                let target = fixture.folder + "/out-\(round)"
                try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: false)
                var bytes = sound
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let index = Int.random(in: 0..<bytes.count, using: &random)
                    bytes[index] =
                        [0, 0x2E, 0x2F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)].randomElement(
                            using: &random) ?? 0
                }
                if Bool.random(using: &random) { Tar.mendChecksums(&bytes) }
                let extractor = TarExtractor(.directory(target), place: "base.tar", limitBytes: 1 << 20)
                do {
                    try extractor.feed(bytes)
                    try extractor.finish()
                } catch { #expect(error is DrillError) }
                #expect(try Self.everything(below: target).allSatisfy { try !Self.isSpecial("\(target)/\($0)") })
            }
            let left = try FileManager.default.contentsOfDirectory(atPath: fixture.folder)
            #expect(left.allSatisfy { $0.hasPrefix("out-") || $0.hasPrefix("muster-") })
        }
    }

    private static func everything(below folder: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: folder)
    }

    private static func isSpecial(_ path: String) throws -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0 else { throw DrillError(.couldNotLook, "vanished", at: path) }
        return ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT)
    }
}

struct Hostile: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8]
    var words: String
    var testDescription: String { name }

    static let corpus: [Hostile] =
        ["../evil", "a/../../evil", "..", "base/..", "./../evil", "/etc/evil", "//evil", "a/./../../b"].map {
            Hostile(name: $0, bytes: Tar.file($0, "x"), words: "climbs out of its directory")
        } + [
            Hostile(name: "directory above", bytes: Tar.entry("../d", kind: "5"), words: "climbs out of its directory"),
            Hostile(name: "long name", bytes: Tar.longName("../../evil") + Tar.file("x", "y"), words: "climbs out"),
            Hostile(
                name: "pax path", bytes: Tar.attributes("path=/etc/evil") + Tar.file("x", "y"), words: "climbs out"),
            Hostile(name: "not UTF-8", bytes: Tar.file(bytes: [0x61, 0xFF, 0xFE]), words: "climbs out"),
            Hostile(
                name: "link", bytes: Tar.entry("base/x", kind: "2", target: "/etc"), words: "symbolic link to `/etc`"),
            Hostile(
                name: "link and through it", bytes: Tar.entry("d", kind: "2", target: "..") + Tar.file("d/evil", "x"),
                words: "symbolic link"),
            Hostile(
                name: "hard link", bytes: Tar.entry("x", kind: "1", target: "/etc/passwd"), words: "link or a device"),
            Hostile(name: "character device", bytes: Tar.entry("null", kind: "3"), words: "link or a device"),
            Hostile(name: "block device", bytes: Tar.entry("disk", kind: "4"), words: "link or a device"),
            Hostile(name: "pipe", bytes: Tar.entry("pipe", kind: "6"), words: "link or a device"),
            Hostile(name: "twice", bytes: Tar.file("PG_VERSION", "16\n"), words: "is there twice"),
            Hostile(name: "no name", bytes: Tar.file(".", "x"), words: "has no name"),
            Hostile(name: "no tar", bytes: [UInt8](repeating: 0x41, count: 512), words: "no tar archive"),
        ]
}

/// Makes archives by hand, also such as no tar writes. (POSIX, ustar Interchange Format.)
enum Tar {
    static let end = [UInt8](repeating: 0, count: 1024)

    static func file(_ name: String, _ content: String) -> [UInt8] { entry(name, kind: "0", content: content) }
    static func file(bytes name: [UInt8]) -> [UInt8] { header(name, size: 0, kind: "0") }

    static func entry(
        _ name: String, kind: Character, content: String = "", target: String = "", mode: String = "0644"
    ) -> [UInt8] {
        let body = Array(content.utf8)
        let padding = [UInt8](repeating: 0, count: (512 - body.count % 512) % 512)
        return header(Array(name.utf8), size: Int64(body.count), kind: kind, target: target, mode: mode) + body
            + padding
    }

    static func longName(_ name: String) -> [UInt8] { entry("././@LongLink", kind: "L", content: name + "\0") }
    static func attributes(_ pair: String) -> [UInt8] {
        var length = pair.utf8.count + 3
        while "\(length) \(pair)\n".utf8.count != length { length += 1 }
        return entry("pax", kind: "x", content: "\(length) \(pair)\n")
    }

    static func header(_ name: String, size: Int64) -> [UInt8] { header(Array(name.utf8), size: size, kind: "0") }

    static func header(
        _ name: [UInt8], size: Int64, kind: Character, target: String = "", mode: String = "0644"
    ) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ text: [UInt8], at offset: Int) {
            for (index, byte) in text.enumerated() { block[offset + index] = byte }
        }
        put(Array(name.prefix(100)), at: 0)
        put(Array(mode.utf8), at: 100)
        let digits = String(size, radix: 8)
        if digits.utf8.count <= 11 {
            put(Array((String(repeating: "0", count: 11 - digits.utf8.count) + digits).utf8), at: 124)
        } else {
            block[124] = 0x80
            for index in 0..<8 { block[128 + index] = UInt8(truncatingIfNeeded: size >> (8 * (7 - Int64(index)))) }
        }
        put(Array(String(kind).utf8), at: 156)
        put(Array(target.utf8.prefix(100)), at: 157)
        put(Array("ustar\0".utf8) + Array("00".utf8), at: 257)
        seal(&block, at: 0)
        return block
    }

    private static func seal(_ bytes: inout [UInt8], at start: Int) {
        for index in 148..<156 { bytes[start + index] = 0x20 }
        let sum = bytes[start..<start + 512].reduce(0) { $0 + Int($1) }
        let digits = String(sum, radix: 8)
        for (index, byte) in (String(repeating: "0", count: max(0, 6 - digits.utf8.count)) + digits).utf8.enumerated() {
            bytes[start + 148 + index] = byte
        }
        bytes[start + 154] = 0
    }

    /// Gives every block that is not all zeros a checksum that fits.
    static func mendChecksums(_ bytes: inout [UInt8]) {
        for start in stride(from: 0, to: bytes.count - 511, by: 512)
        where bytes[start..<start + 512].contains(where: { $0 != 0 }) {
            seal(&bytes, at: start)
        }
    }
}
