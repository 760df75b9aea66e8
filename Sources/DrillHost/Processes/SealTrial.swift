import CHost
import DrillCore
import Foundation

/// Whether this machine's kernel really seals a child, found out by trying it once: a sealed child must reach neither a TCP port
/// nor a Unix socket that listens here, and an unsealed one must reach both.
actor SealTrial {
    struct Outcome: Sendable {
        /// In a network namespace of its own nothing of this machine's network is there.
        var isolatesNetwork = false
        /// The kernel refuses it every connection, also to Unix sockets, which are files and in no network.
        var refusesConnections = false
        /// Why not all of it holds.
        var reasons: [String] = []

        var state: SealState {
            isolatesNetwork && refusesConnections ? .sealed : .open(reason: reasons.joined(separator: "; "))
        }
    }

    private var known: Outcome?

    func outcome() -> Outcome {
        if let known { return known }
        let outcome = Self.attempt()
        known = outcome
        return outcome
    }

    private static func attempt() -> Outcome {
        var outcome = Outcome()
        func attempt(_ what: String, _ sealed: Launch, _ listen: () throws -> TrialListener) -> Bool {
            do {
                let listener = try listen()
                guard try listener.isReached(by: Self.launch(.shared)) else {
                    outcome.reasons.append("\(what) cannot be reached here, so whether a seal holds cannot be told")
                    return false
                }
                guard try !listener.isReached(by: sealed) else {
                    outcome.reasons.append("a sealed child still reached \(what)")
                    return false
                }
                return true
            } catch {
                outcome.reasons.append(DrillError(wrapping: error).what)
                return false
            }
        }
        outcome.isolatesNetwork = attempt("a loopback port", launch(.sealing), TrialListener.onLoopback)
        outcome.refusesConnections = attempt(
            "a Unix socket", launch(.shared, sealsConnections: true), TrialListener.onUnixSocket)
        return outcome
    }

    private static func launch(_ network: Launch.Network, sealsConnections: Bool = false) -> Launch {
        Launch(path: "", arguments: [], environment: [], network: network, sealsConnections: sealsConnections)
    }
}

/// A socket that listens for the time of one trial.
private final class TrialListener {
    private let descriptor: Int32
    private let address: [UInt8]
    /// What is removed at the end.
    private let path: String?

    private init(_ family: Int32, _ address: [UInt8], path: String? = nil) throws {
        descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        self.path = path
        var length = socklen_t(address.count)
        let socket = descriptor
        var bound = address
        let listens = bound.withUnsafeMutableBytes { bytes in
            let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            return bind(socket, pointer, length) == 0 && listen(socket, 8) == 0
                && getsockname(socket, pointer, &length) == 0
        }
        self.address = bound
        guard listens else { throw DrillError(.couldNotLook, "cannot listen for a trial: \(errorText(errno))") }
    }

    deinit {
        close(descriptor)
        guard let path else { return }
        unlink(path + "/socket")
        rmdir(path)
    }

    static func onLoopback() throws -> TrialListener {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return try TrialListener(AF_INET, withUnsafeBytes(of: address) { Array($0) })
    }

    static func onUnixSocket() throws -> TrialListener {
        var template = Array("/tmp/muster-seal-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else {
            throw DrillError(.couldNotLook, "cannot make a folder in /tmp: \(errorText(errno))")
        }
        let folder = String(cString: made)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: (folder + "/socket").utf8) }
        return try TrialListener(AF_UNIX, withUnsafeBytes(of: address) { Array($0) }, path: folder)
    }

    func isReached(by launch: Launch) throws -> Bool {
        var step: Int32 = 0
        let answer = try launch.withChild { child in
            address.withUnsafeBytes { bytes in
                host_reaches(
                    &child, bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self), socklen_t(bytes.count), &step)
            }
        }
        guard answer < 0 else { return answer == 1 }
        let reason = errorText(errno)
        throw DrillError(
            .couldNotLook,
            step == Int32(HOST_STEP_CONNECTIONS.rawValue)
                ? "the kernel refuses a filter of system calls: \(reason)"
                : "the kernel refuses a network namespace: \(reason)")
    }
}
