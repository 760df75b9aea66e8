import CHost
import DrillCore
import Foundation

/// A command with everything looked up: what the kernel is to be told.
struct Launch: Sendable {
    enum Network: Sendable, Equatable {
        case shared
        case sealed
        /// Where this process is not root: sealed within a user namespace that maps its own user alone.
        case sealedInUserNamespace

        /// What seals on this machine, if anything does.
        static var sealing: Network { HostIdentity.isRoot ? .sealed : .sealedInUserNamespace }

        var code: Int32 {
            switch self {
            case .shared: Int32(HOST_NETWORK_SHARED.rawValue)
            case .sealed: Int32(HOST_NETWORK_SEALED.rawValue)
            case .sealedInUserNamespace: Int32(HOST_NETWORK_SEALED_IN_USER_NAMESPACE.rawValue)
            }
        }
    }

    var path: String
    /// With the program's name in the first place.
    var arguments: [String]
    /// `NAME=value` each.
    var environment: [String]
    var directory: String?
    var user: OSUser?
    var groups: [gid_t] = []
    var network: Network
    /// Whether it and all that it starts may connect nowhere.
    var sealsConnections = false

    /// Starts the program. To be called on a thread that lives as long as the child and blocks all signals.
    /// - Throws: `couldNotLook`, naming the step that failed.
    func spawn(input: Int32, output: Int32, errors: Int32) throws -> pid_t {
        var step: Int32 = 0
        let pid = try withChild { child in
            child.input = input
            child.output = output
            child.errors = errors
            return host_spawn(&child, &step)
        }
        guard pid < 0 else { return pid }
        throw failure(step: step, code: errno)
    }

    /// Hands this as C wants it to see it; the pointers are good for the call alone.
    func withChild<Result>(_ body: (inout host_child) throws -> Result) throws -> Result {
        for text in arguments + environment + [path] + (directory.map { [$0] } ?? []) where text.utf8.contains(0) {
            throw DrillError(.couldNotLook, "an argument or variable for \(path) holds a zero byte")
        }
        return try withCStrings(arguments) { arguments in
            try withCStrings(environment) { environment in
                try withCStrings([path, directory ?? "", "\(getuid()) \(getuid()) 1", "\(getgid()) \(getgid()) 1"]) {
                    texts in
                    try groups.withUnsafeBufferPointer { groups in
                        var child = host_child()
                        child.path = UnsafePointer(texts[0])
                        child.arguments = UnsafePointer(arguments)
                        child.environment = UnsafePointer(environment)
                        child.directory = directory == nil ? nil : UnsafePointer(texts[1])
                        child.changes_user = user == nil ? 0 : 1
                        child.user = user?.userID ?? 0
                        child.group = user?.groupID ?? 0
                        child.groups = groups.baseAddress
                        child.group_count = groups.count
                        child.network = network.code
                        child.user_map = UnsafePointer(texts[2])
                        child.group_map = UnsafePointer(texts[3])
                        child.seals_connections = sealsConnections ? 1 : 0
                        return try body(&child)
                    }
                }
            }
        }
    }

    private func failure(step: Int32, code: Int32) -> DrillError {
        let reason = errorText(code)
        switch UInt32(bitPattern: step) {
        case HOST_STEP_NETWORK.rawValue, HOST_STEP_CONNECTIONS.rawValue:
            return DrillError(.couldNotLook, "cannot seal the network of \(path): \(reason)")
        case HOST_STEP_USER.rawValue:
            return DrillError(
                .couldNotLook, "cannot run \(path) as OS user \(user?.name ?? ""): \(reason)",
                hints: ["Only root can give a program to another user."])
        case HOST_STEP_DIRECTORY.rawValue:
            return DrillError(
                .couldNotLook, "cannot enter the working directory\(asUser): \(reason)", at: directory ?? "")
        case HOST_STEP_EXECUTE.rawValue:
            return DrillError(.couldNotLook, "cannot execute\(asUser): \(reason)", at: path)
        default:
            return DrillError(.couldNotLook, "cannot start a child process: \(reason)", at: path)
        }
    }

    private var asUser: String { user.map { " as OS user \($0.name)" } ?? "" }
}

/// The texts as a `NULL`-terminated array of C strings, good for the call alone.
private func withCStrings<Result>(
    _ texts: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) throws -> Result
) rethrows -> Result {
    let pointers = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: texts.count + 1)
    for (index, text) in texts.enumerated() { (pointers + index).initialize(to: strdup(text)) }
    (pointers + texts.count).initialize(to: nil)
    defer {
        for index in texts.indices { free(pointers[index]) }
        pointers.deallocate()
    }
    return try body(pointers)
}
