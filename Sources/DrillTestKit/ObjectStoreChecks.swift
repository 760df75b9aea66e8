import Crypto
import DrillCore
import Foundation
import Testing

/// What every ``ObjectStore`` must hold to, whatever it reads from: `@Test(arguments: ObjectStoreCheck.all)`.
package struct ObjectStoreCheck: Sendable, CustomTestStringConvertible {
    /// Makes a store that holds exactly these objects. Called once or twice by a check; the caller removes what it made.
    package typealias Maker = @Sendable (_ objects: [ObjectKey: [UInt8]]) async throws -> any ObjectStore

    package let name: String
    private let body: @Sendable (Maker) async throws -> Void

    package var testDescription: String { name }

    package func run(_ make: Maker) async throws { try await body(make) }

    package static let all = [
        ObjectStoreCheck(name: "an empty store has an empty inventory") { make in
            let stream = try await make([:]).inventory(InventoryRequest())
            #expect(try await stream.next() == nil)
            #expect(try await stream.next() == nil)
        },
        ObjectStoreCheck(name: "the inventory names each key once, in strictly ascending byte order (S1)") { make in
            let objects = try await holdable(make)
            let listed = try await list(make(objects))
            let expected = objects.keys.sorted()
            #expect(listed.map(\.key) == expected)
            #expect(listed.map(\.reading.sizeBytes) == expected.map { Int64(objects[$0]?.count ?? -1) })
            #expect(listed.allSatisfy { $0.state == .present })
        },
        ObjectStoreCheck(name: "a prefix is a prefix of bytes, exactly (S12)") { make in
            let objects = try await holdable(make)
            let store = try await make(objects)
            for prefix in [
                "a", "a/", "a/b", "my/path", "my/path/", "my/path2/file", "none", "a%20", "caf", "/", "a//", "..",
            ] {
                let bytes = Array(prefix.utf8)
                let expected = objects.keys.filter { $0.bytes.starts(with: bytes) }.sorted()
                #expect(try await list(store, prefix: bytes).map(\.key) == expected, "prefix \(prefix)")
            }
        },
        ObjectStoreCheck(name: "presence agrees with the listing") { make in
            let objects = try await holdable(make)
            let store = try await make(objects)
            for (key, reading, _) in try await list(store) {
                guard case .present(let asked) = try await store.presence(of: key) else {
                    Issue.record("\(key) is listed, but not present when asked for")
                    continue
                }
                #expect(asked.sizeBytes == reading.sizeBytes)
                #expect(
                    asked.modifiedAt.map { $0.timeIntervalSince1970.rounded() }
                        == reading.modifiedAt.map { $0.timeIntervalSince1970.rounded() })
            }
            for text in [
                "none", "a", "A", "my", "my/", "my/path2/FILE", "my/path2/file/", "my/path2/file/x", "/a/b", "a/./b",
            ] {
                let key = ObjectKey(text)
                guard objects[key] == nil else { continue }
                guard case .absent = try await store.presence(of: key) else {
                    Issue.record("\(key) is not there, but presence says otherwise")
                    continue
                }
            }
        },
        ObjectStoreCheck(name: "every key is either held or refused with a reason (S36, S37)") { make in
            let empty = try await make([:])
            for key in hostileKeys {
                if let reason = empty.cannotHold(key) {
                    #expect(!reason.isEmpty)
                    guard case .absent = try await empty.presence(of: key) else {
                        Issue.record("\(key) cannot be held, but presence does not say absent")
                        continue
                    }
                }
            }
        },
        ObjectStoreCheck(name: "content is hashed from the first byte to the last") { make in
            let big = (0..<3_000_017).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 7) }
            let objects = [ObjectKey("empty"): [], ObjectKey("small"): Array("hello\n".utf8), ObjectKey("big"): big]
            let store = try await make(objects)
            for (key, reading, _) in try await list(store) {
                let bytes = try #require(objects[key])
                let sha256 = try await store.content(of: key, reading: reading, algorithm: .sha256)
                #expect(sha256.digest == Array(SHA256.hash(data: bytes)))
                #expect(sha256.sizeBytes == Int64(bytes.count))
                let md5 = try await store.content(of: key, reading: reading, algorithm: .md5)
                #expect(md5.digest == Array(Insecure.MD5.hash(data: bytes)))
            }
        },
        ObjectStoreCheck(name: "an inventory that is left early frees what it holds") { make in
            var objects: [ObjectKey: [UInt8]] = [:]
            for number in 0..<300 { objects[ObjectKey("d\(number % 7)/\(number)")] = [1] }
            let store = try await make(objects)
            let stream = try await store.inventory(InventoryRequest())
            #expect(try await stream.next() != nil)
            await stream.cancel()
            await stream.cancel()
            #expect(try await list(store).count == 300)
        },
    ]

    /// Keys that trip lists, paths, URLs, XML and terminals, whatever store may hold them.
    package static let hostileKeys: [ObjectKey] =
        [
            "", "a/b", "a.b", "a-b", "a0", "a!/x", "a b", "a%20b", "a+b", "a&b=c?d#e", "caf\u{E9}", "cafe\u{301}",
            "\u{212B}", "\u{C5}",
            "A.B", "my/path/x", "my/path2/file", "my/path.txt", "<script>alert(1)</script>", "]]>", "line\nbreak",
            "tab\there",
            "\u{1}\u{7F}\u{1B}[31m", "back\\slash", "..hidden", "dots..", "...", "~", "'quote\"", "\u{202E}rtl",
            "\u{1F4A9}", "x//y",
            "x/y", "/lead", "trail/", "./here", "up/../and/down", "..", ".", String(repeating: "n", count: 255),
            String(repeating: "m", count: 256), String(repeating: "deep/", count: 204) + "end!",
        ].map { ObjectKey($0) } + [ObjectKey([0x66, 0x00, 0x67]), ObjectKey([0xFF, 0xFE]), ObjectKey([0xC3])]

    /// The hostile keys that a store of this kind can hold, with some bytes each.
    private static func holdable(_ make: Maker) async throws -> [ObjectKey: [UInt8]] {
        let empty = try await make([:])
        var objects: [ObjectKey: [UInt8]] = [:]
        for (index, key) in hostileKeys.enumerated() where empty.cannotHold(key) == nil && !key.bytes.isEmpty {
            objects[key] = [UInt8](repeating: 0x78, count: index)
        }
        return objects
    }

    private static func list(
        _ store: any ObjectStore, prefix: [UInt8] = []
    ) async throws -> [(key: ObjectKey, reading: ObjectReading, state: EntryState)] {
        let stream = try await store.inventory(InventoryRequest(prefix: prefix))
        var entries: [(key: ObjectKey, reading: ObjectReading, state: EntryState)] = []
        while let batch = try await stream.next() {
            #expect(batch.count > 0, "an empty batch")
            for index in 0..<batch.count {
                entries.append((ObjectKey(batch.keys[index]), batch.reading(index), batch.state(index)))
            }
        }
        return entries
    }
}
