import DrillCore
import Foundation

/// Ends the scratch server of a killed run. Its files go with the run's scratch directory.
struct ServerRemover: ScratchRemover {
    static let itemKind = "server"
    let environment: DrillEnvironment

    init(environment: DrillEnvironment) { self.environment = environment }

    /// - Parameter item: Its locator is the data directory.
    func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        guard item.locator.utf8.count > runID.utf8.count, item.locator.contains(runID) else {
            throw DrillError(.cleanupFailed, "the data directory does not bear the run's id \(runID)", at: item.locator)
        }
        for (signal, seconds) in [(SIGINT, 20.0), (SIGQUIT, 10.0), (SIGKILL, 5.0)] {
            guard let process = try serverProcess(item.locator) else { return }
            guard kill(process, signal) == 0 || errno == ESRCH else {
                throw DrillError(
                    .cleanupFailed, "process \(process) cannot be ended: \(String(cString: strerror(errno)))",
                    at: item.locator)
            }
            let deadline = environment.clock.monotonicSeconds() + seconds
            while try serverProcess(item.locator) != nil, environment.clock.monotonicSeconds() < deadline {
                try await environment.clock.sleep(for: .milliseconds(50))
            }
        }
        if let process = try serverProcess(item.locator) {
            throw DrillError(.cleanupFailed, "process \(process) does not end", at: item.locator)
        }
    }

    /// The process that postmaster.pid names, if it is a server on that very data directory; nil where there is none.
    private func serverProcess(_ dataDirectory: String) throws -> Int32? {
        guard let content = FileManager.default.contents(atPath: dataDirectory + "/postmaster.pid"),
            let line = String(decoding: content, as: UTF8.self).split(whereSeparator: \.isNewline).first,
            let process = strictInteger(String(line)).flatMap({ Int32(exactly: $0) }), process > 1
        else { return nil }
        guard let arguments = FileManager.default.contents(atPath: "/proc/\(process)/cmdline") else { return nil }
        // Another process may have got that number since.
        let words = arguments.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        guard words.first?.hasSuffix("postgres") == true, words.contains(dataDirectory) else { return nil }
        return process
    }
}

/// Removes the short folder that held a server's socket where the scratch directory's path is too long for one.
struct SocketDirectoryRemover: ScratchRemover {
    static let itemKind = "socket_directory"

    init(environment: DrillEnvironment) {}

    static func path(ofRun runID: String) -> String { "/tmp/muster-" + runID }

    /// Removes sockets and their locks and then the folder; anything else in it keeps it there.
    func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        guard item.locator == Self.path(ofRun: runID) else {
            throw DrillError(.cleanupFailed, "the folder does not bear the run's id \(runID)", at: item.locator)
        }
        var status = stat()
        if lstat(item.locator, &status) != 0, errno == ENOENT { return }
        let account = try ServerAccount.current().user?.userID
        guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid() || status.st_uid == account else {
            throw DrillError(.cleanupFailed, "is not the folder that this run made", at: item.locator)
        }
        for name in [".s.PGSQL.5432", ".s.PGSQL.5432.lock"] { unlink(item.locator + "/" + name) }
        guard rmdir(item.locator) == 0 || errno == ENOENT else {
            throw DrillError(.cleanupFailed, "cannot be removed: \(String(cString: strerror(errno)))", at: item.locator)
        }
    }
}
