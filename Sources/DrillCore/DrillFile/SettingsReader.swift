import Foundation

/// Reads one mapping of a drill file. Every error names file and line, and is a `DrillError` with code `usage`.
///
/// Unknown keys were refused when the reader was made, with the nearest known word and the list of known ones.
package struct SettingsReader: Sendable {
    /// The mapping's values with `${NAME}` replaced.
    private let values: [String: SettingsNode]
    private let line: Int
    package let source: DrillFileSource
    /// For messages: `backup.database`, `probes[2]`.
    package let path: String

    /// - Parameter extraKeys: Keys that somebody else reads from the same mapping, such as `kind` and `name`.
    package init(
        _ node: SettingsNode, shape: SettingsShape, path: String, source: DrillFileSource, extraKeys: [String] = []
    ) throws {
        guard let mapping = node.mapping else {
            throw source.error(
                "\(path.isEmpty ? "the drill file" : path) must be a mapping of names to values", line: node.line)
        }
        var values: [String: SettingsNode] = [:]
        let known = shape.fields.map(\.name) + extraKeys
        for (name, nameLine, value) in mapping {
            guard known.contains(name) else {
                throw source.unknown("key", name, at: path, known: known, line: nameLine)
            }
            // Left empty by mistake, it would ask for less than its writer thinks.
            guard !value.isNull else {
                throw source.error(
                    "`\(name)` has no value\(path.isEmpty ? "" : " in \(path)")", line: nameLine,
                    hints: ["Give it one, or take the line out."])
            }
            values[name] = value
        }
        for field in shape.fields where field.isRequired && values[field.name] == nil {
            throw source.error(
                "\(path.isEmpty ? "" : path + ": ")`\(field.name)` is missing (\(field.help))", line: node.line)
        }
        self.values = values
        self.line = node.line
        self.source = source
        self.path = path
    }

    package func has(_ key: String) -> Bool { values[key] != nil }
    package func node(_ key: String) -> SettingsNode? { values[key] }

    /// `file:line` of that key's value, or of the mapping.
    package func place(_ key: String? = nil) -> String {
        source.place(line: key.flatMap { values[$0]?.line } ?? line)
    }

    /// An error at that key.
    package func error(_ key: String, _ what: String, hints: [String] = []) -> DrillError {
        DrillError(.usage, "\(path.isEmpty ? "" : path + ".")\(key): \(what)", at: place(key), hints: hints)
    }

    private func read<Value>(_ key: String, _ expected: String, _ parse: (String) -> Value?) throws -> Value? {
        guard let node = values[key] else { return nil }
        guard let text = try source.text(node) else { throw error(key, "must be \(expected)") }
        guard let value = parse(text) else { throw error(key, "'\(text)' is not \(expected)") }
        return value
    }

    package func string(_ key: String) throws -> String? { try read(key, "a word or text") { $0 } }
    package func requiredString(_ key: String) throws -> String { try required(key, nonEmptyString(key)) }
    /// Text of which some is left without its blanks: SQL, a path, a name.
    package func nonEmptyString(_ key: String) throws -> String? {
        guard let text = try string(key) else { return nil }
        guard !text.allSatisfy(\.isWhitespace) else { throw error(key, "is empty") }
        return text
    }
    /// The absolute path of a directory, or of a file, that must be there.
    package func directory(_ key: String) throws -> String? { try existing(key, "directory") { $0.isDirectory($1) } }
    package func file(_ key: String) throws -> String? { try existing(key, "file") { $0.isFile($1) } }
    private func existing(
        _ key: String, _ noun: String, _ isThere: (any DrillFiles, String) -> Bool
    ) throws -> String? {
        guard let text = try nonEmptyString(key) else { return nil }
        let path = source.absolute(text)
        if let files = source.files, !isThere(files, path) {
            throw error(
                key, "there is no \(noun) `\(text)`",
                hints: text.hasPrefix("/") ? [] : ["A relative path starts at the drill file's folder."])
        }
        return path
    }
    package func bool(_ key: String) throws -> Bool? {
        try read(key, "true or false") { ["true": true, "false": false][$0] }
    }
    package func integer(_ key: String, in range: ClosedRange<Int64> = 0...Int64.max) throws -> Int64? {
        try read(key, "a whole number from \(range.lowerBound) to \(range.upperBound)") {
            strictInteger($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }
    package func number(_ key: String) throws -> Double? {
        try read(key, "a number") { text in Double(text).flatMap { $0.isFinite ? $0 : nil } }
    }
    package func duration(_ key: String) throws -> Duration? {
        try read(key, "a time span such as 90s, 10m, 24h, 8d or 1h30m", parseDuration)
    }
    /// Longer than nothing.
    package func positiveDuration(_ key: String) throws -> Duration? {
        let value = try duration(key)
        if let value, value <= .zero { throw error(key, "must be longer than nothing") }
        return value
    }
    /// As a share: `5%` is 0.05.
    package func percent(_ key: String) throws -> Double? {
        try read(key, "a percentage such as 1% or 0.5%", parsePercent)
    }
    package func byteCount(_ key: String) throws -> Int64? {
        try read(key, "a size such as 128MiB, 10GB or 4096", parseByteCount)
    }
    package func choice(_ key: String, _ words: [String]) throws -> String? {
        guard let word = try string(key) else { return nil }
        guard words.contains(word) else {
            throw source.unknown("value", word, at: joined(key), known: words, line: values[key]?.line ?? line)
        }
        return word
    }
    package func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _ type: Choice.Type) throws -> Choice?
    where Choice.RawValue == String {
        try choice(key, Choice.allCases.map(\.rawValue)).flatMap(Choice.init(rawValue:))
    }
    /// A list of texts, or one text where only one is meant.
    package func strings(_ key: String) throws -> [String]? {
        guard let node = values[key] else { return nil }
        guard let sequence = node.list else { return [try requiredString(key)] }
        return try sequence.map { element in
            guard let text = try source.text(element) else { throw error(key, "must be a list of words") }
            return text
        }
    }
    package func settings(_ key: String, _ shape: SettingsShape, extraKeys: [String] = []) throws -> SettingsReader? {
        try values[key].map {
            try SettingsReader($0, shape: shape, path: joined(key), source: source, extraKeys: extraKeys)
        }
    }
    /// The elements of a list, each to be read by the caller.
    package func list(_ key: String) throws -> [SettingsNode]? {
        guard let node = values[key] else { return nil }
        guard let sequence = node.list else { throw error(key, "must be a list") }
        return sequence
    }
    /// A mapping with names of the user's own, in the file's order.
    package func map(_ key: String) throws -> [(name: String, value: SettingsNode)]? {
        guard let node = values[key] else { return nil }
        guard let mapping = node.mapping else { throw error(key, "must be a mapping of names to values") }
        return mapping.map { ($0.name, $0.value) }
    }
    package func required<Value>(_ key: String, _ value: Value?) throws -> Value {
        guard let value else { throw error(key, "is missing") }
        return value
    }
    package func joined(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }
}
