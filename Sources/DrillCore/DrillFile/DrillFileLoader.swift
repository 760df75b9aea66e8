import Crypto
import Foundation

/// Reads a drill file into a ``Drill``. Everything that can be refused is refused here, before anything is created, as a
/// `DrillError` with code `usage`, file and line.
package struct DrillFileLoader: Sendable {
    let registry: Registry
    private var environment: DrillEnvironment
    let files: any DrillFiles

    package init(registry: Registry, environment: DrillEnvironment, files: any DrillFiles) {
        self.registry = registry
        self.environment = environment
        self.files = files
    }

    /// What the command line says beside the file.
    package struct Overrides: Sendable {
        package var target: RecoveryTarget?
        package var keep: ScratchSettings.Keep?
        package init(target: RecoveryTarget? = nil, keep: ScratchSettings.Keep? = nil) {
            self.target = target
            self.keep = keep
        }
    }

    package func load(_ path: String, _ overrides: Overrides = Overrides()) throws -> Drill {
        var loader = self
        return try loader.read(path, overrides)
    }

    private mutating func read(_ path: String, _ overrides: Overrides) throws -> Drill {
        let bytes = try files.contents(of: path, limitBytes: DrillFileText.limitBytes)
        let (reader, source) = try root(path, bytes)
        let name = try reader.requiredString("drill")
        guard (1...63).contains(name.utf8.count), name.utf8.allSatisfy(isDrillNameByte) else {
            throw reader.error("drill", "'\(printable(name.utf8))' is no name: [a-z0-9-]{1,63}")
        }
        environment.traffic = TrafficMeter(try limits(reader))
        var scratch = try self.scratch(reader, source, overrides)
        let backup = try self.backup(reader, source, scratch, overrides)
        scratch.copier = try copier(reader, scratch, backup.settings)
        let objectives = try self.objectives(reader, backup.settings)
        let probes = try self.probes(reader, source, backup)
        return Drill(
            name: name, description: try reader.string("description"), path: path,
            digest: hexadecimal(SHA256.hash(data: bytes)), objectives: objectives,
            deadline: try reader.positiveDuration("deadline"), backup: backup.settings, scratch: scratch,
            probes: probes,
            traffic: environment.traffic)
    }

    private func limits(_ reader: SettingsReader) throws -> TrafficLimits {
        guard let own = try reader.settings("limits", DrillFileShape.limits) else { return TrafficLimits() }
        let bytes = try own.byteCount("bytes")
        if bytes == 0 { throw own.error("bytes", "must be more than nothing") }
        return TrafficLimits(requests: try own.integer("requests", in: 1...Int64.max), bytes: bytes)
    }

    private func root(_ path: String, _ bytes: [UInt8]) throws -> (SettingsReader, DrillFileSource) {
        let source = DrillFileSource(
            path: path, directory: files.directory(of: path), variables: environment.variables, files: files)
        let node = try DrillFileText.parse(bytes, source)
        return (try SettingsReader(node, shape: DrillFileShape.root, path: "", source: source), source)
    }

    private func isDrillNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
    }

    /// What `muster mark` does with that file. Of the backup only names are read: where production writes, no backup need be.
    package func markerWriter(_ path: String) throws -> MarkerWriter {
        let (reader, source) = try root(path, files.contents(of: path, limitBytes: DrillFileText.limitBytes))
        guard let own = try reader.settings("markers", MarkerSettings.shape) else {
            throw DrillError(.usage, "there are no `markers:` in this drill file", at: path)
        }
        let production = try own.required("production", own.settings("production", MarkerSettings.production))
        let buckets = try reader.node("backup")?["objects"]?.list?.compactMap { try $0["bucket"].flatMap(source.text) }
        let settings = try MarkerSettings(own, buckets: buckets ?? [])
        let (kind, part) = try production.required("objects", kinded(production, "objects", .markerObjects))
        guard let rows = registry.markerRows, let objects = registry.markerObjects[kind] else {
            throw production.error("objects", "unknown kind `\(kind)`")
        }
        return MarkerWriter(
            drill: try reader.requiredString("drill"), settings: settings,
            rows: try rows.init(production, table: settings.table, environment),
            objects: try objects.init(bucket: settings.bucket, part, environment))
    }

    private func objectives(_ reader: SettingsReader, _ backup: BackupSettings) throws -> Objectives {
        guard let own = try reader.settings("objectives", DrillFileShape.objectives) else { return Objectives() }
        let objectives = Objectives(
            rpo: try own.positiveDuration("rpo"), rto: try own.positiveDuration("rto"),
            maxBackupAge: try own.positiveDuration("max_backup_age"))
        if objectives.rto != nil, backup.database.strategy == "restored" {
            throw own.error("rto", "cannot be judged: Muster does not restore a database of kind `restored`")
        }
        return objectives
    }

    private func scratch(
        _ reader: SettingsReader, _ source: DrillFileSource, _ overrides: Overrides
    ) throws -> ScratchSettings {
        let own = try reader.settings("scratch", DrillFileShape.scratch)
        let fallback = environment.variables["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/var/tmp"
        let directory = try own?.directory("directory") ?? fallback
        var settings = ScratchSettings(
            directory: directory, keep: try overrides.keep ?? own?.choice("keep", ScratchSettings.Keep.self) ?? .never)
        if let own, let (kind, part) = try kinded(own, "database", .scratchDatabase) {
            (settings.databaseKind, settings.database) = (kind, part)
        }
        if let own, let (kind, part) = try kinded(own, "objects", .scratchObjects) {
            (settings.objectsKind, settings.objects) = (kind, part)
        }
        return settings
    }

    private func copier(
        _ reader: SettingsReader, _ scratch: ScratchSettings, _ backup: BackupSettings
    ) throws -> (any ObjectCopier)? {
        guard let settings = scratch.objects, let type = registry.copiers[scratch.objectsKind] else { return nil }
        guard !backup.objects.isEmpty else {
            throw settings.error("kind", "there is nothing to copy: backup.objects is not there")
        }
        let sources = try reader.node("backup").map { try bucketURLs(in: $0, reader.source) } ?? []
        return try type.init(
            settings, CopyContext(environment: environment, sources: backup.objects, bucketURLs: sources))
    }

    /// Every `s3://…` that stands anywhere below that node.
    private func bucketURLs(in node: SettingsNode, _ source: DrillFileSource) throws -> [String] {
        if let mapping = node.mapping { return try mapping.flatMap { try bucketURLs(in: $0.value, source) } }
        if let list = node.list { return try list.flatMap { try bucketURLs(in: $0, source) } }
        guard let text = try source.text(node), text.hasPrefix("s3://") else { return [] }
        return [text]
    }

    /// The kind of the mapping at that key, and a reader of its other keys; nil where the key is not there.
    private func kinded(
        _ reader: SettingsReader, _ key: String, _ category: KindCategory
    ) throws -> (String, SettingsReader)? {
        guard let node = reader.node(key) else { return nil }
        return try kinded(node, path: reader.joined(key), category, reader.source, common: [])
    }

    private func kinded(
        _ node: SettingsNode, path: String, _ category: KindCategory, _ source: DrillFileSource, common: [String]
    ) throws -> (String, SettingsReader) {
        guard node.mapping != nil else {
            throw source.error("\(path) must be a mapping with a `kind`", line: node.line)
        }
        let shapes = registry.shapes(category)
        let known = "Known kinds: \(shapes.keys.sorted().joined(separator: ", "))."
        guard let kindNode = node["kind"], let kind = try source.text(kindNode) else {
            throw source.error("\(path): `kind` is missing", line: node.line, hints: [known])
        }
        guard let shape = shapes[kind] else {
            throw source.unknown(category.rawValue, kind, at: path, known: Array(shapes.keys), line: kindNode.line)
        }
        return (kind, try SettingsReader(node, shape: shape, path: path, source: source, extraKeys: ["kind"] + common))
    }

    private struct Backup {
        var settings: BackupSettings
        var authorities: [String]
    }

    private func backup(
        _ reader: SettingsReader, _ source: DrillFileSource, _ scratch: ScratchSettings, _ overrides: Overrides
    ) throws -> Backup {
        let own = try reader.required("backup", reader.settings("backup", DrillFileShape.backup))
        let target = try overrides.target ?? self.target(own)
        let settle = try own.duration("settle") ?? SetRules.standardSettle
        let context = PartContext(
            environment: environment, drillFileDirectory: source.directory, hasSets: own.has("sets"),
            setsAreRemote: try own.string("sets").map { scheme(of: $0) != "file" } ?? false, scratch: scratch,
            target: target, settle: settle, deadline: try reader.positiveDuration("deadline"), registry: registry)
        let (kind, part) = try own.required("database", kinded(own, "database", .database))
        guard let type = registry.restorers[kind] else { throw own.error("database", "unknown kind `\(kind)`") }
        let database = try type.init(part, context)
        if target.isPlaceInLog, database.strategy != "point_in_time" {
            throw DrillError(
                .usage, "a database of kind `\(kind)` cannot be recovered to \(target.text)",
                at: own.has("target") ? own.place("target") : own.place(),
                hints: ["Only kinds that replay WAL can: a base backup with an archive, and the tools that make those."]
            )
        }
        var objects: [any ObjectBackup] = []
        var authorities: [String] = []
        for (index, node) in try (own.list("objects") ?? []).enumerated() {
            let path = "backup.objects[\(index)]"
            let (kind, part) = try kinded(node, path: path, .objects, source, common: ["bucket"])
            guard let bucketNode = node["bucket"], let bucket = try source.text(bucketNode), !bucket.isEmpty else {
                throw source.error("\(path): `bucket` is missing", line: node.line)
            }
            guard !objects.contains(where: { $0.bucket == bucket }) else {
                throw source.error("\(path): bucket `\(bucket)` stands twice in backup.objects", line: bucketNode.line)
            }
            if let endpoint = try node["endpoint"].flatMap(source.text), let authority = authority(of: endpoint) {
                authorities.append(authority)
            }
            guard let type = registry.objectBackups[kind] else {
                throw source.error("unknown kind `\(kind)`", line: node.line)
            }
            objects.append(try type.init(bucket: bucket, part, context))
        }
        let files = self.files
        let hooks = try own.settings("hooks", VolumeHooks.shape).map {
            try VolumeHooks($0, isFile: { files.isFile($0) })
        }
        let listed = try self.catalog(own, source, database, objects, target, settle, hooks)
        let catalog: any BackupCatalog = hooks == nil ? listed : UnmountedCatalog(catalog: listed)
        return Backup(
            settings: BackupSettings(
                target: target, fallBack: try own.bool("fall_back") ?? true, settle: settle, database: database,
                objects: objects, catalog: catalog, hooks: hooks),
            authorities: authorities)
    }

    private func target(_ reader: SettingsReader) throws -> RecoveryTarget {
        if let own = reader.node("target")?.mapping == nil ? nil : try reader.settings("target", DrillFileShape.target)
        {
            switch (try own.string("lsn"), try own.string("name")) {
            case (let lsn?, nil):
                guard isLSN(lsn) else {
                    throw own.error("lsn", "'\(lsn)' is no LSN", hints: ["Write it as PostgreSQL does: 0/1A2B3C4D."])
                }
                return .lsn(lsn)
            case (nil, let name?): return .name(name)
            default: throw reader.error("target", "give either `lsn` or `name`")
            }
        }
        guard let text = try reader.string("target"), text != "latest" else { return .latest }
        guard let instant = parseInstant(text) else {
            throw reader.error(
                "target", "'\(text)' is neither `latest` nor an instant",
                hints: [
                    "Write RFC 3339 with an offset, such as 2026-11-14T14:30:05Z: without one nobody knows which zone is meant."
                ])
        }
        return .instant(instant)
    }

    private func scheme(of place: String) -> String {
        place.firstRange(of: "://").map { String(place[..<$0.lowerBound]) } ?? "file"
    }

    private func catalog(
        _ reader: SettingsReader, _ source: DrillFileSource, _ database: any Restorer, _ objects: [any ObjectBackup],
        _ target: RecoveryTarget, _ settle: Duration, _ hooks: VolumeHooks?
    ) throws -> any BackupCatalog {
        if let own = try database.catalog() {
            for key in ["sets", "hooks"] where reader.has(key) {
                throw reader.error(key, "this database kind has a catalog of its own")
            }
            return own
        }
        guard let sets = try reader.string("sets") else {
            if reader.has("named") { throw reader.error("named", "means nothing without `sets`") }
            if hooks?.list != nil { throw reader.error("hooks", "`list` means nothing without `sets`") }
            return FixedCatalog(database: database, objects: objects, place: source.path)
        }
        let pattern = try reader.requiredString("named")
        let scheme = scheme(of: sets)
        guard let folderKind = registry.folders[scheme] else {
            throw reader.error(
                "sets", "cannot read sets from `\(scheme)://`", hints: ["A directory or s3://bucket/prefix."])
        }
        let location = scheme == "file" ? source.absolute(sets) : sets
        if scheme != "file", database.strategy == "snapshot" {
            throw reader.error("sets", "a snapshot of a data directory is a directory of this machine, not a bucket's")
        }
        if scheme == "file", hooks?.list == nil, !files.isDirectory(location) {
            throw reader.error("sets", "there is no directory `\(sets)`", hints: ["Is the volume mounted?"])
        }
        let name: SetName
        do {
            name = try SetName(pattern)
        } catch {
            let error = DrillError(wrapping: error)
            throw reader.error("named", error.what, hints: error.hints)
        }
        let environment = self.environment
        let listing = hooks.flatMap { hooks -> FolderCatalog.Listing? in
            guard hooks.list != nil else { return nil }
            return { try await hooks.names(environment) }
        }
        return FolderCatalog(
            folder: try folderKind.open(location, settings: nil, environment: environment), name: name,
            database: database,
            objects: objects,
            target: target, settle: settle, clock: environment.clock, listing: listing)
    }

    /// `host` or `host:port` of an endpoint URL, without the scheme's own port.
    private func authority(of endpoint: String) -> String? {
        guard let parts = URLComponents(string: endpoint), let host = parts.host else { return nil }
        let own = parts.scheme == "https" ? 443 : 80
        return parts.port.flatMap { $0 == own ? nil : "\(host):\($0)" } ?? host
    }

    private func probes(_ reader: SettingsReader, _ source: DrillFileSource, _ backup: Backup) throws -> [any Probe] {
        let nodes = try reader.list("probes") ?? []
        guard !nodes.isEmpty else {
            throw reader.error(
                "probes", "is empty: the drill could only say that something restored, not that it is right",
                hints: ["`muster init` shows the kinds of probes."])
        }
        let files = self.files
        let context = ProbeContext(
            drillFileDirectory: source.directory, buckets: backup.settings.objects.map(\.bucket),
            endpointAuthorities: backup.authorities, fileExists: { files.isFile($0) },
            fileIsExecutable: { files.isExecutable($0) }, target: backup.settings.target)
        var probes: [any Probe] = []
        for (index, node) in nodes.enumerated() {
            let (kind, part) = try kinded(node, path: "probes[\(index)]", .probe, source, common: ["name"])
            guard let nameNode = node["name"], let name = try source.text(nameNode) else {
                throw source.error("probes[\(index)]: `name` is missing", line: node.line)
            }
            guard (1...63).contains(name.utf8.count), name.utf8.allSatisfy(isProbeNameByte) else {
                throw source.error(
                    "'\(printable(name.utf8))' is no probe name: letters, digits, `-`, `_`, `.`", line: nameNode.line)
            }
            guard !["restore", "objectives", "cleanup"].contains(name) else {
                throw source.error(
                    "`\(name)` is a testcase of Muster's own; name the probe otherwise", line: nameNode.line)
            }
            guard !probes.contains(where: { $0.name == name }) else {
                throw source.error("two probes are named `\(name)`", line: nameNode.line)
            }
            guard let type = registry.probes[kind] else {
                throw source.error("unknown kind `\(kind)`", line: node.line)
            }
            probes.append(try type.init(name: name, part, context))
        }
        if let markers = try reader.settings("markers", MarkersProbe.shape) {
            guard !probes.contains(where: { $0.name == MarkersProbe.kind }) else {
                throw reader.error("markers", "is a probe of its own; name the other probe `markers` otherwise")
            }
            probes.append(try MarkersProbe(name: MarkersProbe.kind, markers, context))
        }
        for required in backup.settings.database.requiredProbes where !probes.contains(where: required.isMet) {
            probes.append(required.probe(beside: probes))
        }
        return probes
    }

    private func isProbeNameByte(_ byte: UInt8) -> Bool {
        isDrillNameByte(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || byte == UInt8(ascii: "_")
            || byte == UInt8(ascii: ".")
    }
}

/// The files that a drill file is, or names.
package protocol DrillFiles: Sendable {
    /// Throws `DrillError` (`usage`) where there is no such file, it cannot be read, or it has more bytes.
    func contents(of path: String, limitBytes: Int) throws -> [UInt8]
    /// Absolute.
    func directory(of path: String) -> String
    func isDirectory(_ path: String) -> Bool
    func isFile(_ path: String) -> Bool
    /// Whether this user may run it.
    func isExecutable(_ path: String) -> Bool
}
