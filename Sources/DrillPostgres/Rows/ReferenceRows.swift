import DrillCore

/// References as they stream out of one COPY, sorted and decoded on the connection's own thread, a few batches ahead of who reads
/// them.
///
/// The server does not sort: its own sort takes four times as long, and orders by what the database's encoding has for bytes (S4).
final class ReferenceRows: ReferenceStream {
    let relation: String?
    let checksumIsRaw: Bool
    private let idForm: RowIDForm?
    private let connection: PostgresConnection
    private let batches: ReadAhead<ReferenceBatch>
    private let producer: Task<Void, Never>

    /// - Parameter sorter: Puts the rows in order before the first is handed on, and is closed at the end.
    init(
        _ connection: PostgresConnection, _ statement: ReferenceStatement, relation: String?,
        sorter: (any RecordSorter)?
    ) {
        let batches = ReadAhead<ReferenceBatch>(capacity: 3)
        let place = connection.place
        self.connection = connection
        self.batches = batches
        idForm = statement.idForm
        checksumIsRaw = statement.checksumIsRaw
        self.relation = relation
        // Lives as long as this stream: `cancel` and `deinit` end it.
        producer = Task {
            do {
                try await connection.stream(statement.sql, layout: statement.layout, sorter: sorter, into: batches)
                batches.finish(.success(()))
            } catch let error as PostgresError {
                batches.finish(
                    .failure(error.drillError(at: relation ?? place, what: "the rows did not stream to their end")))
            } catch {
                batches.finish(.failure(error))
            }
            sorter?.close()
            await connection.close()
        }
    }

    deinit {
        batches.close()
        connection.interrupt()
    }

    func next() async throws -> ReferenceBatch? { try await batches.next() }

    func rowID(_ raw: ArraySlice<UInt8>) -> String? { idForm?.text(raw) }

    func cancel() async {
        batches.close()
        connection.interrupt()
        await producer.value
    }
}

extension PostgresDatabase {
    func references(_ query: ReferenceQuery, sorter: (any RecordSorter)?) async throws -> any ReferenceStream {
        let connection = try await referenceSession(query)
        do {
            let source = try await source(of: query, connection)
            let statement = try await statement(for: query, source: source, connection)
            return ReferenceRows(connection, statement, relation: source.relation, sorter: sorter)
        } catch {
            await connection.close()
            throw error
        }
    }

    func referenceSession(_ query: ReferenceQuery) async throws -> PostgresConnection {
        var settings: [(name: String, value: String)] = []
        if case .table = query.source {
            // The rows are those of the table itself, whatever its indexes hold.
            settings = ["indexscan", "indexonlyscan", "bitmapscan"].map { ("enable_" + $0, "off") }
        }
        do throws(PostgresError) {
            return try await session(
                searchPath: query.searchPath, timeout: ProbeSession.streamTimeout, settings: settings)
        } catch {
            throw await explained(error)
        }
    }
}

extension PostgresConnection {
    /// Runs the copy and hands on its rows, only once the server said that it is complete and the counts agree (P12) where a sorter
    /// puts them in order first.
    fileprivate func stream(
        _ statement: String, layout: ReferenceLayout, sorter: (any RecordSorter)?, into batches: ReadAhead<ReferenceBatch>
    ) throws {
        var reader = CopyReader(fieldCount: layout.fieldCount)
        var decoder = ReferenceDecoder(layout, isOrdered: sorter != nil)
        var sortKey = ReferenceSortKey()
        var scratchError: (any Error)?
        func handOn(_ batch: ReferenceBatch?) throws(PostgresError) {
            guard let batch, !batches.put(batch) else { return }
            throw PostgresError(.interrupted, "nobody reads the rows any more")
        }
        let sent: Int64
        do {
            sent = try copyOut("COPY (\(statement)\n) TO STDOUT (FORMAT binary)") { piece throws(PostgresError) in
                try reader.read(piece) { fields throws(PostgresError) in
                    guard let sorter else { return try decoder.add(fields) }
                    do {
                        try sortKey.add(fields, layout, to: sorter)
                    } catch {
                        if let error = error as? PostgresError { throw error }
                        scratchError = error
                        throw PostgresError(.interrupted, "the rows could not be sorted")
                    }
                }
                if decoder.isFull { try handOn(decoder.takeBatch()) }
            }
        } catch {
            throw scratchError ?? error
        }
        guard reader.isComplete, reader.rowCount == sent else {
            throw PostgresError(.malformed, "the server sent \(sent) rows, of which \(reader.rowCount) arrived")
        }
        if let sorter {
            try sorter.finishAdding()
            while try sorter.next(
                limit: ReferenceDecoder.batchRows / 16,
                { key, payload in try decoder.add(payload, key: layout.hasBucket ? nil : key) }) > 0
            {
                if decoder.isFull { try handOn(decoder.takeBatch()) }
            }
        }
        try handOn(decoder.takeBatch())
    }
}
