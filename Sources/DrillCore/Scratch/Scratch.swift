import Foundation

/// The scratch namespace of one run. Only this is written to; only `withScratch` makes one.
package struct Scratch: Sendable {
    package let runID: String
    /// `<scratch.directory>/muster-<run id>`, mode 0700, holding our marker file. Parts make their own folders in it.
    package let directory: String
    package let journal: any ScratchJournal
    /// Whether a server or database made here stays when the run ends (`scratch.keep`).
    package let keeping: KeepDecision

    package init(
        runID: String, directory: String, journal: any ScratchJournal,
        keeping: KeepDecision = KeepDecision(isKept: false)
    ) {
        self.runID = runID
        self.directory = directory
        self.journal = journal
        self.keeping = keeping
    }
}

/// A thing that a run makes outside its scratch directory and that must be removed again.
package struct ScratchItem: Sendable, Hashable, Codable {
    /// `directory`, `database`, `role`, `bucket`, `prefix`, `process` …: the part that made it knows how to remove it.
    package var kind: String
    /// Everything needed to find it again, without secrets: `dbname=muster_… host=…`, a path, `s3://…`.
    package var locator: String
    package init(kind: String, locator: String) {
        self.kind = kind
        self.locator = locator
    }
}

/// Written before a thing is made and after it is gone (P29), so that `muster gc` finds what a killed run left behind.
package protocol ScratchJournal: Sendable {
    func willCreate(_ item: ScratchItem) async throws
    func didRemove(_ item: ScratchItem) async throws
}

/// Removes one kind of ``ScratchItem`` that a killed run left behind, and only when the thing's own marker names that run.
package protocol ScratchRemover: Sendable {
    static var itemKind: String { get }
    init(environment: DrillEnvironment)
    /// Throws where it is there but could not be removed. Gone already is success.
    func remove(_ item: ScratchItem, ofRun runID: String) async throws
}
