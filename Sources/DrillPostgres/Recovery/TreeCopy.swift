import CDataFiles
import DrillCore
import Foundation
import Synchronization

/// Copies a tree's directories and files into a directory that exists, several files at a time, as the server's own. Blocks are
/// shared where the file system can; holes stay holes; links and sockets are left out.
struct TreeCopy: Sendable {
    var tree: FileTree
    var source: String
    var destination: String
    var account: ServerAccount
    var progress: any ProgressSink = NoProgress()

    func run() async throws {
        for directory in tree.directories {
            try Task.checkCancellation()
            try account.makeFolder("\(destination)/\(directory)")
        }
        let done = Atomic<Int64>(0)
        let copy = self
        // The largest first: a big file at the end would leave the others idle.
        try await SideBySide.forEach(tree.files.sorted { $0.sizeBytes > $1.sizeBytes }) { file in
            try copy.copy(file)
            copy.progress.advance(to: done.wrappingAdd(file.sizeBytes, ordering: .relaxed).newValue)
        }
    }

    private func copy(_ file: FileTree.File) throws {
        let from = "\(source)/\(file.path)", to = "\(destination)/\(file.path)"
        let input = df_open_source(from, 0)
        guard input >= 0 else { throw FileTree.unreadable(from) }
        defer { close(input) }
        let output = open(to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard output >= 0 else { throw failed(to) }
        defer { close(output) }
        if let user = account.user, fchown(output, user.userID, user.groupID) != 0 { throw failed(to) }
        if file.sizeBytes == 0 || df_clone(input, output) == 0 { return }
        if file.storedBytes < file.sizeBytes {
            try copyData(input, output, file.sizeBytes, from, to)
        } else {
            try copyBytes(input, output, Int64.max, from, to)
        }
    }

    /// Data alone, hole by hole.
    private func copyData(_ input: Int32, _ output: Int32, _ size: Int64, _ from: String, _ to: String) throws {
        var start = df_next_data(input, 0)
        while start >= 0 {
            let end = df_next_hole(input, start)
            guard end > start, lseek(input, off_t(start), SEEK_SET) == start,
                lseek(output, off_t(start), SEEK_SET) == start
            else { throw FileTree.unreadable(from) }
            try copyBytes(input, output, end - start, from, to)
            start = df_next_data(input, end)
        }
        guard errno == ENXIO else { throw FileTree.unreadable(from) }
        guard ftruncate(output, off_t(size)) == 0 else { throw failed(to) }
    }

    /// From where both stand, at most so many bytes.
    private func copyBytes(_ input: Int32, _ output: Int32, _ count: Int64, _ from: String, _ to: String) throws {
        var rest = count
        while rest > 0 {
            let copied = df_copy(input, output, min(rest, 1 << 30))
            if copied == 0 { return }
            if copied < 0 {
                switch errno {
                case EINTR: continue
                // Another kind of file system, or a kernel that cannot.
                case EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EPERM: return try transfer(input, output, rest, from, to)
                case ENOSPC, EDQUOT, EFBIG: throw failed(to)
                default: throw FileTree.unreadable(from)
                }
            }
            rest -= copied
        }
    }

    private func transfer(_ input: Int32, _ output: Int32, _ count: Int64, _ from: String, _ to: String) throws {
        try withUnsafeTemporaryAllocation(byteCount: 256 << 10, alignment: 4096) { buffer in
            var rest = count
            while rest > 0 {
                let got = read(input, buffer.baseAddress, Int(min(rest, Int64(buffer.count))))
                if got < 0, errno == EINTR { continue }
                guard got >= 0 else { throw FileTree.unreadable(from) }
                if got == 0 { return }
                var written = 0
                while written < got {
                    let put = write(output, buffer.baseAddress.map { $0 + written }, got - written)
                    if put < 0, errno == EINTR { continue }
                    guard put > 0 else { throw failed(to) }
                    written += put
                }
                rest -= Int64(got)
            }
        }
    }

    private func failed(_ path: String) -> DrillError {
        let code = errno
        let isFull = code == ENOSPC || code == EDQUOT
        return DrillError(
            .couldNotLook, isFull ? "scratch is full" : "cannot be made: \(String(cString: strerror(code)))", at: path)
    }
}
