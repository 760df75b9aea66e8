import DrillCore
import Foundation
import Testing

@testable import DrillHost

@Suite struct ScratchSpaceTests {
    private let space = ScratchSpace(clock: SystemClock())
    private let run = "20261114T143005Z-a1b2c3"

    @Test func aScratchDirectoryIsPrivateMarkedAndGoesAgain() throws {
        let root = try temporaryDirectory()
        let path = try space.make(in: root, runID: run)
        #expect(path == "\(root)/muster-\(run)")
        #expect(permissions(of: path) == 0o700)
        #expect(permissions(of: path + "/.muster-scratch") == 0o600)
        let marker = try String(contentsOfFile: path + "/.muster-scratch", encoding: .utf8)
        #expect(marker.contains(#""run" : "\#(run)""#))
        #expect(marker.contains(#""process" : \#(getpid())"#))
        try space.remove(path, runID: run)
        #expect(!exists(path))
        try space.remove(path, runID: run)  // gone already is success
    }

    @Test func aPathByWayOfParentsAndLinksIsTheDirectoryItself() throws {
        let root = try temporaryDirectory()
        try FileManager.default.createDirectory(atPath: root + "/drills/deep", withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(atPath: root + "/link", withDestinationPath: root + "/drills/deep")
        for place in ["\(root)/drills/..", "\(root)/link/../..", "\(root)/./"] {
            #expect(try space.path(in: place, runID: run) == "\(root)/muster-\(run)")
        }
        let path = try space.make(in: root + "/drills/..", runID: run)
        #expect(try space.leftovers(in: root).isEmpty)
        try space.remove(path, runID: run)
        #expect(!exists(path))
    }

    @Test("P29: surviving scratch is never used again")
    func scratchIsNotReused() throws {
        let root = try temporaryDirectory()
        let path = try space.make(in: root, runID: run)
        #expect { try space.make(in: root, runID: run) } throws: { error in
            "\(error)"
                == "\(path): cannot make the scratch directory: it exists already, and scratch is never used twice"
        }
        #expect(exists(path + "/.muster-scratch"))
    }

