import ArgumentParser
import DrillCore

struct SchemaCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema", abstract: "Prints the JSON Schema of drill files, for editors.")

    func run() async throws {
        try writeToOutput(Array(try DrillFileSchema(registry: .builtIns).text().utf8))
    }
}
