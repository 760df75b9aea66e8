import CLinuxFiles
import DrillCore
import Foundation
import Glibc
import Synchronization

/// The tree that `aws s3 sync` wrote: each file is the object whose key is its path. Only ever read.
///
/// Only files are objects. A symbolic link or a special file is listed as unreadable, since something stands at that key but
/// `aws s3 sync` never writes one; it is neither followed nor opened.
final class DirectoryStore: CopySource {
    let bucket: String
    let place: String
    private let root: Descriptor
    private let spillDirectory: String
    private let limits: TreeWalk.Limits
    private let componentLimit: Int
    /// False where the file system may find a file under a name that it does not have (S13).
    private let namesAreBytes: Bool

    private struct Observed: Sendable {
        /// Of the walk that saw most.
        var totals = WalkTotals()
        /// Of a walk of the whole tree that reached its end; nil before there was one.
        var whole: WalkTotals?
        var listed: Int64 = 0
        var asked: Int64 = 0
        var filesRead: Int64 = 0
        var bytesRead: Int64 = 0
    }
    private let observed = Mutex(Observed())

    /// - Parameters:
    ///   - root: The tree, opened as a directory.
    ///   - spillDirectory: Where the names of a directory with too many of them for memory are sorted.
    init(
        bucket: String, place: String, root: Descriptor, spillDirectory: String,
        limits: TreeWalk.Limits = TreeWalk.Limits()
    ) {
        self.bucket = bucket
        self.place = place
        self.root = root
        self.spillDirectory = spillDirectory
        self.limits = limits
        let limit = fpathconf(root.number, Int32(_PC_NAME_MAX))
        componentLimit = limit > 0 ? limit : KeyPath.usualComponentLimit
        namesAreBytes = lf_names_are_bytes(root.number) == 1
    }

    /// From when the first file was made here to when the last one was changed here (birth and change times, which no copying
    /// tool can set; `aws s3 sync` gives the modification time of the object itself). A tree that was itself copied once more
    /// has later ones.
    var copiedBetween: ClosedRange<Date>? {
        get async {
            guard let totals = await wholeTotals(), totals.files > 0, totals.firstWritten <= totals.lastWritten else {
                return nil
            }
            return Date(microseconds: totals.firstWritten)...Date(microseconds: totals.lastWritten)
        }
    }

    /// A range that only part of the tree bears out would show causes that are none: what no walk has seen to its end is walked.
    private func wholeTotals() async -> WalkTotals? {
        if let whole = observed.withLock({ $0.whole }) { return whole }
        do {
            let stream = try await inventory(InventoryRequest())
            while try await stream.next() != nil {}
        } catch {
            // No evidence, then; the walk that judges the references tells its own errors.
            return nil
        }
        return observed.withLock { $0.whole }
    }

    var usage: [String: Int64] {
        get async {
            observed.withLock {
                [
                    "files listed": $0.listed, "files asked for": $0.asked, "files read": $0.filesRead,
                    "bytes read": $0.bytesRead,
                ]
            }
        }
    }

    var notes: [String] {
        get async {
            let totals = observed.withLock { $0.totals }
            var notes: [String] = []
            if let example = totals.exampleOfOthers {
                notes.append(
                    "\(grouped(totals.others)) entries of \(place) are no files and were neither followed nor opened, such as "
                        + "\(example.kind) at \(printable(example.key)).")
            }
            if !namesAreBytes {
                notes.append(
                    "The file system of \(place) may fold case or normalise Unicode: two keys of the bucket may have become one file."
                )
            }
            return notes
        }
    }

    var preferredConcurrency: Int { max(2, min(8, ProcessInfo.processInfo.activeProcessorCount * 2)) }

    func cannotHold(_ key: ObjectKey) -> String? { KeyPath.fault(of: key, componentLimit: componentLimit) }

    // MARK: Listing

    func inventory(_ request: InventoryRequest) async throws -> any InventoryStream {
        let queue = WalkQueue()
        let shared = SharedTotals()
        let walk = TreeWalk(
            root: root, place: place, spillDirectory: spillDirectory, limits: limits, queue: queue,
            onTotals: { more in shared.value.withLock { $0.merge(more) } })
        walk.start(prefix: request.prefix)
        let isWhole = request.prefix.isEmpty
        return TreeInventory(queue) { [self] hasEnded in
            let totals = shared.value.withLock { $0 }
            observed.withLock {
                $0.listed += totals.files
                if totals.files + totals.others >= $0.totals.files + $0.totals.others { $0.totals = totals }
                if hasEnded, isWhole { $0.whole = totals }
            }
        }
    }

