import Foundation

/// An S3 server in this process, on 127.0.0.1 and a port of its own, that follows a script.
///
/// It means to be Amazon S3 to the byte where clients can tell, and is wrong exactly where a fault says so:
/// ```swift
/// let standIn = try S3StandIn()
/// let bucket = standIn.bucket("uploads")
/// bucket.setVersioning(.enabled)
/// bucket.put("users/1.png".utf8, body: "old".utf8, at: t - 60)
/// bucket.delete("users/1.png".utf8, at: t)
/// standIn.inject(.slowDown, into: .listings.first(3))
/// standIn.inject(.cut(afterBytes: 700), into: .of(.getObject).number(2))
/// // point a client at standIn.endpoint, then look at standIn.counts and standIn.requests
/// ```
/// It stops with its last reference, or by `stop()`.
package final class S3StandIn: Sendable {
    private let server: StandInServer

    package init(_ settings: StandInSettings = StandInSettings()) throws(StandInError) {
        server = try StandInServer()
        server.state.withLock { $0.settings = settings }
    }

    deinit { server.stop() }

    package func stop() { server.stop() }

    package var port: UInt16 { server.port }

    /// For path style; `http://BUCKET.s3.localhost:PORT` is virtual-host style.
    package var endpoint: String { "http://127.0.0.1:\(server.port)" }

    package var settings: StandInSettings {
        get { server.state.withLock { $0.settings } }
        set { server.state.withLock { $0.settings = newValue } }
    }

    // MARK: What there is

    /// The bucket of this name, made if there is none.
    /// - Parameter region: Only looked at when the bucket is made.
    package func bucket(_ name: String, region: String = "us-east-1") -> StandInBucket {
        server.state.withLock { state in
            if state.buckets[name] == nil {
                state.buckets[name] = BucketState(name: name, region: region, createdAt: state.clock())
            }
        }
        return StandInBucket(name: name, server: server)
    }

    // MARK: Who may what

    /// From the first credential on, requests must be signed with one of them.
    package func accept(_ credential: StandInCredential) {
        server.state.withLock { $0.credentials[credential.accessKey] = credential }
    }

    /// - Parameter accessKey: `nil` for everybody.
    package func deny(_ permissions: Set<S3Permission>, to accessKey: String? = nil) {
        server.state.withLock { $0.denied[accessKey ?? ""] = permissions }
    }

    /// The server's clock: for `Date`, for the age of signatures, and for what is written through HTTP.
    package func setClock(_ clock: @escaping @Sendable () -> Date) {
        server.state.withLock { $0.clock = clock }
    }

    /// The server's clock runs by this many seconds ahead of ours.
    package func setClock(aheadBy seconds: TimeInterval) { setClock { Date() + seconds } }

    // MARK: What goes wrong

    package func inject(_ fault: S3Fault, into filter: RequestFilter = .every) {
        server.state.withLock { $0.rules.append(FaultRule(fault, filter)) }
    }

    package func clearFaults() { server.state.withLock { $0.rules = [] } }

    // MARK: What was asked

    package var counts: RequestCounts { server.log.withLock { $0.counts } }

    /// In the order in which they came. Whoever has an answer finds its status and size here.
    package var requests: [RecordedRequest] { server.log.withLock { $0.requests } }

    package func clearRequests() { server.log.withLock { $0.clear() } }
}

