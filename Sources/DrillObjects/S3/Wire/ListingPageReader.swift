import DrillCore
import Foundation

/// Why a page of a listing cannot be believed.
enum PageProblem: Error {
    case malformed(XMLProblem)
    /// An `<Error>` document, whatever the status was (S7).
    case service(S3ErrorBody)
}

/// Reads one page of a listing from a body in memory, at the speed of a few scans over it: no string and no tree an
/// entry.
///
/// A page is complete or an error: the root must be the one asked for and be closed, each entry must have what it
/// needs, and `IsTruncated` must say yes or no.
struct ListingPageReader: ~Copyable {
    private let kind: ListingKind
    private let keys: KeyDecoder
    private var scanner: XMLScanner
    private var page = ListingPage()
    private var keyColumn: ByteColumnBuilder
    private var etagColumn: ByteColumnBuilder
    private var versionColumn: ByteColumnBuilder
    private var prefixColumn = ByteColumnBuilder()
    private var truncation: Bool?
    /// How the entry that was read last is written, where others may well be written so.
    private var shape: EntryShape?

    /// - Parameter plusIsSpace: What a literal `+` in a URL-encoded key stands for.
    static func read(_ body: [UInt8], _ kind: ListingKind, plusIsSpace: Bool) throws(PageProblem) -> ListingPage {
        do {
            return try body.withUnsafeBufferPointer { buffer throws(XMLProblem) in
                try read(UnsafeRawBufferPointer(buffer), kind, plusIsSpace: plusIsSpace)
            }
        } catch {
            if let service = S3ErrorBody(body) { throw .service(service) }
            throw .malformed(error)
        }
    }

    private static func read(
        _ buffer: UnsafeRawBufferPointer, _ kind: ListingKind, plusIsSpace: Bool
    ) throws(XMLProblem) -> ListingPage {
        var problem: XMLProblem?
        do {
            var reader = try ListingPageReader(buffer, kind, plusIsSpace: plusIsSpace, decodesURL: true)
            let page = try reader.read()
            if page.isURLEncoded { return page }
        } catch {
            problem = error
        }
        // Where the server ignored `encoding-type`, its keys are raw (S6).
        var reader = try ListingPageReader(buffer, kind, plusIsSpace: false, decodesURL: false)
        let page = try reader.read()
        if page.isURLEncoded { throw problem ?? reader.scanner.problem("an EncodingType that changes") }
        return page
    }

    private init(
        _ buffer: UnsafeRawBufferPointer, _ kind: ListingKind, plusIsSpace: Bool, decodesURL: Bool
    ) throws(XMLProblem) {
        guard let scanner = XMLScanner(buffer) else { throw XMLProblem(what: "an empty body", offset: 0) }
        self.scanner = scanner
        self.kind = kind
        keys = KeyDecoder(decodesURL: decodesURL, plusIsSpace: plusIsSpace)
        let expected = min(1000, buffer.count / 128)
        page.entries.reserve(expected)
        keyColumn = ByteColumnBuilder(bytes: expected * 48, elements: expected)
        etagColumn = ByteColumnBuilder(bytes: expected * 32, elements: expected)
        versionColumn = ByteColumnBuilder(bytes: kind == .versions ? expected * 32 : 0, elements: expected)
    }

    private mutating func read() throws(XMLProblem) -> ListingPage {
        try scanner.skipProlog()
        let root = try scanner.openTag()
        // Older servers of ListObjectVersions use the name of its request.
        let isExpected =
            scanner.named(root.name, kind.root)
            || (kind == .versions && scanner.named(root.name, "ListVersionsResponse"))
        guard isExpected, !root.isEmpty else {
            throw XMLProblem(what: "the root is <\(scanner.text(root.name))>, not <\(kind.root)>", offset: 0)
        }
        while true {
            if let shape { try readLike(shape) }
            let start = scanner.position
            guard let child = try scanner.nextChild(of: root.name) else { break }
            try readChild(child, from: start)
        }
        try scanner.finish()
        page.entries.keys = keyColumn.take()
        page.entries.etags = etagColumn.take()
        page.entries.versions = versionColumn.take()
        page.commonPrefixes = prefixColumn.take()
        guard let truncation else {
            throw scanner.problem("no IsTruncated: the page does not say whether it is the last")
        }
        page.isTruncated = truncation
        return page
    }

