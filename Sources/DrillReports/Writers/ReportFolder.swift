import DrillCore
import Foundation

/// `<reports>/<drill>/`: the newest run's reports, and a folder for each run.
struct ReportFolder: Sendable {
    let path: String
    static let names = ["junit.xml", "report.html", "report.json"]

    init(reportsDirectory: String, drill: String) {
        path = reportsDirectory + "/" + drill
    }

    func path(ofRun runID: String) -> String { path + "/" + runID }

    func writeCurrent(_ reports: Reports) throws { try write(reports, into: path) }
    func write(_ reports: Reports, ofRun runID: String) throws { try write(reports, into: path(ofRun: runID)) }

    /// Reports that are not there are removed already.
    func removeCurrent() throws {
        for name in Self.names where unlink(path + "/" + name) != 0 && errno != ENOENT && errno != ENOTDIR {
            throw ledgerError(errno, "an old report could not be removed", at: path + "/" + name)
        }
    }

    private func write(_ reports: Reports, into directory: String) throws {
        try makeDirectories(directory)
        try writeWhole(zip(Self.names, reports.contents).map { ($0, $1) }, in: directory)
    }

    /// The reports of a record. All are made before the first is written: a record that cannot be shown leaves the files as they are.
    struct Reports {
        /// In the order of ``ReportFolder/names``.
        fileprivate let contents: [[UInt8]]

        init(_ record: RunRecord) throws {
            contents = [junitReport([.run(record)]), try htmlReport(record), jsonReport(record)]
        }
    }
}
