import CDataFiles
import DrillCore
import Foundation
import Synchronization

/// The newest pages of a data directory that no server has touched yet. A page that bears a later place in the WAL than the WAL
/// has was written after the WAL was copied: WAL is always written first (P25).
struct PageLSNs: Sendable {
    struct Newest: Sendable {
        /// Below the server's folder.
        var file: String
        var block: Int
        var lsn: LSN
    }

    /// The newest page of each file that has one beyond the checkpoint, the newest first.
    private(set) var newest: [Newest] = []
    private(set) var pages: Int64 = 0

    /// Looks at every page of every relation.
    /// - Parameters:
    ///   - directories: Below `folder`.
    ///   - checkpoint: Pages up to there are of no interest.
    static func scan(_ directories: [String], in folder: String, _ control: ControlData) async throws -> PageLSNs {
        let checkpoint = control.checkpoint ?? LSN(0)
        let page = control.value("Database block size").flatMap { Int($0) } ?? 8192
        var files: [String] = []
        for directory in directories {
            files += try FileTree(of: "\(folder)/\(directory)").files.map { "\(directory)/\($0.path)" }
                .filter(isRelation)
        }
        let found = Mutex(PageLSNs())
        try await SideBySide.forEach(files) { file in
            let (newest, pages) = try look("\(folder)/\(file)", page: page)
            found.withLock { found in
                found.pages += pages
                if let newest, newest.lsn > checkpoint {
                    found.newest.append(Newest(file: file, block: newest.block, lsn: newest.lsn))
                }
            }
        }
        return found.withLock { found in
            found.newest.sort { $0.lsn != $1.lsn ? $0.lsn > $1.lsn : $0.file < $1.file }
            return found
        }
    }

    /// Files of pages with headers: `base/5/16384`, `16384.1`, `16384_fsm`, not those of temporary tables.
    static func isRelation(_ path: String) -> Bool {
        guard let name = path.split(separator: "/").last else { return false }
        return name.wholeMatch(of: /[0-9]+(_fsm|_vm|_init)?(\.[0-9]+)?/) != nil
            && (path.contains("base/") || path.contains("global/") || path.contains("/PG_"))
    }

    private static func look(_ path: String, page: Int) throws -> (newest: (block: Int, lsn: LSN)?, pages: Int64) {
        let descriptor = df_open_source(path, 0)
        guard descriptor >= 0 else { throw FileTree.unreadable(path) }
        defer { close(descriptor) }
        return try withUnsafeTemporaryAllocation(byteCount: page * 64, alignment: 4096) { buffer in
            var newest: (block: Int, lsn: LSN)?
            var block = 0
            while true {
                let got = pread(descriptor, buffer.baseAddress, buffer.count, off_t(block * page))
                if got < 0, errno == EINTR { continue }
                guard got >= 0 else { throw FileTree.unreadable(path) }
                // A last page may be half there: replay mends it.
                for index in 0..<got / page {
                    let lsn = lsn(
                        UnsafeRawBufferPointer(rebasing: buffer[index * page..<index * page + 24]), page: page)
                    if let lsn, lsn > newest?.lsn ?? LSN(0) { newest = (block + index, lsn) }
                }
                block += got / page
                if got < buffer.count { return (newest, Int64(block)) }
            }
        }
    }

    /// Of a page with a sound header; nil for any other, such as one of zeros. (src/include/storage/bufpage.h.)
    private static func lsn(_ head: UnsafeRawBufferPointer, page: Int) -> LSN? {
        func short(_ offset: Int) -> Int {
            Int(UInt16(littleEndian: head.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
        }
        let lower = short(12), upper = short(14), special = short(16)
        guard short(18) == page | 4, lower >= 24, lower <= upper, upper <= special, special <= page else { return nil }
        let high = UInt32(littleEndian: head.loadUnaligned(as: UInt32.self))
        let low = UInt32(littleEndian: head.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
        return LSN(UInt64(high) << 32 | UInt64(low))
    }

    /// What says that these pages are younger than a WAL that ends there; nil where none is.
    func fault(walEnd: LSN) -> String? {
        let beyond = newest.filter { $0.lsn > walEnd }
        guard let first = beyond.first else { return nil }
        let holder = first.file.hasPrefix("tablespaces/") ? "a tablespace" : "the data directory"
        return
            "the WAL ends at \(walEnd), and \(holder) has pages that were written later (\(beyond.count) files; the newest is "
            + "block \(first.block) of \(first.file), at \(first.lsn)): the volumes were not taken at the same instant"
    }
}