    /// - Parameter start: Where what stands before the tag begins.
    private mutating func readChild(_ tag: XMLScanner.Tag, from start: Int) throws(XMLProblem) {
        let name = tag.name
        switch kind {
        case .objects where scanner.named(name, "Contents"): return try readEntry(tag, [], from: start)
        case .versions where scanner.named(name, "Version"): return try readEntry(tag, [], from: start)
        case .versions where scanner.named(name, "DeleteMarker"):
            return try readEntry(tag, .deleteMarker, from: start)
        default: break
        }
        if scanner.named(name, "CommonPrefixes") {
            try readCommonPrefix(tag)
        } else if scanner.named(name, "IsTruncated") {
            let value = try scanner.leaf(tag)
            guard truncation == nil else { throw scanner.problem("IsTruncated stands twice") }
            if scanner.named(value, "true") {
                truncation = true
            } else if scanner.named(value, "false") {
                truncation = false
            } else {
                throw scanner.problem("IsTruncated is neither true nor false")
            }
        } else if scanner.named(name, "EncodingType") {
            page.isURLEncoded = scanner.named(try scanner.leaf(tag), "url")
        } else if scanner.named(name, "KeyCount") {
            page.keyCount = try scanner.integer(try scanner.leaf(tag))
        } else if scanner.named(name, "NextContinuationToken") {
            page.nextToken = try scanner.decodedText(try scanner.leaf(tag))
        } else if scanner.named(name, "NextKeyMarker") {
            let key = try keys.decoded(scanner, try scanner.leaf(tag))
            if key.sawPlus { page.sawPlus = true }
            page.nextKeyMarker = key.bytes
        } else if scanner.named(name, "NextVersionIdMarker") {
            page.nextVersionMarker = try scanner.decodedText(try scanner.leaf(tag))
        } else if scanner.named(name, "StartAfter") || scanner.named(name, "KeyMarker") {
            page.echoedStart = try scanner.decodedText(try scanner.leaf(tag))
        } else {
            try scanner.skip(tag, depth: 1)
        }
    }

    private mutating func readCommonPrefix(_ tag: XMLScanner.Tag) throws(XMLProblem) {
        guard !tag.isEmpty else { throw scanner.problem("an empty CommonPrefixes") }
        while let child = try scanner.nextChild(of: tag.name) {
            if scanner.named(child.name, "Prefix") {
                let text = try scanner.leaf(child)
                if try keys.append(scanner, text, to: &prefixColumn) { page.sawPlus = true }
            } else {
                try scanner.skip(child, depth: 2)
            }
        }
    }

    /// A field of an entry: one that matters, with its text, or another, of which only the opening tag was read.
    private enum Field {
        case key(Range<Int>), lastModified(Range<Int>), etag(Range<Int>), size(Range<Int>), storageClass(Range<Int>)
        case version(Range<Int>), isLatest(Range<Int>)
        case other(XMLScanner.Tag)
    }

    /// The next field inside the entry `parent`, in whatever order they come; nil after its closing tag. Fields that look as all
    /// servers write them are taken at one glance.
    @inline(__always)
    private mutating func nextField(of parent: Range<Int>) throws(XMLProblem) -> Field? {
        switch scanner.byte(scanner.position + 1) {
        case UInt8(ascii: "K"): if let text = scanner.plainLeaf("<Key>", "</Key>") { return .key(text) }
        case UInt8(ascii: "L"):
            if let text = scanner.plainLeaf("<LastModified>", "</LastModified>") { return .lastModified(text) }
        case UInt8(ascii: "E"): if let text = scanner.plainLeaf("<ETag>", "</ETag>") { return .etag(text) }
        case UInt8(ascii: "S"):
            if let text = scanner.plainLeaf("<Size>", "</Size>") { return .size(text) }
            if let text = scanner.plainLeaf("<StorageClass>", "</StorageClass>") { return .storageClass(text) }
        case UInt8(ascii: "V") where kind == .versions:
            if let text = scanner.plainLeaf("<VersionId>", "</VersionId>") { return .version(text) }
        case UInt8(ascii: "I"): if let text = scanner.plainLeaf("<IsLatest>", "</IsLatest>") { return .isLatest(text) }
        default: break
        }
        guard let tag = try scanner.nextChild(of: parent) else { return nil }
        let name = tag.name
        if scanner.named(name, "Key") { return .key(try scanner.leaf(tag)) }
        if scanner.named(name, "LastModified") { return .lastModified(try scanner.leaf(tag)) }
        if scanner.named(name, "ETag") { return .etag(try scanner.leaf(tag)) }
        if scanner.named(name, "Size") { return .size(try scanner.leaf(tag)) }
        if scanner.named(name, "StorageClass") { return .storageClass(try scanner.leaf(tag)) }
        if kind == .versions, scanner.named(name, "VersionId") { return .version(try scanner.leaf(tag)) }
        if scanner.named(name, "IsLatest") { return .isLatest(try scanner.leaf(tag)) }
        return .other(tag)
    }

    /// Takes the entries from here on that are written as the last one was. The hot path.
    private mutating func readLike(_ shape: EntryShape) throws(XMLProblem) {
        while let entry = shape.match(scanner, at: scanner.position) {
            if try keys.append(scanner, entry.key, to: &keyColumn) { page.sawPlus = true }
            etagColumn.append(scanner.bytes(entry.etag))
            if kind == .versions { versionColumn.append(scanner.bytes(entry.version)) }
            page.entries.sizes.append(entry.size)
            page.entries.modified.append(entry.modified)
            page.entries.flags.append(entry.isLatest ? shape.flags.union(.latest) : shape.flags)
            scanner.skip(to: entry.end)
        }
    }

