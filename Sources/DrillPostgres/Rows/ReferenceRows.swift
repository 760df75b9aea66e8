import DrillCore

/// References as they stream out of one COPY, decoded on the connection's own thread, a few batches ahead of who reads them.
final class ReferenceRows: ReferenceStream {
    let relation: String?
    let checksumIsRaw: Bool
    private let idForm: RowIDForm?
    private let connection: PostgresConnection
    private let batches: ReadAhead<ReferenceBatch>
    private let producer: Task<Void, Never>

    init(_ connection: PostgresConnection, _ statement: ReferenceStatement, relation: String?) {
        let batches = ReadAhead<ReferenceBatch>(capacity: 3)
        let place = connection.place
        self.connection = connection
        self.batches = batches
        idForm = statement.idForm
        checksumIsRaw = statement.checksumIsRaw
        self.relation = relation
        // Lives as long as this stream: `cancel` and `deinit` end it.
        producer = Task {
            do throws(PostgresError) {
                try await connection.stream(statement.sql, layout: statement.layout, into: batches)
                batches.finish(.success(()))
            } catch {
                batches.finish(
                    .failure(error.drillError(at: relation ?? place, what: "the rows did not stream to their end")))
            }
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
    func references(_ query: ReferenceQuery) async throws -> any ReferenceStream {
        let connection = try await referenceSession(query)
        do {
            let source = try await source(of: query, connection)
            let statement = try await statement(for: query, source: source, connection)
            return ReferenceRows(connection, statement, relation: source.relation)
        } catch {
            await connection.close()
            throw error
        }
    }

    func referenceSession(_ query: ReferenceQuery) async throws -> PostgresConnection {
        var settings: [(name: String, value: String)] = []
        if case .table = query.source {
            // A sort that fits the processor's caches is the fastest, and walking an index in key order reads the table's
            // pages at random: with 10 million rows 32 s in place of 6 s. There is next to nothing to compile.
            settings = [
                ("work_mem", "4MB"), ("enable_indexscan", "off"), ("enable_indexonlyscan", "off"), ("jit", "off"),
            ]
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
    /// Runs the copy and hands on its rows; returns only when the server said that it is complete and the counts agree (P12).
    fileprivate func stream(
        _ statement: String, layout: ReferenceLayout, into batches: ReadAhead<ReferenceBatch>
    ) throws(PostgresError) {
        var decoder = ReferenceDecoder(layout)
        func handOn(_ batch: ReferenceBatch?) throws(PostgresError) {
            guard let batch, !batches.put(batch) else { return }
            throw PostgresError(.interrupted, "nobody reads the rows any more")
        }
        let sent = try copyOut("COPY (\(statement)\n) TO STDOUT (FORMAT binary)") { row throws(PostgresError) in
            try handOn(try decoder.decode(row))
        }
        guard decoder.isComplete, decoder.rowCount == sent else {
            throw PostgresError(.malformed, "the server sent \(sent) rows, of which \(decoder.rowCount) arrived")
        }
        try handOn(decoder.takeRest())
    }
}
