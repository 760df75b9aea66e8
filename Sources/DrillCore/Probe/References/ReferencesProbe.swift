import Foundation

/// Checks every row that references an object against the objects of the same moment: the heart of Muster.
package struct ReferencesProbe: Probe {
    package static let kind = "references"
    package static var shape: SettingsShape { ReferenceSettings.shape }

    package let name: String
    let settings: ReferenceSettings

    package init(name: String, _ reader: SettingsReader, _ context: ProbeContext) throws {
        self.name = name
        settings = try ReferenceSettings(reader, context)
    }

    package var plan: [String] {
        let source =
            switch settings.query.source {
            case .table(let table): "each row of \(table)"
            case .query: "each row of its query"
            }
        var sentences = [
            "Reads \(source) and looks up what it names in \(settings.bucket.map { "bucket \($0)" } ?? "the bucket that it names")."
        ]
        switch settings.content {
        case .none: break
        case .all: sentences.append("Reads and hashes every referenced object.")
        case .sample(let share):
            sentences.append("Reads and hashes \(fixed(share * 100, 2))% of the referenced objects.")
        }
        return sentences
    }

    package func expectedTraffic(of buckets: [BucketMeasure], readsAreFree: Bool) -> [ExpectedTraffic] {
        let asked = settings.buckets(of: buckets.map(\.bucket))
        return buckets.filter { asked.contains($0.bucket) && $0.isRemote }.map { bucket in
            let share: Double
            let level: String
            switch settings.content {
            case .none: (share, level) = (0, "content: none")
            case .all: (share, level) = (1, "content: all")
            case .sample(let part): (share, level) = (part, "content: { sample: \(fixed(part * 100, 2))% }")
            }
            let objects = Int64((Double(bucket.objects) * share).rounded(.up))
            let bytes = Int64((Double(bucket.bytes) * share).rounded(.up))
            var totals = TrafficTotals()
            if !readsAreFree {
                totals[.get] = objects
                totals.bytesReceived = bytes
                // The store's own checksum is asked for beside bytes that are read, and beside a row's checksum.
                totals[.head] = settings.checksum == nil ? objects : bucket.objects
            }
            return ExpectedTraffic(
                "probe \(name) in \(bucket.place), \(level)", totals, bucket.isWhole ? .atMost : .atLeast,
                basis: totals.isNothing
                    ? nil : bucket.isWhole ? "If rows name every object." : "For each object that rows name.")
        }
    }

    package func run(against set: RestoredSet) async throws -> ProbeOutcome {
        let ledger = FindingBuffer(sink: set.findings)
        let stream = try await OrderedReferences.stream(settings, settings.query, in: set)
        let call = ReferenceRun(probe: self, set: set, stream: stream, findings: ledger)
        do {
            let outcome = try await call.outcome()
            await stream.cancel()
            return outcome
        } catch {
            await stream.cancel()
            throw error
        }
    }

    /// Among the probes of a run, whether it is this one that reports the orphans of that bucket: of all references probes whose
    /// rows may name it and that ask for orphans, the first that wants them to count, else the first.
    func reportsOrphans(of bucket: String, among probes: [any Probe], known: [String]) -> Bool {
        guard settings.orphans != .ignore else { return false }
        let asking = probes.compactMap { $0 as? ReferencesProbe }.filter {
            $0.settings.orphans != .ignore && $0.settings.prefix == settings.prefix
                && $0.settings.buckets(of: known).contains(bucket)
        }
        let chosen = asking.first { $0.settings.orphans == .fail } ?? asking.first
        return chosen?.name == name
    }
}

/// Collects findings into batches for the sink.
actor FindingBuffer {
    private let sink: any FindingSink
    private var pending: [Finding] = []

    init(sink: any FindingSink) { self.sink = sink }

    func add(_ findings: [Finding]) async throws {
        pending += findings
        if pending.count >= 1000 { try await flush() }
    }

    func flush() async throws {
        guard !pending.isEmpty else { return }
        let batch = pending
        pending = []
        try await sink.record(batch)
    }
}

/// Runs `transform` on each element, at most `width` at a time; results in the elements' order. The first error ends it all.
package func mapConcurrently<Element: Sendable, Result: Sendable>(
    _ elements: [Element], width: Int, _ transform: @escaping @Sendable (Element) async throws -> Result
) async throws -> [Result] {
    if elements.count <= 1 || width <= 1 {
        var results: [Result] = []
        for element in elements {
            try Task.checkCancellation()
            results.append(try await transform(element))
        }
        return results
    }
    return try await withThrowingTaskGroup(of: (Int, Result).self) { group in
        var results = [Result?](repeating: nil, count: elements.count)
        var next = 0
        func start() {
            guard next < elements.count else { return }
            let index = next
            next += 1
            group.addTask { (index, try await transform(elements[index])) }
        }
        for _ in 0..<width { start() }
        while let (index, result) = try await group.next() {
            results[index] = result
            start()
        }
        return results.compactMap { $0 }
    }
}
