import DrillCore
import Foundation

/// A restored database that answers references from rows in memory, ordered as PostgreSQL would order them.
package struct ScriptedDatabase: RestoredDatabase {
    package struct Row: Sendable {
        package var key: [UInt8]
        package var bucket: String?
        package var id: String
        package var sizeBytes: Int64?
        /// What a row expects that holds no whole number of bytes.
        package var oddSize: String?
        package var checksum: String?
        package var version: String?
        package var changedAt: Date?
        package var isIncluded: Bool

        package init(
            _ key: [UInt8], id: String, bucket: String? = nil, sizeBytes: Int64? = nil, oddSize: String? = nil,
            checksum: String? = nil, version: String? = nil, changedAt: Date? = nil, isIncluded: Bool = true
        ) {
            self.key = key
            self.id = id
            self.bucket = bucket
            self.sizeBytes = sizeBytes
            self.oddSize = oddSize
            self.checksum = checksum
            self.version = version
            self.changedAt = changedAt
            self.isIncluded = isIncluded
        }
    }

    package let place = "a scripted database"
    package let notes: [String] = []
    package let commandEnvironment: [String: String] = [:]
    package var internals: any Sendable { place }
    /// By table name.
    private let tables: [String: [Row]]
    /// The stream throws after so many rows: a connection that is lost.
    private let failsAfter: Int?

    package init(tables: [String: [Row]], failsAfter: Int? = nil) {
        self.tables = tables
        self.failsAfter = failsAfter
    }

    /// In order, with or without a sorter.
    package func references(
        _ query: ReferenceQuery, sorter: (any RecordSorter)?
    ) async throws -> any ReferenceStream {
        guard case .table(let table) = query.source, let rows = tables[table] else {
            throw DrillError(.couldNotLook, "there is no such table", at: place)
        }
        let wanted = rows.filter { query.includesExcludedRows || query.condition == nil || $0.isIncluded }
        let ordered = wanted.sorted { left, right in
            let leftBucket = Array((left.bucket ?? "").utf8), rightBucket = Array((right.bucket ?? "").utf8)
            if query.bucketColumn != nil, leftBucket != rightBucket {
                return leftBucket.lexicographicallyPrecedes(rightBucket)
            }
            return left.key.lexicographicallyPrecedes(right.key)
        }
        return Stream(rows: ordered, query: query, relation: table, failsAfter: failsAfter)
    }

    package func referenceHints(
        _ query: ReferenceQuery, splits: Int
    ) async throws -> (expectedCount: Int64?, splitKeys: [ObjectKey]) { (nil, []) }

    package func rows(_ sql: String, searchPath: [String], limit: Int) async throws -> SQLRows {
        throw DrillError(.couldNotLook, "no SQL is scripted", at: place)
    }

    private actor Stream: ReferenceStream {
        nonisolated let relation: String?
        private var rest: ArraySlice<Row>
        private let query: ReferenceQuery
        private var left: Int?

        init(rows: [Row], query: ReferenceQuery, relation: String, failsAfter: Int?) {
            rest = rows[...]
            self.query = query
            self.relation = relation
            left = failsAfter
        }

        /// Two rows at a time, so that a test of a few rows crosses batch borders.
        func next() throws -> ReferenceBatch? {
            if let left, left <= 0 { throw DrillError(.couldNotLook, "the connection was lost", at: relation) }
            guard !rest.isEmpty else { return nil }
            var batch = ReferenceBatch()
            for row in rest.prefix(2) {
                batch.keys.append(row.key)
                batch.ids.append(Array(row.id.utf8))
                if query.bucketColumn != nil {
                    batch.buckets.append(Array((row.bucket ?? "").utf8))
                    batch.bucketIsNull.append(row.bucket == nil)
                }
                if query.size != nil {
                    batch.sizes.append(row.oddSize == nil ? row.sizeBytes ?? .min : ReferenceBatch.noSize)
                    batch.oddSizes.append(Array((row.oddSize ?? "").utf8))
                }
                if query.checksum != nil {
                    batch.checksums.append(Array((row.checksum ?? "").utf8))
                    batch.checksumIsNull.append(row.checksum == nil)
                }
                if query.version != nil {
                    batch.versions.append(Array((row.version ?? "").utf8))
                    batch.versionIsNull.append(row.version == nil)
                }
                if query.changedAt != nil { batch.changed.append(row.changedAt?.microseconds ?? .min) }
                if query.condition != nil { batch.isIncluded.append(row.isIncluded) }
            }
            rest = rest.dropFirst(2)
            left? -= batch.count
            return batch
        }

        nonisolated func rowID(_ raw: ArraySlice<UInt8>) -> String? { String(decoding: raw, as: UTF8.self) }
        func cancel() { rest = [] }
    }
}
