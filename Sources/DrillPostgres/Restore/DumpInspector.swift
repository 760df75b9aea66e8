import DrillCore
import Foundation

/// What can be told of a dump without restoring it.
struct DumpFacts: Sendable {
    var format: DumpFormat
    var sizeBytes: Int64
    /// Of custom, directory and tar archives.
    var toc: ArchiveTOC?
    /// Of plain SQL: the comments before its first statement.
    var plain: PlainFacts?

    var dumpMajorVersion: Int? { toc?.header.dumpMajorVersion ?? plain?.dumpVersion.flatMap(majorVersion) }
    var dumpVersion: String? { toc?.header.dumpVersion ?? plain?.dumpVersion }
}

/// Why a dump cannot be drilled.
struct DumpFault: Error, Equatable {
    /// Nothing there (yet), rather than something broken.
    var isAbsent = false
    /// Lower case, no full stop.
    var what: String
}

/// Looks at a dump: the format by its content, the table of contents, and whether all is there as far as that shows without
/// reading the data.
struct DumpInspector: Sendable {
    var folder: any BackupFolder
    var path: String

    private static let headBytes = 1 << 16
    /// A table of contents of a hundred thousand entries has some 50 MiB.
    private static let longestTOC = 1 << 30

    /// - Throws: `DumpFault` where the dump is at fault; what the folder throws where it cannot be looked at.
    func facts() async throws -> DumpFacts {
        guard let entry = try await folder.entry(path) else {
            throw DumpFault(isAbsent: true, what: "there is no dump `\(path)`")
        }
        if entry.kind == .directory { return try await directoryFacts() }
        guard entry.kind == .file || entry.kind == .symbolicLink else {
            throw DumpFault(what: "`\(path)` is neither a file nor a directory")
        }
        if entry.kind == .file, entry.sizeBytes == 0 {
            throw DumpFault(isAbsent: true, what: "the dump is empty (0 bytes)")
        }
        let head = try await folder.read(path, offset: 0, count: Self.headBytes)
        guard let format = DumpFormat(head: head) else { throw try unknown(head) }
        var facts = DumpFacts(format: format, sizeBytes: entry.sizeBytes)
        switch format {
        case .custom:
            let toc = try await toc(of: path, offset: 0, limit: nil)
            try requireData(of: toc, in: entry)
            facts.toc = toc
        case .tar: facts.toc = try await tarTOC(sizeBytes: entry.sizeBytes)
        case .plain: facts.plain = try await plainFacts(head, entry)
        case .packed, .directory: break
        }
        return facts
    }

    private func unknown(_ head: [UInt8]) throws -> DumpFault {
        if head.isEmpty { return DumpFault(isAbsent: true, what: "the dump is empty (0 bytes)") }
        if let packing = DumpFormat.foreignPacking(head: head) {
            throw DrillError(
                .couldNotLook, "the dump is packed by \(packing), which is not unpacked here",
                at: "\(folder.place)/\(path)",
                hints: ["Dumps may be packed by gzip, zstd, lz4, xz or bzip2, or by pg_dump itself."])
        }
        if head.allSatisfy({ $0 == 0 }) { return DumpFault(what: "the dump is nothing but zero bytes") }
        return DumpFault(what: "`\(path)` is neither an archive nor plain SQL of pg_dump")
    }

    /// Reads more and more of the file until the table of contents is complete: its length stands nowhere.
    private func toc(of path: String, offset: Int64, limit: Int?) async throws -> ArchiveTOC {
        var count = 1 << 18
        while true {
            let wanted = min(count, limit ?? .max)
            let bytes = try await folder.read(path, offset: offset, count: wanted)
            do {
                return try ArchiveTOC(bytes)
            } catch .truncated(let end) {
                guard bytes.count == count, count < Self.longestTOC else {
                    throw DumpFault(what: ArchiveError.truncated(offset: end).what)
                }
                count *= 4
            } catch {
                if case .unknownVersion(let version) = error { throw newerArchive(version) }
                throw DumpFault(what: error.what)
            }
        }
    }

    private func newerArchive(_ version: String) -> DrillError {
        DrillError(
            .couldNotLook, "the archive has version \(version), and 1.12 to 1.16 are known here",
            at: "\(folder.place)/\(path)",
            hints: ["A newer pg_dump wrote it: a newer release of this program may read it."])
    }