    private final class SharedTotals: Sendable {
        let value = Mutex(WalkTotals())
    }

    // MARK: One key

    func presence(of key: ObjectKey) async throws -> Presence {
        guard cannotHold(key) == nil else { return .absent }
        observed.withLock { $0.asked += 1 }
        return try await BlockingCalls.run { [self] _ in
            do throws(FileFailure) {
                let status = try KeyPath.open(key, below: root, flags: Int32(LF_PATH)).status()
                if !namesAreBytes, try !spelledExactly(key) { return .absent }
                switch status.kind {
                case .file:
                    return .present(
                        ObjectReading(sizeBytes: status.size, modifiedAt: Date(microseconds: status.modified)))
                case .directory: return .absent
                case .symbolicLink, .other:
                    return .unreadable(
                        reason: "\(status.kindText), not a file: it was not followed or opened", cause: .unknown)
                }
            } catch {
                switch error.number {
                case ENOENT, ENOTDIR, ENAMETOOLONG: return .absent
                case ELOOP:
                    return .unreadable(
                        reason: "a symbolic link stands on its path: it was not followed", cause: .unknown)
                default: return .unknown(reason: "\(place)/\(key): \(error.text)")
                }
            }
        }
    }

    private func spelledExactly(_ key: ObjectKey) throws(FileFailure) -> Bool {
        do {
            return try KeyPath.isSpelledExactly(key, below: root)
        } catch {
            throw error as? FileFailure ?? FileFailure(number: EIO)
        }
    }

    func content(
        of key: ObjectKey, reading: ObjectReading, algorithm: ChecksumAlgorithm
    ) async throws -> ContentReading {
        let found = try await BlockingCalls.run { [self] flag in
            try ContentReader(root: root, place: place, key: key).read(reading, algorithm, flag)
        }
        observed.withLock {
            $0.filesRead += 1
            $0.bytesRead += found.sizeBytes
        }
        return found
    }

    func read(
        _ key: ObjectKey, _ reading: ObjectReading, _ range: Range<Int64>,
        receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse? {
        let end = try await BlockingCalls.run { [self] flag in
            try ContentReader(root: root, place: place, key: key).read(reading, range, flag, receive)
        }
        observed.withLock {
            if range.lowerBound == 0 { $0.filesRead += 1 }
            $0.bytesRead += end - range.lowerBound
        }
        return nil
    }

    func storedChecksum(
        of key: ObjectKey, reading: ObjectReading, preferring: ChecksumAlgorithm?
    ) async throws -> StoredChecksum? { nil }

    /// A tree holds either a file or a directory at one path, and so only one of the keys `a` and `a/b` (S37).
    func evidence(about key: ObjectKey, finding: FindingKind) async throws -> KeyEvidence? {
        guard finding == .missing, cannotHold(key) == nil else { return nil }
        return try await BlockingCalls.run { [self] _ in
            for end in key.bytes.indices where key.bytes[end] == UInt8(ascii: "/") {
                let parent = ObjectKey(Array(key.bytes[..<end]))
                switch kind(at: parent) {
                case .directory: continue
                case .file:
                    return KeyEvidence(
                        cause: .notCopied, text: "\(parent) is a file here, so this tree cannot hold \(key) as well.")
                default: return nil
                }
            }
            guard kind(at: key) == .directory else { return nil }
            return KeyEvidence(
                cause: .notCopied, text: "\(key) is a directory here, so this tree cannot hold an object of that key.")
        }
    }

    /// nil where nothing is there, or it cannot be told.
    private func kind(at key: ObjectKey) -> FolderEntry.Kind? {
        do throws(FileFailure) {
            return try KeyPath.open(key, below: root, flags: Int32(LF_PATH)).status().kind
        } catch {
            return nil
        }
    }
}

/// The batches of one walk; the walk ends with it.
private final class TreeInventory: InventoryStream {
    private let queue: WalkQueue
    private let onEnd: @Sendable (_ hasEnded: Bool) -> Void
    private let isOver = Atomic(false)

    init(_ queue: WalkQueue, onEnd: @escaping @Sendable (Bool) -> Void) {
        self.queue = queue
        self.onEnd = onEnd
    }

    deinit { queue.cancel() }

    func next() async throws -> ObjectBatch? {
        do {
            if let batch = try await queue.next() { return batch }
        } catch {
            end(false)
            throw error
        }
        end(true)
        return nil
    }

    func cancel() async {
        queue.cancel()
        end(false)
    }

    private func end(_ hasEnded: Bool) {
        if !isOver.exchange(true, ordering: .relaxed) { onEnd(hasEnded) }
    }
}
