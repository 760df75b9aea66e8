import DrillCore
import DrillTestKit
import Foundation
import Glibc
import Testing

@testable import DrillObjects

@Suite struct DirectoryStoreTests {
    @Test(arguments: ObjectStoreCheck.all)
    func conforms(check: ObjectStoreCheck) async throws {
        try await withTree { tree in
            let number = Counter()
            try await check.run { objects in
                let name = "tree\(number.next())"
                try tree.makeDirectory(name)
                for (key, bytes) in objects { try tree.write(Array(name.utf8) + [0x2F] + key.bytes, bytes) }
                return try store(tree, name)
            }
        }
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func keysComeInTheOrderOfSort(seed: UInt64) async throws {
        try await withTree { tree in
            try makeHostileTree(tree, seed: seed, files: 600)
            let expected = try sortedByTools(tree.path)
            #expect(expected.count > 400)
            #expect(try await keys(store(tree)) == expected)
            // Few in a batch, few open directories, names that do not fit: the same.
            var limits = TreeWalk.Limits()
            (limits.entriesPerBatch, limits.directoriesPerBatch) = (3, 1)
            (limits.nameBytes, limits.leastNameBytes) = (700, 700)
            #expect(try await keys(store(tree, limits: limits)) == expected)
        }
    }

    @Test func aDirectoryOfManyNamesIsSortedInFiles() async throws {
        try await withTree { tree in
            for number in 0..<3000 { try tree.write("object-\(number * 7919 % 3000).jpg", "") }
            var limits = TreeWalk.Limits()
            (limits.nameBytes, limits.leastNameBytes) = (8192, 8192)
            #expect(try await keys(store(tree, limits: limits)) == sortedByTools(tree.path))
            let error = await #expect(throws: DrillError.self) {
                try await keys(store(tree, limits: limits, spillDirectory: "/nowhere"))
            }
            #expect(error?.description == "/nowhere: cannot make a temporary file: no such file or directory")
        }
    }

    @Test func emptyDirectoriesHoldNoKeys() async throws {
        try await withTree { tree in
            try tree.makeDirectory("empty")
            try tree.makeDirectory("empty/inner")
            try tree.write("z", "1")
            #expect(try await keys(store(tree)) == [ObjectKey("z")])
            #expect(try await keys(store(tree), prefix: "empty/") == [])
        }
    }