    /// Takes an entry however it is written.
    private mutating func readEntry(
        _ tag: XMLScanner.Tag, _ kindFlags: EntryFlags, from start: Int
    ) throws(XMLProblem) {
        guard !tag.isEmpty else { throw scanner.problem("an empty entry") }
        var fields: [EntryShape.Field] = []
        var flags = kindFlags
        var size: Int64?
        var modified: Int64?
        var hasKey = false, hasVersion = false, hasETag = false
        while let field = try nextField(of: tag.name) {
            switch field {
            case .key(let text):
                guard !hasKey else { throw scanner.problem("an entry with two keys") }
                hasKey = true
                if try keys.append(scanner, text, to: &keyColumn) { page.sawPlus = true }
                fields.append(.init(.key, text))
            case .lastModified(let text):
                guard let instant = Timestamps.microseconds(scanner.bytes(text)) else {
                    throw scanner.problem("LastModified is no instant")
                }
                modified = instant
                fields.append(.init(.lastModified, text))
            case .etag(let text):
                guard !hasETag else { throw scanner.problem("an entry with two ETags") }
                hasETag = true
                let inner = unquoted(text)
                etagColumn.append(try scanner.decodedText(inner))
                fields.append(.init(.etag, inner))
            case .size(let text):
                size = try scanner.integer(text)
                fields.append(.init(.size, text))
            case .storageClass(let text):
                if scanner.named(text, "STANDARD") {
                    break
                } else if ArchiveClass.isArchived(scanner.bytes(text)) {
                    flags.insert(.archived)
                    page.entries.archiveClasses[page.entries.flags.count] = scanner.text(text)
                } else if scanner.named(text, "INTELLIGENT_TIERING") {
                    flags.insert(.tiered)
                }
            case .version(let text):
                guard !hasVersion else { throw scanner.problem("an entry with two version IDs") }
                hasVersion = true
                versionColumn.append(try scanner.decodedText(text))
                fields.append(.init(.version, text))
            case .isLatest(let text):
                if scanner.named(text, "true") { flags.insert(.latest) }
                fields.append(.init(.isLatest, text))
            case .other(let tag) where scanner.named(tag.name, "RestoreStatus"):
                if try readsRestored(tag) {
                    flags.remove(.archived)
                    page.entries.archiveClasses[page.entries.flags.count] = nil
                }
            case .other(let tag): try scanner.skip(tag, depth: 2)
            }
        }
        let isMarker = flags.contains(.deleteMarker)
        guard hasKey, let modified, isMarker || size != nil, kind == .objects || hasVersion else {
            throw scanner.problem("an entry without its key, size, time or version")
        }
        if !hasETag { etagColumn.append(UnsafeRawBufferPointer(start: nil, count: 0)) }
        page.entries.sizes.append(size ?? 0)
        page.entries.modified.append(modified)
        page.entries.flags.append(flags)
        // Such as are rare, or have more to them, are taken one by one.
        guard hasETag, size != nil, flags.isDisjoint(with: [.deleteMarker, .archived]) else { return }
        shape = EntryShape(fields, flags: flags.subtracting(.latest), start..<scanner.position, scanner)
    }

    /// Whether a restored copy of an archived object is there: it has an expiry date and is not in progress.
    private mutating func readsRestored(_ tag: XMLScanner.Tag) throws(XMLProblem) -> Bool {
        guard !tag.isEmpty else { return false }
        var isInProgress = false, hasExpiry = false
        while let child = try scanner.nextChild(of: tag.name) {
            if scanner.named(child.name, "IsRestoreInProgress") {
                isInProgress = scanner.named(try scanner.leaf(child), "true")
            } else {
                hasExpiry = hasExpiry || scanner.named(child.name, "RestoreExpiryDate")
                try scanner.skip(child, depth: 3)
            }
        }
        return hasExpiry && !isInProgress
    }

    private func unquoted(_ text: Range<Int>) -> Range<Int> {
        let quote: StaticString = "&quot;"
        if text.count >= 12, scanner.named(text.lowerBound..<text.lowerBound + 6, quote),
            scanner.named(text.upperBound - 6..<text.upperBound, quote)
        {
            return text.lowerBound + 6..<text.upperBound - 6
        }
        if text.count >= 2, scanner.byte(text.lowerBound) == UInt8(ascii: "\""),
            scanner.byte(text.upperBound - 1) == UInt8(ascii: "\"")
        {
            return text.lowerBound + 1..<text.upperBound - 1
        }
        return text
    }
}
