import Foundation

/// One run of a references probe: opens the streams, walks bucket by bucket, and turns events into findings.
final class ReferenceRun {
    let probe: ReferencesProbe
    let set: RestoredSet
    let stream: any ReferenceStream
    let findings: FindingBuffer
    private var counts = RollCallCounts()
    private var doubts: [String] = []
    private var relaxations: [String] = []
    private var badReferences: BadReferences
    private var knowsOrphans = true

    private var settings: ReferenceSettings { probe.settings }
    private var opener: InventoryOpener { InventoryOpener(settings: settings, set: set) }

    init(probe: ReferencesProbe, set: RestoredSet, stream: any ReferenceStream, findings: FindingBuffer) {
        self.probe = probe
        self.set = set
        self.stream = stream
        self.findings = findings
        badReferences = BadReferences(probe: probe, relation: stream.relation, findings: findings)
    }

    func outcome() async throws -> ProbeOutcome {
        let total = settings.query.condition == nil ? stream.relation.flatMap { set.tableRows[$0] } : nil
        set.progress.step(probe.name, total: total, unit: .rows)
        let references = try await OrderedReferences.open(
            settings, stream: stream, in: set, onBad: badReferences.record)
        do {
            try await walk(RowSegments(references, onlyBucket: settings.bucket))
        } catch {
            await references.close()
            throw error
        }
        await references.close()
        let bad = await badReferences.count
        counts.examined += bad
        counts.failed += bad
        try await findings.flush()
        return ProbeOutcome(
            examined: counts.examined, passed: counts.passed, failed: counts.failed, unknown: counts.unknown,
            otherFailures: settings.orphans == .fail ? counts.orphans : 0, minimumExamined: settings.minimumRows,
            summary: summary(badReferences: bad), relaxations: relaxations,
            doubt: doubts.isEmpty ? nil : doubts.joined(separator: "; "))
    }

    /// Goes through the buckets in byte order: those that rows name, and those whose orphans are asked for.
    private func walk(_ segments: RowSegments) async throws {
        var segments = segments
        let known = Array(set.objects.keys)
        var toVisit = settings.buckets(of: known)[...]
        var ahead = try await openAhead(&segments)
        while true {
            let ofRows = try await segments.currentBucket()
            let inScope = toVisit.first.map { Array($0.utf8) }
            guard let bucket = [ofRows, inScope].compactMap({ $0 }).min(by: { $0.lexicographicallyPrecedes($1) }) else {
                break
            }
            if bucket == inScope { toVisit.removeFirst() }
            let name = String(decoding: bucket, as: UTF8.self)
            if let store = store(of: bucket) {
                let wantsOrphans = wantsOrphans(of: name)
                // A bucket that no row names is only walked for its orphans.
                if bucket == ofRows || wantsOrphans {
                    let opened = ahead.take()
                    try await callBucket(name, bucket, store, opened, &segments, wantsOrphans: wantsOrphans)
                }
            } else {
                try await reportOtherBucket(name, bucket, &segments)
            }
        }
    }

    private func store(of bucket: [UInt8]) -> (any ObjectStore)? {
        // To Swift, two spellings of one name are the same string; to a bucket they are not (S1).
        set.objects[String(decoding: bucket, as: UTF8.self)].flatMap { store in
            store.bucket.utf8.elementsEqual(bucket) ? store : nil
        }
    }

    private func wantsOrphans(of bucket: String) -> Bool {
        let known = Array(set.objects.keys)
        return settings.buckets(of: known).contains(bucket)
            && probe.reportsOrphans(of: bucket, among: set.siblings, known: known)
    }

    /// Waits for the first row. Where all rows are of one bucket, that one is opened meanwhile.
    private func openAhead(_ segments: inout RowSegments) async throws -> (any InventoryStream)? {
        guard let name = settings.bucket, let store = store(of: Array(name.utf8)) else { return nil }
        let (opener, wantsOrphans) = (opener, wantsOrphans(of: name))
        async let opening = opener.openAhead(store, wantsOrphans: wantsOrphans)
        do {
            if try await segments.currentBucket() != nil || wantsOrphans { return try await opening }
        } catch {
            await (try? opening)?.cancel()
            throw error
        }
        // Whatever became of it: nobody asks for it.
        await (try? opening)?.cancel()
        return nil
    }

