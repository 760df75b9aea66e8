import DrillCore
import Foundation

/// A JSON value that keeps the order of its keys, so that a report written again is the same byte for byte.
indirect enum JSONValue {
    case null
    case bool(Bool)
    case integer(Int64)
    /// Shown with three decimals.
    case seconds(Double)
    case string(String)
    case array([JSONValue])
    case object([(String, JSONValue)])

    static func optional(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }
    static func optional(seconds: Double?) -> JSONValue { seconds.map { .seconds($0) } ?? .null }

    /// The whole document, indented by two spaces, with a line feed at its end.
    var document: [UInt8] {
        var bytes: [UInt8] = []
        write(to: &bytes, indent: "\n")
        bytes.append(0x0A)
        return bytes
    }

    private func write(to bytes: inout [UInt8], indent: String) {
        switch self {
        case .null: bytes += "null".utf8
        case .bool(let value): bytes += (value ? "true" : "false").utf8
        case .integer(let value): bytes += String(value).utf8
        case .seconds(let value): bytes += decimalSeconds(value).utf8
        case .string(let text): Self.write(text, to: &bytes)
        case .array(let elements):
            Self.write(elements, "[", "]", to: &bytes, indent: indent) { element, inner, bytes in
                element.write(to: &bytes, indent: inner)
            }
        case .object(let members):
            Self.write(members, "{", "}", to: &bytes, indent: indent) { member, inner, bytes in
                Self.write(member.0, to: &bytes)
                bytes += ": ".utf8
                member.1.write(to: &bytes, indent: inner)
            }
        }
    }

    private static func write<Element>(
        _ elements: [Element], _ open: String, _ close: String, to bytes: inout [UInt8], indent: String,
        _ writeElement: (Element, String, inout [UInt8]) -> Void
    ) {
        bytes += open.utf8
        for (index, element) in elements.enumerated() {
            bytes += ((index == 0 ? "" : ",") + indent + "  ").utf8
            writeElement(element, indent + "  ", &bytes)
        }
        bytes += ((elements.isEmpty ? "" : indent) + close).utf8
    }

    /// Whatever could hide or be markup where the file is shown as it is becomes `\uNNNN`.
    private static func write(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": bytes += "\\\"".utf8
            case "\\": bytes += "\\\\".utf8
            case "\n": bytes += "\\n".utf8
            case "<", ">", "&": writeEscape(scalar, to: &bytes)
            default:
                switch scalar.properties.generalCategory {
                case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
                    writeEscape(scalar, to: &bytes)
                default: bytes += String(scalar).utf8
                }
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    private static func writeEscape(_ scalar: Unicode.Scalar, to bytes: inout [UInt8]) {
        for unit in String(scalar).utf16 {
            bytes += "\\u".utf8
            bytes += hexadecimal([UInt8(unit >> 8), UInt8(unit & 255)]).utf8
        }
    }
}
