import DrillCore
import DrillTestKit
import Foundation

@testable import DrillPostgres

/// A reference as the tests like to read it.
struct Reference: Hashable {
    var bucket: String?
    var key: String
    var size: Int64?
    var checksum: [UInt8]?
    var version: String?
    var changed: Int64?
    var id: String?
    var isIncluded = true
}

extension PostgresDatabase {
    /// For tests: a superuser's view of a database of theirs.
    static func open(_ parameters: PostgresParameters) async throws -> PostgresDatabase {
        try await PostgresDatabase(parameters, place: parameters.place, commandEnvironment: nil)
    }

    /// References in order.
    func references(_ query: ReferenceQuery) async throws -> any ReferenceStream {
        try await references(query, sorter: MemorySorters().makeSorter(in: ""))
    }

    /// All references, in the order in which they came.
    func all(_ query: ReferenceQuery) async throws -> [Reference] {
        let stream = try await references(query)
        var found: [Reference] = []
        while let batch = try await stream.next() {
            found += batch.references { stream.rowID($0) }
        }
        return found
    }
}

extension ReferenceBatch {
    func references(_ rowID: (ArraySlice<UInt8>) -> String?) -> [Reference] {
        func text(_ bytes: ArraySlice<UInt8>) -> String { String(decoding: bytes, as: UTF8.self) }
        return (0..<count).map { index in
            Reference(
                bucket: buckets.isEmpty || bucketIsNull[index] ? nil : text(buckets[index]), key: text(keys[index]),
                size: sizes.isEmpty || sizes[index] == .min ? nil : sizes[index],
                checksum: checksums.isEmpty || checksumIsNull[index] ? nil : Array(checksums[index]),
                version: versions.isEmpty || versionIsNull[index] ? nil : text(versions[index]),
                changed: changed.isEmpty || changed[index] == .min ? nil : changed[index],
                id: ids.isEmpty ? nil : rowID(ids[index]), isIncluded: isIncluded.isEmpty || isIncluded[index])
        }
    }
}

func table(_ name: String, key: String = "key") -> ReferenceQuery { ReferenceQuery(source: .table(name), key: key) }
