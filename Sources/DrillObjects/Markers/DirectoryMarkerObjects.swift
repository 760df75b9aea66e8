import DrillCore
import Foundation

/// Writes one marker object as a file, where production keeps its objects in a directory.
struct DirectoryMarkerObjects: MarkerObjects {
    static let kind = "directory"
    static let shape = SettingsShape(
        "directory: the directory in which production keeps its objects",
        [SettingsField("path", .text, required: true, "The directory that holds one file an object; it must be there.")]
    )

    let place: String

    init(bucket: String, _ settings: SettingsReader, _ environment: DrillEnvironment) throws {
        place = settings.source.absolute(try settings.requiredString("path"))
    }

    func put(_ key: ObjectKey, _ content: [UInt8]) async throws -> Date? {
        if let fault = KeyPath.fault(of: key, componentLimit: KeyPath.usualComponentLimit) {
            throw DrillError(.usage, "no path can hold the key \(key): \(fault)", at: place)
        }
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: place, isDirectory: &isDirectory), isDirectory.boolValue else {
            throw DrillError(.couldNotLook, "there is no such directory", at: place, hints: ["Is the volume mounted?"])
        }
        let file = URL(fileURLWithPath: place).appending(path: String(decoding: key.bytes, as: UTF8.self))
        do {
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            // A name that is taken is never written over: it is another marker's.
            try Data(content).write(to: file, options: .withoutOverwriting)
        } catch {
            throw DrillError(.couldNotLook, "the marker cannot be written", at: file.path, cause: error)
        }
        return nil
    }
}
