import Foundation

/// XML as the stand-in writes it: no white space between elements, as AWS does.
struct XMLText {
    private(set) var bytes: [UInt8] = []

    init(declaration: Bool) {
        if declaration { raw("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n") }
    }

    mutating func raw(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func raw(_ text: [UInt8]) { bytes.append(contentsOf: text) }

    /// - Parameter namespaced: With the S3 namespace, as on root elements.
    mutating func element(_ name: String, namespaced: Bool = false, _ content: (inout XMLText) -> Void) {
        raw(namespaced ? "<\(name) xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" : "<\(name)>")
        content(&self)
        raw("</\(name)>")
    }

    mutating func element(_ name: String, _ text: String) { element(name, [UInt8](text.utf8)) }

    mutating func element(_ name: String, _ text: [UInt8]) {
        raw("<\(name)>")
        escaped(text)
        raw("</\(name)>")
    }

    /// Control characters become character references that XML 1.0 forbids, as AWS sends them without `encoding-type`
    /// (S5).
    private mutating func escaped(_ text: [UInt8]) {
        for byte in text {
            switch byte {
            case UInt8(ascii: "&"): raw("&amp;")
            case UInt8(ascii: "<"): raw("&lt;")
            case UInt8(ascii: ">"): raw("&gt;")
            case UInt8(ascii: "\""): raw("&quot;")
            case 0..<0x20: raw("&#x\(String(byte, radix: 16));")
            default: bytes.append(byte)
            }
        }
    }
}

/// Just enough to read the small documents that clients send: no attributes, no nesting of equal names.
struct XMLBody {
    let bytes: [UInt8]

    /// The inside of each element called `name`, in document order.
    func all(_ name: String) -> [XMLBody] {
        var found: [XMLBody] = []
        var position = 0
        while let open = openingTag(name, from: position) {
            if open.isEmpty {
                found.append(XMLBody(bytes: []))
                position = open.end
                continue
            }
            guard let close = Bytes.firstIndex(of: [UInt8]("</\(name)>".utf8), in: bytes, from: open.end) else { break }
            found.append(XMLBody(bytes: [UInt8](bytes[open.end..<close])))
            position = close + name.utf8.count + 3
        }
        return found
    }

    func first(_ name: String) -> XMLBody? { all(name).first }

    /// The text, with entities and character references resolved.
    var text: [UInt8] {
        var result: [UInt8] = []
        var position = 0
        while position < bytes.count {
            if bytes[position] == UInt8(ascii: "&"),
                let end = Bytes.firstIndex(of: [UInt8(ascii: ";")], in: bytes, from: position),
                let resolved = Self.resolve(String(decoding: bytes[(position + 1)..<end], as: UTF8.self))
            {
                result += resolved
                position = end + 1
            } else {
                result.append(bytes[position])
                position += 1
            }
        }
        return result
    }

    var string: String { String(decoding: text, as: UTF8.self) }

    private func openingTag(_ name: String, from start: Int) -> (end: Int, isEmpty: Bool)? {
        var position = start
        let opening = [UInt8]("<\(name)".utf8)
        while let found = Bytes.firstIndex(of: opening, in: bytes, from: position) {
            let after = found + opening.count
            guard let close = Bytes.firstIndex(of: [UInt8(ascii: ">")], in: bytes, from: after) else { return nil }
            if [UInt8(ascii: ">"), UInt8(ascii: " "), UInt8(ascii: "/")].contains(bytes[after]) {
                return (close + 1, bytes[close - 1] == UInt8(ascii: "/"))
            }
            position = after
        }
        return nil
    }

    private static func resolve(_ entity: String) -> [UInt8]? {
        switch entity {
        case "amp": return [UInt8(ascii: "&")]
        case "lt": return [UInt8(ascii: "<")]
        case "gt": return [UInt8(ascii: ">")]
        case "quot": return [UInt8(ascii: "\"")]
        case "apos": return [UInt8(ascii: "'")]
        default:
            let code =
                entity.hasPrefix("#x")
                ? UInt32(entity.dropFirst(2), radix: 16) : entity.hasPrefix("#") ? UInt32(entity.dropFirst()) : nil
            return code.flatMap(Unicode.Scalar.init).map { [UInt8](String(Character($0)).utf8) }
        }
    }
}
