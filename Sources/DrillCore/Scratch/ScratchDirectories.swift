/// Makes, finds and removes the scratch directories of runs, each with a marker file that names its run and process.
package protocol ScratchDirectories: Sendable {
    /// Where ``make(in:runID:)`` will make it, for the journal.
    func path(in directory: String, runID: String) throws -> String
    /// Makes `<directory>/muster-<run id>`, mode 0700. Throws where it exists already or `directory` cannot be used.
    func make(in directory: String, runID: String) throws -> String
    /// Removes the tree without following a link out of it; only where the marker names that run. Gone already is success.
    func remove(_ path: String, runID: String) throws
    /// Marks it as kept on purpose (`scratch.keep`): it is no leftover.
    func markKept(_ path: String, runID: String) throws
}
