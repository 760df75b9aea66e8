import Foundation
import Synchronization

/// Listens on a TCP port of the loopback and on a Unix socket named as a PostgreSQL server's, and counts who comes.
final class ConnectionSink: Sendable {
    let port: UInt16
    /// Holds the socket `.s.PGSQL.<port>`.
    let folder: String
    private let sockets: [Int32]
    private let counts = Mutex<[Int32: Int]>([:])

    struct Refused: Error {
        var code: Int32
    }

    /// - Parameter folder: Exists already, and whoever is to come may pass through it.
    init(in folder: String) throws {
        self.folder = folder
        var tcp = sockaddr_in()
        tcp.sin_family = sa_family_t(AF_INET)
        tcp.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let (first, bound) = try Self.listen(AF_INET, withUnsafeBytes(of: tcp) { Array($0) })
        port = bound.withUnsafeBytes { UInt16(bigEndian: $0.load(as: sockaddr_in.self).sin_port) }
        var local = sockaddr_un()
        local.sun_family = sa_family_t(AF_UNIX)
        let path = folder + "/.s.PGSQL.\(port)"
        withUnsafeMutableBytes(of: &local.sun_path) { $0.copyBytes(from: path.utf8) }
        let (second, _) = try Self.listen(AF_UNIX, withUnsafeBytes(of: local) { Array($0) })
        chmod(path, 0o777)
        sockets = [first, second]
        for socket in sockets { Thread.detachNewThread { [weak self] in Self.serve(socket) { self?.count(socket) } } }
    }

    deinit { for socket in sockets { shutdown(socket, Int32(SHUT_RDWR)) } }

    private static func listen(_ family: Int32, _ address: [UInt8]) throws -> (Int32, [UInt8]) {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var bound = address
        var length = socklen_t(address.count)
        let listens = bound.withUnsafeMutableBytes { bytes in
            let pointer = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
            return bind(descriptor, pointer, length) == 0 && Glibc.listen(descriptor, 64) == 0
                && getsockname(descriptor, pointer, &length) == 0
        }
        guard listens else { throw Refused(code: errno) }
        return (descriptor, bound)
    }

    /// Takes each connection and hangs up, until the socket is shut down.
    private static func serve(_ socket: Int32, _ came: () -> Void) {
        while true {
            let connection = accept(socket, nil, nil)
            if connection < 0, errno == EINTR || errno == ECONNABORTED { continue }
            guard connection >= 0 else { break }
            came()
            close(connection)
        }
        close(socket)
    }

    private func count(_ socket: Int32) { counts.withLock { $0[socket, default: 0] += 1 } }

    /// How many came by TCP and by the Unix socket since this was asked last.
    func taken() -> (tcp: Int, unix: Int) {
        counts.withLock { counts in
            defer { counts = [:] }
            return (counts[sockets[0]] ?? 0, counts[sockets[1]] ?? 0)
        }
    }
}
