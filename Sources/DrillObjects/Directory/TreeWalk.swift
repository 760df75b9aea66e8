import CLinuxFiles
import DrillCore
import Foundation
import Glibc

/// What a walk of a tree has seen so far.
struct WalkTotals: Sendable {
    var files: Int64 = 0
    var sizeBytes: Int64 = 0
    /// Microseconds since 1970 UTC: when the first file was made here, and when the last one was changed here.
    var firstWritten = Int64.max
    var lastWritten = Int64.min
    /// Symbolic links and special files.
    var others: Int64 = 0
    /// `a symbolic link` and the key of one of them.
    var exampleOfOthers: (kind: String, key: [UInt8])?

    mutating func add(_ status: lf_status) {
        files += 1
        sizeBytes += status.size
        firstWritten = min(firstWritten, status.born == .min ? status.changed : min(status.born, status.changed))
        lastWritten = max(lastWritten, status.changed)
    }

    mutating func merge(_ more: WalkTotals) {
        files += more.files
        sizeBytes += more.sizeBytes
        firstWritten = min(firstWritten, more.firstWritten)
        lastWritten = max(lastWritten, more.lastWritten)
        others += more.others
        exampleOfOthers = exampleOfOthers ?? more.exampleOfOthers
    }
}

/// Walks a tree in key-byte order on threads of its own: one lists and sorts directories, others ask for each file's status.
///
/// Nothing is followed, opened or read but directories. A directory that cannot be listed, or an entry that vanishes or turns
/// into something else meanwhile, ends the walk with `couldNotLook`: a listing that may lack keys is none.
final class TreeWalk: Sendable {
    struct Limits: Sendable {
        var entriesPerBatch = 4096
        var keyBytesPerBatch = 512 << 10
        /// Each is a directory that stays open until its files' status is known.
        var directoriesPerBatch = 64
        /// Names held in memory over all directories that are open; more goes to files.
        var nameBytes = 48 << 20
        /// A directory may hold so much even when those above it hold all the rest.
        var leastNameBytes = 256 << 10
        var statusThreads = 2
    }

    private let root: Descriptor
    private let place: String
    private let spillDirectory: String
    private let limits: Limits
    private let queue: WalkQueue
    private let onTotals: @Sendable (WalkTotals) -> Void
    private let userID: UInt32

    init(
        root: Descriptor, place: String, spillDirectory: String, limits: Limits, queue: WalkQueue,
        userID: UInt32 = geteuid(), onTotals: @escaping @Sendable (WalkTotals) -> Void
    ) {
        self.root = root
        self.place = place
        self.spillDirectory = spillDirectory
        self.limits = limits
        self.queue = queue
        self.userID = userID
        self.onTotals = onTotals
    }

    /// Begins; what is found comes out of the queue.
    func start(prefix: [UInt8]) {
        Thread.detachNewThread { [self] in
            do {
                try list(prefix: prefix)
                queue.end(nil)
            } catch {
                queue.end(error)
            }
        }
        for _ in 0..<limits.statusThreads {
            Thread.detachNewThread { [self] in
                while let (number, pending) = queue.take() {
                    queue.finish(number, Result { try withStatus(pending) })
                }
            }
        }
    }

    // MARK: The thread that lists

    private struct Frame {
        var directory: Descriptor
        /// Bytes of the key before the names of this directory.
        var keyBytes: Int
        var names: SortedNames
    }

    private func list(prefix: [UInt8]) throws {
        let parentBytes = prefix.lastIndex(of: UInt8(ascii: "/")).map { $0 + 1 } ?? 0
        guard let start = try open(prefix[..<parentBytes]) else { return }
        let beginning = prefix[parentBytes...]
        var key = Array(prefix[..<parentBytes])
        var frames = [
            Frame(
                directory: start, keyBytes: parentBytes,
                names: try names(of: start, key, held: 0) { $0.starts(with: beginning) })
        ]
        var pending = PendingBatch(capacity: limits.entriesPerBatch)
        while let frame = frames.last {
            key.removeSubrange(frame.keyBytes...)
            var isNewSegment = true
            var subdirectory: Descriptor?
            // Files up to the next directory.
            while subdirectory == nil {
                let goesOn = try frame.names.takeNext { kind, name in
                    if kind == .directory {
                        key.append(contentsOf: name)
                        subdirectory = try openDirectory(name, in: frame.directory, key)
                        key.append(UInt8(ascii: "/"))
                        return true
                    }
                    if isNewSegment {
                        pending.segments.append((frame.directory, pending.batch.count, frame.keyBytes))
                        isNewSegment = false
                    }
                    if kind == .other { pending.others.insert(pending.batch.count) }
                    pending.batch.keys.bytes.append(contentsOf: key)
                    pending.batch.keys.append(UnsafeRawBufferPointer(name))
                    return true
                }
                if goesOn == nil { break }
                if pending.batch.count >= limits.entriesPerBatch
                    || pending.batch.keys.bytes.count >= limits.keyBytesPerBatch
                {
                    guard queue.add(pending) else { return }
                    pending = PendingBatch(capacity: limits.entriesPerBatch)
                    isNewSegment = true
                }
            }
            if pending.segments.count >= limits.directoriesPerBatch {
                guard queue.add(pending) else { return }
                pending = PendingBatch(capacity: limits.entriesPerBatch)
            }
            // A directory whose names are all taken is not kept open for those below its last one.
            if frame.names.isAtEnd { frames.removeLast() }
            if let subdirectory {
                let held = frames.reduce(0) { $0 + $1.names.heldBytes }
                frames.append(
                    Frame(
                        directory: subdirectory, keyBytes: key.count,
                        names: try names(of: subdirectory, key, held: held) { _ in true }))
            }
        }
        if pending.batch.count > 0 { _ = queue.add(pending) }
    }