    @Test("X9: a link that stands at the path is neither used nor followed")
    func linksAtThePathAreRefused() throws {
        let root = try temporaryDirectory()
        let target = try temporaryDirectory()
        try write("precious", to: target + "/file")
        try FileManager.default.createSymbolicLink(
            atPath: "\(root)/muster-\(run)", withDestinationPath: target)
        #expect(throws: DrillError.self) { try space.make(in: root, runID: run) }
        #expect {
            try space.remove("\(root)/muster-\(run)", runID: run)
        } throws: { error in
            "\(error)".hasSuffix("cannot open the scratch directory: it is a link or a file, not a directory")
        }
        #expect(exists(target + "/file"))
        #expect(!exists(target + "/.muster-scratch"))
    }

    @Test("X9: a shared directory without the sticky bit is refused")
    func openParentsAreRefused() throws {
        let root = try temporaryDirectory()
        chmod(root, 0o777)
        #expect(throws: DrillError.self) { try space.make(in: root, runID: run) }
        chmod(root, 0o1777)
        _ = try space.make(in: root, runID: run)
    }

    @Test func namesThatLeadElsewhereAreRefused() throws {
        let root = try temporaryDirectory()
        for id in ["", "../x", "a/b", "a\0b", "a b", "."] {
            #expect(throws: DrillError.self) { try space.make(in: root, runID: id) }
        }
        #expect(throws: DrillError.self) { try space.make(in: "relative", runID: run) }
        #expect(throws: DrillError.self) { try space.make(in: root + "/absent", runID: run) }
        #expect(throws: DrillError.self) { try space.remove(root, runID: run) }
    }

    @Test func anotherRunsMarkerIsRefused() throws {
        let root = try temporaryDirectory()
        let path = "\(root)/muster-\(run)"
        mkdir(path, 0o700)
        try write("precious", to: path + "/file")
        for marker in ["", "{}", "not json", #"{"run": "20261114T143005Z-ffffff"}"#] {
            try write(marker, to: path + "/.muster-scratch")
            #expect(throws: DrillError.self) { try space.remove(path, runID: run) }
        }
        let other = try space.make(in: root, runID: "other")
        try FileManager.default.removeItem(atPath: path + "/.muster-scratch")
        try FileManager.default.copyItem(atPath: other + "/.muster-scratch", toPath: path + "/.muster-scratch")
        #expect(throws: DrillError.self) { try space.remove(path, runID: run) }
        #expect(exists(path + "/file"))
    }

    @Test("X9: a hostile tree goes whole and nothing outside it is touched")
    func hostileTreesAreRemoved() throws {
        let root = try temporaryDirectory()
        let outside = try temporaryDirectory()
        try write("precious", to: outside + "/file")
        let path = try space.make(in: root, runID: run)
        let files = FileManager.default
        try files.createDirectory(atPath: path + "/a/b/c", withIntermediateDirectories: true)
        try write("x", to: path + "/a/b/c/file")
        try files.createSymbolicLink(atPath: path + "/a/out", withDestinationPath: outside)
        try files.createSymbolicLink(atPath: path + "/a/b/file", withDestinationPath: outside + "/file")
        link(outside + "/file", path + "/a/hard")
        mkfifo(path + "/a/pipe", 0o600)
        var broken =
            Array((path + "/a/b/").utf8CString.dropLast()) + [CChar(bitPattern: 0xff), CChar(bitPattern: 0xfe), 0]
        mkdir(&broken, 0o700)
        for directory in ["/a/b/c", "/a/b", "/a"] { chmod(path + directory, 0) }
        // Deeper than a path may be long, or a process may hold open.
        try makeDeep(in: path, depth: 5000)
        try space.remove(path, runID: run)
        #expect(!exists(path))
        #expect(try String(contentsOfFile: outside + "/file", encoding: .utf8) == "precious")
    }

    @Test(.enabled(if: HostIdentity.isRoot)) func anOrdinaryUserRemovesWhatHeMayNotEnter() async throws {
        let root = try temporaryDirectory()
        chmod(root, 0o777 | S_ISVTX)
        let path = "\(root)/muster-\(run)"
        // On Linux a thread may have a file system user of its own, and then lacks root's rights there.
        let outcome: Result<Void, any Error> = await withCheckedContinuation { done in
            Thread.detachNewThread {
                becomeFileSystemUser(65534)
                done.resume(
                    returning: Result {
                        mkdir(path, 0o700)
                        let directory = OwnedDescriptor(open(path, O_RDONLY | O_CLOEXEC))
                        try ScratchMarker.ofThisProcess(run: run, at: Date()).write(in: directory, place: path)
                        for inner in ["/a", "/a/b", "/a/b/c"] { mkdir(path + inner, 0o700) }
                        for inner in ["/a/b/c", "/a/b", "/a"] { chmod(path + inner, 0) }
                        try #require(open(path + "/a", O_RDONLY) < 0)
                        try space.remove(path, runID: run)
                    })
            }
        }
        try outcome.get()
        #expect(!exists(path))
    }

    @Test(.enabled(if: HostIdentity.isRoot)) func whatIsMountedInScratchIsNotEmptied() throws {
        let root = try temporaryDirectory()
        let source = try temporaryDirectory()
        try write("precious", to: source + "/file")
        let path = try space.make(in: root, runID: run)
        mkdir(path + "/data", 0o700)
        try #require(mount(source, path + "/data", nil, UInt(MS_BIND), nil) == 0)
        #expect { try space.remove(path, runID: run) } throws: { error in
            "\(error)".contains("/data: another file system is mounted there; unmount it first.")
        }
        #expect(exists(source + "/file"))
        umount(path + "/data")
        try space.remove(path, runID: run)
        #expect(!exists(path))
    }

    @Test("P29: leftovers are those of dead processes alone")
    func leftoversAreOfDeadProcesses() throws {
        let root = try temporaryDirectory()
        let mine = ScratchMarker.ofThisProcess(run: "alive", at: Date())
        var dead = mine
        (dead.run, dead.processStarted) = ("dead", 1)
        var before = mine
        (before.run, before.boot) = ("before-boot", "00000000-0000-0000-0000-000000000000")
        var elsewhere = dead
        (elsewhere.run, elsewhere.host) = ("elsewhere", "another-host")
        var kept = dead
        (kept.run, kept.kept) = ("kept", true)
        for marker in [mine, dead, before, elsewhere, kept] {
            let path = try space.make(in: root, runID: marker.run)
            let directory = OwnedDescriptor(open(path, O_RDONLY | O_CLOEXEC))
            try marker.write(in: directory, place: path)
        }
        mkdir(root + "/muster-foreign", 0o700)
        try write("x", to: root + "/muster-foreign/file")
        mkdir(root + "/muster-new", 0o700)
        mkdir(root + "/muster-old", 0o700)
        var hoursAgo = [timeval(tv_sec: time(nil) - 7200, tv_usec: 0), timeval(tv_sec: time(nil) - 7200, tv_usec: 0)]
        utimes(root + "/muster-old", &hoursAgo)
        let leftovers = try space.leftovers(in: root)
        #expect(leftovers.map(\.runID) == ["before-boot", "dead", "old"])
        for leftover in leftovers { try space.remove(leftover.path, runID: leftover.runID) }
        #expect(try space.leftovers(in: root).isEmpty)
        #expect(exists(root + "/muster-alive"))
        #expect(try space.leftovers(in: root + "/absent").isEmpty)
    }

    @Test func keptScratchIsNoLeftover() throws {
        let root = try temporaryDirectory()
        let path = try space.make(in: root, runID: run)
        try space.markKept(path, runID: run)
        let marker = try #require(ScratchMarker.read(in: OwnedDescriptor(open(path, O_RDONLY | O_CLOEXEC))))
        #expect(marker.kept)
        #expect(throws: DrillError.self) { try space.markKept(path + "x", runID: run) }
    }

    /// Gives the calling thread alone that user's rights to files. (setfsuid(2); Glibc's module lacks it.)
    private func becomeFileSystemUser(_ id: uid_t) {
        typealias Call = @convention(c) (uid_t) -> Int32
        for name in ["setfsgid", "setfsuid"] {
            guard let call = dlsym(nil, name) else { continue }
            _ = unsafeBitCast(call, to: Call.self)(id)
        }
    }

    private func makeDeep(in path: String, depth: Int) throws {
        var current = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        for _ in 0..<depth {
            try #require(mkdirat(current, "d", 0o700) == 0)
            let next = try #require(try? OwnedDescriptor.directory("d", in: OwnedDescriptor(dup(current))).get())
            close(current)
            current = dup(next.number)
        }
        close(current)
    }

    private func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    private func exists(_ path: String) -> Bool {
        var information = stat()
        return lstat(path, &information) == 0
    }
}
