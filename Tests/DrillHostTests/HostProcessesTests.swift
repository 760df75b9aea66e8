import DrillCore
import Foundation
import Synchronization
import Testing

@testable import DrillHost

@Suite struct HostProcessesTests {
    private let processes = HostProcesses(variables: ["PATH": "/usr/bin:/bin", "HOME": "/root-of-test", "SECRET": "x"])

    private func shell(_ script: String, environment: [String: String] = [:]) -> Command {
        Command("sh", ["-c", script], environment: environment)
    }

    @Test func endingsAreToldApart() async throws {
        #expect(try await processes.run(shell("exit 0")).ending == .exited(0))
        #expect(try await processes.run(shell("exit 255")).ending == .exited(255))
        #expect(try await processes.run(shell("kill -9 $$")).ending == .signalled(9))
        var slow = shell("sleep 100")
        slow.timeout = .milliseconds(200)
        #expect(try await processes.run(slow).ending == .timedOut)
    }

    @Test func whatCannotStartIsSaidAsSuch() async throws {
        await #expect(throws: DrillError.self) { try await processes.run(Command("no-such-program")) }
        var lost = shell("true")
        lost.workingDirectory = "/nonexistent"
        await #expect { try await processes.run(lost) } throws: { error in
            "\(error)" == "/nonexistent: cannot enter the working directory: No such file or directory"
        }
        let notAProgram = try temporaryDirectory() + "/plain"
        try Data("text".utf8).write(to: URL(fileURLWithPath: notAProgram))
        chmod(notAProgram, 0o755)
        await #expect { try await processes.run(Command(notAProgram)) } throws: { error in
            "\(error)" == "\(notAProgram): cannot execute: Exec format error"
        }
        await #expect(throws: DrillError.self) { try await processes.run(Command("true", ["a\0b"])) }
        #expect(processes.find("no-such-program") == nil)
        #expect(processes.find("/etc/passwd") == nil)
        #expect(processes.find("sh") == "/usr/bin/sh")
    }

    @Test("X1: the environment is what was given and the four defaults, no more")
    func environmentIsExact() async throws {
        let result = try await processes.run(Command("env", [], environment: ["A": "b c", "LANG": "C"]))
        let lines = Set(result.outputText.split(separator: "\n").map(String.init))
        #expect(lines == ["A=b c", "LANG=C", "TZ=UTC", "PATH=/usr/bin:/bin", "HOME=/root-of-test"])
    }

    @Test func noDescriptorIsInherited() async throws {
        let leaky = open("/dev/null", O_RDONLY)  // without O_CLOEXEC
        defer { close(leaky) }
        let result = try await processes.run(Command("ls", ["/proc/self/fd"]))
        // The fourth is the directory that ls reads.
        #expect(result.outputText == "0\n1\n2\n3\n")
    }

    @Test func childrenHaveDefaultSignalsAndTheirOwnGroup() async throws {
        signal(SIGPIPE, SIG_IGN)
        let status = try await processes.run(Command("cat", ["/proc/self/status"])).outputText
        #expect(status.contains("SigBlk:\t0000000000000000"))
        let ignored = try #require(status.split(separator: "\n").first { $0.hasPrefix("SigIgn:\t") })
        #expect(UInt64(ignored.dropFirst(8), radix: 16).map { $0 & 1 << (SIGPIPE - 1) } == 0)
        let stat = try await processes.run(Command("cat", ["/proc/self/stat"])).outputText.split(separator: " ")
        #expect(stat[0] == stat[4])
    }

    @Test(.timeLimit(.minutes(1))) func tenMegabytesOnBothPipesDoNotBlock() async throws {
        let result = try await processes.run(
            shell("head -c 10000000 /dev/zero & head -c 10000000 /dev/zero >&2; wait; printf end >&2"))
        #expect(result.succeeded)
        #expect(result.outputWasCut)
        #expect(result.output.count == 1 << 20)
        #expect(result.errors.count == 1 << 20)
        #expect(result.errorText.hasSuffix("\0\0end"))
    }

    @Test func outputGoesWhereItIsWanted() async throws {
        let directory = try temporaryDirectory()
        var command = shell("printf out; printf err >&2")
        command.output = .file(path: directory + "/out")
        let seen = Mutex<[UInt8]>([])
        command.errors = .chunks { chunk in seen.withLock { $0 += chunk } }
        let result = try await processes.run(command)
        #expect(try String(contentsOfFile: directory + "/out", encoding: .utf8) == "out")
        #expect(seen.withLock { $0 } == Array("err".utf8))
        #expect(result.errorText == "err")
        #expect(result.output.isEmpty)
        #expect(permissions(of: directory + "/out") == 0o600)
    }

    @Test func aFullDiskUnderTheOutputIsAnError() async throws {
        var command = shell("printf out")
        command.output = .file(path: "/dev/full")
        await #expect { try await processes.run(command) } throws: { error in
            "\(error)" == "/dev/full: cannot write: No space left on device"
        }
    }

    @Test func inputComesFromBytesOrAFile() async throws {
        let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var command = Command("cat")
        command.input = .bytes(bytes)
        command.output = .collected(limitBytes: 4_000_000)
        #expect(try await processes.run(command).output == bytes)
        command.input = .none
        #expect(try await processes.run(command).output.isEmpty)
        command.input = .file(path: "/etc/passwd")
        #expect(try await processes.run(command).outputText == String(contentsOfFile: "/etc/passwd", encoding: .utf8))
        // A child that reads none of it.
        var deaf = Command("true")
        deaf.input = .bytes(bytes)
        #expect(try await processes.run(deaf).succeeded)
    }

    @Test(.timeLimit(.minutes(1))) func cancellationEndsTheWholeGroup() async throws {
        let pids = Mutex<[UInt8]>([])
        var command = shell("trap '' TERM; sleep 1000 & echo $!; sleep 1001 & echo $!; echo $$; wait; wait; sleep 1002")
        command.output = .chunks { chunk in pids.withLock { $0 += chunk } }
        let running = Task { [command] in try await processes.run(command) }
        try await eventually { pids.withLock { $0.filter { $0 == UInt8(ascii: "\n") }.count } == 3 }
        running.cancel()
        await #expect(throws: CancellationError.self) { try await running.value }
        for line in String(decoding: pids.withLock { $0 }, as: UTF8.self).split(separator: "\n") {
            let pid = try #require(Int32(line))
            try await eventually { HostIdentity.startTime(ofProcess: pid) == nil }
        }
    }

    @Test(.timeLimit(.minutes(1))) func whatAChildLeavesInItsGroupEndsWithIt() async throws {
        let result = try await processes.run(shell("sleep 1000 & echo $!"))
        let pid = try #require(Int32(result.outputText.dropLast()))
        try await eventually { HostIdentity.startTime(ofProcess: pid) == nil }
    }

    @Test(.timeLimit(.minutes(1))) func aDaemonThatHoldsThePipeDoesNotHoldUs() async throws {
        let started = ContinuousClock.now
        let result = try await processes.run(
            shell(
                """
                trap 'echo done; exit 0' USR1
                setsid sh -c 'kill -USR1 '$$'; exec sleep 30' &
                while :; do sleep 0.01; done
                """))
        #expect(result.outputText == "done\n")
        #expect(ContinuousClock.now - started < .seconds(20))
    }

    @Test func aServerRunsUntilItIsTold() async throws {
        let server = try await processes.start(shell("echo ready; echo warning >&2; exec sleep 1000"))
        try await eventually { server.recentOutput().count == 14 }
        #expect(server.isRunning)
        server.send(signal: SIGINT)
        #expect(await server.ended() == .signalled(SIGINT))
        #expect(!server.isRunning)
        #expect(await server.ended() == .signalled(SIGINT))
        server.send(signal: SIGKILL)  // to nobody any more
    }

    @Test func noDescriptorOrZombieRemains() async throws {
        // Of the kinds that a child needs; other tests, which run side by side, hold files and sockets.
        func descriptors() throws -> Int {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count { name in
                let place = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/" + name)
                return place?.hasPrefix("pipe:") == true || place?.hasPrefix("anon_inode:[pidfd]") == true
            }
        }
        _ = try await processes.run(shell("true"))
        let before = try descriptors()
        for _ in 0..<50 { _ = try await processes.run(shell("echo x; echo y >&2")) }
        // Other tests run side by side; a leak of even one a child would exceed this.
        #expect(try descriptors() < before + 45)
    }

    @Test(.enabled(if: HostIdentity.isRoot)) func anotherUserHasNoPrivilegeLeft() async throws {
        let user = try #require(try OSUser.named("nobody"))
        var command = shell(
            "id -u; id -g; id -G; grep -E '^(CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs)' /proc/self/status; echo $HOME")
        command.user = user
        command.workingDirectory = "/"
        let lines = try await processes.run(command).outputText.split(separator: "\n").map(String.init)
        #expect(lines.prefix(3) == ["\(user.userID)", "\(user.groupID)", "\(user.groupID)"])
        #expect(lines.filter { $0.hasPrefix("Cap") }.allSatisfy { $0.hasSuffix("0000000000000000") })
        #expect(lines.contains("NoNewPrivs:\t1"))
        #expect(lines.last == "/nonexistent")
        command.workingDirectory = "/root"
        try #require(permissions(of: "/root") == 0o700)
        await #expect { try await processes.run(command) } throws: { error in
            "\(error)" == "/root: cannot enter the working directory as OS user nobody: Permission denied"
        }
    }

    @Test func aSealedChildReachesNothing() async throws {
        guard await processes.canSeal() == .sealed else { return }
        let server = try LoopbackListener()
        var command = Command("bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(server.port)"])
        #expect(try await processes.run(command).succeeded)
        command.network = .sealed
        let sealed = try await processes.run(command)
        #expect(!sealed.succeeded)
        #expect(sealed.errorText.contains("Connection refused"))
        command.refusesConnections = true
        #expect(try await processes.run(command).errorText.contains("Permission denied"))
        command.refusesConnections = false
        command = Command(
            "sh",
            ["-c", "ls /sys/class/net >/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route"])
        command.network = .sealed
        #expect(try await processes.run(command).outputText.split(whereSeparator: \.isWhitespace) == ["lo"])
        guard HostIdentity.isRoot else { return }
        command.user = try OSUser.named("nobody")
        #expect(try await processes.run(command).outputText.split(whereSeparator: \.isWhitespace) == ["lo"])
    }

    @Test("P29: a child does not outlive the thread, and so the process, that started it")
    func childrenDieWithTheirThread() async throws {
        let launch = Launch(path: "/bin/sleep", arguments: ["sleep", "1000"], environment: [], network: .shared)
        let started = Mutex<pid_t>(0)
        Thread.detachNewThread {
            let null = open("/dev/null", O_RDWR)
            let pid = try? launch.spawn(input: null, output: null, errors: null)
            started.withLock { $0 = pid ?? -1 }
        }
        try await eventually { started.withLock { $0 } != 0 }
        let pid = started.withLock { $0 }
        #expect(pid > 0)
        try await eventually { HostIdentity.startTime(ofProcess: pid) == nil }
        var status: Int32 = 0
        #expect(waitpid(pid, &status, 0) == pid)
        #expect(status & 0x7f == SIGKILL)
    }
}
