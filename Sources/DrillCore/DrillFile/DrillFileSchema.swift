import Foundation

/// The JSON Schema of drill files (draft 2020-12), from the same shapes that reading them uses.
package struct DrillFileSchema {
    private let registry: Registry

    package init(registry: Registry) { self.registry = registry }

    /// Pretty-printed with sorted keys, so that two builds can be compared; ends with a newline.
    package func text() throws -> String {
        var schema = object(DrillFileShape.root)
        schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
        let data = try JSONSerialization.data(
            withJSONObject: schema, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
        return String(decoding: data, as: UTF8.self) + "\n"
    }

    private func object(_ shape: SettingsShape, kind: String? = nil, common: [SettingsField] = []) -> [String: Any] {
        let fields = common + shape.fields
        var properties: [String: Any] = [:]
        for field in fields {
            var value = self.value(field.value)
            value["description"] = field.help
            switch field.value {
            case .text where field.isRequired: value["minLength"] = 1
            case .list(.kinded) where field.isRequired: value["minItems"] = 1
            default: break
            }
            properties[field.name] = value
        }
        var required = fields.filter(\.isRequired).map(\.name)
        if let kind {
            properties["kind"] = ["const": kind]
            required.append("kind")
        }
        return [
            "type": "object", "title": shape.title, "properties": properties, "required": required.sorted(),
            "additionalProperties": false,
        ]
    }

    private func pattern(_ pattern: String) -> [String: Any] { ["type": "string", "pattern": pattern] }
    private var variable: [String: Any] { pattern(#"\$\{[^}]+\}"#) }

    private func value(_ shape: ValueShape) -> [String: Any] {
        switch shape {
        case .text: ["type": ["string", "number", "boolean"]]
        case .name(let pattern): ["type": ["string", "number"], "pattern": pattern + #"|\$\{[^}]+\}"#]
        case .boolean: ["type": "boolean"]
        case .integer(let range):
            ["anyOf": [["type": "integer", "minimum": range.lowerBound, "maximum": range.upperBound], variable]]
        case .number: ["anyOf": [["type": "number"], variable]]
        case .duration: pattern(#"^(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$|\$\{[^}]+\}"#)
        case .percent: pattern(#"^\d+(\.\d+)?%$|\$\{[^}]+\}"#)
        case .byteCount:
            ["anyOf": [["type": "integer", "minimum": 0], pattern(#"^\d+([kKMGT]?B|[KMGT]iB)?$|\$\{[^}]+\}"#)]]
        case .instant(let words):
            pattern(
                "^(\(words.joined(separator: "|")))$"
                    + #"|^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)$|\$\{[^}]+\}"#)
        case .choice(let words): ["enum": words]
        case .list(.kinded(let category, let common)):
            ["type": "array", "items": value(.kinded(category, common: common))]
        case .list(let element): ["anyOf": [["type": "array", "items": value(element)], value(element)]]
        case .map(let element): ["type": "object", "additionalProperties": value(element)]
        case .settings(let shape): object(shape)
        case .kinded(let category, let common):
            [
                "oneOf": registry.shapes(category).sorted { $0.key < $1.key }.map { kind, shape in
                    object(shape, kind: kind, common: common)
                }
            ]
        case .either(let shapes): ["anyOf": shapes.map(value)]
        }
    }
}
