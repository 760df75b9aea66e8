import Foundation

/// An XML document as it is written: elements and text, all escaped here and nowhere else.
struct XMLText {
    private(set) var bytes: [UInt8] = []
    private var depth = 0

    mutating func add(_ markup: StaticString) {
        markup.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    mutating func open(_ name: String, _ attributes: [(String, String)]) {
        start(name, attributes, limit: 1024)
        bytes += ">\n".utf8
        depth += 1
    }

    mutating func close(_ name: String) {
        depth -= 1
        bytes += "\(indent)</\(name)>\n".utf8
    }

    mutating func empty(_ name: String, _ attributes: [(String, String)]) {
        start(name, attributes, limit: 1024)
        bytes += "/>\n".utf8
    }

    /// An element that holds text alone, of which at most `limit` bytes are shown.
    mutating func element(
        _ name: String, _ attributes: [(String, String)] = [], attributeLimit: Int = 1024, text: String, limit: Int
    ) {
        start(name, attributes, limit: attributeLimit)
        bytes += ">".utf8
        appendEscaped(text, limit: limit, to: &bytes)
        bytes += "</\(name)>\n".utf8
    }

    private var indent: String { String(repeating: "  ", count: depth) }

    private mutating func start(_ name: String, _ attributes: [(String, String)], limit: Int) {
        bytes += "\(indent)<\(name)".utf8
        for (attribute, value) in attributes {
            bytes += " \(attribute)=\"".utf8
            appendEscaped(value, limit: limit, to: &bytes, inAttribute: true)
            bytes += "\"".utf8
        }
    }
}
