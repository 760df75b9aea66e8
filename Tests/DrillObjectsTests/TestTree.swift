import Foundation
import Glibc
import Testing

/// A directory of one test, removed with it. Paths are bytes, so that a test can use names that are no UTF-8.
struct TestTree {
    let path: String

    func bytes(_ relative: [UInt8]) -> [CChar] {
        (Array(path.utf8) + [0x2F] + relative + [0]).map { CChar(bitPattern: $0) }
    }

    /// Writes a file, with the directories above it.
    func write(_ relative: [UInt8], _ content: [UInt8]) throws {
        for (index, byte) in relative.enumerated() where byte == 0x2F {
            if mkdir(bytes(Array(relative[..<index])), 0o755) != 0, errno != EEXIST { throw TreeError(number: errno) }
        }
        let file = open(bytes(relative), O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        guard file >= 0 else { throw TreeError(number: errno) }
        defer { close(file) }
        guard Glibc.write(file, content, content.count) == content.count else { throw TreeError(number: errno) }
    }

    func write(_ relative: String, _ content: String) throws { try write(Array(relative.utf8), Array(content.utf8)) }

    func makeDirectory(_ relative: String) throws { try check(mkdir(bytes(Array(relative.utf8)), 0o755)) }
    func makeFIFO(_ relative: String) throws { try check(mkfifo(bytes(Array(relative.utf8)), 0o644)) }
    func link(_ relative: String, to target: String) throws { try check(symlink(target, bytes(Array(relative.utf8)))) }
    func setMode(_ relative: String, _ mode: mode_t) throws { try check(chmod(bytes(Array(relative.utf8)), mode)) }
    func remove(_ relative: String) throws { try check(unlink(bytes(Array(relative.utf8)))) }

    func setTime(_ relative: String, _ seconds: Int) throws {
        let times = [timespec(tv_sec: seconds, tv_nsec: 0), timespec(tv_sec: seconds, tv_nsec: 0)]
        try check(utimensat(AT_FDCWD, bytes(Array(relative.utf8)), times, AT_SYMLINK_NOFOLLOW))
    }

    private func check(_ result: Int32) throws {
        guard result == 0 else { throw TreeError(number: errno) }
    }
}

struct TreeError: Error, CustomStringConvertible {
    var number: Int32
    var description: String { String(cString: strerror(number)) }
}

/// Runs `body` with an empty directory.
func withTree<Result>(_ body: (TestTree) async throws -> Result) async throws -> Result {
    let tree = try TestTree.make()
    defer { tree.removeAll() }
    return try await body(tree)
}

func withTree<Result>(_ body: (TestTree) throws -> Result) throws -> Result {
    let tree = try TestTree.make()
    defer { tree.removeAll() }
    return try body(tree)
}

extension TestTree {
    fileprivate static func make() throws -> TestTree {
        var template = Array((NSTemporaryDirectory() + "/muster-tree-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw TreeError(number: errno) }
        return TestTree(path: String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }

    fileprivate func removeAll() {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch {
            Issue.record(error)
        }
    }
}
