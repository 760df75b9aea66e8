import DrillCore
import Foundation
import Testing

/// Keys that were made to break what shows them (J5).
let hostileTexts = [
    "]]>", "<script>alert(1)</script>", "<\u{0301}script>alert(1)</script>", "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)", "javascript:alert(1)", "&amp;lt;", "{{drill}}", "{{{drill}}}", "a\u{202E}gnp.exe",
    "a\u{200B}b",
    "\u{1B}[31mred\u{1B}[0m", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "::set-output name=x::1",
    "##[error]x", "##[\u{0301}error]x", "a,b\"c", "line\r\nline", "C:\\Users\\x00", "zoë", "zoe\u{0308}", "<!--",
    "<![CDATA[x]]>",
]

struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    /// SplitMix64 (S. Vigna).
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

extension Collection<UInt8> {
    func contains(subsequence: some Collection<UInt8>) -> Bool {
        let needle = Array(subsequence)
        let bytes = Array(self)
        guard needle.count <= bytes.count else { return false }
        return (0...(bytes.count - needle.count)).contains { bytes[$0..<($0 + needle.count)].elementsEqual(needle) }
    }
}

func resource(_ name: String) throws -> String {
    try #require(Bundle.module.url(forResource: "Resources/\(name)", withExtension: nil)).path
}

func run(_ tool: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = [tool] + arguments
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
}

/// What a reader of JUnit documents sees, by Python's own XML parser.
struct XMLOutline: Decodable {
    var suites: Int
    var tests: Int
    var failures: Int
    var errors: Int
    var cases: Int
    var passed: Int
    var failureTexts: [String]
    var errorMessages: [String]

    init(_ path: String) throws {
        let script = """
            import json, sys, xml.etree.ElementTree as E
            root = E.parse(sys.argv[1]).getroot()
            cases = list(root.iter("testcase"))
            total = lambda name: sum(int(s.get(name)) for s in root.findall("testsuite"))
            for name in ("tests", "failures", "errors"): assert int(root.get(name)) == total(name)
            print(json.dumps(dict(suites=len(root.findall("testsuite")), tests=total("tests"), failures=total("failures"),
                errors=total("errors"), cases=len(cases), passed=sum(len(c) == 0 for c in cases),
                failureTexts=[f.text for f in root.iter("failure")],
                errorMessages=[e.get("message") for e in root.iter("error")])))
            """
        let result = try DrillReportsTests.run("python3", ["-c", script, path])
        self = try JSONDecoder().decode(XMLOutline.self, from: Data(result.output.utf8))
    }
}
