import DrillCore
import Foundation
import Testing

@testable import DrillObjects

@Suite struct DirectoryFolderTests {
    @Test func tellsWhatIsThereWithoutFollowingLinks() async throws {
        try await withTree { tree in
            try tree.write("set/dump", "12345")
            try tree.link("set/outside", to: "/etc/passwd")
            let folder = DirectoryFolder(path: tree.path)
            #expect(try await folder.entry("")?.kind == .directory)
            #expect(try await folder.entry("set")?.kind == .directory)
            #expect(try await folder.entry("set/dump")?.sizeBytes == 5)
            #expect(try await folder.entry("set/outside")?.kind == .symbolicLink)
            #expect(try await folder.entry("set/none") == nil)
            #expect(try await folder.entry("set/dump/below") == nil)
            #expect(try await folder.names(in: "set") == ["dump", "outside"])
            #expect(folder.folder("set").place == tree.path + "/set")
            await #expect(throws: DrillError.self) { try await folder.read("set/outside", offset: 0, count: 10) }
        }
    }

    @Test func readsFromAnOffset() async throws {
        try await withTree { tree in
            try tree.write("f", "0123456789")
            let folder = DirectoryFolder(path: tree.path)
            #expect(try await folder.read("f", offset: 4, count: 3) == Array("456".utf8))
            #expect(try await folder.read("f", offset: 8, count: 100) == Array("89".utf8))
            #expect(try await folder.read("f", offset: 50, count: 4) == [])
            await #expect(throws: DrillError.self) { try await folder.read("", offset: 0, count: 4) }
        }
    }

    @Test func theFolderItselfMayBeReachedThroughALink() async throws {
        try await withTree { tree in
            try tree.write("real/a", "x")
            try tree.link("link", to: "real")
            let folder = DirectoryFolder(path: tree.path + "/link")
            #expect(try await folder.entry("")?.kind == .directory)
            #expect(try await folder.names(in: "") == ["a"])
            #expect(try await folder.newestModification(limit: 10) != nil)
        }
    }

    @Test func theNewestChangeIsThatOfFilesAndFoldersBelow() async throws {
        try await withTree { tree in
            let folder = DirectoryFolder(path: tree.path)
            try tree.write("a/b/old", "x")
            try tree.write("a/new", "x")
            try tree.setTime("a/b/old", 1_000_000)
            try tree.setTime("a/new", 3_000_000)
            try tree.setTime("a/b", 2_000_000)
            try tree.setTime("a", 2_500_000)
            #expect(try await folder.newestModification(limit: 100) == Date(timeIntervalSince1970: 3_000_000))
            try tree.setTime("a/b", 4_000_000)
            #expect(try await folder.newestModification(limit: 100) == Date(timeIntervalSince1970: 4_000_000))
        }
    }

    @Test func aFolderThatMayNotBeListedIsAnErrorWithAPlace() async throws {
        let folder = DirectoryFolder(path: "/nowhere/at/all")
        #expect(try await folder.entry("") == nil)
        let error = await #expect(throws: DrillError.self) { try await folder.names(in: "") }
        #expect(error?.code == .couldNotLook)
        #expect(error?.description == "/nowhere/at/all: cannot list the directory: no such file or directory")
    }
}
