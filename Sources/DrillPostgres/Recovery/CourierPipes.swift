import Dispatch
import DrillCore
import Foundation
import Synchronization

/// The two named pipes between a server's `restore_command` and Muster: names of files come in, answers go out.
///
/// `@unchecked`: what changes is behind its mutexes, and the source is only made, held and cancelled.
final class CourierPipes: @unchecked Sendable {
    /// Names as they are asked for; it ends with ``close()``.
    let names: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation
    private let source: any DispatchSourceRead
    /// What came of a line that is not whole yet.
    private let pending = Mutex<[UInt8]>([])
    /// -1 once closed.
    private let writer: Mutex<Int32>

    /// Longer than any name that a server asks for.
    private static let longestName = 64

    init(requests: String, answers: String, account: ServerAccount) throws {
        let reader = try Self.pipe(requests, account)
        do {
            writer = Mutex(try Self.pipe(answers, account))
        } catch {
            Foundation.close(reader)
            throw error
        }
        (names, continuation) = AsyncStream.makeStream()
        source = DispatchSource.makeReadSource(fileDescriptor: reader, queue: DispatchQueue(label: "muster.courier"))
        source.setEventHandler { [weak self] in self?.read(reader) }
        source.setCancelHandler { Foundation.close(reader) }
        source.resume()
    }

    deinit { close() }

    /// Both ends are ours, so that the pipe outlives each script that opens it.
    private static func pipe(_ path: String, _ account: ServerAccount) throws -> Int32 {
        guard mkfifo(path, 0o600) == 0 else {
            throw DrillError(.couldNotLook, "cannot be made: \(String(cString: strerror(errno)))", at: path)
        }
        try account.give(path)
        let descriptor = open(path, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw DrillError(.couldNotLook, "cannot be opened: \(String(cString: strerror(errno)))", at: path)
        }
        return descriptor
    }

    /// Hands on the whole lines that came, of those that can be names.
    private func read(_ descriptor: Int32) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = Foundation.read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return }
        pending.withLock { rest in
            rest += buffer[..<count]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                if Self.isName(rest[..<end]) { continuation.yield(String(decoding: rest[..<end], as: UTF8.self)) }
                rest.removeFirst(end + 1)
            }
            if rest.count > Self.longestName { rest = [] }
        }
    }

    static func isName(_ bytes: some Collection<UInt8>) -> Bool {
        let allowed = UInt8(ascii: "0")...UInt8(ascii: "9")
        return (1...longestName).contains(bytes.count)
            && bytes.allSatisfy {
                allowed.contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2E
            } && bytes.first != 0x2E
    }

    /// Writes one short line, which goes through a pipe whole.
    func answer(_ line: String) throws {
        try writer.withLock { descriptor in
            guard descriptor >= 0 else { return }
            let bytes = Array(line.utf8)
            var written = write(descriptor, bytes, bytes.count)
            while written < 0, errno == EINTR { written = write(descriptor, bytes, bytes.count) }
            guard written == bytes.count else {
                throw DrillError(
                    .couldNotLook, "the scratch server cannot be answered: \(String(cString: strerror(errno)))")
            }
        }
    }

    /// Ends ``names``, and the wait of whoever still reads an answer.
    func close() {
        source.cancel()
        continuation.finish()
        writer.withLock { descriptor in
            if descriptor >= 0 { Foundation.close(descriptor) }
            descriptor = -1
        }
    }
}