    /// Custom format: each block of data that the table of contents names must begin inside the file.
    private func requireData(of toc: ArchiveTOC, in entry: FolderEntry) throws {
        guard entry.kind == .file else { return }
        for item in toc.entries {
            guard case .block(let offset?) = item.data, offset >= entry.sizeBytes else { continue }
            throw DumpFault(
                what: "the dump is cut off: data of \(item.kind) \(item.qualifiedTag) begin at byte \(offset), and the "
                    + "file ends at \(entry.sizeBytes)")
        }
    }

    // MARK: - Directory

    private func directoryFacts() async throws -> DumpFacts {
        let names = Set(try await folder.names(in: path))
        if names.isEmpty { throw DumpFault(isAbsent: true, what: "the directory `\(path)` is empty") }
        guard names.contains("toc.dat") else {
            throw DumpFault(isAbsent: true, what: "the directory `\(path)` has no toc.dat")
        }
        let tocPath = path.isEmpty ? "toc.dat" : "\(path)/toc.dat"
        guard let entry = try await folder.entry(tocPath), entry.kind != .file || entry.sizeBytes > 0 else {
            throw DumpFault(isAbsent: true, what: "toc.dat is empty (0 bytes)")
        }
        let toc = try await toc(of: tocPath, offset: 0, limit: nil)
        var total = entry.sizeBytes
        for item in toc.entries {
            guard case .file(let name) = item.data else { continue }
            guard let found = ["", ".gz", ".lz4", ".zst"].map({ name + $0 }).first(where: names.contains) else {
                throw DumpFault(what: "the dump lacks `\(name)` with the data of \(item.kind) \(item.qualifiedTag)")
            }
            guard let size = try await folder.entry(path.isEmpty ? found : "\(path)/\(found)")?.sizeBytes, size > 0
            else {
                throw DumpFault(
                    what: "`\(found)` with the data of \(item.kind) \(item.qualifiedTag) is empty (0 bytes)")
            }
            total += size
        }
        return DumpFacts(format: .directory, sizeBytes: total, toc: toc)
    }

    // MARK: - Tar

    /// Walks the members' headers: each that the table of contents names must be there, whole.
    private func tarTOC(sizeBytes: Int64) async throws -> ArchiveTOC {
        var offset: Int64 = 0
        var members: Set<String> = []
        var toc: ArchiveTOC?
        while let header = TarHeader(try await folder.read(path, offset: offset, count: TarHeader.blockBytes)[...]) {
            let dataOffset = offset + Int64(TarHeader.blockBytes)
            guard dataOffset + header.sizeBytes <= sizeBytes else {
                throw DumpFault(what: "the dump is cut off inside its member `\(printable(header.name.utf8))`")
            }
            if header.name == "toc.dat" {
                toc = try await self.toc(of: path, offset: dataOffset, limit: Int(exactly: header.sizeBytes) ?? .max)
            }
            members.insert(header.name)
            offset += header.strideBytes
        }
        guard let toc else { throw DumpFault(what: "the tar archive holds no toc.dat and is not of pg_dump") }
        for item in toc.entries {
            // For large objects as a whole a name stands there, but there is no such member.
            guard case .file(let name) = item.data, item.kind != "BLOBS", !members.contains(name) else { continue }
            throw DumpFault(
                what: "the dump lacks its member `\(name)` with the data of \(item.kind) \(item.qualifiedTag)")
        }
        return toc
    }

    // MARK: - Plain

    private func plainFacts(_ head: [UInt8], _ entry: FolderEntry) async throws -> PlainFacts {
        var script = PlainScript(keepsData: false)
        var facts = PlainFacts()
        do {
            for piece in try script.feed(head) { facts.add(piece) }
        } catch {
            throw DumpFault(what: "line \(error.line): \(error.what)")
        }
        let tailStart = max(0, entry.sizeBytes - 4096)
        let tail = try await folder.read(path, offset: tailStart, count: 4096)
        guard entry.kind != .file || PlainFacts.isComplete(tail: tail) else {
            throw DumpFault(what: "the dump is cut off: it does not end with `PostgreSQL database dump complete`")
        }
        return facts
    }
}

extension ArchiveEntry {
    /// `public.orders`, for messages.
    var qualifiedTag: String { namespace.map { "\($0).\(tag)" } ?? tag }
}
