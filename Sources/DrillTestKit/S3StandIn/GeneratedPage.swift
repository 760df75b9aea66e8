import Foundation

/// A page of a generated bucket that is rendered straight into the connection's buffer.
struct GeneratedPage: Sendable {
    enum Shape: Sendable { case contents, ownedContents, versions }

    let keys: GeneratedKeys
    let shape: Shape
    let isURLEncoded: Bool
    /// Positions are of keys for `contents`, of versions (newest first within a key) for `versions`.
    let range: Range<Int>
    /// XML before and after the entries.
    let head: [UInt8]
    let foot: [UInt8]
}

/// Renders generated pages at some tens of nanoseconds an entry: one template an entry shape, patched in place.
struct GeneratedPageRenderer: ~Copyable {
    private var buffer: UnsafeMutableRawBufferPointer
    private let hexPairs: [UInt16]
    private let digitPairs: [UInt16]
    private var layouts: [LayoutKey: [EntryLayout]] = [:]

    private struct LayoutKey: Hashable {
        let sample: [UInt8]
        let shape: GeneratedPage.Shape
        let isURLEncoded: Bool
        let versionsPerKey: Int
    }

    init() {
        buffer = .allocate(byteCount: 1 << 19, alignment: 16)
        hexPairs = (0..<256).map { Self.pair([UInt8](Bytes.hex([UInt8($0)]).utf8)) }
        digitPairs = (0..<100).map { Self.pair([UInt8](S3Time.pad($0).utf8)) }
    }

    deinit { buffer.deallocate() }

    /// The page's bytes, valid until the next call.
    mutating func render(_ page: GeneratedPage) -> UnsafeRawBufferPointer {
        let layouts = layouts(for: page)
        let entrySize = layouts.reduce(0) { max($0, $1.template.count) }
        let capacity = page.head.count + page.foot.count + entrySize * page.range.count
        if capacity > buffer.count {
            buffer.deallocate()
            buffer = .allocate(byteCount: capacity, alignment: 16)
        }
        guard let base = buffer.baseAddress else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        var end = base
        page.head.withUnsafeBytes { Self.append($0, &end) }
        appendEntries(page, layouts, &end)
        page.foot.withUnsafeBytes { Self.append($0, &end) }
        return UnsafeRawBufferPointer(start: base, count: end - base)
    }

    private static func append(_ bytes: UnsafeRawBufferPointer, _ end: inout UnsafeMutableRawPointer) {
        guard let start = bytes.baseAddress else { return }
        end.copyMemory(from: start, byteCount: bytes.count)
        end += bytes.count
    }

    private func appendEntries(_ page: GeneratedPage, _ layouts: [EntryLayout], _ end: inout UnsafeMutableRawPointer) {
        guard !page.range.isEmpty else { return }
        let keys = page.keys
        let perKey = page.shape == .versions ? keys.versionsPerKey : 1
        let first = page.range.lowerBound / perKey
        var index = keys.index(at: first)
        var omittedPosition = index - first
        var slot = page.range.lowerBound % perKey
        for _ in page.range {
            let layout = layouts[slot]
            layout.template.withUnsafeBytes { template in
                guard let start = template.baseAddress else { return }
                end.copyMemory(from: start, byteCount: template.count)
            }
            patch(end, layout, index: index, version: keys.versionsPerKey - 1 - slot, size: keys)
            end += layout.template.count
            slot += 1
            guard slot == perKey else { continue }
            slot = 0
            index += 1
            while omittedPosition < keys.omitted.count, keys.omitted[omittedPosition] == index {
                omittedPosition += 1
                index += 1
            }
        }
    }

    private func patch(
        _ entry: UnsafeMutableRawPointer, _ layout: EntryLayout, index: Int, version: Int, size keys: GeneratedKeys
    ) {
        writeDigits(index, entry + layout.index)
        if layout.hash > 0 {
            entry.storeBytes(of: hex(GeneratedKeys.hash(index)), toByteOffset: layout.hash, as: UInt64.self)
        }
        let mark = hex(GeneratedKeys.mark(index, version))
        for offset in 0..<4 {
            entry.storeBytes(of: mark, toByteOffset: layout.eTag + offset * 8, as: UInt64.self)
        }
        if layout.versionID > 0 {
            for offset in 0..<3 {
                entry.storeBytes(of: mark, toByteOffset: layout.versionID + offset * 8, as: UInt64.self)
            }
        }
        let size = keys.size(index, version: version)
        entry.storeBytes(of: digitPairs[size / 100], toByteOffset: layout.size, as: UInt16.self)
        entry.storeBytes(of: digitPairs[size % 100], toByteOffset: layout.size + 2, as: UInt16.self)
        let second = index % 86400
        entry.storeBytes(of: digitPairs[second / 3600], toByteOffset: layout.time, as: UInt16.self)
        entry.storeBytes(of: digitPairs[second / 60 % 60], toByteOffset: layout.time + 3, as: UInt16.self)
        entry.storeBytes(of: digitPairs[second % 60], toByteOffset: layout.time + 6, as: UInt16.self)
    }

