/// Where a run tells how far it is. Cheap to call; calls come from any thread.
package protocol ProgressSink: Sendable {
    /// A step inside the current phase, with its total where it is known. Ends the step before it.
    func step(_ name: String, total: Int64?, unit: ProgressUnit)
    func advance(to done: Int64)
    /// One line worth a person's time, such as a set that was passed over.
    func note(_ text: String)
}

/// Where a run tells which phase it is in.
package protocol RunProgress: ProgressSink {
    func runBegan(_ header: RunHeader)
    func phaseBegan(_ name: String)
    func phaseEnded(_ phase: PhaseRecord)
}

package enum ProgressUnit: String, Sendable { case rows, objects, bytes, tables, requests, items }

package struct NoProgress: RunProgress {
    package init() {}
    package func runBegan(_ header: RunHeader) {}
    package func phaseBegan(_ name: String) {}
    package func phaseEnded(_ phase: PhaseRecord) {}
    package func step(_ name: String, total: Int64?, unit: ProgressUnit) {}
    package func advance(to done: Int64) {}
    package func note(_ text: String) {}
}
