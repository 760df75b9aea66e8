/// What a dump needs of the server that it is restored into; collected from the statements that name such things.
struct DumpRequirements: Sendable, Equatable {
    /// Owners, grantees and all others who are named; never `public` or the `pg_…` roles, which every server has.
    var roles: Set<String> = []
    /// Those whom grants and policies name, owners apart.
    var grantees: Set<String> = []
    /// Those that policies name: a policy cannot be restored without them.
    var policyRoles: Set<String> = []
    /// Those that own what only a superuser may own.
    var superusers: Set<String> = []
    var extensions: Set<String> = []
    var tablespaces: Set<String> = []
    /// `pg_…` roles that are named: a server of an older version lacks some.
    var predefinedRoles: Set<String> = []
    var database: DatabaseTraits?
    var encodingName: String?
    /// Whether the dump makes the schema `public` itself, as it does where it was told to dump that schema alone.
    var makesPublicSchema = false

    init() {}

    init(_ toc: ArchiveTOC) {
        for entry in toc.entries {
            add(role: entry.owner)
            if let tablespace = entry.tablespace, tablespace != "pg_default" { tablespaces.insert(tablespace) }
            switch entry.kind {
            case "EVENT TRIGGER", "FOREIGN DATA WRAPPER": superusers.insert(entry.owner)
            case "SCHEMA": add(statement: sqlTokens(entry.definition.utf8, limit: 4))
            case "EXTENSION": extensions.insert(entry.tag)
            case "ENCODING": encodingName = sqlTokens(entry.definition.utf8).lastText
            case "DATABASE": database = DatabaseTraits(createStatement: sqlTokens(entry.definition.utf8))
            case "ACL", "DEFAULT ACL", "POLICY", "USER MAPPING":
                for statement in statements(of: entry.definition) { add(statement: statement) }
            default: break
            }
        }
    }

    /// Adds what one statement of a dump needs. Statements that need nothing of the server add nothing.
    mutating func add(statement tokens: [SQLToken]) {
        guard case .word(let verb)? = tokens.first else { return }
        switch verb {
        case "grant", "revoke": add(grantees: tokens.roleLists(after: ["to", "from", "by"]))
        case "alter": addFromAlter(tokens)
        case "create": addFromCreate(tokens)
        case "set":
            if tokens.count > 1, tokens[1].isWord("session"),
                let role = tokens.last(where: { $0.spelledName != nil })?.spelledName
            {
                if tokens.count > 3, role != "default" { add(role: role) }
            } else if tokens.count > 3, tokens[1].isWord("client_encoding") {
                encodingName = tokens.lastText ?? encodingName
            } else if tokens.count > 3, tokens[1].isWord("default_tablespace"), let name = tokens[3].spelledName {
                add(tablespace: name)
            }
        default: break
        }
    }

    private mutating func addFromAlter(_ tokens: [SQLToken]) {
        if tokens.count > 2, tokens[1].isWord("default"), tokens[2].isWord("privileges") {
            add(grantees: tokens.roleLists(after: ["role", "user", "to", "from"]))
        } else if let owner = tokens.indices.last(where: { tokens[$0].isWord("owner") }), tokens.count > owner + 2,
            tokens[owner + 1].isWord("to"), let role = tokens[owner + 2].identifier
        {
            add(role: role)
        }
    }

    private mutating func addFromCreate(_ tokens: [SQLToken]) {
        guard tokens.count > 2 else { return }
        if tokens[1].isWord("extension") {
            let named = tokens.dropFirst(2).drop { $0.isWord("if") || $0.isWord("not") || $0.isWord("exists") }
            if let name = named.first?.identifier { extensions.insert(name) }
        } else if tokens[1].isWord("policy") {
            // TO stands between the table and USING or WITH CHECK, which hold expressions.
            let head = tokens.prefix { !$0.isWord("using") && !$0.isWord("with") }
            let named = Array(head).roleLists(after: ["to"])
            add(grantees: named)
            policyRoles.formUnion(named)
        } else if tokens[1].isWord("schema") {
            if tokens[2].isWord("public") { makesPublicSchema = true }
        } else if tokens[1].isWord("user"), tokens[2].isWord("mapping") {
            add(grantees: Array(tokens.roleLists(after: ["for"]).prefix(1)))
        } else if tokens[1].isWord("database") {
            database = DatabaseTraits(createStatement: tokens)
        }
    }

    private mutating func add(role: String) {
        guard !role.isEmpty, role != "public", role != "current_user", role != "session_user" else { return }
        if role.hasPrefix("pg_") { predefinedRoles.insert(role) } else { roles.insert(role) }
    }

    private mutating func add(grantees names: [String]) {
        names.forEach { add(role: $0) }
        grantees.formUnion(roles.intersection(names))
    }

    private mutating func add(tablespace: String) {
        if !tablespace.isEmpty, tablespace != "pg_default" { tablespaces.insert(tablespace) }
    }

    /// The statements of an entry that holds several, such as an ACL with grants and revokes.
    private func statements(of definition: String) -> [[SQLToken]] {
        sqlTokens(definition.utf8).split { $0.isMark(";") }.map(Array.init)
    }
}

/// How a dump's database was made, from its CREATE DATABASE statement.
struct DatabaseTraits: Sendable, Equatable {
    var name: String?
    var encoding: String?
    /// LC_COLLATE and LC_CTYPE; one word where the statement has LOCALE.
    var collate: String?
    var characterType: String?
    /// `libc`, `icu` or `builtin`.
    var provider: String?
    /// The ICU or built-in locale.
    var providerLocale: String?
    var collationVersion: String?

    init() {}

    init(createStatement tokens: [SQLToken]) {
        name = tokens.count > 2 ? tokens[2].identifier : nil
        for index in tokens.indices.dropFirst(3) where index + 2 < tokens.count && tokens[index + 1].isMark("=") {
            guard case .word(let option) = tokens[index] else { continue }
            let value: String
            switch tokens[index + 2] {
            case .text(let text), .word(let text), .quoted(let text): value = text
            case .mark: continue
            }
            switch option {
            case "encoding": encoding = value
            case "locale": (collate, characterType) = (value, value)
            case "lc_collate": collate = value
            case "lc_ctype": characterType = value
            case "locale_provider": provider = value.lowercased()
            case "icu_locale", "builtin_locale": providerLocale = value
            case "collation_version": collationVersion = value
            default: break
            }
        }
    }
}

extension SQLToken {
    /// A name that may be written as a string too.
    fileprivate var spelledName: String? {
        switch self {
        case .text(let name): name
        default: identifier
        }
    }
}

extension [SQLToken] {
    fileprivate var lastText: String? {
        for case .text(let text) in reversed() { return text }
        return nil
    }

    /// The role names of each list that follows one of these words outside parentheses: `TO a, GROUP b, "C"`.
    fileprivate func roleLists(after words: [String]) -> [String] {
        var roles: [String] = []
        var depth = 0
        var index = startIndex
        while index < endIndex {
            if self[index].isMark("(") { depth += 1 }
            if self[index].isMark(")") { depth -= 1 }
            let starts = depth == 0 && words.contains { self[index].isWord($0) }
            index += 1
            guard starts else { continue }
            while index < endIndex {
                if self[index].isWord("group") { index += 1 }
                guard index < endIndex, let role = self[index].identifier else { break }
                if !(self[index].isWord("public")) { roles.append(role) }
                index += 1
                guard index < endIndex, self[index].isMark(",") else { break }
                index += 1
            }
        }
        return roles
    }
}
