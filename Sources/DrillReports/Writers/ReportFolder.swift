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

    func writeCurrent(_ record: RunRecord) throws { try write(record, into: path) }
    func write(_ record: RunRecord, ofRun runID: String) throws { try write(record, into: path(ofRun: runID)) }

    /// Reports that are not there are removed already.
    func removeCurrent() throws {
        for name in Self.names where unlink(path + "/" + name) != 0 && errno != ENOENT && errno != ENOTDIR {
            throw ledgerError(errno, "an old report could not be removed", at: path + "/" + name)
        }
    }

    private func write(_ record: RunRecord, into directory: String) throws {
        // All are made before the first is written: a record that cannot be shown leaves the files as they are.
        let contents = [junitReport([.run(record)]), try htmlReport(record), jsonReport(record)]
        try makeDirectories(directory)
        for (name, bytes) in zip(Self.names, contents) { try writeWhole(bytes, to: directory + "/" + name) }
    }
}
