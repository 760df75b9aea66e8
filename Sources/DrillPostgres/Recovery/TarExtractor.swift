import DrillCore
import Foundation
import Synchronization

/// Takes a tar archive apart as its bytes come, into a directory or into memory.
///
/// Nothing is written outside the directory: an entry whose name climbs out is refused, and no link is ever made, so no
/// later entry can pass through one (X4). Owners and special modes are not taken over.
final class TarExtractor: Sendable {
    enum Destination: Sendable {
        /// It exists, is ours, and is empty.
        case directory(String)
        /// Only files of these names are kept.
        case memory(names: Set<String>)
    }

    private struct State {
        var header: [UInt8] = []
        var entry: Entry?
        var longName: [UInt8]?
        var isOver = false
        var directories: Set<String> = []
        var files: [String: [UInt8]] = [:]
        var links: [(path: String, target: String)] = []
        var unpackedBytes: Int64 = 0
    }

    private struct Entry {
        enum Body { case file(Int32), kept(String), name, attributes, skipped }
        var body: Body
        var rest: Int64
        var padding: Int64
        var bytes: [UInt8] = []
    }

    private let destination: Destination
    private let place: String
    private let limitBytes: Int64
    private let state = Mutex(State())

    /// - Parameters:
    ///   - place: The archive, for messages.
    ///   - limitBytes: An archive that unpacks to more is refused.
    init(_ destination: Destination, place: String, limitBytes: Int64 = .max) {
        self.destination = destination
        self.place = place
        self.limitBytes = limitBytes
    }

    deinit {
        state.withLock { state in
            if case .file(let descriptor) = state.entry?.body { close(descriptor) }
        }
    }

    /// Contents of the files that were asked for.
    var files: [String: [UInt8]] { state.withLock { $0.files } }
    /// Symbolic links below `pg_tblspc`, which are never made.
    var links: [(path: String, target: String)] { state.withLock { $0.links } }
    /// Whether the archive's end was seen.
    var isOver: Bool { state.withLock { $0.isOver } }
    var unpackedBytes: Int64 { state.withLock { $0.unpackedBytes } }

    func feed(_ bytes: [UInt8]) throws {
        try state.withLock { state in
            var rest = bytes[...]
            while !rest.isEmpty, !state.isOver {
                if state.entry == nil {
                    try takeHeader(from: &rest, &state)
                } else {
                    try takeBody(from: &rest, &state)
                }
            }
        }
    }

    /// Throws where the archive is cut short.
    func finish() throws {
        guard state.withLock({ $0.isOver }) else { throw unusable("the tar archive is cut short") }
    }

    private func takeHeader(from rest: inout ArraySlice<UInt8>, _ state: inout State) throws {
        let taken = rest.prefix(512 - state.header.count)
        state.header += taken
        rest = rest.dropFirst(taken.count)
        guard state.header.count == 512 else { return }
        let block = state.header
        state.header = []
        guard block.contains(where: { $0 != 0 }) else {
            state.isOver = true
            return
        }
        try begin(TarBlock(block).orThrow(unusable("this is no tar archive, or it is damaged")), &state)
    }

    private func takeBody(from rest: inout ArraySlice<UInt8>, _ state: inout State) throws {
        guard var entry = state.entry else { return }
        // Not held twice, or appending would copy it.
        state.entry = nil
        let taken = rest.prefix(Int(clamping: entry.rest))
        switch entry.body {
        case .file(let descriptor): try write(taken, to: descriptor)
        case .kept, .name, .attributes: entry.bytes += taken
        case .skipped: break
        }
        entry.rest -= Int64(taken.count)
        rest = rest.dropFirst(taken.count)
        if entry.rest == 0 {
            let padding = rest.prefix(Int(clamping: entry.padding))
            entry.padding -= Int64(padding.count)
            rest = rest.dropFirst(padding.count)
        }
        if entry.rest == 0, entry.padding == 0 {
            try end(entry, &state)
        } else {
            state.entry = entry
        }
    }

    private func begin(_ block: TarBlock, _ state: inout State) throws {
        let padding = (512 - block.size % 512) % 512
        func start(_ body: Entry.Body) throws {
            let entry = Entry(body: body, rest: block.size, padding: padding)
            if block.size == 0 { try end(entry, &state) } else { state.entry = entry }
        }
        switch block.kind {
        case UInt8(ascii: "L"), UInt8(ascii: "x"):
            guard block.size <= 1 << 20 else { throw unusable("a name in the tar archive is too long") }
            return try start(block.kind == UInt8(ascii: "L") ? .name : .attributes)
        case UInt8(ascii: "g"): return try start(.skipped)
        default: break
        }
        let name = state.longName ?? block.name
        state.longName = nil
        let path = try checked(name)
        switch block.kind {
        case UInt8(ascii: "0"), 0, UInt8(ascii: "7"):
            state.unpackedBytes += block.size
            guard state.unpackedBytes <= limitBytes else {
                throw DrillError(
                    .couldNotLook, "unpacks to more than the \(limitBytes) bytes free in scratch", at: place)
            }
            guard !path.isEmpty else { throw unusable("a file in the tar archive has no name") }
            try start(try body(path, block.size, &state))
        case UInt8(ascii: "5"):
            if case .directory(let root) = destination { try makeDirectory(path, in: root, &state) }
            try start(.skipped)
        case UInt8(ascii: "2"):
            guard path.hasPrefix("pg_tblspc/") else {
                throw unusable("the tar entry `\(path)` is a symbolic link to `\(printable(block.target))`")
            }
            state.links.append((path, String(decoding: block.target, as: UTF8.self)))
            try start(.skipped)
        default:
            throw unusable("the tar entry `\(path)` is a link or a device")
        }
    }

