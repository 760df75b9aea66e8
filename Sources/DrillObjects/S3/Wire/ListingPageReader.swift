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
struct ListingPageReader {
    private let kind: ListingKind
    private let keys: KeyDecoder
    private var scanner: XMLScanner
    private var page = ListingPage()
    private var truncation: Bool?

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
        page.entries.reserve(min(1000, buffer.count / 128), withVersions: kind == .versions)
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
        while let child = try scanner.nextChild(of: root.name) { try readChild(child) }
        try scanner.finish()
        guard let truncation else {
            throw scanner.problem("no IsTruncated: the page does not say whether it is the last")
        }
        page.isTruncated = truncation
        return page
    }

    private mutating func readChild(_ tag: XMLScanner.Tag) throws(XMLProblem) {
        let name = tag.name
        switch kind {
        case .objects where scanner.named(name, "Contents"): return try readEntry(tag, [])
        case .versions where scanner.named(name, "Version"): return try readEntry(tag, [])
        case .versions where scanner.named(name, "DeleteMarker"): return try readEntry(tag, .deleteMarker)
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
            page.keyCount = try integer(try scanner.leaf(tag))
        } else if scanner.named(name, "NextContinuationToken") {
            page.nextToken = try scanner.decodedText(try scanner.leaf(tag))
        } else if scanner.named(name, "NextKeyMarker") {
            let text = try scanner.leaf(tag)
            var key: [UInt8] = []
            if try keys.append(scanner, text, to: &key) { page.sawPlus = true }
            page.nextKeyMarker = key
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
                if try keys.append(scanner, text, to: &page.commonPrefixes.bytes) { page.sawPlus = true }
                page.commonPrefixes.ends.append(Int32(page.commonPrefixes.bytes.count))
            } else {
                try scanner.skip(child, depth: 2)
            }
        }
    }

    /// The hot path: an entry's few fields, in whatever order they come.
    private mutating func readEntry(_ tag: XMLScanner.Tag, _ kindFlags: EntryFlags) throws(XMLProblem) {
        guard !tag.isEmpty else { throw scanner.problem("an empty entry") }
        var flags = kindFlags
        var size: Int64?
        var modified: Int64?
        var hasKey = false, hasVersion = false, hasETag = false
        while let child = try scanner.nextChild(of: tag.name) {
            let name = child.name
            switch scanner.byte(name.lowerBound) {
            case UInt8(ascii: "K") where scanner.named(name, "Key"):
                guard !hasKey else { throw scanner.problem("an entry with two keys") }
                hasKey = true
                let text = try scanner.leaf(child)
                if try keys.append(scanner, text, to: &page.entries.keys.bytes) { page.sawPlus = true }
                page.entries.keys.ends.append(Int32(truncatingIfNeeded: page.entries.keys.bytes.count))
            case UInt8(ascii: "L") where scanner.named(name, "LastModified"):
                let text = try scanner.leaf(child)
                guard let instant = Timestamps.microseconds(scanner.bytes(text)) else {
                    throw scanner.problem("LastModified is no instant")
                }
                modified = instant
            case UInt8(ascii: "E") where scanner.named(name, "ETag"):
                guard !hasETag else { throw scanner.problem("an entry with two ETags") }
                hasETag = true
                let text = try scanner.leaf(child)
                try appendETag(text)
            case UInt8(ascii: "S") where scanner.named(name, "Size"):
                size = try integer(try scanner.leaf(child))
            case UInt8(ascii: "S") where scanner.named(name, "StorageClass"):
                let text = try scanner.leaf(child)
                if ArchiveClass.isArchived(scanner.bytes(text)) {
                    flags.insert(.archived)
                    page.entries.archiveClasses[page.entries.flags.count] = scanner.text(text)
                } else if scanner.named(text, "INTELLIGENT_TIERING") {
                    flags.insert(.tiered)
                }
            case UInt8(ascii: "V") where scanner.named(name, "VersionId") && kind == .versions:
                guard !hasVersion else { throw scanner.problem("an entry with two version IDs") }
                hasVersion = true
                let text = try scanner.leaf(child)
                try scanner.appendText(text, to: &page.entries.versions.bytes)
                page.entries.versions.ends.append(Int32(truncatingIfNeeded: page.entries.versions.bytes.count))
            case UInt8(ascii: "I") where scanner.named(name, "IsLatest"):
                if scanner.named(try scanner.leaf(child), "true") { flags.insert(.latest) }
            case UInt8(ascii: "R") where scanner.named(name, "RestoreStatus"):
                if try readsRestored(child) {
                    flags.remove(.archived)
                    page.entries.archiveClasses[page.entries.flags.count] = nil
                }
            default:
                try scanner.skip(child, depth: 2)
            }
        }
        let isMarker = flags.contains(.deleteMarker)
        guard hasKey, let modified, isMarker || size != nil, kind == .objects || hasVersion else {
            throw scanner.problem("an entry without its key, size, time or version")
        }
        if !hasETag { page.entries.etags.ends.append(Int32(truncatingIfNeeded: page.entries.etags.bytes.count)) }
        page.entries.sizes.append(size ?? 0)
        page.entries.modified.append(modified)
        page.entries.flags.append(flags)
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

    private mutating func appendETag(_ text: Range<Int>) throws(XMLProblem) {
        var inner = text
        let quote: StaticString = "&quot;"
        if inner.count >= 12, scanner.named(inner.lowerBound..<inner.lowerBound + 6, quote),
            scanner.named(inner.upperBound - 6..<inner.upperBound, quote)
        {
            inner = inner.lowerBound + 6..<inner.upperBound - 6
        } else if inner.count >= 2, scanner.byte(inner.lowerBound) == UInt8(ascii: "\""),
            scanner.byte(inner.upperBound - 1) == UInt8(ascii: "\"")
        {
            inner = inner.lowerBound + 1..<inner.upperBound - 1
        }
        let bytes = scanner.bytes(inner)
        if let start = bytes.baseAddress, memchr(start, Int32(UInt8(ascii: "&")), bytes.count) != nil {
            try scanner.appendText(inner, to: &page.entries.etags.bytes)
        } else {
            page.entries.etags.bytes.append(contentsOf: bytes)
        }
        page.entries.etags.ends.append(Int32(truncatingIfNeeded: page.entries.etags.bytes.count))
    }

    private func integer(_ text: Range<Int>) throws(XMLProblem) -> Int64 {
        var value: Int64 = 0
        let bytes = scanner.bytes(text)
        guard !bytes.isEmpty, bytes.count <= 18 else { throw scanner.problem("no number of bytes or keys") }
        for byte in bytes {
            guard byte &- UInt8(ascii: "0") < 10 else { throw scanner.problem("no number of bytes or keys") }
            value = value &* 10 &+ Int64(byte &- UInt8(ascii: "0"))
        }
        return value
    }
}
