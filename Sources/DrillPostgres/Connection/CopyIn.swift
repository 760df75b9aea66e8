import CLibPQ
import DrillCore
import Foundation

/// What a plain dump is made of: statements in the dump's own encoding, and COPY data.
extension PostgresConnection {
    /// Runs one or more statements, given in the client encoding and without a zero byte.
    func execute(bytes: [UInt8]) async throws(PostgresError) {
        try await interruptible { connection throws(PostgresError) in
            try connection.send(statement: bytes)
            _ = try connection.textResult()
        }
    }

    /// Begins a `COPY … FROM STDIN`; its data are to follow by ``put(copyData:)``, then ``endCopyIn()``.
    func beginCopyIn(_ statement: [UInt8]) async throws(PostgresError) {
        try await interruptible { connection throws(PostgresError) in
            try connection.send(statement: statement)
            guard let result = try connection.nextResult() else {
                throw PostgresError(.malformed, "the copy has no beginning")
            }
            guard result.status == PGRES_COPY_IN else {
                let error =
                    result.status == PGRES_FATAL_ERROR
                    ? connection.failure(result) : PostgresError(.malformed, "the statement is no COPY FROM STDIN")
                try connection.drain()
                throw error
            }
            // So that a server that does not read can be given up: see `flush()`.
            guard PQsetnonblocking(try connection.ready().pointer, 1) == 0 else { throw connection.lost() }
        }
    }

    func put(copyData bytes: [UInt8]) async throws(PostgresError) {
        try await interruptible { connection throws(PostgresError) in
            let pointer = try connection.ready().pointer
            // libpq counts in Int32.
            for start in stride(from: 0, to: bytes.count, by: 1 << 20) {
                let part = bytes[start..<min(start + (1 << 20), bytes.count)]
                let status = part.withUnsafeBytes { raw in
                    PQputCopyData(pointer, raw.bindMemory(to: CChar.self).baseAddress, Int32(raw.count))
                }
                guard status == 1 else { throw connection.lost() }
                try connection.flush()
            }
        }
    }

    /// - Returns: How many rows the server says it took.
    func endCopyIn() async throws(PostgresError) -> Int64 {
        try await interruptible { connection throws(PostgresError) in
            let pointer = try connection.ready().pointer
            guard PQputCopyEnd(pointer, nil) == 1 else { throw connection.lost() }
            try connection.flush()
            let end = try connection.textResult()
            guard PQsetnonblocking(pointer, 0) == 0 else { throw connection.lost() }
            guard end.commandTag.hasPrefix("COPY "), let rows = strictInteger(String(end.commandTag.dropFirst(5)))
            else {
                throw PostgresError(.malformed, "the copy ended with '\(end.commandTag)' in place of a count")
            }
            return rows
        }
    }

    private func send(statement: [UInt8]) throws(PostgresError) {
        let pointer = try ready().pointer
        let status = (statement + [0]).withUnsafeBytes { raw in
            raw.bindMemory(to: CChar.self).baseAddress.map { PQsendQuery(pointer, $0) } ?? 0
        }
        try sent(status)
    }

    /// Waits until everything put so far is on its way.
    private func flush() throws(PostgresError) {
        let pointer = try ready().pointer
        var flushed = PQflush(pointer)
        while flushed == 1 {
            try wait(pointer, for: POLLIN | POLLOUT, until: nil)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
            flushed = PQflush(pointer)
        }
        guard flushed == 0 else { throw lost() }
    }
}
