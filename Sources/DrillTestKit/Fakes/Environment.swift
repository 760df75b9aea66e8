import DrillCore
import Foundation
import Logging
import Synchronization

/// A clock that stands still until it is moved.
package final class FakeClock: DrillClock {
    private let date: Mutex<Date>
    package init(_ date: Date) { self.date = Mutex(date) }
    package func now() -> Date { date.withLock { $0 } }
    package func monotonicSeconds() -> Double { now().timeIntervalSince1970 }
    package func advance(by duration: Duration) { date.withLock { $0 += duration.seconds } }
    /// Ends at once when the task is cancelled; no test waits for time to pass.
    package func sleep(for duration: Duration) async throws {
        while true {
            try Task.checkCancellation()
            await Task.yield()
        }
    }
}

/// Answers commands by a script; a command that it does not foresee is an error.
package struct FakeProcesses: ProcessLauncher {
    private let answer: @Sendable (Command) throws -> CommandResult

    package init(_ answer: @escaping @Sendable (Command) throws -> CommandResult) { self.answer = answer }
    package static let none = FakeProcesses { command in
        throw DrillError(.couldNotLook, "no process is scripted", at: command.executable)
    }

    package func run(_ command: Command) async throws -> CommandResult { try answer(command) }
    package func start(_ command: Command) async throws -> any RunningProcess {
        throw DrillError(.couldNotLook, "no process is scripted", at: command.executable)
    }
    package func find(_ executable: String) -> String? { nil }
    package func canSeal() async -> SealState { .open(reason: "a fake") }
}

package struct NoNetwork: HTTPTransport {
    package init() {}
    package func send(_ request: HTTPRequest) async throws -> HTTPResponse {
        throw HTTPFailure(.cannotConnect, "no network is scripted", isTransient: false)
    }
    package func stream(
        _ request: HTTPRequest, receive: @escaping @Sendable (UnsafeRawBufferPointer) throws -> Void
    ) async throws -> HTTPResponse {
        throw HTTPFailure(.cannotConnect, "no network is scripted", isTransient: false)
    }
}

/// Sorts in memory.
package struct MemorySorters: RecordSorterMaker {
    package init() {}
    package func makeSorter(in directory: String) -> any RecordSorter { MemorySorter() }

    private final class MemorySorter: RecordSorter {
        private let records = Mutex<[(key: [UInt8], payload: [UInt8])]>([])
        func add(key: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer) {
            records.withLock { $0.append((Array(key), Array(payload))) }
        }
        func finishAdding() {
            // Swift's sort is stable.
            records.withLock { $0.sort { $0.key.lexicographicallyPrecedes($1.key) } }
        }
        func next(
            limit: Int, _ body: (_ key: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) throws -> Void
        ) throws -> Int {
            let next = records.withLock { records in
                defer { records.removeFirst(min(limit, records.count)) }
                return Array(records.prefix(limit))
            }
            for record in next {
                try record.key.withUnsafeBytes { key in
                    try record.payload.withUnsafeBytes { try body(key, $0) }
                }
            }
            return next.count
        }
        func close() { records.withLock { $0 = [] } }
    }
}

extension DrillEnvironment {
    /// Fakes that answer nothing, for tests that replace what they need.
    package static func fake(
        now: Date = Date(timeIntervalSince1970: 1_800_000_000), variables: [String: String] = [:],
        processes: any ProcessLauncher = FakeProcesses.none
    ) -> DrillEnvironment {
        DrillEnvironment(
            clock: FakeClock(now), processes: processes, http: NoNetwork(), sorters: MemorySorters(),
            variables: variables, log: Logger(label: "test"), hostName: "test-host")
    }
}