    /// The directory that a prefix names up to its last slash; nil where no key can start so.
    private func open(_ path: ArraySlice<UInt8>) throws -> Descriptor? {
        let key = ObjectKey(path.dropLast())
        guard path.isEmpty || KeyPath.fault(of: key, componentLimit: KeyPath.usualComponentLimit) == nil else {
            return nil
        }
        do throws(FileFailure) {
            let place =
                path.isEmpty ? root : try KeyPath.open(key, below: root, flags: Int32(LF_PATH) | O_DIRECTORY)
            // Opened anew also where it is the root: two walks must not share a position in it.
            return try Descriptor.open(at: place.number, ".", flags: O_DIRECTORY)
        } catch {
            switch error.number {
            case ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG: return nil
            default: throw error.couldNotLook("list the directory", at: shown(key.bytes))
            }
        }
    }

    private func openDirectory(
        _ name: UnsafeBufferPointer<UInt8>, in directory: Descriptor, _ key: [UInt8]
    ) throws -> Descriptor {
        do throws(FileFailure) {
            guard let start = name.baseAddress else { throw FileFailure(number: ENOENT) }
            return try Descriptor.open(
                at: directory.number, UnsafeRawPointer(start).assumingMemoryBound(to: CChar.self), flags: O_DIRECTORY)
        } catch {
            switch error.number {
            case ENOENT, ENOTDIR, ELOOP: throw changed(key)
            default: throw error.couldNotLook("list the directory", at: shown(key))
            }
        }
    }

    private func names(
        of directory: Descriptor, _ key: [UInt8], held: Int, wanted: (UnsafeBufferPointer<UInt8>) -> Bool
    ) throws -> SortedNames {
        let names = SortedNames(
            limitBytes: max(limits.leastNameBytes, limits.nameBytes - held), spillDirectory: spillDirectory)
        do {
            try names.read(directory, wanted: wanted)
        } catch let failure as FileFailure {
            throw failure.couldNotLook("list the directory", at: shown(key))
        }
        return names
    }

    // MARK: The threads that ask for status

    private func withStatus(_ pending: PendingBatch) throws -> ObjectBatch {
        var batch = pending.batch
        pending.batch = ObjectBatch()
        let count = batch.count
        batch.sizes.reserveCapacity(count)
        batch.modified.reserveCapacity(count)
        var totals = WalkTotals()
        var name = [CChar](repeating: 0, count: 1024)
        for (index, segment) in pending.segments.enumerated() {
            let end = index + 1 < pending.segments.count ? pending.segments[index + 1].first : count
            for entry in segment.first..<end {
                let range = batch.keys.range(entry).dropFirst(segment.nameOffset)
                if name.count <= range.count { name = [CChar](repeating: 0, count: range.count + 1) }
                batch.keys.bytes.withUnsafeBytes { bytes in
                    name.withUnsafeMutableBytes { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[range])) }
                }
                name[range.count] = 0
                let status: lf_status
                do throws(FileFailure) {
                    status = try Descriptor.status(at: segment.directory.number, name)
                } catch {
                    let key = Array(batch.keys[entry])
                    if error.number == ENOENT { throw changed(key) }
                    throw error.couldNotLook("look at the file", at: shown(key))
                }
                batch.sizes.append(status.size)
                batch.modified.append(status.modified)
                let isOther = !pending.others.isEmpty && pending.others.contains(entry)
                guard (status.kind == .file) != isOther, status.kind != .directory else {
                    throw changed(Array(batch.keys[entry]))
                }
                if isOther {
                    totals.others += 1
                    totals.exampleOfOthers = totals.exampleOfOthers ?? (status.kindText, Array(batch.keys[entry]))
                    batch.mark(
                        entry, unreadable: "\(status.kindText), not a file: it was not followed or opened", .unknown)
                    continue
                }
                totals.add(status)
                // Cheap to suspect; asked of the kernel only then, since lists and capabilities may allow more than the mode.
                let own: UInt32 = status.user == userID ? 0o400 : 0o044
                if userID != 0, status.mode & own == 0,
                    faccessat(segment.directory.number, name, R_OK, AT_EACCESS) != 0, errno == EACCES
                {
                    batch.mark(entry, unreadable: "permission denied to user id \(userID)", .accessDenied)
                }
            }
        }
        pending.segments = []
        onTotals(totals)
        return batch
    }

    private func changed(_ key: [UInt8]) -> DrillError {
        DrillError(
            .couldNotLook, "it vanished or was replaced while the tree was listed: the backup is being changed",
            at: shown(key), hints: ["Run the drill when nothing writes to the backup."])
    }

    private func shown(_ key: [UInt8]) -> String { key.isEmpty ? place : "\(place)/\(printable(key))" }
}

extension ObjectBatch {
    /// Gives all entries so far a state, and this one that of an object whose bytes cannot be had.
    fileprivate mutating func mark(_ entry: Int, unreadable note: String, _ cause: Cause) {
        if states.isEmpty { states = Array(repeating: .present, count: count) }
        states[entry] = .unreadable
        details[entry] = EntryDetail(note: note, cause: cause == .unknown ? nil : cause)
    }
}
