/// What a mapping in the drill file may hold. One description serves reading, refusing unknown keys, and `muster schema`.
package struct SettingsShape: Sendable {
    package var title: String
    package var fields: [SettingsField]

    package init(_ title: String, _ fields: [SettingsField]) {
        self.title = title
        self.fields = fields
    }

    /// These fields and some more.
    package func adding(_ more: [SettingsField]) -> SettingsShape { SettingsShape(title, fields + more) }
}

package struct SettingsField: Sendable {
    package var name: String
    package var value: ValueShape
    package var isRequired: Bool
    /// One or two sentences for the schema: shapes, units, what holds when it is absent.
    package var help: String

    package init(_ name: String, _ value: ValueShape, required: Bool = false, _ help: String) {
        self.name = name
        self.value = value
        self.isRequired = required
        self.help = help
    }
}

package indirect enum ValueShape: Sendable {
    case text
    /// Text of that form, an ECMA regular expression.
    case name(String)
    case boolean
    /// A whole number in that range.
    case integer(ClosedRange<Int64>)
    case number
    /// `90s`, `10m`, `24h`, `8d`, `1h30m`.
    case duration
    /// `0.5%` to `100%`.
    case percent
    /// `128MiB`, `10GB`, or a number of bytes.
    case byteCount
    /// RFC 3339 with an offset, or one of the words.
    case instant(words: [String])
    case choice([String])
    case list(ValueShape)
    /// Names chosen by the user, each with a value of that shape.
    case map(ValueShape)
    case settings(SettingsShape)
    /// A mapping whose `kind` picks one of the registered shapes; fields here are common to all kinds.
    case kinded(KindCategory, common: [SettingsField])
    case either([ValueShape])
}

/// What can be registered, by the `kind` in the drill file.
package enum KindCategory: String, Sendable, CaseIterable {
    case database = "database kind"
    case objects = "object kind"
    case probe = "probe kind"
    case scratchDatabase = "scratch database kind"
    case scratchObjects = "scratch object kind"
    case markerObjects = "marker object kind"
}
