import CLinuxFiles
import Foundation

/// The entries of one directory, in the order in which the file system keeps them, `.` and `..` left out.
enum DirectoryEntries {
    private static let bufferBytes = 64 << 10

    /// - Parameter body: Gets each name without its NUL (though one follows it in memory) and its type (`DT_REG` …, or
    ///   `DT_UNKNOWN` where the file system does not tell). The bytes are valid only within the call.
    ///   Throws ``FileFailure`` where the directory cannot be read, and what `body` throws.
    static func forEach(
        in directory: Descriptor, _ body: (UnsafeBufferPointer<UInt8>, _ type: UInt8) throws -> Void
    ) throws {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferBytes, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let filled = lf_read_entries(directory.number, buffer.baseAddress, buffer.count)
            if filled == 0 { return }
            if filled < 0 {
                if errno == EINTR { continue }
                throw FileFailure(number: errno)
            }
            var offset = 0
            while offset < filled {
                let record = UnsafeRawBufferPointer(rebasing: buffer[offset..<filled])
                let length = Int(record.loadUnaligned(fromByteOffset: Int(LF_ENTRY_LENGTH), as: UInt16.self))
                let type = record[Int(LF_ENTRY_TYPE)]
                let bytes = record[Int(LF_ENTRY_NAME)..<length].bindMemory(to: UInt8.self)
                offset += length
                guard let start = bytes.baseAddress else { continue }
                let name = UnsafeBufferPointer(start: start, count: strnlen(start, bytes.count))
                let isDots = name[0] == 0x2E && (name.count == 1 || (name.count == 2 && name[1] == 0x2E))
                if !isDots { try body(name, type) }
            }
        }
    }

    private struct FoundOne: Error {}

    /// Whether it has none. Stops at the first.
    static func isEmpty(_ directory: Descriptor) throws -> Bool {
        do {
            try forEach(in: directory) { _, _ in throw FoundOne() }
        } catch is FoundOne {
            return false
        }
        return true
    }
}
