import CLibPQ
import DrillCore
import Foundation

/// One session with a server. Calls block on a queue of the actor's own and run one after the other.
///
/// A cancelled task ends its call within seconds with ``PostgresError/Kind/interrupted``, whatever the server does; an interrupted
/// session is closed and cannot be used again.
actor PostgresConnection {
    private let executor = QueueExecutor(label: "muster.postgres")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// For a person, without secrets.
    nonisolated let place: String
    private nonisolated let interrupter: Interrupter
    private let password: Secret?
    private var handle: Handle?

    private init(_ parameters: PostgresParameters) throws(PostgresError) {
        place = parameters.place
        password = parameters.password
        interrupter = try Interrupter()
    }

    /// - Parameter timeout: For all of it: looking up the name, each of several hosts, and the authentication.
    static func connect(
        _ parameters: PostgresParameters, timeout: Duration = .seconds(30)
    ) async throws(PostgresError) -> PostgresConnection {
        let current: PostgresParameters
        do {
            current = try await parameters.withCurrentPassword()
        } catch {
            throw PostgresError(.cannotConnect, "no password for it: \(DrillError(wrapping: error).what)")
        }
        let parameters = current
        let connection = try PostgresConnection(parameters)
        try await connection.open(parameters.explicit(), timeout: timeout)
        return connection
    }

    /// Ends the call that is running, from any thread. The session is of no use afterwards.
    nonisolated func interrupt() { interrupter.interrupt() }

    /// Closes the session. Harmless when it is closed already.
    func close() { handle = nil }

    // MARK: - Statements

    /// Runs one statement by the extended protocol, so that there can be no second one behind a semicolon.
    /// - Parameter parameters: For `$1`, `$2` …, as text; nil is NULL.
    func query(_ sql: String, _ parameters: [String?] = []) async throws(PostgresError) -> TextResult {
        try await interruptible { connection throws(PostgresError) in
            let handle = try connection.ready()
            try connection.sent(
                Self.withCStrings(parameters) {
                    PQsendQueryParams(
                        handle.pointer, sql, Int32(parameters.count), nil, $0, nil, nil, 0)
                })
            return try connection.textResult()
        }
    }

    /// Runs one or more statements without parameters and returns the last one's result.
    @discardableResult
    func execute(_ sql: String) async throws(PostgresError) -> TextResult {
        try await interruptible { connection throws(PostgresError) in
            try connection.sent(PQsendQuery(try connection.ready().pointer, sql))
            return try connection.textResult()
        }
    }

    /// What one statement would yield, without running it; empty where it yields no rows. More than one statement is refused.
    func columns(of sql: String) async throws(PostgresError) -> [ResultColumn] {
        try await interruptible { connection throws(PostgresError) in
            let handle = try connection.ready()
            try connection.sent(PQsendPrepare(handle.pointer, "", sql, 0, nil))
            _ = try connection.textResult()
            try connection.sent(PQsendDescribePrepared(handle.pointer, ""))
            return try connection.textResult().columns
        }
    }

    /// Runs one statement by the extended protocol, keeps its first rows as text, and counts all; memory does not grow with them.
    /// - Returns: The result, after the server said that it is complete (P12).
    func rows(of sql: String, limit: Int) async throws(PostgresError) -> SQLRows {
        try await interruptible { connection throws(PostgresError) in
            let handle = try connection.ready()
            try connection.sent(PQsendQueryParams(handle.pointer, sql, 0, nil, nil, nil, nil, 0))
            guard PQsetSingleRowMode(handle.pointer) == 1 else { throw connection.lost() }
            var collected = SQLRows(columns: [], rows: [], rowCount: 0)
            var isComplete = false
            while let result = try connection.nextResult() {
                switch result.status {
                case PGRES_SINGLE_TUPLE:
                    collected.rowCount += 1
                    if collected.rows.count < limit { collected.rows.append(result.row(0)) }
                case PGRES_TUPLES_OK:
                    collected.columns = result.columns.map(\.name)
                    isComplete = true
                default:
                    let error = connection.failure(result)
                    try connection.drain()
                    throw error
                }
            }
            guard isComplete else { throw PostgresError(.malformed, "the result has no end") }
            return collected
        }
    }

    /// Runs a `COPY … TO STDOUT` and hands on each row's bytes, valid only during the call.
    /// - Returns: How many rows the server says it sent.
    func copyOut(
        _ sql: String, _ receive: (UnsafeRawBufferPointer) throws(PostgresError) -> Void
    ) throws(PostgresError) -> Int64 {
        let handle = try ready()
        try sent(PQsendQuery(handle.pointer, sql))
        try expectCopyOut()
        do {
            while let row = try nextCopyRow(handle) {
                defer { PQfreemem(row.baseAddress) }
                try receive(UnsafeRawBufferPointer(row))
            }
        } catch {
            // Rows are still under way: this session has no way back.
            if error.kind != .server { cancelAndClose() }
            throw error
        }
        let end = try textResult()
        guard end.commandTag.hasPrefix("COPY "), let rows = strictInteger(String(end.commandTag.dropFirst(5))) else {
            throw PostgresError(.malformed, "the copy ended with '\(end.commandTag)' in place of a count")
        }
        return rows
    }

    /// A setting that the server reports on its own, such as `server_encoding`, `server_version`, `is_superuser`.
    func reported(_ setting: String) throws(PostgresError) -> String? {
        PQparameterStatus(try ready().pointer, setting).map { String(cString: $0) }
    }

    /// Number such as 150012 for 15.12.
    func serverVersion() throws(PostgresError) -> Int { Int(PQserverVersion(try ready().pointer)) }

    /// In what encoding the server sends text, and expects statements.
    func setClientEncoding(_ name: String) throws(PostgresError) {
        guard PQsetClientEncoding(try ready().pointer, name) == 0 else { throw lost() }
    }

    /// Whether the session is encrypted, or goes through a socket of this machine.
    func isPrivate() throws(PostgresError) -> Bool {
        let pointer = try ready().pointer
        let host = PQhost(pointer).map { String(cString: $0) } ?? ""
        return PQsslInUse(pointer) == 1 || host.hasPrefix("/") || host.hasPrefix("@")
    }

    // MARK: - Connecting

    private func open(_ parameters: [(keyword: String, value: String)], timeout: Duration) async throws(PostgresError) {
        let deadline = ContinuousClock.now.advanced(by: timeout)
        try await interruptible { connection throws(PostgresError) in
            let pointer = Self.withCStrings(parameters.map(\.keyword) + [nil]) { keywords in
                Self.withCStrings(parameters.map(\.value) + [nil]) { values in
                    // 0: `dbname` is a name, never another connection string (X6).
                    PQconnectStartParams(keywords, values, 0)
                }
            }
            guard let pointer else { throw PostgresError(.cannotConnect, "no memory for a connection") }
            connection.handle = Handle(pointer)
            // Notices would otherwise go to standard error.
            PQsetNoticeProcessor(pointer, { _, _ in }, nil)
            try connection.finishOpening(pointer, until: deadline)
        }
    }

    private func finishOpening(_ pointer: OpaquePointer, until deadline: ContinuousClock.Instant) throws(PostgresError)
    {
        func refused() -> PostgresError {
            let error = PostgresError(.cannotConnect, redacted(libpqMessage(pointer)))
            handle = nil
            return error
        }
        guard PQstatus(pointer) != CONNECTION_BAD else { throw refused() }
        var state = PGRES_POLLING_WRITING
        while state != PGRES_POLLING_OK {
            switch state {
            case PGRES_POLLING_READING: try wait(pointer, for: POLLIN, until: deadline)
            case PGRES_POLLING_WRITING: try wait(pointer, for: POLLOUT, until: deadline)
            default: throw refused()
            }
            state = PQconnectPoll(pointer)
        }
    }

    // MARK: - Results

    /// Runs a blocking body on the actor's queue; a cancelled task interrupts it.
    func interruptible<Value: Sendable>(
        _ body: (isolated PostgresConnection) throws(PostgresError) -> Value
    ) async throws(PostgresError) -> Value {
        let outcome: Result<Value, PostgresError> = await withTaskCancellationHandler {
            do throws(PostgresError) { return .success(try body(self)) } catch { return .failure(error) }
        } onCancel: {
            interrupter.interrupt()
        }
        return try outcome.get()
    }

    func ready() throws(PostgresError) -> Handle {
        guard let handle else { throw PostgresError(.connectionLost, "the connection is closed") }
        if interrupter.isInterrupted { throw cancelAndClose() }
        return handle
    }

    func sent(_ status: Int32) throws(PostgresError) {
        if status == 0 { throw lost() }
    }

    /// The next result of the statement under way; nil after its last.
    func nextResult() throws(PostgresError) -> PGResult? {
        guard let handle else { throw PostgresError(.connectionLost, "the connection is closed") }
        var flushed = PQflush(handle.pointer)
        while flushed == 1 {
            try wait(handle.pointer, for: POLLIN | POLLOUT, until: nil)
            guard PQconsumeInput(handle.pointer) == 1 else { throw lost() }
            flushed = PQflush(handle.pointer)
        }
        while PQisBusy(handle.pointer) == 1 {
            try wait(handle.pointer, for: POLLIN, until: nil)
            guard PQconsumeInput(handle.pointer) == 1 else { throw lost() }
        }
        return PQgetResult(handle.pointer).map { PGResult(owning: $0) }
    }

    /// Collects the statement under way to its end; the last result that is no error, or the first error.
    func textResult() throws(PostgresError) -> TextResult {
        var collected = TextResult(columns: [], rows: [], commandTag: "")
        while let result = try nextResult() {
            switch result.status {
            case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
                collected = TextResult(
                    columns: result.columns,
                    rows: (0..<result.rowCount).map { result.row($0) }, commandTag: result.commandTag)
            case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
                cancelAndClose()
                throw PostgresError(.server, "the statement is a COPY, which is not expected here")
            default:
                let error = failure(result)
                try drain()
                throw error
            }
        }
        return collected
    }

    /// Reads what follows an error, so that the session can go on.
    func drain() throws(PostgresError) {
        while handle != nil, try nextResult() != nil {}
    }

    private func expectCopyOut() throws(PostgresError) {
        guard let result = try nextResult() else { throw PostgresError(.malformed, "the copy has no beginning") }
        if result.status == PGRES_COPY_OUT { return }
        let error =
            result.status == PGRES_FATAL_ERROR
            ? failure(result) : PostgresError(.malformed, "the statement is no COPY TO STDOUT")
        try drain()
        throw error
    }

    /// The next row of a copy, to be freed with `PQfreemem`; nil at its end, whose result is then to be read.
    private func nextCopyRow(_ handle: Handle) throws(PostgresError) -> UnsafeMutableRawBufferPointer? {
        var buffer: UnsafeMutablePointer<CChar>?
        while true {
            let count = PQgetCopyData(handle.pointer, &buffer, 1)
            switch count {
            case 1...: return UnsafeMutableRawBufferPointer(start: buffer, count: Int(count))
            case 0:
                try wait(handle.pointer, for: POLLIN, until: nil)
                guard PQconsumeInput(handle.pointer) == 1 else { throw lost() }
            case -1: return nil
            default: throw lost()
            }
        }
    }

    // MARK: - Waiting and failing

    /// Waits for the socket, but no longer than until the interrupter is set or the deadline has passed.
    func wait(
        _ pointer: OpaquePointer, for events: Int32, until deadline: ContinuousClock.Instant?
    ) throws(PostgresError) {
        while true {
            var sources = [
                pollfd(fd: PQsocket(pointer), events: Int16(events), revents: 0),
                pollfd(fd: interrupter.readEnd, events: Int16(POLLIN), revents: 0),
            ]
            var milliseconds: Int32 = -1
            if let deadline {
                let left = (deadline - .now) / .milliseconds(1)
                guard left > 0 else {
                    handle = nil
                    throw PostgresError(.cannotConnect, "no answer in time")
                }
                milliseconds = Int32(min(left.rounded(.up), 3_600_000))
            }
            let ready = poll(&sources, nfds_t(sources.count), milliseconds)
            if sources[1].revents != 0 { throw cancelAndClose() }
            if ready > 0 { return }
            if ready < 0 && errno != EINTR {
                throw PostgresError(.connectionLost, "poll: \(String(cString: strerror(errno)))")
            }
        }
    }

    /// Asks the server to end what runs, without waiting for a server that does not answer, and closes the session.
    @discardableResult
    func cancelAndClose() -> PostgresError {
        if let handle, let request = PQgetCancel(handle.pointer) {
            let request = CancelRequest(pointer: request)
            let sent = DispatchSemaphore(value: 0)
            DispatchQueue.global().async {
                request.send()
                sent.signal()
            }
            _ = sent.wait(timeout: .now() + .seconds(3))
        }
        handle = nil
        return PostgresError(.interrupted, "ended before it was complete")
    }

    /// The session broke. It is closed.
    func lost() -> PostgresError {
        let message = handle.map { redacted(libpqMessage($0.pointer)) } ?? "the connection is closed"
        handle = nil
        return PostgresError(.connectionLost, message)
    }

    func failure(_ result: borrowing PGResult) -> PostgresError {
        guard let handle else { return PostgresError(.connectionLost, "the connection is closed") }
        let isBroken = PQstatus(handle.pointer) == CONNECTION_BAD
        var error = result.error(isBroken ? .connectionLost : .server, fallback: redacted(libpqMessage(handle.pointer)))
        error.message = redacted(error.message)
        return error
    }

    /// libpq's words without the empty lines and indents they come in.
    private func libpqMessage(_ pointer: OpaquePointer) -> String {
        let lines = String(cString: PQerrorMessage(pointer)).split(whereSeparator: \.isNewline)
        let text = lines.map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: "; ")
        return text.isEmpty ? "the server closed the connection" : text
    }

    private func redacted(_ text: String) -> String {
        guard let password else { return text }
        return text.replacingOccurrences(of: password.reveal(), with: "\(password)")
    }

    private static func withCStrings<Value>(
        _ strings: [String?], _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Value
    ) -> Value {
        let copies = strings.map { $0.map { UnsafePointer(strdup($0)) } ?? nil }
        defer { for copy in copies { free(UnsafeMutablePointer(mutating: copy)) } }
        return copies.withUnsafeBufferPointer { body($0.baseAddress) }
    }
}

/// A libpq connection, closed when nothing holds it any more.
final class Handle {
    let pointer: OpaquePointer
    init(_ pointer: OpaquePointer) { self.pointer = pointer }
    deinit { PQfinish(pointer) }
}

/// Asks a server to cancel a session's statement.
///
/// `@unchecked Sendable`: a `PGcancel` never changes, and `PQcancel` may be called from any thread (libpq manual, Canceling
/// Queries in Progress). ``send()`` is called once and frees it.
private struct CancelRequest: @unchecked Sendable {
    let pointer: OpaquePointer

    func send() {
        var words = [CChar](repeating: 0, count: 256)
        // Whether it was heard shows in how the session ends.
        _ = PQcancel(pointer, &words, Int32(words.count))
        PQfreeCancel(pointer)
    }
}