    private func reportOtherBucket(_ name: String, _ bucket: [UInt8], _ segments: inout RowSegments) async throws {
        while let (batch, rows) = try await segments.next(in: bucket) {
            var found: [Finding] = []
            for row in rows where batch.isIncluded.isEmpty || batch.isIncluded[row] {
                counts.examined += 1
                counts.failed += 1
                var finding = self.finding(.missing, batch, row, bucket: name)
                finding.cause = .otherBucket
                finding.observed = "no backup of this bucket"
                finding.evidence = "The row names bucket \(printable(bucket)), which is not among backup.objects."
                finding.repair = repairText(.missing, .otherBucket)
                found.append(finding)
            }
            try await findings.add(found)
        }
    }

    private func callBucket(
        _ name: String, _ bucket: [UInt8], _ store: any ObjectStore, _ opened: (any InventoryStream)?,
        _ segments: inout RowSegments, wantsOrphans: Bool
    ) async throws {
        var others: [NamedKeys] = []
        var wantsOrphans = wantsOrphans
        if wantsOrphans {
            do {
                if let names = try await otherNames(of: name) { others = names } else { wantsOrphans = false }
            } catch {
                await opened?.cancel()
                throw error
            }
        }
        let inventory: any InventoryStream
        do {
            inventory = if let opened { opened } else { try await opener.open(store, wantsOrphans: wantsOrphans) }
        } catch {
            for other in others { await other.close() }
            throw error
        }
        let isJudged = settings.content != .none || settings.checksum != nil || settings.query.version != nil
        var call = RollCall(
            reportsOrphans: wantsOrphans, judgesEveryMatch: isJudged, requiresSize: settings.required.contains(.size))
        call.counts = counts
        let missing = MissingKeys(probe: probe, set: set, store: store, stream: stream)
        let matches = MatchedKeys(probe: probe, set: set, store: store, stream: stream)
        var rowsEnded = false, objectsEnded = false
        do {
            while true {
                if call.row >= call.rowEnd, !rowsEnded {
                    if let (batch, rows) = try await segments.next(in: bucket) {
                        (call.rows, call.row, call.rowEnd) = (batch, rows.lowerBound, rows.upperBound)
                        if !inventory.namesEverything {
                            let asked = try await AskedKeys.ask(store, batch, rows)
                            (call.objects, call.object) = (asked.objects, 0)
                            objectsEnded = false
                            missing.alreadyAsked = asked.others
                        }
                    } else {
                        rowsEnded = true
                    }
                }
                if rowsEnded, !wantsOrphans { break }
                if call.object >= call.objects.count, !objectsEnded {
                    if inventory.namesEverything, let batch = try await inventory.next() {
                        (call.objects, call.object) = (batch, 0)
                    } else {
                        objectsEnded = true
                    }
                }
                if rowsEnded, objectsEnded { break }
                if rowsEnded {
                    call.callOrphans()
                } else if objectsEnded {
                    call.callMissing()
                } else {
                    call.advance()
                }
                try Task.checkCancellation()
                if !call.events.isEmpty {
                    let events = call.events
                    call.events.removeAll(keepingCapacity: true)
                    try await missing.handle(events, call.rows, &call.counts, into: findings)
                    try await matches.handle(events, call.rows, call.objects, &call.counts, into: findings)
                    try await reportOrphans(events, call.objects, name, &others, &call.counts)
                }
                set.progress.advance(to: call.counts.examined)
            }
            try await missing.finish(&call.counts, into: findings)
        } catch {
            await inventory.cancel()
            for other in others { await other.close() }
            throw error
        }
        await inventory.cancel()
        for other in others { await other.close() }
        counts = call.counts
        doubts += missing.doubts + matches.doubts
        relaxations += missing.notes + matches.notes
    }

    /// The keys that other references probes' rows name in that bucket; nil, and a doubt, where one of these cannot be read: then
    /// no object can be called an orphan, but every reference can be looked at.
    private func otherNames(of bucket: String) async throws -> [NamedKeys]? {
        var others: [NamedKeys] = []
        let known = Array(set.objects.keys)
        for case let sibling as ReferencesProbe in set.siblings where sibling.name != probe.name {
            guard sibling.settings.buckets(of: known).contains(bucket) else { continue }
            // Only keys matter here, also of rows that its `where` leaves out.
            var query = sibling.settings.query
            (query.condition, query.id, query.size, query.checksum, query.version, query.changedAt) = (
                nil, [], nil, nil, nil, nil
            )
            query.includesExcludedRows = false
            do {
                let stream = try await OrderedReferences.stream(sibling.settings, query, in: set)
                let references = try await OrderedReferences.open(
                    sibling.settings, stream: stream, in: set, onBad: { _ in })
                others.append(
                    NamedKeys(references, onlyBucket: sibling.settings.bucket, bucket: Array(bucket.utf8)))
            } catch {
                for other in others { await other.close() }
                try Task.checkCancellation()
                knowsOrphans = false
                doubts.append(
                    "orphans cannot be told: what probe \(sibling.name) names could not be read: "
                        + DrillError(wrapping: error).what)
                return nil
            }
        }
        return others
    }

