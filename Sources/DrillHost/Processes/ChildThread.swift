import CHost
import DrillCore
import Foundation

/// The life of one child, as its thread sees it: spawn, move bytes, end it when told or too late, reap.
struct ChildThread {
    /// What a child that was told to end gets before it is killed.
    static let patience = 5.0
    /// How long a pipe may stay open after the child has ended: only a process that left its group can still hold it.
    private static let drainSeconds = 2.0

    private let child: ChildProcess
    private let processDescriptor: OwnedDescriptor?
    private var input: (pipe: OwnedDescriptor, bytes: [UInt8], written: Int)?
    private var outputPipe: OwnedDescriptor?
    private var errorPipe: OwnedDescriptor?
    private var output: OutputSink
    private var errors: OutputSink
    private let notesOutput: Bool

    private var timeoutAt: Double?
    private var killAt: Double?
    private var drainUntil: Double?
    private var timedOut = false
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 128 << 10, alignment: 16)

    /// Starts `launch` on a new thread.
    /// - Parameter recentBytes: How much of both outputs together to keep for ``ChildProcess/recentOutput()``.
    static func start(_ launch: Launch, _ command: Command, recentBytes: Int) async throws -> ChildProcess {
        try await withCheckedThrowingContinuation { started in
            Thread.detachNewThread {
                var all = sigset_t()
                sigfillset(&all)
                pthread_sigmask(SIG_BLOCK, &all, nil)
                do {
                    var thread = try ChildThread(launch, command, recentBytes: recentBytes)
                    started.resume(returning: thread.child)
                    thread.run()
                } catch {
                    started.resume(throwing: error)
                }
            }
        }
    }

    private init(_ launch: Launch, _ command: Command, recentBytes: Int) throws {
        output = try OutputSink(command.output, tailBytes: 0)
        errors = try OutputSink(command.errors, tailBytes: command.errors.tailBytes)
        notesOutput = recentBytes > 0
        let standardInput: OwnedDescriptor
        switch command.input {
        case .none: standardInput = try OwnedDescriptor(reading: "/dev/null")
        case .file(let path): standardInput = try OwnedDescriptor(reading: path)
        case .bytes(let bytes):
            let pipe = try Pipe.make()
            guard host_set_nonblocking(pipe.writing.number) == 0 else { throw Pipe.failure() }
            standardInput = pipe.reading
            input = (pipe.writing, bytes, 0)
        }
        let (outputReading, outputWriting) = try Pipe.make()
        let (errorReading, errorWriting) = try Pipe.make()
        let wakeUp = try Pipe.make()
        let pid = try withExtendedLifetime((standardInput, outputWriting, errorWriting)) {
            try launch.spawn(
                input: standardInput.number, output: outputWriting.number, errors: errorWriting.number)
        }
        (outputPipe, errorPipe) = (outputReading, errorReading)
        child = ChildProcess(processID: pid, wakeUp: wakeUp, recentBytes: recentBytes)
        let number = host_process_descriptor(pid)
        processDescriptor = number < 0 ? nil : OwnedDescriptor(number)
        timeoutAt = command.timeout.map { Self.now() + $0.seconds }
    }

    private mutating func run() {
        defer { buffer.deallocate() }
        while !isDone { step() }
        let ending = child.reap()
        child.finish(
            ChildReport(
                ending: timedOut ? .timedOut : ending, output: output.contents(), errors: errors.tail.contents(),
                outputWasCut: output.wasCut, failure: output.failure ?? errors.failure))
    }

    /// Ended, and both pipes read to their end or waited for long enough.
    private var isDone: Bool {
        guard let drainUntil else { return false }
        return (outputPipe == nil && errorPipe == nil) || Self.now() >= drainUntil
    }

    /// Waits until something can be done, and does it.
    private mutating func step() {
        var polled: [pollfd] = []
        func add(_ descriptor: OwnedDescriptor?, _ events: Int32) {
            // A negative descriptor is passed over by poll(2).
            polled.append(pollfd(fd: descriptor?.number ?? -1, events: Int16(events), revents: 0))
        }
        add(outputPipe, POLLIN)
        add(errorPipe, POLLIN)
        add(input?.pipe, POLLOUT)
        add(killAt == nil ? child.wakeUp.reading : nil, POLLIN)
        add(drainUntil == nil ? processDescriptor : nil, POLLIN)
        guard poll(&polled, nfds_t(polled.count), pollTimeout) >= 0 || errno == EINTR else { return }

        if polled[0].revents != 0 { outputPipe = read(outputPipe, into: \.output) }
        if polled[1].revents != 0 { errorPipe = read(errorPipe, into: \.errors) }
        if polled[2].revents != 0 { feedInput() }
        if drainUntil == nil, host_has_ended(child.processID) != 0 {
            child.signal(SIGKILL, wholeGroup: true)
            input = nil
            drainUntil = Self.now() + Self.drainSeconds
        }
        endWhereDue()
    }

    private mutating func endWhereDue() {
        guard drainUntil == nil else { return }
        let now = Self.now()
        if let killAt {
            if now >= killAt {
                child.signal(SIGKILL, wholeGroup: true)
                self.killAt = now + Self.patience
            }
        } else if child.isCancelled || timeoutAt.map({ now >= $0 }) ?? false {
            timedOut = !child.isCancelled
            child.signal(SIGTERM, wholeGroup: true)
            killAt = now + Self.patience
        }
    }

    /// Milliseconds until the next instant that matters; -1 where only an event does.
    private var pollTimeout: Int32 {
        var instants = [drainUntil ?? killAt ?? timeoutAt].compactMap { $0 }
        if processDescriptor == nil, drainUntil == nil { instants.append(Self.now() + 0.02) }
        guard let next = instants.min() else { return -1 }
        return Int32(min(max(0, (next - Self.now()) * 1000).rounded(.up), 60_000))
    }

    /// Reads once; the pipe again, or nil at its end.
    private mutating func read(
        _ pipe: OwnedDescriptor?, into sink: WritableKeyPath<ChildThread, OutputSink>
    ) -> OwnedDescriptor? {
        guard let pipe else { return nil }
        let count = Glibc.read(pipe.number, buffer.baseAddress, buffer.count)
        if count < 0 { return errno == EINTR || errno == EAGAIN ? pipe : nil }
        if count == 0 { return nil }
        let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
        self[keyPath: sink].take(bytes)
        if notesOutput { child.noteOutput(bytes) }
        return pipe
    }

    /// Writes what the child takes; a child that closed its input wants no more of it.
    private mutating func feedInput() {
        guard let (pipe, bytes, written) = input else { return }
        let count = bytes.withUnsafeBytes {
            write(pipe.number, $0.baseAddress.map { $0 + written }, $0.count - written)
        }
        if count < 0 {
            if errno != EAGAIN && errno != EINTR { input = nil }
        } else {
            input = written + count < bytes.count ? (pipe, bytes, written + count) : nil
        }
    }

    private static func now() -> Double { SystemClock().monotonicSeconds() }
}

extension Command.Output {
    /// How much of the end of standard error is kept.
    fileprivate var tailBytes: Int {
        if case .collected(let limitBytes) = self { return max(limitBytes, 64 << 10) }
        return 64 << 10
    }
}

private enum Pipe {
    static func make() throws -> (reading: OwnedDescriptor, writing: OwnedDescriptor) {
        var ends: [Int32] = [-1, -1]
        guard host_pipe(&ends) == 0 else { throw failure() }
        return (OwnedDescriptor(ends[0]), OwnedDescriptor(ends[1]))
    }

    static func failure() -> DrillError { DrillError(.couldNotLook, "cannot make a pipe: \(errorText(errno))") }
}
