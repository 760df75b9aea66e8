import ArgumentParser
import DrillCore
import DrillHost
import DrillPostgres
import Foundation

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Makes a sample application with two nightly backup sets, one sound and one not, and drills both.",
        discussion: """
            Exits 0 when the unsound set failed and the sound one passed, as they must. What it made stays for you to look at: \
            the sets, the drill file, the reports.
            """)

    @Option(help: "A new directory for everything it makes.")
    var directory = "muster-demo"

    @Option(help: "What the sample data are drawn with.")
    var seed: UInt64 = 20_261_114

    @Option(help: "How many users there are before the first backup.")
    var users = 400

    func run() async throws {
        let workplace = try Workplace()
        let root = URL(fileURLWithPath: directory).standardizedFileURL.path
        guard (1...1_000_000).contains(users) else { throw DrillError(.usage, "1 to 1000000 users", at: "--users") }
        guard mkdir(root, 0o755) == 0 else {
            let reason = String(cString: strerror(errno))
            throw DrillError(
                .usage, "cannot make the directory: \(reason)", at: root, hints: ["Name a new one with --directory."])
        }
        let signals = SignalWatch([SIGINT, SIGTERM, SIGHUP])
        let work = Task { try await makeAndDrill(workplace, root) }
        signals.onSignal { work.cancel() }
        do {
            let isAsExpected = try await work.value
            if let number = signals.received { leave(128 + number) }
            leave(isAsExpected ? 0 : 1)
        } catch {
            if let number = signals.received { leave(128 + number) }
            throw error
        }
    }

    private func makeAndDrill(_ workplace: Workplace, _ root: String) async throws -> Bool {
        let say: @Sendable (String) -> Void = { text in workplace.terminal.write(text + "\n") }
        say("A sample application in \(root): users with avatars, documents, two buckets.")
        let names = try await makeSets(workplace, root, say)
        let drillFile = "\(root)/demo.yaml"
        try Data(demoDrillFile.utf8).write(to: URL(fileURLWithPath: drillFile))
        say("Drill file: \(drillFile)\n")

        let drill = try workplace.loader.load(drillFile)
        var verdicts: [Verdict] = []
        for (title, set) in [
            ("The newest set, made while people worked: \(names.careless)", nil),
            ("The older set, made in a maintenance window: \(names.sound)", names.sound),
        ] {
            say(workplace.terminal.styled(title, .bold))
            let session = try RunSession(
                workplace: workplace, reports: "\(root)/reports", junit: nil, drills: [drill])
            let record = try await session.run(drill, DrillRunner.Options(setID: set, seed: seed))
            session.show(record)
            say("")
            verdicts.append(record.outcome?.verdict ?? .inconclusive)
        }
        let isAsExpected = verdicts == [.fail, .pass]
        say(
            isAsExpected
                ? "Both backups looked green when they were made. Only one of them was a backup."
                : "The demo did not come out as it must: \(verdicts.map(\.rawValue).joined(separator: ", ")).")
        say("Look around: \(root)/reports/demo/report.html, or `muster history --reports \(root)/reports`.")
        return isAsExpected
    }

    /// The live server runs in scratch and is gone afterwards; the buckets and the sets stay.
    private func makeSets(
        _ workplace: Workplace, _ root: String, _ say: @escaping @Sendable (String) -> Void
    ) async throws -> (sound: String, careless: String) {
        let space = ScratchSpace(clock: workplace.environment.clock)
        let parent = workplace.environment.variables["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/var/tmp"
        let runID = "demo-\(hexadecimal((0..<6).map { _ in UInt8.random(in: 0...255) }))"
        let scratch = Scratch(runID: runID, directory: try space.make(in: parent, runID: runID), journal: NoJournal())
        let result: Result<(sound: String, careless: String), any Error>
        do {
            result = .success(
                try await SampleDatabase.withServer(in: scratch, environment: workplace.environment) { database in
                    try await play(workplace, SampleApplication(database: database, buckets: "\(root)/live"), root, say)
                })
        } catch {
            result = .failure(error)
        }
        try space.remove(scratch.directory, runID: runID)
        return try result.get()
    }

    private func play(
        _ workplace: Workplace, _ application: SampleApplication, _ root: String, _ say: @Sendable (String) -> Void
    ) async throws -> (sound: String, careless: String) {
        let session = try await application.database.session()
        try await application.prepare(session)
        var random = SeededRandom(seed: seed)
        for _ in 0..<users { try await application.signUp(session, &random) }
        for _ in 0..<users { try await application.addDocument(session, &random) }
        await session.close()
        let nightly = NightlyBackup(application: application, sets: "\(root)/backups")
        let sound = NightlyBackup.name(workplace.environment.clock.now())
        say("First night, in a maintenance window: pg_dump, then copy both buckets  → \(sound)")
        try await nightly.sound(sound)

        // Sets are named to the second.
        while NightlyBackup.name(workplace.environment.clock.now()) == sound {
            try await Task.sleep(for: .milliseconds(50))
        }
        let careless = NightlyBackup.name(workplace.environment.clock.now())
        say("Second night, while people work: copy avatars, pg_dump, copy documents → \(careless)")
        let traffic = Traffic()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await traffic.run(application, seed: seed ^ 1) }
            try await nightly.careless(careless, during: traffic)
            traffic.stop()
            try await group.waitForAll()
        }
        say("Every command of both nights exited with status 0.")
        return (sound, careless)
    }
}

/// The demo's own server is no run: nothing of it is in a ledger.
private struct NoJournal: ScratchJournal {
    func willCreate(_ item: ScratchItem) async throws {}
    func didRemove(_ item: ScratchItem) async throws {}
}
