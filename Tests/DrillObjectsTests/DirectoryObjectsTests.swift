import DrillCore
import DrillTestKit
import Foundation
import Testing

@testable import DrillObjects

@Suite struct DirectoryObjectsTests {
    @Test func aTreeInTheSetsFolderIsUsableAndOpens() async throws {
        try await withTree { tree in
            try tree.write("set/s3_files/users/1.png", "123")
            let objects = try objects(path: "s3_files/", tree, hasSets: true)
            let state = try await objects.examine(backupSet(tree))
            #expect(state.state == .usable)
            #expect(state.notes.isEmpty)
            let store = try await objects.open(backupSet(tree), recoveryPoint: nil, in: nil)
            #expect(store.place == tree.path + "/set/s3_files")
            let batch = try #require(try await store.inventory(InventoryRequest()).next())
            #expect(batch.keys[0].elementsEqual("users/1.png".utf8))
            #expect(batch.reading(0).sizeBytes == 3)
        }
    }

    @Test func withoutSetsARelativePathStartsAtTheDrillFile() async throws {
        try await withTree { tree in
            try tree.write("copy/a", "1")
            try tree.link("mounted", to: "copy")
            for path in ["copy", "./copy", tree.path + "/copy", "mounted"] {
                let objects = try objects(path: path, tree, hasSets: false)
                #expect(
                    try await objects.examine(BackupSet(id: "fixed", time: nil, place: "")).state == .usable, "\(path)")
            }
        }
    }

    @Test func eachReasonNotToUseATreeIsTold() async throws {
        try await withTree { tree in
            try tree.makeDirectory("set")
            try tree.makeDirectory("set/empty")
            try tree.write("set/file", "1")
            try tree.write("elsewhere/a", "1")
            try tree.link("set/link", to: "../elsewhere")
            try tree.link("set/up", to: "..")
            let expected: [(path: String, state: ComponentState.State)] = [
                ("none", .incomplete("there is no object tree none")),
                ("file/below", .incomplete("there is no object tree file/below")),
                ("file", .unusable("file is a file, and an object tree is a directory")),
                ("link", .unusable("link is a symbolic link, and an object tree is a directory")),
                (
                    "up/elsewhere",
                    .unusable("up/elsewhere leads through a symbolic link, which may lead out of the set")
                ),
                ("empty", .usable),
            ]
            for (path, state) in expected {
                let found = try await objects(path: path, tree, hasSets: true).examine(backupSet(tree))
                #expect(found.state == state, "\(path)")
                #expect(found.notes.count == (path == "empty" ? 1 : 0))
            }
        }
    }

    /// P26: bytes, names and times of the source are as before.
    @Test func lookingLeavesNoTraceP26() async throws {
        try await withTree { tree in
            try tree.write("set/objects/a", "1")
            try tree.setTime("set/objects/a", 1_000_000)
            try tree.setTime("set/objects", 1_000_000)
            let objects = try objects(path: "objects", tree, hasSets: true)
            _ = try await objects.examine(backupSet(tree))
            let store = try await objects.open(backupSet(tree), recoveryPoint: nil, in: nil)
            let stream = try await store.inventory(InventoryRequest())
            while let batch = try await stream.next() {
                for index in 0..<batch.count {
                    _ = try await store.content(
                        of: ObjectKey(batch.keys[index]), reading: batch.reading(index), algorithm: .sha256)
                }
            }
            for path in ["set/objects/a", "set/objects"] {
                var status = stat()
                #expect(lstat(tree.path + "/" + path, &status) == 0)
                #expect(status.st_mtim.tv_sec == 1_000_000)
                #expect(status.st_atim.tv_sec == 1_000_000, "\(path) was read without O_NOATIME")
            }
        }
    }

    @Test func thePathMustSaySomething() throws {
        try withTree { tree in
            let error = #expect(throws: DrillError.self) { try objects(path: "", tree, hasSets: true) }
            #expect(error?.code == .usage)
        }
    }

    private func backupSet(_ tree: TestTree) -> BackupSet {
        let folder = DirectoryFolder(path: tree.path + "/set")
        return BackupSet(id: "set", time: nil, place: folder.place, folder: folder)
    }

    private func objects(path: String, _ tree: TestTree, hasSets: Bool) throws -> DirectoryObjects {
        let source = DrillFileSource(path: "drill.yaml", directory: tree.path, variables: [:])
        let node = SettingsNode(
            .mapping([("path", 1, SettingsNode(.scalar(path, isPlain: false), line: 1))]), line: 1)
        let settings = try SettingsReader(
            node, shape: DirectoryObjects.shape, path: "backup.objects[0]", source: source)
        return try DirectoryObjects(
            bucket: "uploads", settings,
            PartContext(
                environment: .fake(), drillFileDirectory: tree.path, hasSets: hasSets,
                scratch: ScratchSettings(directory: NSTemporaryDirectory(), keep: .never)))
    }
}
