import DrillCore
import Foundation

/// A PostgreSQL server on a data directory below scratch: a child of this process, reached by a Unix socket alone.
struct ServerProcess: Sendable {
    let process: any RunningProcess
    let environment: DrillEnvironment
    let dataDirectory: String
    let logPath: String
    /// As the superuser, to the database `postgres`.
    let parameters: PostgresParameters
    /// Whole sentences for the report: what could not be sealed.
    let notes: [String]

    struct Plan: Sendable {
        var dataDirectory: String
        /// Holds the server's own configuration files and its log; ours or the account's.
        var folder: String
        var tools: PostgresTools
        var account: ServerAccount
        var settings: ServerSettings
        var superuser = "postgres"
        /// Any that is there.
        var database = "postgres"
        /// How long the server may take until it answers: longer where it replays WAL first.
        var patience: Duration = .seconds(60)
    }

    /// Starts the server and waits until it takes connections.
    static func start(_ plan: Plan, environment: DrillEnvironment) async throws -> ServerProcess {
        let logPath = plan.folder + "/server.log"
        let files = [("postgresql.conf", ""), ("pg_hba.conf", "local all all trust\n"), ("pg_ident.conf", "")]
        for (name, content) in files {
            let path = plan.folder + "/" + name
            try writeOwnFile(path, content)
            try plan.account.give(path)
        }
        var arguments = ["-D", plan.dataDirectory]
        let places = [
            ("config_file", plan.folder + "/postgresql.conf"), ("hba_file", plan.folder + "/pg_hba.conf"),
            ("ident_file", plan.folder + "/pg_ident.conf"),
        ]
        for (name, value) in places + plan.settings.all { arguments += ["-c", "\(name)=\(value)"] }
        var command = Command(plan.tools.path("postgres"), arguments)
        command.errors = .file(path: logPath)
        command.user = plan.account.user
        command.network = .sealed
        command.refusesConnections = true
        command.workingDirectory = plan.dataDirectory
        // What a function of the backup connects with must not be what lies in the OS user's home (P27).
        command.environment = [
            "HOME": plan.folder, "PGPASSFILE": "/dev/null", "PGSERVICEFILE": "/dev/null", "PGSYSCONFDIR": plan.folder,
        ]
        var notes: [String] = []
        let (seal, reason) = try await FileSeal.find(
            account: plan.account, folder: plan.folder, environment: environment)
        if let seal {
            command = seal.sealing(command, writable: Set([plan.folder, plan.settings.socketDirectory]).sorted())
        } else {
            notes.append(FileSeal.note(reason))
        }
        if case .open(let reason) = await environment.processes.canSeal() {
            notes.append("The scratch server could not be sealed off from the network: \(reason).")
        }
        let process = try await environment.processes.start(command)
        let server = ServerProcess(
            process: process, environment: environment, dataDirectory: plan.dataDirectory, logPath: logPath,
            parameters: PostgresParameters([
                "host": plan.settings.socketDirectory, "port": "5432", "user": plan.superuser,
                "dbname": plan.database, "options": StoredSettings.sessionOptions,
            ]), notes: notes)
        do {
            try await server.waitUntilReady(patience: plan.patience)
        } catch {
            let failure = error
            await Task { await server.stop(isKept: true) }.value
            throw failure
        }
        return server
    }

    private func waitUntilReady(patience: Duration) async throws {
        let clock = environment.clock
        let deadline = clock.monotonicSeconds() + patience / .seconds(1)
        var lastWords = ""
        var hints: [String] = []
        // Each attempt is a line in the server's log, and a recovery may take hours.
        var pause = Duration.milliseconds(25)
        while clock.monotonicSeconds() < deadline {
            try requireRunning()
            do {
                let connection = try await PostgresConnection.connect(parameters, timeout: .seconds(5))
                await connection.close()
                return
            } catch {
                if error.kind == .interrupted { throw CancellationError() }
                lastWords = error.message
                // A server that is up and refuses will refuse again: a restored cluster has the roles and locales that it had.
                if lastWords.contains("FATAL:"), !lastWords.contains("the database system is ") {
                    hints = Self.advice(lastWords)
                    break
                }
            }
            try await clock.sleep(for: pause)
            pause = min(pause * 21 / 20, .milliseconds(500))
        }
        throw DrillError(
            .couldNotLook, "the scratch server takes no connections: \(lastWords)", at: dataDirectory,
            hints: hints + logTail())
    }

    /// What to do where the server refuses every session.
    private static func advice(_ words: String) -> [String] {
        if words.contains("role \""), words.contains("does not exist") || words.contains("not permitted to log in") {
            return ["Name a superuser of the backed-up cluster who may log in: `superuser:`."]
        }
        if words.contains("incompatible with operating system") {
            return [
                "The databases have a locale that this machine lacks (P22): generate it (`dpkg-reconfigure locales`, "
                    + "`apt-get install locales-all`)."
            ]
        }
        return []
    }

    /// Throws where the server has ended on its own, with its last words.
    func requireRunning() throws {
        if !process.isRunning { throw gone() }
    }

    /// The same, asked of the server itself: one that has just died may not have been noticed yet.
    func requireAnswer() async throws {
        do {
            let connection = try await PostgresConnection.connect(parameters, timeout: .seconds(30))
            await connection.close()
        } catch {
            if error.kind == .interrupted { throw CancellationError() }
            throw gone()
        }
    }

    private func gone() -> DrillError {
        let tail = logTail()
        let isFull = tail.contains { $0.contains("No space left on device") }
        return DrillError(
            .couldNotLook,
            isFull ? "the disk of the scratch server is full" : "the scratch server has ended on its own",
            at: dataDirectory, hints: tail)
    }

    /// The last lines of the server's log.
    func logTail(_ count: Int = 8) -> [String] {
        let data = FileManager.default.contents(atPath: logPath) ?? Data()
        let lines = String(decoding: data.suffix(16384), as: UTF8.self).split(whereSeparator: \.isNewline)
        return lines.suffix(count).map { "server.log: \($0)" }
    }

    /// Ends the server: fast, then at once, then by force; waits for its end. (PostgreSQL manual, Shutting Down the Server.)
    ///
    /// - Parameter isKept: Whether anybody will look at its data directory. Where nobody will, what is in memory is not written first.
    func stop(isKept: Bool) async {
        let patience = [(SIGINT, 20.0), (SIGQUIT, 10.0), (SIGKILL, 0.0)]
        for (signal, seconds) in isKept ? patience : Array(patience.dropFirst()) where process.isRunning {
            process.send(signal: signal)
            let deadline = environment.clock.monotonicSeconds() + seconds
            while process.isRunning, environment.clock.monotonicSeconds() < deadline {
                do { try await environment.clock.sleep(for: .milliseconds(20)) } catch { break }
            }
        }
        _ = await process.ended()
    }
}

/// Writes a new file of mode 0600; one that is there already is an error (X9).
func writeOwnFile(_ path: String, _ content: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
        throw DrillError(.couldNotLook, "cannot be made: \(String(cString: strerror(errno)))", at: path)
    }
    defer { close(descriptor) }
    var rest = Array(content.utf8)[...]
    while !rest.isEmpty {
        let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written > 0 else {
            throw DrillError(.couldNotLook, "cannot be written: \(String(cString: strerror(errno)))", at: path)
        }
        rest = rest.dropFirst(written)
    }
}
