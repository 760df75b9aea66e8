import DrillCore
import Foundation

/// Refuses scratch that lies in what must only be read: the repository, or production's own data directory (P28).
struct SourceGuard: Sendable {
    struct Source: Sendable {
        /// `pgBackRest's pg1-path`
        var what: String
        var directory: String
    }

    var sources: [Source]

    /// Why that scratch is refused; nil where it is apart from all sources.
    func refusal(scratch: String) -> String? {
        let own = Self.real(scratch)
        for source in sources {
            let other = Self.real(source.directory)
            guard own == other || own.hasPrefix(other + "/") else { continue }
            let server = Self.liveServer(in: other).map { ", where a server runs (process \($0))" } ?? ""
            return "the scratch directory \(scratch) lies in \(source.what) \(source.directory)\(server)"
        }
        return nil
    }

    /// The server that runs on a data directory, by its `postmaster.pid`; nil where none does.
    static func liveServer(in dataDirectory: String) -> pid_t? {
        guard let bytes = FileManager.default.contents(atPath: dataDirectory + "/postmaster.pid"),
            let line = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).first,
            let pid = pid_t(line), pid > 0
        else { return nil }
        return kill(pid, 0) == 0 || errno == EPERM ? pid : nil
    }

    private static func real(_ path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.resolvingSymlinksInPath().path
    }
}

/// `key = value` below `[section]`, as pgBackRest and Barman are configured; a later value replaces an earlier one.
struct ToolConfiguration: Sendable {
    private(set) var sections: [String: [String: String]] = [:]

    init(_ text: String) {
        var section = ""
        for line in text.split(whereSeparator: \.isNewline) {
            let words = line.trimmingCharacters(in: .whitespaces)
            guard let first = words.first, first != "#", first != ";" else { continue }
            if first == "[", let end = words.firstIndex(of: "]") {
                section = String(words[words.index(after: words.startIndex)..<end])
                sections[section] = sections[section] ?? [:]
            } else if let sign = words.firstIndex(of: "=") {
                let key = words[..<sign].trimmingCharacters(in: .whitespaces)
                var value = words[words.index(after: sign)...].trimmingCharacters(in: .whitespaces)
                if value.count >= 2, let quote = value.first, quote == value.last, "\"'".contains(quote) {
                    value = String(value.dropFirst().dropLast())
                }
                sections[section, default: [:]][key] = value
            }
        }
    }

    /// nil where this process may not read it.
    init?(contentsOf path: String) {
        guard let bytes = FileManager.default.contents(atPath: path) else { return nil }
        self.init(String(decoding: bytes, as: UTF8.self))
    }

    /// Values in those sections whose key fits, section by section.
    func values(in names: [String], where fits: (String) -> Bool) -> [(key: String, value: String)] {
        names.flatMap { name in
            (sections[name] ?? [:]).filter { fits($0.key) }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        }
    }
}