    private func writeDigits(_ value: Int, _ place: UnsafeMutableRawPointer) {
        let high = value / 10000
        let low = value % 10000
        place.storeBytes(of: digitPairs[high / 100], as: UInt16.self)
        place.storeBytes(of: digitPairs[high % 100], toByteOffset: 2, as: UInt16.self)
        place.storeBytes(of: digitPairs[low / 100], toByteOffset: 4, as: UInt16.self)
        place.storeBytes(of: digitPairs[low % 100], toByteOffset: 6, as: UInt16.self)
    }

    /// Eight hex digits, most significant first in memory.
    private func hex(_ value: UInt32) -> UInt64 {
        UInt64(hexPairs[Int(value >> 24)]) | UInt64(hexPairs[Int(value >> 16 & 255)]) << 16
            | UInt64(hexPairs[Int(value >> 8 & 255)]) << 32 | UInt64(hexPairs[Int(value & 255)]) << 48
    }

    /// Two characters as the 16 bits that put the first one at the lower address.
    private static func pair(_ characters: [UInt8]) -> UInt16 {
        UInt16(littleEndian: UInt16(characters[0]) | UInt16(characters[1]) << 8)
    }

    private mutating func layouts(for page: GeneratedPage) -> [EntryLayout] {
        let key = LayoutKey(
            sample: page.keys.key(0), shape: page.shape, isURLEncoded: page.isURLEncoded,
            versionsPerKey: page.keys.versionsPerKey)
        if let known = layouts[key] { return known }
        let count = page.shape == .versions ? page.keys.versionsPerKey : 1
        let made = (0..<count).map { EntryLayout(page, version: page.keys.versionsPerKey - 1 - $0) }
        layouts[key] = made
        return made
    }
}

/// One entry rendered for object 0, and where in it the parts stand that differ from object to object.
private struct EntryLayout {
    let template: [UInt8]
    let index: Int
    /// 0 where there is none.
    let hash: Int
    let eTag: Int
    let versionID: Int
    let size: Int
    /// Of the hour.
    let time: Int

    init(_ page: GeneratedPage, version: Int) {
        let entry = page.keys.history(at: 0)[page.keys.versionsPerKey - 1 - version]
        var xml = XMLText(declaration: false)
        let style = ListingStyle(isURLEncoded: page.isURLEncoded, milliseconds: false)
        switch page.shape {
        case .contents: xml.contents(entry, style, owner: false)
        case .ownedContents: xml.contents(entry, style, owner: true)
        case .versions: xml.version(entry, style)
        }
        template = xml.bytes
        let literal: ([UInt8]) -> Int = { bytes in
            var measured = XMLText(declaration: false)
            measured.element("", style.key(bytes))
            return measured.bytes.count - "<></>".utf8.count
        }
        var position = "<Contents><Key>".utf8.count
        if page.shape == .versions { position = "<Version><Key>".utf8.count }
        var index = 0
        var hash = 0
        for piece in page.keys.pieces {
            switch piece {
            case .literal(let bytes): position += literal(bytes)
            case .index:
                index = position
                position += 8
            case .hash:
                hash = position
                position += 8
            }
        }
        self.index = index
        self.hash = hash
        eTag = Self.after("<ETag>&quot;", in: template)
        versionID =
            page.keys.versionsPerKey > 1 && page.shape == .versions ? Self.after("<VersionId>", in: template) : 0
        size = Self.after("<Size>", in: template)
        time = Self.after("<LastModified>", in: template) + "2026-01-01T".utf8.count
    }

    private static func after(_ tag: String, in template: [UInt8]) -> Int {
        (Bytes.firstIndex(of: [UInt8](tag.utf8), in: template) ?? 0) + tag.utf8.count
    }
}
