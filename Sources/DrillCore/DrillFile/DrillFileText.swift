import Foundation
import Yams

/// The text of a drill file as nodes with lines. Nothing of it is trusted: it is bounded in size, depth and number of nodes.
package enum DrillFileText {
    /// A drill file is a page or two; a file of megabytes is something else that was named by mistake.
    package static let limitBytes = 1 << 20
    private static let limitNodes = 100_000
    private static let limitDepth = 100

    /// Throws `DrillError` (`usage`) with file and line.
    package static func parse(_ bytes: [UInt8], _ source: DrillFileSource) throws -> SettingsNode {
        guard bytes.count <= limitBytes else {
            throw DrillError(
                .usage, "the drill file has \(bytes.count) bytes; \(limitBytes) are the limit", at: source.path,
                hints: ["Is this really a drill file?"])
        }
        // A byte order mark, as some editors write one, is no part of the text.
        let bytes = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? Array(bytes.dropFirst(3)) : bytes
        guard let text = String(validating: bytes, as: UTF8.self) else {
            let valid = String(decoding: bytes, as: UTF8.self).prefix { $0 != "\u{FFFD}" }
            let line = valid.utf8.count { $0 == UInt8(ascii: "\n") } + 1
            throw DrillError(.usage, "the drill file is not UTF-8", at: source.place(line: line))
        }
        try refuseDeepNesting(bytes, source)
        let documents: [Yams.Node]
        do {
            // Iterating ends at an error without throwing it, and notes it in the iterator itself.
            var sequence = try Yams.compose_all(yaml: shelter(text))
            var composed: [Yams.Node] = []
            while let document = sequence.next() { composed.append(document) }
            documents = composed
            if let error = sequence.error { throw error }
        } catch let error as YamlError {
            throw translate(error, source)
        }
        guard let document = documents.first else {
            throw DrillError(
                .usage, "the drill file is empty", at: source.place(line: 1), hints: ["`muster init` writes one."])
        }
        guard documents.count == 1 else {
            throw source.error(
                "a second YAML document begins here", line: documents[1].mark?.line ?? 1, hints: ["One drill a file."])
        }
        var count = 0
        return try convert(document, depth: 0, &count, source)
    }

    /// Yams composes recursively: a file of nothing but `[` would exhaust the stack before any node could be counted.
    private static func refuseDeepNesting(_ bytes: [UInt8], _ source: DrillFileSource) throws {
        var line = 1
        var depth = 0
        var indentation = 0
        var isIndenting = true
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\n"):
                line += 1
                indentation = 0
                isIndenting = true
                continue
            case UInt8(ascii: " "), UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"):
                if isIndenting { indentation += 1 }
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                depth += 1
                isIndenting = false
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                depth = max(0, depth - 1)
                isIndenting = false
            default:
                isIndenting = false
            }
            if depth > 500 || indentation > 500 {
                throw DrillError(.usage, "the drill file is nested too deeply", at: source.place(line: line))
            }
        }
    }

    private static func convert(
        _ node: Yams.Node, depth: Int, _ count: inout Int, _ source: DrillFileSource
    ) throws -> SettingsNode {
        let line = node.mark?.line ?? 1
        count += 1
        guard count <= limitNodes, depth <= limitDepth else {
            throw source.error("the drill file is nested too deeply or expands to too much", line: line)
        }
        switch node {
        case .scalar(let scalar):
            let isPlain = scalar.style == .plain || scalar.style == .any
            return SettingsNode(.scalar(unshelter(scalar.string), isPlain: isPlain), line: line)
        case .sequence(let sequence):
            return SettingsNode(
                .list(try sequence.map { try convert($0, depth: depth + 1, &count, source) }), line: line)
        case .mapping(let mapping):
            var pairs: [(name: String, nameLine: Int, value: SettingsNode)] = []
            for (key, value) in mapping {
                let nameLine = key.mark?.line ?? line
                guard let name = (key.scalar?.string).map(unshelter) else {
                    throw source.error("a name must be a word", line: nameLine)
                }
                guard !pairs.contains(where: { $0.name == name }) else {
                    throw source.error("`\(name)` stands here twice", line: nameLine)
                }
                pairs.append((name, nameLine, try convert(value, depth: depth + 1, &count, source)))
            }
            return SettingsNode(.mapping(pairs), line: line)
        case .alias:
            throw source.error("YAML aliases are not supported", line: line)
        }
    }

    /// YAML ends a plain scalar in `{ … }` at a brace, so `${NAME}` would have to be quoted there. Its braces go through the YAML
    /// reader as characters of the private use area.
    private static let openBrace = "\u{E000}", closeBrace = "\u{E001}"

    private static func shelter(_ text: String) -> String {
        guard !text.contains(openBrace), !text.contains(closeBrace) else { return text }
        return text.replacing(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/) { "$\(openBrace)\($0.output.1)\(closeBrace)" }
    }

    private static func unshelter(_ text: String) -> String {
        text.replacing(openBrace, with: "{").replacing(closeBrace, with: "}")
    }

    private static func translate(_ error: YamlError, _ source: DrillFileSource) -> DrillError {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            DrillError(
                .usage, "not YAML: \(problem)", at: source.place(line: mark.line),
                hints: ["Check indentation, colons and quotes on this line and the one before."])
        case .duplicatedKeysInMapping(let duplicates, let context):
            DrillError(
                .usage, "`\(duplicates.map { "\($0)" }.joined(separator: "`, `"))` stands here twice",
                at: source.place(line: context.mark.line))
        default:
            DrillError(.usage, "not YAML: \(error)", at: source.place(line: 1))
        }
    }
}
