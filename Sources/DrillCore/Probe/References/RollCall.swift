import Foundation

/// One step of the roll call that wants more than a look: everything else was counted on the way.
struct RollCallEvent {
    enum Kind { case missing, matched, orphan }
    var kind: Kind
    /// Index in the current batch of rows; -1 for an orphan.
    var row: Int32
    /// Index in the current batch of objects; -1 for a missing one.
    var object: Int32
}

/// Counts of a roll call.
struct RollCallCounts: Sendable {
    var examined: Int64 = 0
    var passed: Int64 = 0
    var failed: Int64 = 0
    var unknown: Int64 = 0
    var sizeNotComparable: Int64 = 0
    var checksumNotComparable: Int64 = 0
    var versionNotComparable: Int64 = 0
    var sizesCompared: Int64 = 0
    var checksumsCompared: Int64 = 0
    var versionsCompared: Int64 = 0
    var orphans: Int64 = 0
    /// References that answered only when asked by key, though no listing named them (S8).
    var unlisted: Int64 = 0
    var objectsRead: Int64 = 0
    var bytesRead: Int64 = 0
    /// Objects whose bytes were read, but of which neither the row nor the store keeps a checksum.
    var readByLength: Int64 = 0
}

/// Walks sorted references and a sorted inventory side by side, one bucket, a pair of batches at a time.
///
/// The hot path of Muster: no allocation and no call a row where the key is there and its size is as expected.
struct RollCall {
    /// Whether an object that no row names is worth an event.
    let reportsOrphans: Bool
    /// Whether every match is worth an event: content is read, or a checksum or version is compared.
    let judgesEveryMatch: Bool
    let requiresSize: Bool

    var rows = ReferenceBatch()
    var row = 0
    var rowEnd = 0
    var objects = ObjectBatch()
    var object = 0
    /// Whether a row has named the current object.
    var objectWasNamed = false
    var counts = RollCallCounts()
    var events: [RollCallEvent] = []

    init(reportsOrphans: Bool, judgesEveryMatch: Bool, requiresSize: Bool) {
        self.reportsOrphans = reportsOrphans
        self.judgesEveryMatch = judgesEveryMatch
        self.requiresSize = requiresSize
    }

    /// Goes on until the rows (up to `rowEnd`) or the objects run out. What is worth more than a count is in `events`.
    mutating func advance() {
        let rowKeys = rows.keys, objectKeys = objects.keys
        let included = rows.isIncluded, rowSizes = rows.sizes
        let states = objects.states, objectSizes = objects.sizes
        let rowEnd = self.rowEnd, objectEnd = objects.count
        var row = self.row, object = self.object, named = objectWasNamed
        var examined: Int64 = 0, passed: Int64 = 0, compared: Int64 = 0, notComparable: Int64 = 0
        rowKeys.withElements { rowElements in
            objectKeys.withElements { objectElements in
                while row < rowEnd, object < objectEnd {
                    let order = compareBytes(rowElements[row], objectElements[object])
                    if order == 0 {
                        named = true
                        let counts = included.isEmpty || included[row]
                        if counts {
                            examined += 1
                            if judgesEveryMatch || (!states.isEmpty && states[object] != .present) {
                                events.append(RollCallEvent(kind: .matched, row: Int32(row), object: Int32(object)))
                            } else if rowSizes.isEmpty {
                                passed += 1
                            } else if rowSizes[row] == objectSizes[object] {
                                passed += 1
                                compared += 1
                            } else if rowSizes[row] == .min, !requiresSize {
                                passed += 1
                                notComparable += 1
                            } else {
                                events.append(RollCallEvent(kind: .matched, row: Int32(row), object: Int32(object)))
                            }
                        }
                        row += 1
                    } else if order < 0 {
                        if included.isEmpty || included[row] {
                            examined += 1
                            events.append(RollCallEvent(kind: .missing, row: Int32(row), object: -1))
                        }
                        row += 1
                    } else {
                        if reportsOrphans, !named, states.isEmpty || states[object] == .present {
                            events.append(RollCallEvent(kind: .orphan, row: -1, object: Int32(object)))
                        }
                        object += 1
                        named = false
                    }
                }
            }
        }
        self.row = row
        self.object = object
        objectWasNamed = named
        counts.examined += examined
        counts.passed += passed
        counts.sizesCompared += compared
        counts.sizeNotComparable += notComparable
    }

    /// With no objects left: the rows up to `rowEnd` are missing.
    mutating func callMissing() {
        while row < rowEnd {
            if rows.isIncluded.isEmpty || rows.isIncluded[row] {
                counts.examined += 1
                events.append(RollCallEvent(kind: .missing, row: Int32(row), object: -1))
            }
            row += 1
        }
    }

    /// With no rows left: the objects that remain are orphans.
    mutating func callOrphans() {
        while object < objects.count {
            if reportsOrphans, !objectWasNamed, objects.state(object) == .present {
                events.append(RollCallEvent(kind: .orphan, row: -1, object: Int32(object)))
            }
            object += 1
            objectWasNamed = false
        }
    }
}

extension ByteColumn {
    /// Elements as raw buffers without copies, valid within `body`.
    struct Elements {
        let bytes: UnsafePointer<UInt8>
        let ends: UnsafePointer<Int32>

        subscript(index: Int) -> UnsafeRawBufferPointer {
            let start = index == 0 ? 0 : Int(ends[index - 1])
            return UnsafeRawBufferPointer(start: bytes + start, count: Int(ends[index]) - start)
        }
    }

    func withElements(_ body: (Elements) -> Void) {
        bytes.withUnsafeBufferPointer { bytes in
            ends.withUnsafeBufferPointer { ends in
                // Without elements nothing is looked at.
                guard let ends = ends.baseAddress else { return }
                withUnsafePointer(to: UInt8(0)) { nothing in
                    body(Elements(bytes: bytes.baseAddress ?? nothing, ends: ends))
                }
            }
        }
    }
}
