import CLinuxFiles
import DrillCore
import Foundation
import Glibc

/// The names of one directory in the order of the keys below it: by bytes, where the name of a directory ends in `/`.
///
/// Names are kept in one buffer, with 16 bytes beside each for sorting. What is more than the limit goes, sorted, to files
/// without a name in `spillDirectory`, which are merged as names are taken. Used by one thread.
final class SortedNames {
    enum Kind: UInt8 { case file, directory, other }

    private struct Place {
        /// The eight bytes behind what all names have in common, as a number that sorts as they do.
        var lead: UInt64
        /// Where in `names` the record stands.
        var offset: UInt32
    }

    private let limitBytes: Int
    private let spillDirectory: String
    /// A record is its kind, its name and NUL.
    private var names: [UInt8] = []
    private var places: [Place] = []
    private var commonBytes = Int.max
    private var next = 0
    private var runs: [SortedRun] = []

    init(limitBytes: Int, spillDirectory: String) {
        self.limitBytes = limitBytes
        self.spillDirectory = spillDirectory
    }

    /// What it takes in memory.
    var heldBytes: Int { names.capacity + places.capacity * MemoryLayout<Place>.stride }

    /// Reads all names of that directory, then sorts them.
    func read(_ directory: Descriptor, wanted: (UnsafeBufferPointer<UInt8>) -> Bool) throws {
        try DirectoryEntries.forEach(in: directory) { name, type in
            guard wanted(name) else { return }
            add(name, try Self.kind(of: name, type, in: directory))
            if names.count + places.count * MemoryLayout<Place>.stride > limitBytes { try spill() }
        }
        if runs.isEmpty {
            sort()
        } else {
            if !places.isEmpty { try spill() }
            names = []
            places = []
            for index in runs.indices { try runs[index].advance() }
        }
    }

    private static func kind(
        of name: UnsafeBufferPointer<UInt8>, _ type: UInt8, in directory: Descriptor
    ) throws(FileFailure) -> Kind {
        switch Int(type) {
        case Int(DT_REG): return .file
        case Int(DT_DIR): return .directory
        case Int(DT_UNKNOWN):
            guard let start = name.baseAddress else { return .other }
            let status = try start.withMemoryRebound(to: CChar.self, capacity: name.count + 1) { start in
                Result { () throws(FileFailure) in try Descriptor.status(at: directory.number, start) }
            }.get()
            return status.kind == .file ? .file : status.kind == .directory ? .directory : .other
        default: return .other
        }
    }

    private func add(_ name: UnsafeBufferPointer<UInt8>, _ kind: Kind) {
        let offset = names.count
        names.append(kind.rawValue)
        names.append(contentsOf: name)
        if kind == .directory { names.append(UInt8(ascii: "/")) }
        names.append(0)
        if places.isEmpty {
            commonBytes = names.count - 2 - offset
        } else {
            let first = Int(places[0].offset)
            names.withUnsafeBufferPointer { names in
                var common = 0
                while common < commonBytes, names[first + 1 + common] == names[offset + 1 + common] { common += 1 }
                commonBytes = common
            }
        }
        places.append(Place(lead: 0, offset: UInt32(offset)))
    }

    private func sort() {
        let common = commonBytes
        names.withUnsafeBufferPointer { names in
            guard let start = names.baseAddress else { return }
            for index in places.indices {
                var byte = Int(places[index].offset) + 1 + common
                var lead: UInt64 = 0, shift: UInt64 = 64
                while shift > 0, names[byte] != 0 {
                    shift -= 8
                    lead |= UInt64(names[byte]) << shift
                    byte += 1
                }
                places[index].lead = lead
            }
            places.sort { left, right in
                if left.lead != right.lead { return left.lead < right.lead }
                return compareNames(start + Int(left.offset) + 1 + common, start + Int(right.offset) + 1 + common) < 0
            }
        }
        next = 0
    }

    /// Sorts what is held and puts it into a file.
    private func spill() throws {
        sort()
        let run = try SpillFile(in: spillDirectory)
        try names.withUnsafeBytes { names in
            for place in places {
                guard let start = names.baseAddress.map({ $0 + Int(place.offset) }) else { continue }
                try run.append(
                    UnsafeRawBufferPointer(
                        start: start, count: 2 + strlen((start + 1).assumingMemoryBound(to: CChar.self))))
            }
        }
        runs.append(try SortedRun(run.finished()))
        names.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
    }

    var isAtEnd: Bool { runs.isEmpty ? next == places.count : runs.allSatisfy(\.isAtEnd) }

