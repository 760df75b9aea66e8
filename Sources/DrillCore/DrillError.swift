/// What went wrong, where, and what to do next. The only error that crosses a module border.
package struct DrillError: Error, Sendable {
    package enum Code: String, Sendable {
        /// The command line or the drill file is wrong: exit 64, nothing was created.
        case usage
        /// The backup is bad: a `restore` finding, verdict `fail`.
        case backupUnusable
        /// We could not look (a silent server, a missing tool, a full disk): verdict `inconclusive`.
        case couldNotLook
        /// The run's deadline passed: verdict `inconclusive`.
        case deadlinePassed
        /// A signal or a caller ended the run: verdict `inconclusive`.
        case cancelled
        /// Scratch could not be removed: exit 4 where all else passed.
        case cleanupFailed
        /// The ledger or a report could not be written or read.
        case ledgerUnusable
    }

    package var code: Code
    /// Lower case, no full stop.
    package var what: String
    /// A path with a line, an address without secrets, a table: whatever a person opens next.
    package var place: String?
    /// Whole sentences: what to do next.
    package var hints: [String]
    package var cause: (any Error)?

    package init(
        _ code: Code, _ what: String, at place: String? = nil, hints: [String] = [], cause: (any Error)? = nil
    ) {
        self.code = code
        self.what = what
        self.place = place
        self.hints = hints
        self.cause = cause
    }

    /// Any error as one of ours: a `DrillError` as it is, a cancellation as `cancelled`, all others as `couldNotLook`.
    package init(wrapping error: any Error, at place: String? = nil) {
        if let error = error as? DrillError {
            self = error
        } else if error is CancellationError {
            self.init(.cancelled, "the run was ended", at: place)
        } else {
            self.init(.couldNotLook, "\(error)", at: place, cause: error)
        }
    }
}

extension DrillError: CustomStringConvertible {
    /// `place: what` and the hints, on lines of their own.
    package var description: String {
        let head = place.map { "\($0): \(what)" } ?? what
        return ([head] + hints.map { "  \($0)" }).joined(separator: "\n")
    }
}

/// A value that must not be printed: it reads `<redacted>` wherever it is shown.
package struct Secret: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let value: String
    package init(_ value: String) { self.value = value }
    /// Hands the value to what needs it; never to a log, an argument or a report.
    package func reveal() -> String { value }
    package var description: String { "<redacted>" }
    package var debugDescription: String { "<redacted>" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
