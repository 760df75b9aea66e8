import Foundation

/// How a listing writes keys and instants.
struct ListingStyle {
    let isURLEncoded: Bool
    let milliseconds: Bool

    func key(_ bytes: [UInt8]) -> [UInt8] { isURLEncoded ? Bytes.listingEncoded(bytes) : bytes }
}

extension XMLText {
    /// An entry of ListObjects or ListObjectsV2.
    mutating func contents(_ entry: ListedVersion, _ style: ListingStyle, owner: Bool) {
        guard let object = entry.object else { return }
        element("Contents") { xml in
            xml.element("Key", style.key(entry.key))
            xml.element("LastModified", S3Time.xml(entry.lastModified, milliseconds: style.milliseconds))
            xml.about(object)
            if owner { xml.owner() }
            xml.element("StorageClass", object.storageClass)
        }
    }

    /// An entry of ListObjectVersions: a version or a delete marker.
    mutating func version(_ entry: ListedVersion, _ style: ListingStyle) {
        element(entry.object == nil ? "DeleteMarker" : "Version") { xml in
            xml.element("Key", style.key(entry.key))
            xml.element("VersionId", entry.versionID)
            xml.element("IsLatest", entry.isLatest ? "true" : "false")
            xml.element("LastModified", S3Time.xml(entry.lastModified, milliseconds: style.milliseconds))
            if let object = entry.object { xml.about(object) }
            xml.owner()
            if let object = entry.object { xml.element("StorageClass", object.storageClass) }
        }
    }

    mutating func commonPrefixes(_ prefixes: [[UInt8]], _ style: ListingStyle) {
        for prefix in prefixes { element("CommonPrefixes") { $0.element("Prefix", style.key(prefix)) } }
    }

    mutating func owner() {
        element("Owner") { $0.element("ID", "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a") }
    }

    private mutating func about(_ object: ListedVersion.Object) {
        element("ETag", "\"\(object.eTag)\"")
        if let checksum = object.checksum {
            element("ChecksumAlgorithm", checksum.algorithm.rawValue)
            element("ChecksumType", checksum.kind.rawValue)
        }
        element("Size", String(object.size))
    }
}

/// The parameters of a listing request, as they are echoed.
struct ListingEcho {
    var bucket: String
    var operation: S3Operation
    var prefix: [UInt8]
    var delimiter: [UInt8]?
    var maxKeys: Int
    /// What `marker`, `start-after` or `key-marker` said.
    var marker: [UInt8]?
    var continuationToken: String?
    var versionIDMarker: String?
    var showsOwner = false
    var style: ListingStyle

    /// Everything of the document but its entries, which stand between the two halves.
    func halves(around page: ListingPage) -> (head: [UInt8], foot: [UInt8]) {
        let root = operation == .listObjectVersions ? "ListVersionsResult" : "ListBucketResult"
        var head = XMLText(declaration: true)
        head.raw("<\(root) xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">")
        head.element("Name", bucket)
        head.element("Prefix", style.key(prefix))
        switch operation {
        case .listObjectsV2: secondVersion(page, &head)
        case .listObjectVersions: versions(page, &head)
        default: firstVersion(page, &head)
        }
        head.element("MaxKeys", String(maxKeys))
        if let delimiter { head.element("Delimiter", style.key(delimiter)) }
        if style.isURLEncoded { head.element("EncodingType", "url") }
        head.element("IsTruncated", page.isTruncated ? "true" : "false")
        var foot = XMLText(declaration: false)
        foot.commonPrefixes(page.commonPrefixes, style)
        foot.raw("</\(root)>")
        return (head.bytes, foot.bytes)
    }

    func document(_ page: ListingPage) -> [UInt8] {
        let (head, foot) = halves(around: page)
        var entries = XMLText(declaration: false)
        for entry in page.entries {
            if operation == .listObjectVersions {
                entries.version(entry, style)
            } else {
                entries.contents(entry, style, owner: showsOwner)
            }
        }
        return head + entries.bytes + foot
    }

    private func secondVersion(_ page: ListingPage, _ xml: inout XMLText) {
        if let continuationToken { xml.element("ContinuationToken", continuationToken) }
        if page.isTruncated, !page.omitsToken {
            xml.element("NextContinuationToken", page.token ?? ContinuationToken.text(of: page.next))
        }
        if let marker { xml.element("StartAfter", style.key(marker)) }
        xml.element("KeyCount", String(page.keyCount))
    }

    private func firstVersion(_ page: ListingPage, _ xml: inout XMLText) {
        xml.element("Marker", style.key(marker ?? []))
        guard page.isTruncated, !page.omitsToken, delimiter != nil else { return }
        switch page.next {
        case .afterPrefix(let key), .afterKey(let key), .afterVersion(let key, _):
            xml.element("NextMarker", style.key(key))
        case .beginning: break
        }
    }

    private func versions(_ page: ListingPage, _ xml: inout XMLText) {
        xml.element("KeyMarker", style.key(marker ?? []))
        xml.element("VersionIdMarker", versionIDMarker ?? "")
        guard page.isTruncated, !page.omitsToken else { return }
        switch page.next {
        case .afterVersion(let key, let versionID):
            xml.element("NextKeyMarker", style.key(key))
            xml.element("NextVersionIdMarker", versionID)
        case .afterKey(let key), .afterPrefix(let key): xml.element("NextKeyMarker", style.key(key))
        case .beginning: break
        }
    }
}

/// Continuation tokens: opaque to clients, with the `+`, `/` and `=` of Base64 that a client has to encode.
enum ContinuationToken {
    static func text(of start: ListingQuery.Start) -> String {
        switch start {
        case .beginning: Bytes.base64([UInt8(ascii: "b")])
        case .afterKey(let key), .afterVersion(let key, _): Bytes.base64([UInt8(ascii: "k")] + key)
        case .afterPrefix(let prefix): Bytes.base64([UInt8(ascii: "p")] + prefix)
        }
    }

    /// - Returns: `nil` for a token that is none of ours.
    static func start(_ token: String) -> ListingQuery.Start? {
        guard let bytes = Bytes.fromBase64(token), let kind = bytes.first else { return nil }
        let rest = [UInt8](bytes.dropFirst())
        switch kind {
        case UInt8(ascii: "b"): return .beginning
        case UInt8(ascii: "k"): return .afterKey(rest)
        case UInt8(ascii: "p"): return .afterPrefix(rest)
        case UInt8(ascii: "e"): return endlessPage(rest).map { .afterKey($0.key) }
        default: return nil
        }
    }

    /// A token that differs from every earlier one and leads nowhere.
    static func endless(following token: String?, after key: [UInt8]) -> String {
        let earlier = token.flatMap(Bytes.fromBase64).flatMap { endlessPage([UInt8]($0.dropFirst())) }
        return Bytes.base64([UInt8]("e\((earlier?.number ?? 0) + 1)|".utf8) + key)
    }

    private static func endlessPage(_ bytes: [UInt8]) -> (number: Int, key: [UInt8])? {
        guard let bar = bytes.firstIndex(of: UInt8(ascii: "|")),
            let number = Int(String(decoding: bytes[..<bar], as: UTF8.self))
        else { return nil }
        return (number, [UInt8](bytes[(bar + 1)...]))
    }
}
