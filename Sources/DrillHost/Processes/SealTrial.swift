import CHost
import DrillCore
import Foundation

/// Whether this machine's kernel really seals a network, found out by trying it once: a sealed child must not reach a
/// port that listens here, and an unsealed one must.
actor SealTrial {
    private var known: SealState?

    func outcome() -> SealState {
        if let known { return known }
        let outcome = Self.attempt()
        known = outcome
        return outcome
    }

    private static func attempt() -> SealState {
        do {
            let (listener, port) = try listenOnLoopback()
            defer { close(listener) }
            guard try reaches(port, from: .shared) else {
                return .open(reason: "a loopback port cannot be reached here, so whether a seal holds cannot be told")
            }
            guard try !reaches(port, from: .sealing) else {
                return .open(reason: "a child in a network namespace of its own still reached this machine's loopback")
            }
            return .sealed
        } catch {
            return .open(reason: DrillError(wrapping: error).what)
        }
    }

    private static func reaches(_ port: UInt16, from network: Launch.Network) throws -> Bool {
        let launch = Launch(path: "", arguments: [], environment: [], network: network)
        var step: Int32 = 0
        let answer = try launch.withChild { host_reaches_loopback(&$0, port, &step) }
        guard answer >= 0 else {
            throw DrillError(.couldNotLook, "the kernel refuses a network namespace: \(errorText(errno))")
        }
        return answer == 1
    }

    private static func listenOnLoopback() throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listens = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && listen(descriptor, 8) == 0
                    && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard descriptor >= 0, listens else {
            let code = errno
            close(descriptor)
            throw DrillError(.couldNotLook, "cannot listen on loopback: \(errorText(code))")
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }
}
