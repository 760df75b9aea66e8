import DrillCore
import Foundation

/// Barman's configuration as one text, and what of it says where the catalog is. (Barman manual, Configuration.)
struct BarmanConfiguration: Sendable {
    let path: String
    /// The main file, then those of `configuration_files_directory` in their order.
    let text: String
    private let parsed: ToolConfiguration

    /// - Parameter path: nil: where Barman looks, for that user.
    /// - Throws: `couldNotLook` where it is not there or may not be read.
    init(_ path: String?, user: String?) throws {
        let home = user.flatMap { getpwnam($0)?.pointee.pw_dir.map { String(cString: $0) } }
        let places =
            path.map { [$0] }
            ?? [home.map { $0 + "/.barman.conf" }, "/etc/barman.conf", "/etc/barman/barman.conf"]
            .compactMap { $0 }
        guard let found = places.first(where: FileManager.default.fileExists) else {
            throw DrillError(
                .couldNotLook, "Barman's configuration is not there", at: places.joined(separator: ", "),
                hints: ["Name it with `config:`."])
        }
        self.path = found
        var text = try Self.contents(found)
        if let folder = ToolConfiguration(text).sections["barman"]?["configuration_files_directory"], !folder.isEmpty,
            FileManager.default.fileExists(atPath: folder)
        {
            do {
                for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
                where name.hasSuffix(".conf") {
                    text += "\n" + (try Self.contents("\(folder)/\(name)"))
                }
            } catch let error as DrillError {
                throw error
            } catch {
                throw DrillError(.couldNotLook, "cannot be listed", at: folder, cause: error)
            }
        }
        self.text = text
        parsed = ToolConfiguration(text)
    }

    private static func contents(_ path: String) throws -> String {
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw DrillError(
                .couldNotLook, "cannot be read", at: path,
                hints: ["Run Muster as root or as the user whom Barman belongs to."])
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    var servers: [String] { parsed.sections.keys.filter { $0 != "barman" && !$0.isEmpty }.sorted() }
    var user: String { global("barman_user") ?? "barman" }

    /// Where that server's base backups are.
    func bases(_ server: String) -> String {
        value("basebackups_directory", server) ?? "\(directory(server))/base"
    }
    func wals(_ server: String) -> String { value("wals_directory", server) ?? "\(directory(server))/wals" }

    func directory(_ server: String) -> String {
        value("backup_directory", server) ?? "\(global("barman_home") ?? "/var/lib/barman")/\(server)"
    }

    private func global(_ key: String) -> String? { parsed.sections["barman"]?[key].flatMap { $0.isEmpty ? nil : $0 } }

    /// With `%(name)s` replaced, as Python's configparser does.
    private func value(_ key: String, _ server: String) -> String? {
        guard var text = parsed.sections[server]?[key], !text.isEmpty else { return nil }
        for (name, value) in [
            ("barman_home", global("barman_home") ?? "/var/lib/barman"), ("name", server),
        ] {
            text = text.replacing("%(\(name))s", with: value)
        }
        if text.contains("%(backup_directory)s"), key != "backup_directory" {
            text = text.replacing("%(backup_directory)s", with: directory(server))
        }
        return text
    }

    /// The same configuration, but that locks and the log are in that folder, and no hook script of the user's runs.
    /// - Parameter wals: Another directory of WAL.
    func derived(_ folder: ToolFolder, server: String, wals: String?) -> String {
        let hooks = ["pre_recovery", "post_recovery"].flatMap { ["\($0)_script =", "\($0)_retry_script ="] }
        let global = [
            "barman_lock_directory = \(folder.locks)", "log_file = \(folder.logs)/barman.log",
            "configuration_files_directory =",
        ]
        return
            ([text, "[barman]"] + global + hooks + ["[\(server)]"] + hooks + [
                wals.map { "wals_directory = \($0)" } ?? "", "",
            ]).joined(separator: "\n")
    }
}
