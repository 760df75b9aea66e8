import DrillCore
import Foundation

/// Standard error as a terminal or as a log: whether it may be drawn on and coloured.
struct Terminal: Sendable {
    enum Style: String {
        case plain = "0", bold = "1", dim = "2", red = "31", green = "32", yellow = "33"
    }

    /// A terminal that can move its cursor.
    let isInteractive: Bool
    let hasColour: Bool

    init(variables: [String: String]) {
        let isTerminal = isatty(STDERR_FILENO) == 1
        let isDumb = ["", "dumb"].contains(variables["TERM"] ?? "")
        isInteractive = isTerminal && !isDumb
        // https://no-color.org: set and not empty.
        hasColour = isInteractive && (variables["NO_COLOR"] ?? "").isEmpty
    }

    func styled(_ text: String, _ style: Style) -> String {
        hasColour && style != .plain ? "\u{1B}[\(style.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// Columns; 80 where nobody knows.
    var width: Int {
        var size = winsize()
        guard isInteractive, ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Writes to standard error whole; what nobody can read is lost, which must not end a run.
    func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0 {
                if errno == EINTR { continue }
                return
            }
            rest = rest.dropFirst(written)
        }
    }
}

/// Writes to standard output whole. Throws where it cannot: what was asked for must arrive.
func writeToOutput(_ bytes: some Collection<UInt8>) throws {
    try FileHandle.standardOutput.write(contentsOf: Data(bytes))
}

/// The text without anything that a terminal would obey: control and format characters as `\xNN`, but for line ends.
func harmless(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        line.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator:
                for byte in String(scalar).utf8 { result += "\\x\(hexadecimal([byte]))" }
            default:
                result.unicodeScalars.append(scalar)
            }
        }
    }.joined(separator: "\n")
}
