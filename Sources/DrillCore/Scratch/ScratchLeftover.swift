import Foundation

/// A scratch directory whose run is over and whose process is gone: what `muster gc` removes.
package struct ScratchLeftover: Sendable, Hashable {
    package var path: String
    package var runID: String
    package var createdAt: Date
    package init(path: String, runID: String, createdAt: Date) {
        self.path = path
        self.runID = runID
        self.createdAt = createdAt
    }
}
