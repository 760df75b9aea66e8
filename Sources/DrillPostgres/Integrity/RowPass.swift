import DrillCore

/// Has the server read and send every row of every table and materialized view: long values come out of their TOAST tables, are
/// unpacked and printed.
struct RowPass: Sendable {
    let scope: IntegrityScope

    func run() async throws {
        // A table without pages has nothing to send.
        let entries = scope.inventory.ordered.filter { $0.kind.hasRows && $0.pages > 0 && $0.isPopulated }
        scope.step("read every row", pages: entries.reduce(0) { $0 + $1.pages })
        let survey = Survey<RelationEntry>(scope: scope) {
            $0.pages
        } ask: { session, batch in
            for entry in batch { try await session.readThrough("SELECT * FROM ONLY \(entry.name)") }
        } failed: { entry, error in
            try await scope.judge(error, of: entry, while: "while its rows were read", readingRows: true)
        }
        try await survey.run(entries, size: 50)
        await scope.tally.did("every row")
    }
}
