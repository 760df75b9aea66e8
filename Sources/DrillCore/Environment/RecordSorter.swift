/// Sorts more records than memory holds: they are spilled to files in a scratch directory and merged.
///
/// Calls may come from any thread; they block while a file is written or read.
package protocol RecordSorter: Sendable {
    /// Adds a record; its key decides the order, byte by byte. Records with equal keys come out in the order they went in.
    func add(key: UnsafeRawBufferPointer, payload: UnsafeRawBufferPointer) throws
    /// Ends adding. Call once.
    func finishAdding() throws
    /// Hands out the next records in ascending key order, at most `limit`. The buffers are valid during the call of `body`.
    /// - Returns: How many there were; 0 only after the last, when as many came out as went in.
    func next(
        limit: Int, _ body: (_ key: UnsafeRawBufferPointer, _ payload: UnsafeRawBufferPointer) throws -> Void
    ) throws -> Int
    /// Removes the files; harmless when called twice. Nothing can be read afterwards.
    func close()
}

package protocol RecordSorterMaker: Sendable {
    /// - Parameter directory: A scratch directory for the files.
    func makeSorter(in directory: String) -> any RecordSorter
}
