import DrillCore
import Foundation

/// The server's `restore_command`: a script of fixed words that copies one file out of the archive, unpacking it (P27).
///
/// A file that is not there is status 1, which the server takes for the end of the archive; one that cannot be read or
/// unpacked is 126, which ends recovery: damage must not look like the end.
struct FetchScript: Sendable {
    /// Archived WAL, looked through in this order.
    var folders: [String]
    var tools: [Packing: String]

    /// What the script writes to the server's log, before the file's name.
    static let damaged = "muster: cannot be read from the archive: "

    func write(to path: String) throws { try writeOwnFile(path, text) }

    var text: String {
        var lines = [
            "set -u", "name=$1 destination=$2", "case $name in *[!0-9A-Za-z.]*|'') exit 126;; esac",
            "fail() { echo \"\(Self.damaged)$name\" >&2; exit 126; }",
            "look() {", "    if [ -e \"$1\" ]; then cat <\"$1\" >\"$destination\" || fail; exit 0; fi",
        ]
        for packing in [Packing.gzip, .zstd, .lz4] {
            let file = "\"$1\(packing.suffix)\""
            let command =
                tools[packing].map { "\(Self.quoted($0)) -dc <\(file) >\"$destination\" || fail; exit 0" } ?? "fail"
            lines.append("    if [ -e \(file) ]; then \(command); fi")
        }
        lines.append("}")
        for suffix in ["", ".partial"] {
            for folder in folders {
                lines.append("look \(Self.quoted(folder))/\"$name\"\(suffix)")
                lines.append("look \(Self.quoted(folder))/\"$(printf %.16s \"$name\")/$name\"\(suffix)")
            }
        }
        return (lines + ["exit 1", ""]).joined(separator: "\n")
    }

    /// The setting's value for a script at that path.
    static func setting(_ path: String) -> String {
        "/bin/sh \(quoted(path).replacing("%", with: "%%")) \"%f\" \"%p\""
    }

    /// As one word of a shell (X6).
    static func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }
}