    private func body(_ path: String, _ size: Int64, _ state: inout State) throws -> Entry.Body {
        switch destination {
        case .memory(let names):
            return names.contains(path) && size <= 64 << 20 ? .kept(path) : .skipped
        case .directory(let root):
            if let slash = path.lastIndex(of: "/") { try makeDirectory(String(path[..<slash]), in: root, &state) }
            let descriptor = open(root + "/" + path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else {
                if errno == EEXIST { throw unusable("the tar entry `\(path)` is there twice") }
                throw cannotWrite()
            }
            return .file(descriptor)
        }
    }

    private func end(_ entry: Entry, _ state: inout State) throws {
        switch entry.body {
        case .file(let descriptor):
            guard close(descriptor) == 0 else { throw cannotWrite() }
        case .kept(let path): state.files[path] = entry.bytes
        case .name: state.longName = Array(entry.bytes.prefix { $0 != 0 })
        case .attributes: if let path = Self.path(inAttributes: entry.bytes) { state.longName = path }
        case .skipped: break
        }
    }

    /// `27 path=…` lines, each with its own length in front. (POSIX, pax Interchange Format.)
    private static func path(inAttributes bytes: [UInt8]) -> [UInt8]? {
        var rest = bytes[...]
        var path: [UInt8]?
        while let space = rest.firstIndex(of: 0x20),
            let length = strictInteger(String(decoding: rest[rest.startIndex..<space], as: UTF8.self)),
            length > Int64(space - rest.startIndex), length <= Int64(rest.count)
        {
            let record = rest[(space + 1)..<(rest.startIndex + Int(length))]
            if record.starts(with: "path=".utf8) { path = Array(record.dropFirst(5).dropLast()) }
            rest = rest.dropFirst(Int(length))
        }
        return path
    }

    /// The entry's name as a path that stays inside; empty for the top itself.
    private func checked(_ name: [UInt8]) throws -> String {
        let parts = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: true).filter { $0 != [0x2E] }
        guard name.first != UInt8(ascii: "/"), !name.contains(0), !parts.contains([0x2E, 0x2E]),
            let text = String(validating: parts.joined(separator: [0x2F]), as: UTF8.self)
        else { throw unusable("the tar entry `\(printable(name))` climbs out of its directory") }
        return text
    }

    private func makeDirectory(_ path: String, in root: String, _ state: inout State) throws {
        guard !path.isEmpty, !state.directories.contains(path) else { return }
        if let slash = path.lastIndex(of: "/") { try makeDirectory(String(path[..<slash]), in: root, &state) }
        guard mkdir(root + "/" + path, 0o700) == 0 || errno == EEXIST else { throw cannotWrite() }
        state.directories.insert(path)
    }

    private func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) throws {
        var rest = bytes
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw cannotWrite() }
            rest = rest.dropFirst(written)
        }
    }

    private func unusable(_ what: String) -> DrillError { DrillError(.backupUnusable, what, at: place) }
    private func cannotWrite() -> DrillError {
        DrillError(.couldNotLook, "cannot be unpacked into scratch: \(String(cString: strerror(errno)))", at: place)
    }
}

/// The header block of one entry. (POSIX, ustar Interchange Format; GNU tar's number format.)
private struct TarBlock {
    var name: [UInt8]
    var kind: UInt8
    var size: Int64
    var target: [UInt8]

    /// nil where the block's checksum is wrong.
    init?(_ block: [UInt8]) {
        let sum = block.enumerated().reduce(Int64(0)) { sum, element in
            sum + ((148..<156).contains(element.offset) ? 0x20 : Int64(element.element))
        }
        guard Self.number(block[148..<156]) == sum, let size = Self.number(block[124..<136]), size >= 0 else {
            return nil
        }
        self.size = size
        kind = block[156]
        target = Array(block[157..<257].prefix { $0 != 0 })
        name = Array(block[0..<100].prefix { $0 != 0 })
        let prefix = block[345..<500].prefix { $0 != 0 }
        // GNU tar keeps times where POSIX keeps the front part of a long name.
        if block[257..<263].elementsEqual("ustar\0".utf8), !prefix.isEmpty { name = prefix + [0x2F] + name }
        if [UInt8(ascii: "1"), UInt8(ascii: "2"), UInt8(ascii: "5")].contains(kind) { self.size = 0 }
    }

    private static func number(_ field: ArraySlice<UInt8>) -> Int64? {
        if let first = field.first, first & 0x80 != 0 {
            guard first == 0x80 else { return nil }
            return field.dropFirst().reduce(Int64?(0)) { value, byte in
                guard let value, value < 1 << 54 else { return nil }
                return value << 8 | Int64(byte)
            }
        }
        let digits = field.drop { $0 == 0x20 }.prefix { (0x30...0x37).contains($0) }
        return digits.isEmpty ? nil : Int64(String(decoding: digits, as: UTF8.self), radix: 8)
    }
}

extension Optional where Wrapped == TarBlock {
    fileprivate func orThrow(_ error: DrillError) throws -> TarBlock {
        guard let self else { throw error }
        return self
    }
}