    /// Hands out the next name, without the `/`; the bytes are valid within the call, and NUL follows them. nil at the end.
    func takeNext<Result>(_ body: (Kind, UnsafeBufferPointer<UInt8>) throws -> Result) throws -> Result? {
        if runs.isEmpty {
            guard next < places.count else { return nil }
            let offset = Int(places[next].offset)
            next += 1
            return try names.withUnsafeMutableBufferPointer { try Self.handOut($0, at: offset, body) }
        }
        var least: Int?
        for index in runs.indices where !runs[index].isAtEnd {
            guard let best = least else {
                least = index
                continue
            }
            if runs[index].precedes(runs[best]) { least = index }
        }
        guard let least else { return nil }
        let result = try runs[least].handOut(body)
        try runs[least].advance()
        return result
    }

    fileprivate static func handOut<Result>(
        _ records: UnsafeMutableBufferPointer<UInt8>, at offset: Int,
        _ body: (Kind, UnsafeBufferPointer<UInt8>) throws -> Result
    ) throws -> Result? {
        guard let start = records.baseAddress.map({ $0 + offset }), let kind = Kind(rawValue: start[0]) else {
            return nil
        }
        let name = start + 1
        var count = strlen(UnsafeRawPointer(name).assumingMemoryBound(to: CChar.self))
        if kind == .directory {
            count -= 1
            name[count] = 0
        }
        return try body(kind, UnsafeBufferPointer(start: name, count: count))
    }
}

/// Both end in NUL.
private func compareNames(_ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>) -> Int32 {
    strcmp(
        UnsafeRawPointer(left).assumingMemoryBound(to: CChar.self),
        UnsafeRawPointer(right).assumingMemoryBound(to: CChar.self))
}

/// Reads the records of one sorted file.
struct SortedRun {
    private let file: Descriptor
    private var buffer = [UInt8](repeating: 0, count: 64 << 10)
    private var filled = 0
    private var offset: Int64 = 0
    /// The current record within the buffer; empty before the first and after the last.
    private var record = 0..<0
    private(set) var isAtEnd = false

    init(_ file: Descriptor) { self.file = file }

    /// Goes to the next record.
    mutating func advance() throws {
        var start = record.upperBound
        while true {
            if let end = buffer[start..<filled].dropFirst().firstIndex(of: 0) {
                record = start..<end + 1
                return
            }
            buffer.replaceSubrange(0..<filled - start, with: Array(buffer[start..<filled]))
            let kept = filled - start
            let count = try buffer.withUnsafeMutableBytes { bytes in
                try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[kept...]), at: offset)
            }
            offset += Int64(count)
            (start, filled, record) = (0, kept + count, 0..<0)
            if count == 0 {
                isAtEnd = true
                return
            }
        }
    }

    func precedes(_ other: SortedRun) -> Bool {
        buffer.withUnsafeBufferPointer { own in
            other.buffer.withUnsafeBufferPointer { others in
                guard let left = own.baseAddress, let right = others.baseAddress else { return false }
                return compareNames(left + record.lowerBound + 1, right + other.record.lowerBound + 1) < 0
            }
        }
    }

    mutating func handOut<Result>(
        _ body: (SortedNames.Kind, UnsafeBufferPointer<UInt8>) throws -> Result
    ) throws -> Result? {
        let start = record.lowerBound
        return try buffer.withUnsafeMutableBufferPointer { try SortedNames.handOut($0, at: start, body) }
    }
}

/// A file without a name in scratch, gone with the process.
final class SpillFile {
    private let number: Int32
    private let directory: String
    private var pending: [UInt8] = []
    private static let bufferBytes = 256 << 10

    init(in directory: String) throws {
        self.directory = directory
        var number = lf_open_at(AT_FDCWD, directory, Int32(LF_TMPFILE) | O_RDWR | O_CLOEXEC, 0o600)
        if number < 0, [EOPNOTSUPP, EISDIR, ENOENT].contains(errno) {
            // Some file systems have no O_TMPFILE.
            var template = Array((directory + "/muster-names-XXXXXX").utf8CString)
            number = mkstemp(&template)
            if number >= 0 {
                unlink(template)
                _ = fcntl(number, F_SETFD, FD_CLOEXEC)
            }
        }
        guard number >= 0 else {
            throw FileFailure(number: errno).couldNotLook("make a temporary file", at: directory)
        }
        self.number = number
        pending.reserveCapacity(Self.bufferBytes)
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        if pending.count + bytes.count > Self.bufferBytes { try flush() }
        pending.append(contentsOf: bytes)
    }

    private func flush() throws {
        var done = 0
        while done < pending.count {
            let count = pending.withUnsafeBytes {
                Glibc.write(number, $0.baseAddress.map { $0 + done }, $0.count - done)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw FileFailure(number: errno).couldNotLook("write a temporary file", at: directory)
            }
            done += count
        }
        pending.removeAll(keepingCapacity: true)
    }

    /// The whole file, for reading; it is closed with its last user.
    func finished() throws -> Descriptor {
        try flush()
        let copy = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else {
            throw FileFailure(number: errno).couldNotLook("read a temporary file", at: directory)
        }
        return Descriptor(owning: copy)
    }

    deinit { close(number) }
}
