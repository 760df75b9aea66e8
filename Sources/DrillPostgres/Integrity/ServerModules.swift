import DrillCore

/// Functions of PostgreSQL's own modules (contrib) that read pages and verify structures. In scratch a missing module is put in
/// and taken out again; elsewhere only what is there is used.
struct ServerModules: Sendable {
    enum Module: String, Sendable, CaseIterable {
        case prewarm = "pg_prewarm"
        case amcheck, pageinspect

        func functions(serverVersion: Int) -> [String] {
            switch self {
            case .prewarm: ["pg_prewarm"]
            case .amcheck:
                ["bt_index_check", "bt_index_parent_check"] + (serverVersion >= 140_000 ? ["verify_heapam"] : [])
            case .pageinspect: ["get_raw_page", "bt_page_stats", "bt_page_items"]
            }
        }
    }

    struct Function: Sendable {
        /// Qualified and quoted.
        var name: String
        /// Later versions of a module have more of them.
        var parameterCount: Int
    }

    private(set) var functions: [String: Function] = [:]
    /// Why a module cannot be used.
    private(set) var missing: [Module: String] = [:]
    private let access: IntegrityAccess
    private var made: [Module] = []
    private var schema: String?

    private init(access: IntegrityAccess) { self.access = access }

    static func ready(_ modules: [Module], _ access: IntegrityAccess) async throws -> Self {
        var ready = Self(access: access)
        let session = IntegritySession(access, usesIndexes: true)
        do {
            try await ready.lookUp(session)
            for module in modules where !ready.has(module) { try await ready.provide(module, session) }
            await session.close()
        } catch {
            await session.close()
            throw error
        }
        return ready
    }

    func has(_ module: Module) -> Bool {
        module.functions(serverVersion: access.serverVersion).allSatisfy { functions[$0] != nil }
    }

    /// The module's own C functions alone: a function of that name that the backup brings along is no witness.
    private mutating func lookUp(_ session: IntegritySession) async throws(PostgresError) {
        let found = try await session.query(
            """
            SELECT p.proname, pg_catalog.format('%I.%I', n.nspname, p.proname), p.pronargs
            FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
                JOIN pg_catalog.pg_language l ON l.oid = p.prolang
            WHERE l.lanname = 'c' AND p.probin IN ('$libdir/pg_prewarm', '$libdir/amcheck', '$libdir/pageinspect')
                -- Behind the name a version may stand, such as _1_9.
                AND pg_catalog.strpos(p.prosrc, p.proname) = 1
                AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
            ORDER BY p.pronargs
            """)
        for row in found.rows {
            guard let short = row[0], let name = row[1], let count = row[2].flatMap({ Int($0) }) else { continue }
            functions[short] = Function(name: name, parameterCount: count)
        }
    }

    private mutating func provide(_ module: Module, _ session: IntegritySession) async throws(PostgresError) {
        let name = module.rawValue
        guard let rights = access.database.rights else {
            missing[module] =
                "\(name) is not installed in the database, or this role may not execute its functions, and it is only to be read"
            return
        }
        guard rights.modules.contains(module) else {
            missing[module] =
                "\(name) is not installed in the database, and is not put into a server that cannot be sealed"
            return
        }
        let state = try await session.query(
            """
            SELECT (SELECT count(*) FROM pg_catalog.pg_extension WHERE extname = $1),
                (SELECT count(*) FROM pg_catalog.pg_available_extensions WHERE name = $1)
            """, [name]
        ).rows.first
        guard state?[1] != "0" else {
            missing[module] = "this server does not have \(name) (Debian: it comes with the package of the server)"
            return
        }
        do throws(PostgresError) {
            let connection = try await access.openForWriting(rights)
            if state?[0] != "0" {
                try await connection.execute("ALTER EXTENSION \(name) UPDATE")
            } else {
                let schema = try await schema(connection)
                try await connection.execute("CREATE EXTENSION \(name) SCHEMA \(quotedIdentifier(schema))")
                made.append(module)
            }
            await connection.close()
        } catch {
            guard error.kind == .server else { throw error }
            missing[module] = "\(name) cannot be put into scratch: \(error)"
            return
        }
        try await lookUp(session)
        if !has(module) { missing[module] = "\(name) is there, but not the functions that are needed" }
    }

    private mutating func schema(_ connection: PostgresConnection) async throws(PostgresError) -> String {
        if let schema { return schema }
        let taken = try await connection.query("SELECT nspname FROM pg_catalog.pg_namespace").rows.compactMap { $0[0] }
        var name = "muster_integrity"
        while taken.contains(name) { name += "_" }
        try await connection.execute("CREATE SCHEMA \(quotedIdentifier(name))")
        schema = name
        return name
    }

    /// Takes out what was put in.
    func remove() async throws {
        guard let schema, let rights = access.database.rights else { return }
        do {
            let connection = try await access.openForWriting(rights)
            for module in made { try await connection.execute("DROP EXTENSION IF EXISTS \(module.rawValue)") }
            try await connection.execute("DROP SCHEMA IF EXISTS \(quotedIdentifier(schema))")
            await connection.close()
        } catch {
            throw error.drillError(at: rights.owner.place)
        }
    }
}