    private func reportOrphans(
        _ events: [RollCallEvent], _ objects: ObjectBatch, _ bucket: String, _ others: inout [NamedKeys],
        _ counts: inout RollCallCounts
    ) async throws {
        var found: [Finding] = []
        let markers = set.siblings.compactMap { $0 as? MarkersProbe }
        for event in events where event.kind == .orphan {
            let index = Int(event.object)
            if markers.contains(where: { $0.owns(objects.keys[index], in: bucket) }) { continue }
            var isNamed = false
            for other in others.indices where try await others[other].contains(objects.keys[index]) { isNamed = true }
            if isNamed { continue }
            counts.orphans += 1
            let reading = objects.reading(index)
            var finding = Finding(
                probe: probe.name, kind: .orphan, bucket: bucket, objectKey: Array(objects.keys[index]),
                expected: "a row that names it", observed: "\(reading.sizeBytes) bytes, named by no row",
                counts: settings.orphans == .fail)
            finding.evidence = reading.modifiedAt.map { modified in
                let point = set.recoveryPoint
                let relation =
                    point.map { modified > $0 ? ", after the recovery point" : ", before the recovery point" } ?? ""
                return "Last modified \(rfc3339(modified))\(relation)."
            }
            finding.repair = repairText(.orphan, .unknown)
            found.append(finding)
        }
        try await findings.add(found)
    }

    private func finding(_ kind: FindingKind, _ batch: ReferenceBatch, _ row: Int, bucket: String) -> Finding {
        Finding(
            probe: probe.name, kind: kind, relation: stream.relation,
            rowID: batch.ids.isEmpty ? nil : stream.rowID(batch.ids[row]), bucket: bucket,
            objectKey: Array(batch.keys[row]))
    }

    private func summary(badReferences: Int64) -> String {
        var parts = ["\(grouped(counts.examined)) references: \(grouped(counts.passed)) answered"]
        if counts.failed > 0 { parts.append("\(grouped(counts.failed)) not met") }
        if counts.unknown > 0 { parts.append("\(grouped(counts.unknown)) unknown") }
        if settings.query.size != nil {
            parts.append(
                "sizes: \(grouped(counts.sizesCompared)) compared, \(grouped(counts.sizeNotComparable)) not comparable")
        }
        if settings.checksum != nil {
            parts.append(
                "checksums: \(grouped(counts.checksumsCompared)) compared, \(grouped(counts.checksumNotComparable)) not comparable"
            )
        }
        if settings.query.version != nil {
            parts.append(
                "versions: \(grouped(counts.versionsCompared)) compared, \(grouped(counts.versionNotComparable)) not comparable"
            )
        }
        switch settings.content {
        case .none where counts.objectsRead > 0:
            parts.append("bytes read only of \(grouped(counts.objectsRead)) objects whose version was in doubt")
        case .none: parts.append("bytes not read")
        case .all: parts.append("\(grouped(counts.objectsRead)) objects read, \(grouped(counts.bytesRead)) bytes")
        case .sample(let share):
            let bound =
                counts.objectsRead > 0
                ? ", at 95% fewer than \(fixed(300 / Double(counts.objectsRead), 2))% bad if none was" : ""
            parts.append(
                "sample of \(fixed(share * 100, 2))%, seed \(set.seed): \(grouped(counts.objectsRead)) objects read\(bound)"
            )
            relaxations.append(
                "Only a sample of \(fixed(share * 100, 2))% of the objects was read: \(grouped(counts.objectsRead)) "
                    + "(\(probe.name)).")
        }
        if counts.readByLength > 0 {
            parts.append(
                "\(grouped(counts.readByLength)) of them compared by length alone: neither row nor store keeps a checksum"
            )
        }
        if counts.unlisted > 0 {
            parts.append("\(grouped(counts.unlisted)) answered only when asked by key, though no listing names them")
        }
        if settings.orphans != .ignore, knowsOrphans { parts.append("\(grouped(counts.orphans)) orphans") }
        return parts.joined(separator: "; ")
    }
}