    @Test func linksAreNeverFollowedX4() async throws {
        try await withTree { outside in
            try outside.write("secret", "secret")
            try await withTree { tree in
                try tree.write("in/file", "1")
                try tree.link("in/loop", to: "..")
                try tree.link("in/out", to: outside.path)
                try tree.link("in/secret", to: outside.path + "/secret")
                try tree.link("in/gone", to: "nowhere")
                let store = try store(tree)
                let entries = try await entries(store)
                #expect(
                    entries.map(\.key)
                        == ["in/file", "in/gone", "in/loop", "in/out", "in/secret"].map { ObjectKey($0) })
                #expect(entries.map(\.state) == [.present, .unreadable, .unreadable, .unreadable, .unreadable])
                #expect(entries[4].note == "a symbolic link, not a file: it was not followed or opened")
                for key in ["in/secret", "in/out", "in/out/secret", "in/loop/in/file", "in/gone"] {
                    guard case .unreadable(let reason, .unknown) = try await store.presence(of: ObjectKey(key)) else {
                        Issue.record("\(key) was reached through a link")
                        continue
                    }
                    #expect(reason.contains("a symbolic link"))
                    let reading = ObjectReading(sizeBytes: 6)
                    await #expect(throws: DrillError.self) {
                        try await store.content(of: ObjectKey(key), reading: reading, algorithm: .md5)
                    }
                }
                #expect(try await keys(store, prefix: "in/out/") == [])
                #expect(
                    await store.notes.first
                        == "4 entries of \(tree.path) are no files and were neither followed nor opened, such as "
                        + "a symbolic link at in/gone.")
            }
        }
    }

    @Test func pathsByComponentsAnswerAsTheKernelDoes() throws {
        try withTree { tree in
            try tree.write("a/b", "1")
            try tree.link("a/link", to: "b")
            try tree.link("up", to: "a")
            let root = try Descriptor.open(tree.path, flags: O_DIRECTORY)
            for key in ["a/b", "a", "a/link", "up/b", "a/b/c", "none", "none/b"] {
                #expect(
                    kind(of: key) { key, flags in try KeyPath.open(key, below: root, flags: flags) }
                        == kind(of: key) { key, flags in try KeyPath.openByComponents(key, below: root, flags) },
                    "\(key)")
            }
        }
    }

    /// What opening that key gives, or why it fails.
    private func kind(of key: String, _ open: (ObjectKey, Int32) throws -> Descriptor) -> String {
        do {
            return try open(ObjectKey(key), 0o10000000 | O_NOFOLLOW | O_CLOEXEC).status().kindText
        } catch {
            return "\(error)"
        }
    }

    @Test func specialFilesAreNotOpened() async throws {
        try await withTree { tree in
            try tree.makeFIFO("pipe")
            let store = try store(tree)
            let entries = try await entries(store)
            #expect(entries.map(\.state) == [.unreadable])
            #expect(entries[0].note == "a FIFO, not a file: it was not followed or opened")
            guard case .unreadable = try await store.presence(of: ObjectKey("pipe")) else {
                Issue.record("a FIFO is no object")
                return
            }
        }
    }

    @Test func aPathMayBeFileOrDirectoryButNotBothS37() async throws {
        try await withTree { tree in
            try tree.write("a", "1")
            try tree.write("d/x", "1")
            let store = try store(tree)
            for key in ["a/b", "d"] {
                guard case .absent = try await store.presence(of: ObjectKey(key)) else {
                    Issue.record("\(key) is no file")
                    continue
                }
                let shown = try await store.evidence(about: ObjectKey(key), finding: .missing)
                #expect(shown?.cause == .notCopied, "\(key)")
            }
            #expect(try await store.evidence(about: ObjectKey("nowhere/at/all"), finding: .missing) == nil)
        }
    }

    @Test(arguments: [
        ("", "the key is empty"), ("/a", "it starts with '/', and a path has no empty name"),
        ("a/", "it ends in '/', and only a directory's path does"),
        ("a//b", "it holds '//', and a path has no empty name"),
        ("a/../b", "it holds the name '..', which means a directory"),
        ("./a", "it holds the name '.', which means a directory"),
        ("a\0b", "it holds a NUL byte, which no path can"),
    ])
    func keysThatNoPathCanHoldS36(key: String, reason: String) throws {
        try withTree { tree in
            let store = try store(tree)
            #expect(store.cannotHold(ObjectKey(key)) == reason)
        }
    }

    @Test func aNameOfMoreThan255BytesCannotBeHeldS37() throws {
        try withTree { tree in
            let store = try store(tree)
            #expect(store.cannotHold(ObjectKey("d/" + String(repeating: "n", count: 255))) == nil)
            #expect(
                store.cannotHold(ObjectKey(String(repeating: "n", count: 256) + "/x"))
                    == "a name in it is 256 bytes long, and the file system's limit is 255")
        }
    }

    @Test func aFileThatVanishesWhileTheTreeIsListedEndsTheInventory() async throws {
        try await withTree { tree in
            for number in 100..<200 { try tree.write("\(number)", "") }
            var limits = TreeWalk.Limits()
            limits.entriesPerBatch = 1
            let stream = try await store(tree, limits: limits).inventory(InventoryRequest())
            // The names are known once the first comes; only some are looked at ahead.
            #expect(try await stream.next()?.keys[0].elementsEqual("100".utf8) == true)
            try tree.remove("199")
            let error = await #expect(throws: DrillError.self) {
                while try await stream.next() != nil {}
            }
            #expect(error?.code == .couldNotLook)
            #expect(error?.place == tree.path + "/199")
            // What failed once does not look complete when asked again.
            await #expect(throws: DrillError.self) { try await stream.next() }
        }
    }

    @Test func aFileThatIsNotAsListedIsAnErrorNotAFinding() async throws {
        try await withTree { tree in
            try tree.write("a", "12345")
            let store = try store(tree)
            let error = await #expect(throws: DrillError.self) {
                try await store.content(of: ObjectKey("a"), reading: ObjectReading(sizeBytes: 4), algorithm: .md5)
            }
            #expect(error?.code == .couldNotLook)
            await #expect(throws: DrillError.self) {
                try await store.content(of: ObjectKey("b"), reading: ObjectReading(sizeBytes: 4), algorithm: .md5)
            }
        }
    }

    @Test func aDirectoryThatMayNotBeListedEndsTheInventory() async throws {
        try await withTree { tree in
            try tree.write("a", "1")
            try tree.write("closed/b", "1")
            try tree.setMode("closed", 0)
            let error = await #expect(throws: DrillError.self) {
                let queue = try walkAsNobody(tree)
                while try await queue.next() != nil {}
            }
            #expect(error?.code == .couldNotLook)
            #expect(error?.what == "cannot list the directory: permission denied")
            #expect(error?.place == tree.path + "/closed")
            try tree.setMode("closed", 0o755)
        }
    }

    @Test func aFileThatMayNotBeReadIsListedAsUnreadable() async throws {
        try await withTree { tree in
            try tree.write("closed", "1")
            try tree.write("open", "1")
            try tree.setMode("closed", 0)
            let batch = try #require(try await walkAsNobody(tree).next())
            #expect(batch.states == [.unreadable, .present])
            #expect(batch.details[0]?.cause == .accessDenied)
            #expect(batch.sizes == [1, 1])
            let failure = asNobody { () -> (any Error)? in
                do {
                    let reader = ContentReader(
                        root: try Descriptor.open(tree.path, flags: O_DIRECTORY), place: tree.path,
                        key: ObjectKey("closed"))
                    _ = try reader.read(ObjectReading(sizeBytes: 1), .md5, CancellationFlag())
                    return nil
                } catch {
                    return error
                }
            }
            #expect((failure as? ContentUnreadable)?.cause == .accessDenied)
        }
    }

    @Test func copiedBetweenIsOfTheWholeTree() async throws {
        try await withTree { tree in
            let begun = Date().addingTimeInterval(-1)
            for number in 0..<50 {
                try tree.write("\(number)/f", "1")
                // `aws s3 sync` gives files the time of the object: that is no time of the copy.
                try tree.setTime("\(number)/f", 1_000_000 + number)
            }
            let store = try store(tree)
            let stream = try await store.inventory(InventoryRequest(prefix: Array("7".utf8)))
            _ = try await stream.next()
            await stream.cancel()
            let copied = try #require(await store.copiedBetween)
            #expect(copied.lowerBound > begun && copied.upperBound < Date().addingTimeInterval(1))
            #expect(copied.lowerBound < copied.upperBound)
            #expect(await store.usage["files listed"] == 51)
        }
    }

    @Test func aCancelledTaskDoesNotWait() async throws {
        try await withTree { tree in
            for number in 0..<100 { try tree.write("\(number)", "") }
            let store = try store(tree)
            let stream = try await store.inventory(InventoryRequest())
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                return try await stream.next()
            }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }

    // MARK: -

    private func store(
        _ tree: TestTree, _ name: String = "", limits: TreeWalk.Limits = TreeWalk.Limits(),
        spillDirectory: String = NSTemporaryDirectory()
    ) throws -> DirectoryStore {
        let path = name.isEmpty ? tree.path : tree.path + "/" + name
        return DirectoryStore(
            bucket: "uploads", place: path, root: try Descriptor.open(path, flags: O_DIRECTORY),
            spillDirectory: spillDirectory, limits: limits)
    }

    private func entries(
        _ store: DirectoryStore, prefix: String = ""
    ) async throws -> [(key: ObjectKey, state: EntryState, note: String?)] {
        let stream = try await store.inventory(InventoryRequest(prefix: Array(prefix.utf8)))
        var entries: [(key: ObjectKey, state: EntryState, note: String?)] = []
        while let batch = try await stream.next() {
            for index in 0..<batch.count {
                entries.append((ObjectKey(batch.keys[index]), batch.state(index), batch.details[index]?.note))
            }
        }
        return entries
    }

    private func keys(_ store: DirectoryStore, prefix: String = "") async throws -> [ObjectKey] {
        try await entries(store, prefix: prefix).map(\.key)
    }

    /// Names of all lengths, of bytes that sort around `/`, that are no UTF-8, that differ by normalisation alone.
    private func makeHostileTree(_ tree: TestTree, seed: UInt64, files: Int) throws {
        var generator = RepeatableRandom(seed: seed)
        let words: [[UInt8]] = [
            Array("a".utf8), Array("b".utf8), [0x2E], [0x2D], [0x30], [0x20], [0x0A], [0x01], [0x7F], [0xFF],
            [0xC3, 0xA9],
            Array("e\u{301}".utf8), Array("é".utf8), [0x25, 0x32, 0x46], Array(repeating: 0x6E, count: 250), [0x21],
            [0x5C],
        ]
        var made = 0
        while made < files {
            var path: [UInt8] = []
            for level in 0..<Int.random(in: 1...4, using: &generator) {
                if level > 0 { path.append(0x2F) }
                var name: [UInt8] = []
                for _ in 0..<Int.random(in: 1...4, using: &generator) {
                    name += words.randomElement(using: &generator) ?? []
                }
                name = Array(name.prefix(255))
                if name == [0x2E] || name == [0x2E, 0x2E] { name.append(0x61) }
                path += name
            }
            do {
                try tree.write(path, [])
            } catch let error as TreeError where [EISDIR, ENOTDIR].contains(error.number) {
                // A file stands where a directory is wanted, or the other way round.
            }
            made += 1
        }
    }

    private func sortedByTools(_ path: String) throws -> [ObjectKey] {
        let process = Process(), pipe = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", #"find "$1" -type f -printf '%P\0' | LC_ALL=C sort -z"#, "sh", path]
        process.standardOutput = pipe
        try process.run()
        let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        return output.split(separator: 0).map { ObjectKey($0) }
    }

    /// A walk whose threads may do what user 65534 may, also where the tests run as root.
    private func walkAsNobody(_ tree: TestTree) throws -> WalkQueue {
        chmod(tree.path, 0o755)
        let root = try Descriptor.open(tree.path, flags: O_DIRECTORY)
        return asNobody {
            let queue = WalkQueue()
            let walk = TreeWalk(
                root: root, place: tree.path, spillDirectory: tree.path, limits: TreeWalk.Limits(), queue: queue,
                userID: geteuid() == 0 ? 65534 : geteuid(), onTotals: { _ in })
            walk.start(prefix: [])
            return queue
        }
    }

    /// Runs `body` on a thread that, where the tests run as root, has the file rights of user 65534; its threads have them too.
    private func asNobody<Result: Sendable>(_ body: @escaping @Sendable () -> Result) -> Result {
        let box = Box<Result>()
        let done = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            if geteuid() == 0 { _ = setFileUser(65534) }
            box.value = body()
            done.signal()
        }
        done.wait()
        guard let value = box.value else { preconditionFailure("the thread left its result") }
        return value
    }
}

/// setfsuid(2): of the calling thread alone, and of those that it makes.
@_silgen_name("setfsuid") private func setFileUser(_ user: UInt32) -> Int32

/// Written by one thread before a semaphore is signalled, read by another after it.
private final class Box<Value>: @unchecked Sendable { var value: Value? }

private final class Counter: @unchecked Sendable {
    // Guarded by `lock`.
    private var value = 0
    private let lock = NSLock()
    func next() -> Int {
        lock.withLock {
            value += 1; return value
        }
    }
}
