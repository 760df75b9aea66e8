import Foundation

/// The production database as `muster mark` sees it. It inserts one row and does nothing else.
package protocol MarkerRows: Sendable {
    /// - Parameter settings: `markers.production`: server, password_file, password_env.
    init(_ settings: SettingsReader, table: MarkerTable, _ environment: DrillEnvironment) throws
    /// For a person, without secrets.
    var place: String { get }
    /// Opens a session after having looked that a row can be inserted, so that no object is put in vain.
    func open() async throws -> any MarkerRowSession
}

package protocol MarkerRowSession: Sendable {
    /// The server's clock.
    func now() async throws -> Date
    func insert(key: ObjectKey, begunAt: Date, objectAt: Date?) async throws -> (number: Int64, insertedAt: Date)
    func close() async
}

/// The production bucket as `muster mark` sees it. It puts one object and does nothing else.
package protocol MarkerObjects: Sendable {
    /// The word in the drill file.
    static var kind: String { get }
    static var shape: SettingsShape { get }
    /// - Parameter bucket: As rows know it.
    init(bucket: String, _ settings: SettingsReader, _ environment: DrillEnvironment) throws
    /// For a person.
    var place: String { get }
    /// - Returns: The store's own clock, where it tells.
    func put(_ key: ObjectKey, _ content: [UInt8]) async throws -> Date?
}

/// Writes one pair: the object first, then the row that names it.
package struct MarkerWriter: Sendable {
    package let drill: String
    package let settings: MarkerSettings
    private let rows: any MarkerRows
    private let objects: any MarkerObjects

    package struct Written: Sendable {
        package var number: Int64
        package var key: ObjectKey
        package var insertedAt: Date
    }

    init(drill: String, settings: MarkerSettings, rows: any MarkerRows, objects: any MarkerObjects) {
        self.drill = drill
        self.settings = settings
        self.rows = rows
        self.objects = objects
    }

    package var tablePlace: String { "\(settings.table.text) of \(rows.place)" }
    package var objectPlace: String { objects.place }

    package func write() async throws -> Written {
        let session = try await rows.open()
        do {
            let begunAt = try await session.now()
            let key = MarkerKey.make(
                prefix: settings.prefix, at: begunAt, random: (0..<3).map { _ in UInt8.random(in: 0...255) })
            let content = "a marker of Muster for the drill \(drill), begun at \(rfc3339(begunAt))\n"
            let objectAt = try await objects.put(key, Array(content.utf8))
            let row = try await session.insert(key: key, begunAt: begunAt, objectAt: objectAt)
            await session.close()
            return Written(number: row.number, key: key, insertedAt: row.insertedAt)
        } catch {
            await session.close()
            throw error
        }
    }
}
