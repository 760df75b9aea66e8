import Foundation
import Glibc

/// What keeps the stand-in from starting.
package struct StandInError: Error, CustomStringConvertible {
    package let call: String
    package let errorNumber: Int32

    package var description: String { "\(call): \(String(cString: strerror(errorNumber)))" }
}

/// The listening socket, its connections, and the state that they share.
final class StandInServer: Sendable {
    let port: UInt16
    let state = Guarded(StandInState())
    let log = Guarded(RequestLog())
    private let listener: Int32
    private let open = Guarded(OpenSockets())

    private struct OpenSockets: Sendable {
        var isStopped = false
        var sockets: Set<Int32> = []
    }

    init() throws(StandInError) {
        (listener, port) = try Self.listen()
        let server = self
        Self.startThread("s3-stand-in") { server.accept() }
    }

    /// Closes everything; whoever waits for an answer sees the connection end.
    func stop() {
        open.withLock { open in
            guard !open.isStopped else { return }
            open.isStopped = true
            shutdown(listener, Int32(SHUT_RDWR))
            for socket in open.sockets { shutdown(socket, Int32(SHUT_RDWR)) }
        }
    }

    private static func listen() throws(StandInError) -> (Int32, UInt16) {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw StandInError(call: "socket", errorNumber: errno) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let failed: String? = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                if bind(socket, address, length) != 0 { return "bind" }
                if Glibc.listen(socket, 1024) != 0 { return "listen" }
                return getsockname(socket, address, &length) == 0 ? nil : "getsockname"
            }
        }
        if let failed {
            let error = StandInError(call: failed, errorNumber: errno)
            close(socket)
            throw error
        }
        return (socket, UInt16(bigEndian: address.sin_port))
    }

    private static func startThread(_ name: String, _ run: @escaping @Sendable () -> Void) {
        let thread = Thread(block: run)
        thread.name = name
        thread.stackSize = 1 << 20
        thread.start()
    }

    private func accept() {
        while true {
            let socket = Glibc.accept(listener, nil, nil)
            if socket < 0 {
                // A peer that left before it was accepted is no reason to end; everything else is.
                if errno == ECONNABORTED || errno == EINTR { continue }
                break
            }
            _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
            var on: Int32 = 1
            setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            let isOpen = open.withLock { open in
                if !open.isStopped { open.sockets.insert(socket) }
                return !open.isStopped
            }
            guard isOpen else {
                close(socket)
                break
            }
            let server = self
            Self.startThread("s3-connection") {
                var connection = StandInConnection(socket, of: server)
                connection.serve()
                server.forget(socket)
            }
        }
        close(listener)
    }

    /// Closes the socket under the lock, so that `stop` never touches a number that was given out again.
    private func forget(_ socket: Int32) {
        open.withLock { open in
            open.sockets.remove(socket)
            close(socket)
        }
    }
}
