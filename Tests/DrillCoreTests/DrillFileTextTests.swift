import DrillCore
import Testing

struct DrillFileTextTests {
    private let source = DrillFileSource(path: "d.yaml", directory: "/drills", variables: ["HOME_OF": "/data"])

    private func message(_ text: String) -> String {
        do {
            _ = try DrillFileText.parse(Array(text.utf8), source)
            return "accepted"
        } catch {
            return "\(error)"
        }
    }

    @Test func linesAreKept() throws {
        let node = try DrillFileText.parse(Array("a: 1\nb:\n  c: [x, y]\n".utf8), source)
        #expect(node["b"]?["c"]?.line == 3)
        #expect(node["b"]?["c"]?.list?.count == 2)
    }

    @Test(arguments: [
        ("a: [1\nb: 2\n", "not YAML"), ("a: 1\na: 2\n", "stands here twice"),
        ("a: 1\n---\nb: 1\n", "d.yaml:3: a second YAML document begins here"),
        ("", "is empty"), ("a: &x [1]\nb: *y\n", "d.yaml:2: not YAML"),
    ])
    func badTextIsRefusedWithItsLine(text: String, part: String) {
        #expect(message(text).contains(part), "\(message(text))")
    }

    @Test func hugeDeepAndBombFilesAreRefused() {
        #expect(message(String(repeating: "# 1234567\n", count: 1 << 20)).contains("1048576 are the limit"))
        #expect(message(String(repeating: "[", count: 100_000)).contains("nested too deeply"))
        #expect(message(String(repeating: "- ", count: 100_000)).contains("nested too deeply"))
        var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let before = "*a\(level - 1)"
            bomb += "a\(level): &a\(level) [\(Array(repeating: before, count: 10).joined(separator: ", "))]\n"
        }
        #expect(message(bomb).contains("expands to too much"))
    }

    @Test func aByteOrderMarkIsNoPartOfTheText() throws {
        let node = try DrillFileText.parse([0xEF, 0xBB, 0xBF] + Array("drill: a\n".utf8), source)
        #expect(node["drill"]?.scalar == "a")
    }

    @Test func textThatIsNotUTF8NamesItsLine() {
        #expect(throws: DrillError.self) { try DrillFileText.parse([0x61, 0x3A, 0x0A, 0xFF, 0xFE], source) }
    }

    @Test func variablesAreReplacedAndAnUnsetOneIsAnError() throws {
        let node = try DrillFileText.parse(Array("a: ${HOME_OF}/x\nb: $${HOME_OF}\nc: ${NOT_SET}\n".utf8), source)
        #expect(try source.text(#require(node["a"])) == "/data/x")
        let flow = try DrillFileText.parse(Array("{ a: ${HOME_OF}/x, b: [${HOME_OF}] }".utf8), source)
        #expect(try source.text(#require(flow["a"])) == "/data/x")
        #expect(try source.text(#require(flow["b"]?.list?.first)) == "/data")
        #expect(try source.text(#require(node["b"])) == "${HOME_OF}")
        #expect {
            try source.text(#require(node["c"]))
        } throws: { error in
            "\(error)" == "d.yaml:3: the environment variable `NOT_SET` is not set"
        }
    }
}
