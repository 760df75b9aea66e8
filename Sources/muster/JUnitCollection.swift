import DrillCore
import DrillReports
import Foundation

/// The file of `--junit`: a testsuite for each drill of this call, whole at every moment.
actor JUnitCollection {
    private let path: String
    private var suites: [(drill: String, suite: JUnitSuite)]

    /// Writes "did not finish" for each drill at once: what an older call left there must not pass for this one's (V5).
    init(path: String, drills: [String], at now: Date, host: String) throws {
        self.path = path
        suites = drills.map { ($0, .notRun(drill: $0, at: now, host: host, reason: "did not finish")) }
        try writeWhole(junitReport(suites.map(\.suite)), to: path)
    }

    func finished(_ record: RunRecord) throws {
        guard let index = suites.firstIndex(where: { $0.drill == record.header.drill }) else { return }
        suites[index].suite = .run(record)
        try writeWhole(junitReport(suites.map(\.suite)), to: path)
    }
}
