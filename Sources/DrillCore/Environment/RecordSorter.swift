/// Sorts more records than memory holds: they are spilled to files in a scratch directory and merged.
package protocol RecordSorter: Sendable {
    /// Adds a record; its key decides the order, byte by byte. Records with equal keys come out in the order they went in.
    func add(key: [UInt8], payload: [UInt8]) async throws
    /// Ends adding. Call once.
    func finishAdding() async throws
    /// The next records in ascending key order, at most `limit`; nil after the last.
    func next(limit: Int) async throws -> [(key: [UInt8], payload: [UInt8])]?
    /// Removes the files; harmless when called twice.
    func close() async
}

package protocol RecordSorterMaker: Sendable {
    /// - Parameter directory: A scratch directory for the files.
    func makeSorter(in directory: String) -> any RecordSorter
}