/// A bucket of a stand-in, to be filled by a script with exact instants.
package struct StandInBucket: Sendable {
    package let name: String
    let server: StandInServer

    package func setVersioning(_ status: VersioningStatus) { change { bucket in bucket.versioning = status } }

    package func setLifecycle(_ rules: [LifecycleRule]) {
        change { $0.lifecycle = rules.isEmpty ? nil : LifecycleRule.document(rules.map(\.xml).joined()) }
    }

    /// Writes an object as the bucket's versioning has it at this moment of the script.
    /// - Parameters:
    ///   - instant: `nil` for the server's clock. Versions are ordered by it, with its fraction of a second; of two at
    ///     the same instant the one written later in the script is the newer.
    ///   - versionID: `nil` for one that the stand-in makes up; only looked at where versioning is enabled.
    ///   - describe: Changes what S3 says about the object.
    /// - Returns: The version's id, `null` outside of versioning.
    @discardableResult
    package func put(
        _ key: some Sequence<UInt8>, body: some Sequence<UInt8> = [], at instant: Date? = nil, versionID: String? = nil,
        _ describe: (inout StandInObject) -> Void = { _ in }
    ) -> String {
        var object = StandInObject([UInt8](body))
        describe(&object)
        return insert(object, key, at: instant, versionID: versionID)
    }

    /// Writes an object as a multipart upload would, with the LastModified that `settings.multipartTime` chooses (S15).
    @discardableResult
    package func putMultipart(
        _ key: some Sequence<UInt8>, parts: [[UInt8]], initiatedAt: Date, completedAt: Date, versionID: String? = nil,
        checksum: (algorithm: ObjectChecksum.Algorithm, kind: ObjectChecksum.Kind)? = nil
    ) -> String {
        let time = server.state.withLock { $0.settings.multipartTime }
        return insert(
            StandInObject(parts: parts, checksum: checksum), key, at: time == .initiation ? initiatedAt : completedAt,
            versionID: versionID)
    }

    /// A DELETE without version id: a delete marker, or nothing left where the bucket was never versioned.
    /// - Returns: The marker's version id.
    @discardableResult
    package func delete(_ key: some Sequence<UInt8>, at instant: Date? = nil, versionID: String? = nil) -> String? {
        server.state.withLock { state in
            let made = state.newVersionID(in: name)
            let chosen = made == "null" ? made : versionID ?? made
            let sequence = state.nextSequence()
            return state.buckets[name]?.delete(
                [UInt8](key), at: instant ?? state.clock(), versionID: chosen, sequence: sequence)
        }
    }

    /// Removes one version or delete marker for good (S18).
    package func deleteVersion(_ key: some Sequence<UInt8>, _ versionID: String) {
        change { _ = $0.stored.remove(versionID, of: [UInt8](key)) }
    }

    /// Changes what S3 says about an object or its bytes, behind everybody's back.
    /// - Parameter versionID: `nil` for the current version.
    /// - Returns: Whether there is such an object.
    @discardableResult
    package func alter(
        _ key: some Sequence<UInt8>, versionID: String? = nil, _ alter: (inout StandInObject) -> Void
    ) -> Bool {
        server.state.withLock { state in
            state.buckets[name]?.stored.change([UInt8](key), versionID: versionID) { version in
                guard var object = version.object else { return }
                alter(&object)
                version.object = object
            } ?? false
        }
    }

    /// Listings leave this key out, HEAD and GET find it (S8).
    package func hide(_ key: some Sequence<UInt8>) { change { $0.hiddenKeys.insert([UInt8](key)) } }

    /// Turns the bucket into one of `count` objects that follow from their number by the formulas of `GeneratedKeys`.
    /// - Parameters:
    ///   - versionsPerKey: More than one also enables versioning.
    ///   - omitting: Numbers of objects that are not there.
    @discardableResult
    package func generated(
        count: Int, keyFormat: String = GeneratedKeys.defaultFormat, versionsPerKey: Int = 1, omitting: [Int] = []
    ) -> GeneratedKeys {
        let keys = GeneratedKeys(
            count: count, keyFormat: keyFormat, versionsPerKey: versionsPerKey, omitting: omitting)
        change { bucket in
            bucket.contents = .generated(keys)
            bucket.versioning = versionsPerKey > 1 ? .enabled : .never
        }
        return keys
    }

    /// Versions and delete markers of a key, newest first, as `version id` and whether it is a delete marker.
    package func history(_ key: some Sequence<UInt8>) -> [(versionID: String, isDeleteMarker: Bool, lastModified: Date)]
    {
        server.state.withLock { state in
            (state.buckets[name]?.versions(of: [UInt8](key)) ?? []).map { version in
                (
                    versionID: version.versionID, isDeleteMarker: version.isDeleteMarker,
                    lastModified: version.lastModified
                )
            }
        }
    }

    private func insert(
        _ object: StandInObject, _ key: some Sequence<UInt8>, at instant: Date?, versionID: String?
    ) -> String {
        server.state.withLock { state in
            let made = state.newVersionID(in: name)
            let chosen = made == "null" ? made : versionID ?? made
            let sequence = state.nextSequence()
            state.buckets[name]?.put(
                object, [UInt8](key), at: instant ?? state.clock(), versionID: chosen, sequence: sequence)
            return chosen
        }
    }

    private func change(_ change: (inout BucketState) -> Void) {
        server.state.withLock { state in
            guard var bucket = state.buckets[name] else { return }
            state.buckets[name] = nil
            change(&bucket)
            state.buckets[name] = bucket
        }
    }
}
