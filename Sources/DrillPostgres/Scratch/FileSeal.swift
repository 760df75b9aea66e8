import DrillCore
import Foundation

/// Keeps what runs inside a scratch server (functions of the backup, `COPY … TO PROGRAM`) from writing outside scratch (P6): the
/// server sees every file system read-only but for its own folders. By a mount namespace, which root can make anywhere on Linux.
struct FileSeal: Sendable {
    private let tools: [String: String]
    private let account: OSUser

    /// Words of our own alone; paths come as arguments. Leaves only the folders that are named writable, then becomes the
    /// program, as the account and without any capability.
    private static let script = """
        set -e
        setpriv=$1 user=$2 group=$3 count=$4
        shift 4
        kept=:
        while [ "$count" -gt 0 ]; do
            mount --bind "$1" "$1"
            kept="$kept$1:"
            count=$((count - 1))
            shift
        done
        while read -r id parent device root point options rest; do
            point=$(printf '%b' "$point")
            case $point in /proc | /proc/* | /sys | /sys/*) continue ;; esac
            case $kept in *":$point:"*) continue ;; esac
            mount -o "remount,bind,ro,${options#r?,}" "$point"
        done </proc/self/mountinfo
        exec "$setpriv" --reuid "$user" --regid "$group" --clear-groups --no-new-privs --inh-caps=-all \\
            --bounding-set=-all --pdeathsig KILL -- "$@"
        """

    /// That command, sealed: it writes only below these folders. Its user becomes the account.
    func sealing(_ command: Command, writable folders: [String]) -> Command {
        var sealed = command
        sealed.executable = tools["unshare"] ?? "unshare"
        // Without --ipc, shared memory of another server of the same OS user would be within reach.
        sealed.arguments =
            ["--mount", "--ipc", "--propagation", "private", "--", tools["sh"] ?? "sh", "-c", Self.script, "sh"]
            + [tools["setpriv"] ?? "setpriv", String(account.userID), String(account.groupID), String(folders.count)]
            + folders + [command.executable] + command.arguments
        sealed.user = nil
        return sealed
    }

    /// Tries it on that folder, which belongs to the account.
    /// - Returns: nil with the reason where this machine cannot seal files.
    static func find(
        account: ServerAccount, folder: String, environment: DrillEnvironment
    ) async throws -> (seal: FileSeal?, reason: String) {
        guard let user = account.user else { return (nil, "only root can do that for a server of its own") }
        var tools: [String: String] = [:]
        for name in ["unshare", "setpriv", "mount", "sh", "test"] {
            guard let path = environment.processes.find(name) else {
                return (nil, "there is no `\(name)` on this machine")
            }
            tools[name] = path
        }
        let seal = FileSeal(tools: tools, account: user)
        let test = "test -w \"$1\" && ! test -w /tmp && ! test -w /var/tmp && ! test -w /dev/shm"
        var trial = Command(tools["sh"] ?? "sh", ["-c", test, "sh", folder])
        trial.network = .sealed
        trial.refusesConnections = true
        let result = try await environment.processes.run(seal.sealing(trial, writable: [folder]))
        if result.succeeded { return (seal, "") }
        let words = result.errorText.split(whereSeparator: \.isNewline).first.map(String.init)
        return (nil, words ?? "a trial of it \(result.endingText)")
    }

    /// For the report where there is no seal.
    static func note(_ reason: String) -> String {
        "The scratch server could not be kept from writing outside scratch, as what the dump contains might: \(reason)."
    }
}
