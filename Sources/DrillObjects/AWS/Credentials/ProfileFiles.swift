import DrillCore
import Foundation

/// The `config` and `credentials` files of the AWS tools, as far as S3 needs them.
struct ProfileFiles: Sendable {
    /// Settings by profile; what `credentials` says wins over `config`.
    private var profiles: [String: [String: String]] = [:]
    /// The files that were looked at, for a person.
    let places: [String]

    /// Missing files are as if empty. Throws `DrillError` where one is there and cannot be read.
    init(variables: [String: String]) throws {
        let home = variables["HOME"] ?? ""
        let config = variables["AWS_CONFIG_FILE"] ?? "\(home)/.aws/config"
        let credentials = variables["AWS_SHARED_CREDENTIALS_FILE"] ?? "\(home)/.aws/credentials"
        places = [config, credentials]
        for (path, isConfig) in [(config, true), (credentials, false)] {
            for (section, settings) in Self.sections(try Self.read(path, home: home) ?? "") {
                var name = section
                if isConfig, section != "default" {
                    guard section.hasPrefix("profile ") else { continue }
                    name = section.dropFirst("profile ".count).trimmingCharacters(in: .whitespaces)
                }
                profiles[name, default: [:]].merge(settings) { _, new in new }
            }
        }
    }

    func settings(_ profile: String) -> [String: String]? { profiles[profile] }

    /// The text of a file, nil where there is none.
    static func read(_ path: String, home: String) throws -> String? {
        let path = path.hasPrefix("~/") ? home + path.dropFirst() : path
        do {
            return String(decoding: try Data(contentsOf: URL(filePath: path)), as: UTF8.self)
        } catch let error as CocoaError where error.code == .fileReadNoSuchFile {
            return nil
        } catch {
            throw DrillError(.couldNotLook, "cannot be read", at: path, cause: error)
        }
    }

    /// Sections in order. Indented lines belong to a nested group, which nothing here needs.
    private static func sections(_ text: String) -> [(name: String, settings: [String: String])] {
        var sections: [(name: String, settings: [String: String])] = []
        for line in text.split(whereSeparator: \.isNewline) {
            guard let first = line.first, !first.isWhitespace, first != "#", first != ";" else { continue }
            if first == "[" {
                let name = line.dropFirst().prefix { $0 != "]" }
                sections.append((name.trimmingCharacters(in: .whitespaces), [:]))
            } else if let equals = line.firstIndex(of: "="), !sections.isEmpty {
                let name = line[..<equals].trimmingCharacters(in: .whitespaces).lowercased()
                sections[sections.count - 1].settings[name] =
                    line[line.index(after: equals)...].trimmingCharacters(in: .whitespaces)
            }
        }
        return sections
    }
}
