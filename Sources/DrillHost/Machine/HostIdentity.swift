import DrillCore
import Foundation

/// Who this process is, on which machine.
package enum HostIdentity {
    package static var isRoot: Bool { geteuid() == 0 }

    /// As `uname -n` says; `unknown` where the kernel has none.
    package static var hostName: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "unknown" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return name.isEmpty ? "unknown" : name
    }

    /// Differs after each start of the machine; nil where /proc does not tell.
    static var bootID: String? {
        guard let text = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8) else {
            return nil
        }
        return text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// When that process started, in clock ticks since the machine did: with the boot id and the pid it names one
    /// process for ever, whereas a pid alone comes back. nil where there is no such process, or only its zombie.
    /// (proc(5), field 22.)
    static func startTime(ofProcess id: Int32) -> UInt64? {
        guard let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8),
            let nameEnd = text.lastIndex(of: ")")  // the name may hold spaces and parentheses
        else { return nil }
        let fields = text[text.index(after: nameEnd)...].split(separator: " ")
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return UInt64(fields[19])
    }
}

extension OSUser {
    /// The user of that name; nil where the machine knows none.
    package static func named(_ name: String) throws -> OSUser? {
        try entry { entry, buffer, size, found in getpwnam_r(name, entry, buffer, size, found) }.map(\.user)
    }

    /// Where the user database says this user lives; nil where it does not know the user.
    func homeDirectory() throws -> String? {
        try Self.entry { [userID] in getpwuid_r(userID, $0, $1, $2, $3) }.map(\.home)
    }

    /// All groups of this user, its own first.
    func groups() throws -> [gid_t] {
        var count: Int32 = 64
        while count <= 65_536 {
            var groups = [gid_t](repeating: 0, count: Int(count))
            if getgrouplist(name, groupID, &groups, &count) >= 0 { return Array(groups.prefix(Int(count))) }
            count = max(count, Int32(groups.count) * 2)
        }
        throw DrillError(.couldNotLook, "the OS user \(name) is in too many groups")
    }

    private typealias Lookup = (
        UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
        UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
    ) -> Int32

    private static func entry(_ lookUp: Lookup) throws -> (user: OSUser, home: String)? {
        var buffer = [CChar](repeating: 0, count: 4096)
        while true {
            var entry = passwd()
            var found: UnsafeMutablePointer<passwd>?
            switch lookUp(&entry, &buffer, buffer.count, &found) {
            case 0:
                guard found != nil else { return nil }
                let user = OSUser(name: String(cString: entry.pw_name), userID: entry.pw_uid, groupID: entry.pw_gid)
                return (user, String(cString: entry.pw_dir))
            case ERANGE where buffer.count < 1 << 20:
                buffer = [CChar](repeating: 0, count: buffer.count * 4)
            case ENOENT, ESRCH, EBADF, EPERM:  // what getpwnam_r(3) says may stand for "not found"
                return nil
            case let code:
                throw DrillError(.couldNotLook, "the user database does not answer: \(errorText(code))")
            }
        }
    }
}

/// What an `errno` means, in the system's words.
func errorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    _ = strerror_r(code, &buffer, buffer.count)
    return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}
