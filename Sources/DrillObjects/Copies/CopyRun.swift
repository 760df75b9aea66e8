import DrillCore
import Synchronization

/// A bucket's inventory, kept in scratch before anything is copied.
struct KeptBucket: Sendable {
    var source: any CopySource
    var spill: InventorySpill
    /// That are present, and their bytes.
    var objects: Int64
    var bytes: Int64
    /// One of these, to know the bucket by.
    var example: CopyEntry?
}

/// A bucket whose present objects were copied.
struct CopiedBucket: Sendable {
    var source: any CopySource
    var spill: InventorySpill
    var tally: CopyTally
}

struct CopyTally: Sendable {
    var objects: Int64 = 0
    var bytes: Int64 = 0
    /// By reason, in the order in which they first came up: how many have no copy, and the first of them.
    var gaps: [(reason: EntryState, count: Int64, first: String)] = []

    mutating func noteGap(_ entry: CopyEntry) {
        if let index = gaps.firstIndex(where: { $0.reason == entry.state }) {
            gaps[index].count += 1
        } else {
            gaps.append((entry.state, 1, "\(entry.key): \(entry.detail?.note ?? "not readable")"))
        }
    }
}

/// Keeps the inventories, then copies what they say is present.
struct CopyRun: Sendable {
    private static let batchEntries = 1000
    private static let firstBatchEntries = 8

    let scratchDirectory: String
    let traffic: TrafficMeter
    let progress: any ProgressSink

    /// Every bucket's inventory, in the byte order of their names.
    func keepInventories(_ stores: [String: any ObjectStore]) async throws -> [KeptBucket] {
        var kept: [KeptBucket] = []
        for (bucket, store) in stores.sorted(by: { ObjectKey($0.key) < ObjectKey($1.key) }) {
            guard let source = store as? any CopySource else {
                throw DrillError(.couldNotLook, "the objects of bucket \(bucket) are of a kind that cannot be copied")
            }
            kept.append(try await keepInventory(source))
        }
        return kept
    }

    private func keepInventory(_ source: any CopySource) async throws -> KeptBucket {
        progress.step("list \(source.bucket)", total: nil, unit: .objects)
        let writer = try InventoryWriter(in: scratchDirectory)
        var objects: Int64 = 0, bytes: Int64 = 0
        var example: CopyEntry?
        let stream = try await source.inventory(InventoryRequest())
        do {
            while let batch = try await stream.next() {
                for index in 0..<batch.count {
                    let entry = CopyEntry(
                        key: ObjectKey(batch.keys[index]), state: batch.state(index), reading: batch.reading(index),
                        detail: batch.details[index])
                    try writer.append(entry)
                    guard entry.state == .present else { continue }
                    if example == nil { example = entry }
                    objects += 1
                    bytes += entry.reading.sizeBytes
                }
                progress.advance(to: objects)
            }
        } catch {
            await stream.cancel()
            throw error
        }
        await stream.cancel()
        return KeptBucket(
            source: source, spill: try writer.finished(), objects: objects, bytes: bytes, example: example)
    }

    func copy(_ kept: [KeptBucket], to destination: some CopyDestination) async throws -> [CopiedBucket] {
        var copied: [CopiedBucket] = []
        for bucket in kept { copied.append(try await copy(bucket, to: destination)) }
        try await destination.finishManifest()
        return copied
    }

    private func copy(_ kept: KeptBucket, to destination: some CopyDestination) async throws -> CopiedBucket {
        progress.step("copy \(kept.source.bucket)", total: kept.objects, unit: .objects)
        let source = kept.source
        let writer = try InventoryWriter(in: scratchDirectory)
        var tally = CopyTally()
        var reader = kept.spill.reader()
        let done = Counter()
        // The first few show how the source can be copied, and so how many at a time.
        var limit = Self.firstBatchEntries
        while true {
            let batch = try reader.next(limit: limit)
            limit = Self.batchEntries
            let width = max(1, destination.concurrency(for: source))
            if batch.isEmpty { break }
            let outcomes = try await mapConcurrently(batch, width: width) { [progress, traffic] entry -> CopyOutcome? in
                guard entry.state == .present else { return nil }
                let outcome = try await destination.copy(entry, of: source)
                if source.bucketReader == nil, case .copied = outcome { try traffic.copied(entry.reading.sizeBytes) }
                progress.advance(to: done.increment())
                return outcome
            }
            var lines: [UInt8] = []
            for (original, outcome) in zip(batch, outcomes) {
                lines += try take(original, outcome, source, destination, writer, &tally)
            }
            try await destination.appendToManifest(lines)
        }
        return CopiedBucket(source: source, spill: try writer.finished(), tally: tally)
    }

    /// Keeps the entry as the copy has it, and returns its line of the manifest.
    private func take(
        _ original: CopyEntry, _ outcome: CopyOutcome?, _ source: any CopySource, _ destination: some CopyDestination,
        _ writer: InventoryWriter, _ tally: inout CopyTally
    ) throws -> [UInt8] {
        var entry = original
        var sha256: [UInt8]?
        switch outcome {
        case .copied(let digest):
            sha256 = digest
            tally.objects += 1
            tally.bytes += entry.reading.sizeBytes
        case .unreadable(let unreadable):
            entry.state = .unreadable
            entry.detail = EntryDetail(note: unreadable.reason, cause: unreadable.cause)
        case .damaged(let damage):
            entry.state = .damaged
            entry.detail = EntryDetail(
                note: "copied into scratch, it was \(damage.observed) instead of \(damage.expected)", damage: damage)
        case nil: break
        }
        try writer.append(entry)
        guard entry.state != .deleted, entry.state != .notYetCreated else { return [] }
        if entry.state != .present { tally.noteGap(entry) }
        let file = entry.state == .present ? destination.name(of: entry.key, bucket: source.bucket) : nil
        return try CopyManifest.line(entry, bucket: source.bucket, file: file, sha256: sha256)
    }
}

private final class Counter: Sendable {
    private let value = Mutex<Int64>(0)
    func increment() -> Int64 {
        value.withLock { value in
            value += 1
            return value
        }
    }
}

extension [CopiedBucket] {
    /// What a person should know of what has no copy.
    func notes() -> [String] {
        flatMap { bucket in
            bucket.tally.gaps.map { gap in
                let what =
                    switch gap.reason {
                    case .ambiguous: "have two readings at the recovery point and were not copied"
                    case .damaged: "came with other bytes than the store describes and were left out of the copy"
                    default: "cannot be read and were not copied"
                    }
                return "\(grouped(gap.count)) objects of \(bucket.source.place) \(what); the first: \(gap.first)."
            }
        }
    }

    func gaps() -> [CopyGap] {
        compactMap { bucket in
            guard let first = bucket.tally.gaps.first else { return nil }
            return CopyGap(
                bucket: bucket.source.bucket, count: bucket.tally.gaps.reduce(0) { $0 + $1.count },
                damaged: bucket.tally.gaps.first { $0.reason == .damaged }?.count ?? 0, first: first.first)
        }
    }

    func summary(at place: String) -> String {
        "\(grouped(reduce(0) { $0 + $1.tally.objects })) objects, \(grouped(reduce(0) { $0 + $1.tally.bytes })) bytes, to \(place)"
    }
}
