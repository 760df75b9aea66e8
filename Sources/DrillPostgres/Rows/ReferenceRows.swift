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
                if let sorter {
                    try await connection.stream(
                        statement.sql, layout: statement.layout, sortedBy: sorter, into: batches)
                } else {
                    try await connection.stream(statement.sql, layout: statement.layout, into: batches)
                }
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
    /// Runs the copy and hands on its rows as they come; returns only when the server said that it is complete and the counts agree
    /// (P12).
    fileprivate func stream(
        _ statement: String, layout: ReferenceLayout, into batches: ReadAhead<ReferenceBatch>
    ) throws(PostgresError) {
        var decoder = ReferenceDecoder(layout, isOrdered: false)
        try copyRows(statement, layout) { fields throws(PostgresError) in
            try decoder.add(fields)
            if decoder.isFull { try batches.handOn(decoder.takeBatch()) }
        }
        try batches.handOn(decoder.takeBatch())
    }

    /// Runs the copy, and hands on its rows in order once the server said that it is complete and the counts agree (P12).
    fileprivate func stream(
        _ statement: String, layout: ReferenceLayout, sortedBy sorter: some RecordSorter,
        into batches: ReadAhead<ReferenceBatch>
    ) throws {
        var sortKey = ReferenceSortKey()
        var scratchError: (any Error)?
        do {
            try copyRows(statement, layout) { fields throws(PostgresError) in
                do {
                    try sortKey.add(fields, layout, to: sorter)
                } catch {
                    if let error = error as? PostgresError { throw error }
                    scratchError = error
                    throw PostgresError(.interrupted, "the rows could not be sorted")
                }
            }
        } catch {
            throw scratchError ?? error
        }
        try sorter.finishAdding()
        var decoder = ReferenceDecoder(layout, isOrdered: true)
        let hasBucket = layout.hasBucket
        // After each row: a few may be as large as a batch.
        func take(_ key: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) throws {
            try decoder.add(payload, key: hasBucket ? nil : key)
            if decoder.isFull { try batches.handOn(decoder.takeBatch()) }
        }
        while try sorter.next(limit: 1024, take) > 0 {}
        try batches.handOn(decoder.takeBatch())
    }

    /// Hands on the fields of each row.
    private func copyRows(
        _ statement: String, _ layout: ReferenceLayout,
        _ receive: (UnsafeRawBufferPointer) throws(PostgresError) -> Void
    ) throws(PostgresError) {
        var reader = CopyReader(fieldCount: layout.fieldCount)
        let sent = try copyOut("COPY (\(statement)\n) TO STDOUT (FORMAT binary)") { piece throws(PostgresError) in
            try reader.read(piece, receive)
        }
        guard reader.isComplete, reader.rowCount == sent else {
            throw PostgresError(.malformed, "the server sent \(sent) rows, of which \(reader.rowCount) arrived")
        }
    }
}

extension ReadAhead<ReferenceBatch> {
    fileprivate func handOn(_ batch: ReferenceBatch?) throws(PostgresError) {
        guard let batch, !put(batch) else { return }
        throw PostgresError(.interrupted, "nobody reads the rows any more")
    }
}
