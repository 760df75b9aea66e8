import DrillCore
import Foundation

/// The part of a bucket that belongs to one run: every key that starts with its prefix, which ends in the run's id.
///
/// Nothing is written to S3 but below such a place: a request that writes cannot be made without one (`S3Call.init(writing:)`), and
/// there is one only where it was found to be no part of a source, and empty (P28), or where its marker names the run (P29).
struct ScratchPlace: Sendable {
    static let markerName = Array(".muster-scratch".utf8)

    /// Their prefix is the run's, with its slash.
    let settings: S3Settings
    let runID: String

    fileprivate init(_ settings: S3Settings, runID: String) {
        self.settings = settings
        self.runID = runID
    }

    /// Without a slash at its end.
    var place: String { String(settings.place.dropLast()) }

    func isIn(_ address: S3Address) -> Bool {
        address.bucket == settings.address.bucket && address.endpoint == settings.address.endpoint
    }

    /// What the marker says: whose the place is.
    fileprivate struct Marker: Codable {
        var run: String
        var host: String
        var madeBy = "muster"
        private enum CodingKeys: String, CodingKey {
            case run, host
            case madeBy = "made_by"
        }
    }

    func marker(host: String) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array(try encoder.encode(Marker(run: runID, host: host))) + Array("\n".utf8)
    }

    // MARK: Finding one

    /// The place of a run below what the drill file names. Writes nothing yet.
    ///
    /// - Throws: `couldNotLook` where it must not be written to: it shares keys with a source, something is there already, or
    ///   the bucket locks objects, so that they could not be removed.
    static func claim(
        _ base: S3Settings, runID: String, sources: [KeptBucket], _ environment: DrillEnvironment
    ) async throws -> ScratchPlace {
        var settings = base
        settings.prefix = base.prefix + Array("muster-\(runID)/".utf8)
        let reader = BucketReader(settings, environment)
        try await refuseLocks(reader)
        for source in sources {
            guard let other = source.source.bucketReader, overlap(base.prefix, other.prefix),
                try await isSameBucket(reader, other, source.example)
            else { continue }
            throw DrillError(
                .couldNotLook, "shares keys with the source \(other.place), which is only read", at: base.place,
                hints: ["Name another bucket, or a prefix apart from the source's, in scratch.objects."])
        }
        guard try await ScratchRemoval.isEmpty(reader, prefix: settings.prefix) else {
            throw DrillError(
                .couldNotLook, "something is there already, and scratch is never used twice", at: settings.place)
        }
        return ScratchPlace(settings, runID: runID)
    }

    /// The place of a run that was killed, where its marker is there and names that run; nil where nothing is there.
    ///
    /// - Throws: `cleanupFailed` where what is there is not that run's.
    static func left(
        _ settings: S3Settings, runID: String, _ environment: DrillEnvironment
    ) async throws -> ScratchPlace? {
        guard settings.prefix.suffix(runID.utf8.count + 8).elementsEqual("muster-\(runID)/".utf8) else {
            throw DrillError(.cleanupFailed, "the prefix does not bear the run's id \(runID)", at: settings.place)
        }
        let reader = BucketReader(settings, environment)
        do {
            let body = try await reader.client.send(S3Call(.getObject, key: settings.prefix + markerName)).body
            let marker = try JSONDecoder().decode(Marker.self, from: Data(body))
            if marker.run == runID { return ScratchPlace(settings, runID: runID) }
        } catch let error as S3ServiceError where error.status == 404 && error.isFromS3 {
            if try await ScratchRemoval.isEmpty(reader, prefix: settings.prefix) { return nil }
        } catch is DecodingError {
            // Whatever it is, it does not name a run.
        } catch {
            throw await reader.described(error)
        }
        throw DrillError(
            .cleanupFailed, "it bears no marker of run \(runID), so it was left as it is", at: settings.place,
            hints: ["Look into it, and remove it by hand if nothing needs it."])
    }

    /// Whether one of the prefixes is, holds or lies in the other.
    static func overlap(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        one.starts(with: other) || other.starts(with: one)
    }

    /// Two names may stand for one bucket: what the source listed is looked for where copies are to go.
    private static func isSameBucket(
        _ scratch: BucketReader, _ source: BucketReader, _ example: CopyEntry?
    ) async throws -> Bool {
        let (one, other) = (scratch.client.address, source.client.address)
        if one.bucket == other.bucket, one.endpoint == other.endpoint { return true }
        guard let example else { return false }
        var call = S3Call(.headObject, key: source.fullKey(example.key))
        if let version = example.reading.version { call.query = [("versionId", Array(version.text.utf8))] }
        do {
            let head = try await scratch.client.send(call).head
            let modified = head.value("last-modified").flatMap(Timestamps.httpDateSeconds).map(Double.init)
            let isSameTime =
                zip([modified].compactMap { $0 }, [example.reading.modifiedAt?.timeIntervalSince1970].compactMap { $0 })
                .allSatisfy { abs($0 - $1) < 2 }
            let etag = head.value("etag")?.filter { $0 != "\"" }
            return isSameTime && (example.reading.etag == nil || etag == example.reading.etag)
        } catch let error as S3ServiceError where [400, 404, 405].contains(error.status) {
            return false
        } catch let error as S3ServiceError where error.status == 403 {
            // It may be, and may not be told: then the name decides.
            return one.bucket == other.bucket
        } catch {
            throw await scratch.described(error)
        }
    }

    /// Objects in a bucket with Object Lock may be impossible to remove (P29).
    private static func refuseLocks(_ reader: BucketReader) async throws {
        do {
            let response = try await reader.client.send(S3Call(.objectLock, query: [("object-lock", nil)]))
            guard try SmallDocument(response.body).text("ObjectLockEnabled") == "Enabled" else { return }
        } catch let error as S3ServiceError
            where [404, 405, 501].contains(error.status) && error.code != "NoSuchBucket"
        {
            return
        } catch let problem as XMLProblem {
            throw DrillError(
                .couldNotLook, "GetObjectLockConfiguration was answered with something else than S3 sends: \(problem)",
                at: reader.place)
        } catch {
            throw await reader.described(error)
        }
        throw DrillError(
            .couldNotLook, "the bucket has Object Lock, so that what is written there may be impossible to remove",
            at: reader.place, hints: ["Name a bucket without Object Lock in scratch.objects."])
    }
}

