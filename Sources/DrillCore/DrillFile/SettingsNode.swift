import Yams

/// A value of a drill file with the line it stands on.
package struct SettingsNode: Sendable {
    package indirect enum Content: Sendable {
        /// `isPlain` where it was written without quotes.
        case scalar(String, isPlain: Bool)
        case list([SettingsNode])
        /// In the file's order; names were checked to be scalars and to stand once.
        case mapping([(name: String, nameLine: Int, value: SettingsNode)])
    }
    package var content: Content
    package var line: Int

    package init(_ content: Content, line: Int) {
        self.content = content
        self.line = line
    }

    package var scalar: String? { if case .scalar(let text, _) = content { text } else { nil } }
    package var list: [SettingsNode]? { if case .list(let elements) = content { elements } else { nil } }
    package var mapping: [(name: String, nameLine: Int, value: SettingsNode)]? {
        if case .mapping(let pairs) = content { pairs } else { nil }
    }
    /// An empty plain scalar, `~` or `null`.
    package var isNull: Bool {
        if case .scalar(let text, isPlain: true) = content { return ["", "~", "null"].contains(text) }
        return false
    }
    /// The value of that name in a mapping.
    package subscript(name: String) -> SettingsNode? { mapping?.first { $0.name == name }?.value }
}
