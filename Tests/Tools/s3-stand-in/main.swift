// Runs the S3 stand-in outside of a test, for benchmarks and for looking at it with other clients.
import DrillTestKit
import Foundation
import Glibc

/// What the command line asks for.
struct Options {
    var portFile: String?
    var generatedBucket: String?
    var emptyBuckets: [String] = []
    var keys = 0
    var versions = 1
    var keyFormat = GeneratedKeys.defaultFormat
    var omitEvery = 0
    var latencyMilliseconds = 0
    var slowDownShare = 0.0
    var cutShare = 0.0
    var seed: UInt64 = 1
    var credential: StandInCredential?

    static let usage = """
        usage: s3-stand-in [--port-file FILE] [--bucket NAME]... [--generated-bucket NAME --keys N] [--versions N]
                           [--key-format 'users/{i}/avatar-{hash}.png'] [--omit-every N] [--latency-ms N]
                           [--slow-down-share P] [--cut-share P] [--seed N] [--access-key ID --secret-key-file FILE]

        Prints its endpoint, runs until SIGTERM or SIGINT, then prints request counters as JSON.
        --omit-every N leaves out objects N-1, 2N-1, 3N-1 and so on.
        """

    /// - Returns: `nil` when the arguments make no sense.
    init?(_ arguments: [String]) {
        var accessKey: String?
        var secret: String?
        var rest = arguments[...]
        while let name = rest.popFirst() {
            guard let value = rest.popFirst() else { return nil }
            switch name {
            case "--port-file": portFile = value
            case "--generated-bucket": generatedBucket = value
            case "--bucket": emptyBuckets.append(value)
            case "--key-format": keyFormat = value
            case "--access-key": accessKey = value
            case "--secret-key-file":
                guard let text = FileManager.default.contents(atPath: value) else { return nil }
                secret = String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            default: guard setNumber(name, value) else { return nil }
            }
        }
        if let accessKey, let secret { credential = StandInCredential(accessKey: accessKey, secret: secret) }
        guard (accessKey == nil) == (secret == nil), keyFormat.contains("{i}"), versions >= 1 else { return nil }
        guard (0...100_000_000).contains(keys) else { return nil }
    }

    private mutating func setNumber(_ name: String, _ value: String) -> Bool {
        if name == "--slow-down-share" || name == "--cut-share" {
            guard let share = Double(value), (0...1).contains(share) else { return false }
            if name == "--cut-share" { cutShare = share } else { slowDownShare = share }
            return true
        }
        guard let number = Int(value), number >= 0 else { return false }
        switch name {
        case "--keys": keys = number
        case "--versions": versions = number
        case "--omit-every": omitEvery = number
        case "--latency-ms": latencyMilliseconds = number
        case "--seed": seed = UInt64(number)
        default: return false
        }
        return true
    }
}

func makeStandIn(_ options: Options) throws -> S3StandIn {
    var settings = StandInSettings()
    settings.recordsRequests = false
    let standIn = try S3StandIn(settings)
    for name in options.emptyBuckets { _ = standIn.bucket(name) }
    if let name = options.generatedBucket {
        let every = options.omitEvery
        let omitted = every > 0 ? [Int](stride(from: every - 1, to: options.keys, by: every)) : []
        standIn.bucket(name).generated(
            count: options.keys, keyFormat: options.keyFormat, versionsPerKey: options.versions, omitting: omitted)
    }
    if let credential = options.credential { standIn.accept(credential) }
    if options.latencyMilliseconds > 0 { standIn.inject(.latency(.milliseconds(options.latencyMilliseconds))) }
    if options.slowDownShare > 0 {
        standIn.inject(.slowDown, into: .every.share(options.slowDownShare, seed: options.seed))
    }
    if options.cutShare > 0 {
        standIn.inject(.cutBody(fraction: 0.5), into: .every.share(options.cutShare, seed: options.seed &+ 1))
    }
    return standIn
}

func summary(_ counts: RequestCounts) throws -> String {
    let operations = Dictionary(uniqueKeysWithValues: counts.byOperation.map { ($0.key.rawValue, $0.value) })
    let statuses = Dictionary(uniqueKeysWithValues: counts.byStatus.map { (String($0.key), $0.value) })
    let json: [String: Any] = [
        "requests": counts.total, "operations": operations, "statuses": statuses, "bytes_sent": counts.bytesSent,
        "connections": counts.connections, "most_in_flight": counts.mostInFlight, "faulted": counts.faulted,
        "listings_begun": counts.listingsBegun,
    ]
    return String(decoding: try JSONSerialization.data(withJSONObject: json, options: [.sortedKeys]), as: UTF8.self)
}

guard let options = Options([String](CommandLine.arguments.dropFirst())) else {
    FileHandle.standardError.write(Data((Options.usage + "\n").utf8))
    exit(64)
}
// Blocked before any thread starts, so that only sigwait below takes them.
var ending = sigset_t()
sigemptyset(&ending)
sigaddset(&ending, SIGTERM)
sigaddset(&ending, SIGINT)
pthread_sigmask(SIG_BLOCK, &ending, nil)

let standIn = try makeStandIn(options)
if let portFile = options.portFile {
    // Whole or not there: whoever waits for the file may read it at once.
    try Data("\(standIn.port)\n".utf8).write(to: URL(fileURLWithPath: portFile), options: .atomic)
}
FileHandle.standardOutput.write(Data("\(standIn.endpoint)\n".utf8))
var received: Int32 = 0
sigwait(&ending, &received)
let counts = standIn.counts
standIn.stop()
FileHandle.standardOutput.write(Data((try summary(counts) + "\n").utf8))