// MARK: The journal

extension ScratchPlace {
    /// Everything needed to find the place again, without secrets; see ``settings(from:_:)``.
    var locator: String {
        var words = ["s3://\(settings.address.bucket)/" + Self.encoded(settings.prefix)]
        func add(_ name: String, _ value: String?) {
            if let value { words.append("\(name)=\(Self.encoded(Array(value.utf8)))") }
        }
        add("region", settings.address.region)
        add("endpoint", settings.address.endpoint.map { "\($0)" })
        add("path_style", "\(settings.address.isPathStyle)")
        add("profile", settings.profile)
        add("ca_file", settings.address.trust.caFile)
        if !settings.address.trust.verifiesPeer { add("insecure", "true") }
        if settings.address.requesterPays { add("request_payer", "true") }
        return words.joined(separator: " ")
    }

    private static func encoded(_ bytes: [UInt8]) -> String {
        var encoded: [UInt8] = []
        URLEncoding.appendPath(bytes, to: &encoded)
        return String(decoding: encoded, as: UTF8.self)
    }

    /// nil where the text is no locator.
    static func settings(from locator: String, _ environment: DrillEnvironment) throws -> S3Settings? {
        let words = locator.split(separator: " ").map(String.init)
        guard let url = words.first, let (bucket, encoded) = S3Settings.location(url) else { return nil }
        func decoded(_ bytes: some Sequence<UInt8>) -> [UInt8] {
            Array((String(decoding: Array(bytes), as: UTF8.self).removingPercentEncoding ?? "").utf8)
        }
        var values: [String: String] = [:]
        for word in words.dropFirst() {
            guard let equals = word.firstIndex(of: "=") else { return nil }
            values[String(word[..<equals])] = String(
                decoding: decoded(word[word.index(after: equals)...].utf8), as: UTF8.self)
        }
        var settings = try S3Settings(bucket: bucket, prefix: decoded(encoded), environment)
        settings.profile = values["profile"]
        settings.address = S3Address(
            bucket: bucket, endpoint: values["endpoint"].flatMap(S3Address.origin),
            region: values["region"] ?? settings.address.region, pathStyle: values["path_style"] == "true")
        settings.address.trust = HTTPTrust(caFile: values["ca_file"], verifiesPeer: values["insecure"] != "true")
        settings.address.requesterPays = values["request_payer"] == "true"
        return settings
    }
}

/// Removes the copies in a bucket that a killed run left behind.
struct ScratchPrefixRemover: ScratchRemover {
    static let itemKind = "s3_prefix"
    private let environment: DrillEnvironment

    init(environment: DrillEnvironment) { self.environment = environment }

    func remove(_ item: ScratchItem, ofRun runID: String) async throws {
        guard let settings = try ScratchPlace.settings(from: item.locator, environment) else {
            throw DrillError(.cleanupFailed, "this names no prefix of a bucket", at: item.locator)
        }
        guard let place = try await ScratchPlace.left(settings, runID: runID, environment) else { return }
        try await ScratchRemoval(place, environment).run()
    }
}
