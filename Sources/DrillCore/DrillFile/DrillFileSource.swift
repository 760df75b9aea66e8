/// Where a drill file's text came from: what error messages name, and what `${NAME}` is replaced from.
package struct DrillFileSource: Sendable {
    /// As the user gave it.
    package var path: String
    /// Absolute.
    package var directory: String
    package var variables: [String: String]
    /// What a drill file may name on this machine; nil where nobody looks.
    package var files: (any DrillFiles)?

    package init(path: String, directory: String, variables: [String: String], files: (any DrillFiles)? = nil) {
        self.path = path
        self.directory = directory
        self.variables = variables
        self.files = files
    }

    package func place(line: Int) -> String { "\(path):\(line)" }

    package func error(_ what: String, line: Int, hints: [String] = []) -> DrillError {
        DrillError(.usage, what, at: place(line: line), hints: hints)
    }

    /// An unknown word, with the nearest known one and all known ones.
    package func unknown(_ noun: String, _ word: String, at path: String, known: [String], line: Int) -> DrillError {
        var hints = ["Known here: \(known.sorted().joined(separator: ", "))."]
        if let nearest = nearestWord(to: word, among: known) { hints.insert("Did you mean `\(nearest)`?", at: 0) }
        return error(
            "unknown \(noun) `\(printable(word.utf8))`\(path.isEmpty ? "" : " in \(path)")", line: line, hints: hints)
    }

    /// A scalar's text with every `${NAME}` replaced; `$$` is a dollar sign. nil where the node is no scalar.
    package func text(_ node: SettingsNode) throws -> String? {
        guard let scalar = node.scalar else { return nil }
        var result = ""
        var rest = scalar[...]
        while let dollar = rest.firstIndex(of: "$") {
            result += rest[..<dollar]
            let after = rest[rest.index(after: dollar)...]
            if after.first == "$" {
                result += "$"
                rest = after.dropFirst()
            } else if after.first == "{" {
                guard let close = after.firstIndex(of: "}") else {
                    throw error("`${` is not closed", line: node.line, hints: ["Write `$$` for a dollar sign itself."])
                }
                let name = String(after[after.index(after: after.startIndex)..<close])
                guard let value = variables[name] else {
                    throw error("the environment variable `\(name)` is not set", line: node.line)
                }
                result += value
                rest = after[after.index(after: close)...]
            } else {
                result += "$"
                rest = after
            }
        }
        return result + rest
    }

    /// That path, absolute; a relative one starts at the drill file's folder.
    package func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : directory + "/" + path
    }
}
