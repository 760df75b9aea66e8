import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillHost

struct ExternalSorterTests {
    private typealias Record = (key: [UInt8], payload: [UInt8])

    /// Kinds of keys that are hard in one way or another.
    enum Keys: CaseIterable {
        case paths, anyBytes, fewValues, zeros, longAndAlike, inOrder, nearlyInOrder, backwards, empty

        func key(_ index: Int, _ random: inout RepeatableRandom) -> [UInt8] {
            switch self {
            case .paths: Array("uploads/\(random.next() % 3)/users/\(random.next() % 100_000)/avatar.png".utf8)
            case .anyBytes: (0..<Int(random.next() % 30)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
            case .fewValues: Array("only-\(random.next() % 7)".utf8)
            case .zeros: Array(repeating: 0, count: Int(random.next() % 40)) + (random.next() % 4 == 0 ? [1] : [])
            case .longAndAlike:
                Array(repeating: 97, count: 700) + Array("\(random.next() % 50)".utf8)
                    + Array(repeating: 98, count: Int(random.next() % 3))
            case .inOrder: Array(String(index + 1_000_000).utf8)
            case .nearlyInOrder: Array(String(index % 997 == 0 ? 1_000_000 : index + 1_000_000).utf8)
            case .backwards: Array(String(9_000_000 - index).utf8)
            case .empty: []
            }
        }
    }

    private func withDirectory<Value>(_ body: (String) throws -> Value) throws -> Value {
        let directory = NSTemporaryDirectory() + "sorter-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        return try body(directory)
    }

    private func add(_ record: Record, to sorter: ExternalSorter) throws {
        try record.key.withUnsafeBytes { key in
            try record.payload.withUnsafeBytes { try sorter.add(key: key, payload: $0) }
        }
    }

    private func rest(of sorter: ExternalSorter, limit: Int = 100) throws -> [Record] {
        var found: [Record] = []
        while try sorter.next(limit: limit, { found.append((Array($0), Array($1))) }) > 0 {}
        return found
    }

    @Test(
        "Records come out in byte order, equal ones as they went in, however often they are spilled",
        arguments: Keys.allCases, [1 << 30, 60_000, 3000])
    func recordsComeOutInOrder(keys: Keys, memoryBytes: Int) throws {
        try withDirectory { directory in
            var random = RepeatableRandom(seed: 7)
            let sorter = ExternalSorter(directory: directory, memoryBytes: memoryBytes, runsPerLevel: 4)
            let count = keys == .longAndAlike ? 1500 : 6000
            let records: [Record] = (0..<count).map { index in
                (keys.key(index, &random), Array("\(index)".utf8) + Array(repeating: 7, count: index % 5))
            }
            for record in records { try add(record, to: sorter) }
            try sorter.finishAdding()
            // Swift's sort is stable.
            let expected = records.sorted { $0.key.lexicographicallyPrecedes($1.key) }
            let found = try rest(of: sorter, limit: 999)
            #expect(found.count == expected.count)
            #expect(found.elementsEqual(expected) { $0.key == $1.key && $0.payload == $1.payload })
            #expect(try sorter.next(limit: 1) { _, _ in } == 0, "and no more")
        }
    }

    @Test func recordsLargerThanTheMemoryAreSortedToo() throws {
        try withDirectory { directory in
            let sorter = ExternalSorter(directory: directory, memoryBytes: 1000, runsPerLevel: 2)
            let large = [UInt8](repeating: 5, count: 1 << 20)
            let records: [Record] = [
                ([2], large), (large, [1]), ([1], []), (large + [0], large), ([], large), ([3], []),
            ]
            for record in records { try add(record, to: sorter) }
            try sorter.finishAdding()
            let found = try rest(of: sorter)
            #expect(found.map(\.key.count) == [0, 1, 1, 1, 1 << 20, (1 << 20) + 1])
            #expect(found.map(\.payload.count) == [1 << 20, 0, 1 << 20, 0, 1, 1 << 20])
        }
    }

    @Test("Nothing of what is spilled has a name, so that nothing stays behind")
    func spilledFilesHaveNoName() throws {
        try withDirectory { directory in
            let sorter = ExternalSorter(directory: directory, memoryBytes: 2000)
            for index in 0..<1000 { try add(([UInt8(index * 7 % 256)], [1, 2, 3]), to: sorter) }
            try sorter.finishAdding()
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory).isEmpty)
            #expect(try rest(of: sorter).count == 1000)
        }
    }

    @Test("A file that lost its end is an error, never an end of the records", arguments: [0, 1, 500, 1000, 1999])
    func filesThatWereCutAreTold(keptBytes: Int) throws {
        try withDirectory { directory in
            let sorter = ExternalSorter(directory: directory, memoryBytes: 1500)
            for index in 0..<500 { try add(([UInt8(index * 7 % 256), UInt8(index % 251)], [1, 2, 3]), to: sorter) }
            // The files have no names any more, but this process holds them.
            let held = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").compactMap { Int32($0) }
            let spilled = held.filter { descriptor in
                let place = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(descriptor)")
                return place?.hasPrefix(directory + "/sort-") ?? false
            }
            let cut = try #require(spilled.sorted().dropFirst().first)
            var facts = stat()
            #expect(fstat(cut, &facts) == 0 && facts.st_size > 100)
            #expect(ftruncate(cut, min(off_t(keptBytes), facts.st_size - 1)) == 0)
            let error = #expect(throws: DrillError.self) {
                try sorter.finishAdding()
                _ = try rest(of: sorter)
            }
            #expect(error?.what == "a file of sorted records was cut short")
        }
    }

    @Test func withoutRecordsNothingComes() throws {
        let sorter = ExternalSorter(directory: "/nonexistent", memoryBytes: 100)
        try sorter.finishAdding()
        #expect(try rest(of: sorter).isEmpty)
    }

    @Test func addingAfterTheEndIsRefused() throws {
        let sorter = ExternalSorter(directory: "/nonexistent", memoryBytes: 1 << 20)
        try add(([1], [2]), to: sorter)
        try sorter.finishAdding()
        #expect(throws: DrillError.self) { try add(([1], [2]), to: sorter) }
        sorter.close()
        sorter.close()
        #expect(throws: DrillError.self, "what was closed early is not at its end") { try rest(of: sorter) }
    }

    @Test func aDirectoryThatCannotBeWrittenToIsNamed() throws {
        let sorter = ExternalSorter(directory: "/nonexistent", memoryBytes: 10)
        let error = #expect(throws: DrillError.self) { try add(([1], [2]), to: sorter) }
        #expect(error?.place == "/nonexistent")
        #expect(error?.hints == ["Set scratch.directory to a disk with room that this user may write to."])
    }

    @Test("An error of who takes a record ends the call and goes through to the caller")
    func errorsOfTheTakerGoThrough() throws {
        struct Refused: Error {}
        let sorter = ExternalSorter(directory: "/nonexistent", memoryBytes: 1 << 20)
        for byte in [UInt8(3), 1, 2] { try add(([byte], []), to: sorter) }
        try sorter.finishAdding()
        #expect(throws: Refused.self) { try sorter.next(limit: 3) { _, _ in throw Refused() } }
    }
}
