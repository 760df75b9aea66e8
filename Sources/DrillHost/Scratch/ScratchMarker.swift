import CHost
import DrillCore
import Foundation

/// The file in each scratch directory that says whose it is. Nothing is removed without one.
struct ScratchMarker: Codable, Equatable {
    static let fileName = ".muster-scratch"
    private static let limitBytes = 64 << 10

    var run: String
    var host: String
    /// The process that made it, by all that names a process for ever; see `HostIdentity.startTime(ofProcess:)`.
    var process: Int32
    var processStarted: UInt64?
    var boot: String?
    var created: Date
    /// Kept on purpose; `muster gc` leaves it.
    var kept = false

    private enum CodingKeys: String, CodingKey {
        case run, host, process, boot, created, kept
        case processStarted = "process_started"
    }

    /// What this process writes.
    static func ofThisProcess(run: String, at instant: Date) -> ScratchMarker {
        ScratchMarker(
            run: run, host: HostIdentity.hostName, process: getpid(),
            processStarted: HostIdentity.startTime(ofProcess: getpid()), boot: HostIdentity.bootID, created: instant)
    }

    /// Whether its process is surely gone. One on another host, in a shared directory, may be alive.
    var ownerIsGone: Bool {
        guard host == HostIdentity.hostName else { return false }
        if let boot, let now = HostIdentity.bootID, boot != now { return true }
        guard let started = HostIdentity.startTime(ofProcess: process) else { return true }
        return processStarted.map { $0 != started } ?? false
    }

    /// Reads the marker of an open directory.
    /// - Returns: nil where there is none, or where what stands there is no marker of ours.
    static func read(in directory: OwnedDescriptor) -> ScratchMarker? {
        let number = host_open_at(directory.number, fileName, O_RDONLY, 0)
        guard number >= 0 else { return nil }
        let file = OwnedDescriptor(number)
        var information = stat()
        guard fstat(file.number, &information) == 0, information.st_mode & S_IFMT == S_IFREG else { return nil }
        let bytes = [UInt8](unsafeUninitializedCapacity: limitBytes) { buffer, count in
            count = max(0, Glibc.read(file.number, buffer.baseAddress, buffer.count))
        }
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        do {
            return try decoder.decode(ScratchMarker.self, from: Data(bytes))
        } catch {
            return nil  // whatever it is, it does not name a run
        }
    }

    /// Writes it whole: an old marker stands until the new one is on disk.
    func write(in directory: OwnedDescriptor, place: String) throws {
        let encoder = JSONEncoder()
        encoder.dateEncodingStrategy = .iso8601
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
        let text = try encoder.encode(self)
        let temporary = Self.fileName + ".new"
        unlinkat(directory.number, temporary, 0)
        let number = host_open_at(directory.number, temporary, O_WRONLY | O_CREAT | O_EXCL, 0o600)
        var code = number < 0 ? errno : 0
        if number >= 0 {
            let file = OwnedDescriptor(number)
            code = text.withUnsafeBytes { file.writeAll($0) } ?? 0
            if code == 0, fsync(file.number) != 0 { code = errno }
        }
        if code == 0, renameat(directory.number, temporary, directory.number, Self.fileName) != 0 { code = errno }
        if code == 0, fsync(directory.number) != 0 { code = errno }
        guard code == 0 else {
            throw DrillError(.couldNotLook, "cannot write the marker: \(errorText(code))", at: place)
        }
    }
}
