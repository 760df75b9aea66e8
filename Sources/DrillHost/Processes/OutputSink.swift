import DrillCore
import Foundation

/// Takes one output stream of a child: where the command wants it, and its tail.
struct OutputSink {
    private let destination: Command.Output
    private var file: OwnedDescriptor?
    private var collected: [UInt8] = []
    private(set) var wasCut = false
    private(set) var tail: TailBuffer
    /// Why the file could not be written; the rest of the stream is then read and dropped.
    private(set) var failure: DrillError?

    /// - Parameter tailBytes: How much to keep of the stream's end.
    init(_ destination: Command.Output, tailBytes: Int) throws {
        self.destination = destination
        tail = TailBuffer(limitBytes: tailBytes)
        if case .file(let path) = destination { file = try OwnedDescriptor(creating: path) }
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        tail.append(bytes)
        switch destination {
        case .collected(let limitBytes):
            let room = max(0, limitBytes - collected.count)
            collected.append(contentsOf: bytes.prefix(room))
            if bytes.count > room { wasCut = true }
        case .chunks(let receive):
            receive(Array(bytes))
        case .file(let path):
            guard failure == nil, let file else { return }
            if let code = file.writeAll(bytes) {
                failure = DrillError(.couldNotLook, "cannot write: \(errorText(code))", at: path)
            }
        }
    }

    /// What was collected; empty where it went elsewhere.
    func contents() -> [UInt8] { collected }
}

/// A file descriptor that is closed when its last holder lets go of it.
final class OwnedDescriptor: Sendable {
    let number: Int32

    init(_ number: Int32) { self.number = number }

    /// Opens a file for writing, made 0600 or cut to nothing first. Does not follow a link in the last place of the
    /// path (X9).
    convenience init(creating path: String) throws {
        let number = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard number >= 0 else { throw DrillError(.couldNotLook, "cannot write: \(errorText(errno))", at: path) }
        self.init(number)
    }

    convenience init(reading path: String) throws {
        let number = open(path, O_RDONLY | O_CLOEXEC)
        guard number >= 0 else { throw DrillError(.couldNotLook, "cannot read: \(errorText(errno))", at: path) }
        self.init(number)
    }

    deinit { close(number) }

    /// The `errno` of what went wrong; nil when all was written.
    func writeAll(_ bytes: UnsafeRawBufferPointer) -> Int32? {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = write(number, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR {
                return errno
            }
        }
        return nil
    }
}
