import ArgumentParser
import DrillCore
import Foundation

struct MarkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mark",
        abstract: "Writes one marker to production: puts one object, then inserts one row that names it.",
        discussion: """
            Run it every so often from production's own schedule (`markers.every`); drills then prove that database and \
            objects stand at one instant. It is the only command that writes to production, and one object and one row are all \
            that it writes; nothing is ever changed or deleted. Rows and objects may be pruned by production when they are old.
            """)

    @Argument(help: "A drill file with `markers:`.")
    var file: String

    @Flag(help: "Prints the SQL that makes the table, and writes nothing.")
    var ddl = false

    func run() async throws {
        let workplace = try Workplace()
        let writer = try workplace.loader.markerWriter(file)
        if ddl {
            try writeToOutput(Array(writer.settings.table.definition.utf8))
            return
        }
        let written = try await writer.write()
        workplace.terminal.write(
            harmless(
                "wrote to production: object \(written.key) in \(writer.objectPlace), then row \(written.number) of "
                    + "\(writer.tablePlace) at \(rfc3339(written.insertedAt))") + "\n")
    }
}
