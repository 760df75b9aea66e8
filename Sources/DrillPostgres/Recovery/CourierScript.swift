import DrillCore

/// The server's `restore_command`: a script of fixed words that asks Muster for one file by name, through two pipes in the
/// server's own folder, and waits for the answer (P27).
///
/// Only Muster's word `absent` becomes status 1, which the server takes for the end of the archive. All else that goes wrong,
/// also a script that cannot even be read, becomes 126, which ends recovery. When Muster is gone, so is the last writer of
/// the pipe, and the wait ends.
struct CourierScript: Sendable {
    /// Holds the pipes, and the files that were asked for.
    var folder: String

    var path: String { folder + "/fetch" }
    var requests: String { folder + "/requests" }
    var answers: String { folder + "/answers" }

    /// What the script ends with for `absent`: no status that a shell has of its own.
    private static let absent = 42

    /// What the script writes to the server's log, before the file's name.
    static let failed = "muster: cannot be brought: "

    // A pipe opened for reading and writing opens at once whoever is at its other end; once only the reading side is left,
    // Muster is its only writer.
    var text: String {
        """
        set -u
        name=$1 destination=$2 folder=\(Self.quoted(folder))
        case $name in *[!0-9A-Za-z.]*|.*|'') exit 126;; esac
        ask() {
            printf '%s\\n' "$name" >&3 || return 126
            while read -r word file; do
                [ "$file" = "$name" ] || continue
                case $word in
                found) mv -f -- "$folder/$name" "$destination" && return 0;;
                absent) return \(Self.absent);;
                esac
                return 126
            done <&4
            return 126
        }
        ask 3<>"$folder/requests" 5<>"$folder/answers" 4<"$folder/answers" 5>&-
        case $? in
        0) exit 0;;
        \(Self.absent)) exit \(Self.absent);;
        esac
        echo "\(Self.failed)$name" >&2
        exit 126

        """
    }

    /// The setting's value.
    var setting: String {
        "/bin/sh \(Self.quoted(path).replacing("%", with: "%%")) \"%f\" \"%p\"; "
            + "case $? in 0) exit 0;; \(Self.absent)) exit 1;; *) exit 126;; esac"
    }

    /// As one word of a shell (X6).
    static func quoted(_ text: String) -> String { "'" + text.replacing("'", with: "'\\''") + "'" }
}
