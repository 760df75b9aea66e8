/// A child process to run. It inherits no file descriptor, no environment variable that is not named here, and never a shell.
package struct Command: Sendable {
    package enum Input: Sendable {
        case none
        case file(path: String)
        case bytes([UInt8])
    }
    package enum Output: Sendable {
        /// Kept in memory up to this many bytes; more is read and dropped, and the result says so.
        case collected(limitBytes: Int)
        /// Written to a file, made 0600 or cut to nothing first.
        case file(path: String)
        /// Handed on as it comes, on a queue of the launcher; the call must not block for long.
        case chunks(@Sendable ([UInt8]) -> Void)
    }
    package enum Network: Sendable {
        case shared
        /// In a network namespace without any route, where this machine's kernel allows one; see ``ProcessLauncher/canSeal``.
        case sealed
    }

    /// A name looked up on `PATH`, or a path.
    package var executable: String
    package var arguments: [String]
    /// The whole environment of the child but for `PATH`, `LANG=C.UTF-8`, `TZ=UTC` and `HOME`, which are set where it has none.
    package var environment: [String: String]
    package var workingDirectory: String?
    package var input: Input = .none
    package var output: Output = .collected(limitBytes: 1 << 20)
    /// Always kept as well, at least its last 64 KiB.
    package var errors: Output = .collected(limitBytes: 1 << 20)
    /// The OS user to run as; nil is this process's own. Needs root.
    package var user: OSUser?
    package var network: Network = .shared
    /// Where ``network`` is sealed: whether it and all that it starts are refused every connection too, also to Unix sockets,
    /// as far as this machine's kernel allows.
    package var refusesConnections = false
    package var timeout: Duration?

    package init(_ executable: String, _ arguments: [String] = [], environment: [String: String] = [:]) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment
    }
}

package struct OSUser: Sendable, Hashable {
    package var name: String
    package var userID: UInt32
    package var groupID: UInt32
    package init(name: String, userID: UInt32, groupID: UInt32) {
        self.name = name
        self.userID = userID
        self.groupID = groupID
    }
}

package struct CommandResult: Sendable {
    package enum Ending: Sendable, Hashable {
        case exited(Int32)
        case signalled(Int32)
        case timedOut
    }
    package var executable: String
    package var ending: Ending
    /// What was collected; empty where it went to a file or a receiver.
    package var output: [UInt8]
    /// The last part of standard error, wherever else it went.
    package var errors: [UInt8]
    package var outputWasCut: Bool

    package init(executable: String, ending: Ending, output: [UInt8], errors: [UInt8], outputWasCut: Bool = false) {
        self.executable = executable
        self.ending = ending
        self.output = output
        self.errors = errors
        self.outputWasCut = outputWasCut
    }

    package var succeeded: Bool { ending == .exited(0) }
    package var outputText: String { String(decoding: output, as: UTF8.self) }
    package var errorText: String { String(decoding: errors, as: UTF8.self) }

    /// `exited with status 1`, `was ended by signal 9`, `did not end in time`.
    package var endingText: String {
        switch ending {
        case .exited(let status): "exited with status \(status)"
        case .signalled(let number): "was ended by signal \(number)"
        case .timedOut: "did not end in time"
        }
    }
}

package protocol ProcessLauncher: Sendable {
    /// Runs a child to its end. Cancelling the task ends the child (SIGTERM, after 5 s SIGKILL, to its process group) and throws
    /// `CancellationError`. Throws a `DrillError` (`couldNotLook`) when the program is not there or cannot be started.
    func run(_ command: Command) async throws -> CommandResult
    /// Starts a child that goes on until it is ended, such as a scratch server.
    func start(_ command: Command) async throws -> any RunningProcess
    /// Where a program is: the path itself if it has a slash, else the first match on `PATH`; nil when there is none.
    func find(_ executable: String) -> String?
    /// Whether `network: .sealed` is real on this machine; else the reason why not, for the report.
    func canSeal() async -> SealState
}

package enum SealState: Sendable, Hashable {
    case sealed
    case open(reason: String)
}

package protocol RunningProcess: Sendable {
    var processID: Int32 { get }
    /// True until the child has been reaped.
    var isRunning: Bool { get }
    func send(signal: Int32)
    /// Waits for the child to end. Not cancellable by design: call after `send(signal:)`.
    func ended() async -> CommandResult.Ending
    /// The last part of what it wrote to standard output and standard error together.
    func recentOutput() -> [UInt8]
}
