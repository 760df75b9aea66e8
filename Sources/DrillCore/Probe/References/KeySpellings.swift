import Foundation

/// Finds keys that differ from missing ones only in how they are spelled: Unicode normalisation, case, percent-encoding, a leading
/// slash.
///
/// One more pass over the inventory looks for objects whose folded key is that of a missing one; where listing costs too much, some
/// of the missing keys are asked for in each other spelling instead. What is learnt is then tried on all further missing keys by
/// asking for the key so spelled.
struct KeySpellings: Sendable {
    /// So many missing keys are tried in each spelling, where nothing is listed for it.
    private static let triedKeys = 100

    struct Spelled: Sendable {
        var key: ObjectKey
        var difference: String
    }

    /// One way to spell a key differently.
    enum Change: String, Sendable, CaseIterable {
        case dropLeadingSlash = "a leading slash"
        case addLeadingSlash = "a missing leading slash"
        case percentDecode = "percent-encoding"
        case percentEncode = "percent-encoding "
        case composed = "Unicode normalisation (the row is not NFC, the object is)"
        case decomposed = "Unicode normalisation (the row is not NFD, the object is)"
        case lowercase = "upper and lower case"
        case uppercase = "upper and lower case "

        func applied(to key: ObjectKey) -> ObjectKey? {
            let slash = UInt8(ascii: "/")
            let changed: [UInt8]?
            switch self {
            case .dropLeadingSlash: changed = key.bytes.first == slash ? Array(key.bytes.dropFirst()) : nil
            case .addLeadingSlash: changed = [slash] + key.bytes
            case .percentDecode: changed = percentDecoded(key.bytes)
            case .percentEncode: changed = percentEncoded(key.bytes)
            case .composed: changed = text(key).map { Array($0.precomposedStringWithCanonicalMapping.utf8) }
            case .decomposed: changed = text(key).map { Array($0.decomposedStringWithCanonicalMapping.utf8) }
            case .lowercase: changed = text(key).map { Array($0.lowercased().utf8) }
            case .uppercase: changed = text(key).map { Array($0.uppercased().utf8) }
            }
            guard let changed, changed != key.bytes, !changed.isEmpty else { return nil }
            return ObjectKey(changed)
        }

        private func text(_ key: ObjectKey) -> String? { String(validating: key.bytes, as: UTF8.self) }
    }

    /// By missing key.
    private let found: [ObjectKey: Spelled]
    /// Changes that explained at least one missing key: worth a question for others.
    private let learnt: [Change]

    static func search(for keys: [ObjectKey], in store: any ObjectStore) async throws -> KeySpellings {
        guard store.isCheapToList else { return try await asked(for: keys, in: store) }
        var wanted: [[UInt8]: [ObjectKey]] = [:]
        for key in Set(keys) { wanted[folded(key.bytes[...]), default: []].append(key) }
        var found: [ObjectKey: Spelled] = [:]
        let inventory = try await store.inventory(InventoryRequest(isRepeated: true))
        do {
            while let batch = try await inventory.next() {
                try Task.checkCancellation()
                for index in 0..<batch.count where batch.state(index) == .present {
                    let key = batch.keys[index]
                    guard let missing = wanted[folded(key)] else { continue }
                    for wantedKey in missing where found[wantedKey] == nil && !wantedKey.bytes.elementsEqual(key) {
                        found[wantedKey] = Spelled(
                            key: ObjectKey(key), difference: difference(wantedKey, ObjectKey(key)))
                    }
                }
            }
        } catch {
            await inventory.cancel()
            throw error
        }
        let learnt = Change.allCases.filter { change in
            found.contains { missing, spelled in change.applied(to: missing) == spelled.key }
        }
        return KeySpellings(found: found, learnt: learnt)
    }

    private static func asked(for keys: [ObjectKey], in store: any ObjectStore) async throws -> KeySpellings {
        let step = max(1, keys.count / triedKeys)
        let tried = stride(from: 0, to: keys.count, by: step).map { keys[$0] }
        let all = KeySpellings(found: [:], learnt: Change.allCases)
        let answers = try await mapConcurrently(tried, width: store.preferredConcurrency) {
            try await all.spelling(of: $0, in: store)
        }
        var found: [ObjectKey: Spelled] = [:]
        for (key, spelled) in zip(tried, answers) { found[key] = spelled }
        let learnt = Change.allCases.filter { change in
            found.contains { missing, spelled in change.applied(to: missing) == spelled.key }
        }
        return KeySpellings(found: found, learnt: learnt)
    }

    /// The object that this missing key seems to mean; nil where there is none.
    func spelling(of key: ObjectKey, in store: any ObjectStore) async throws -> Spelled? {
        if let spelled = found[key] { return spelled }
        for change in learnt {
            guard let candidate = change.applied(to: key), store.cannotHold(candidate) == nil,
                case .present = try await store.presence(of: candidate)
            else { continue }
            return Spelled(key: candidate, difference: Self.difference(key, candidate))
        }
        return nil
    }

    private static func difference(_ missing: ObjectKey, _ present: ObjectKey) -> String {
        let single = Change.allCases.first { $0.applied(to: missing) == present }
        if single == nil, let change = Change.composed.applied(to: missing) ?? Optional(missing),
            change == Change.composed.applied(to: present) ?? present
        {
            return "Unicode normalisation"
        }
        return single?.rawValue.trimmingCharacters(in: .whitespaces)
            ?? "normalisation, case, percent-encoding or a leading slash taken together"
    }

    /// The same for all spellings of a key: decoded, without leading slashes, composed, in lower case.
    private static func folded(_ key: ArraySlice<UInt8>) -> [UInt8] {
        let decoded = (percentDecoded(key) ?? Array(key)).drop { $0 == UInt8(ascii: "/") }
        if decoded.allSatisfy({ $0 < 0x80 }) {
            return decoded.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
        }
        guard let text = String(validating: decoded, as: UTF8.self) else { return Array(decoded) }
        return Array(text.lowercased().precomposedStringWithCanonicalMapping.utf8)
    }
}
